from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from search.images import views as colors
from search.images import views as module
from search.images.views import IMAGENET_MEAN, IMAGENET_STD, Views, center, views

PLAIN = Views(crop_px=32, min_scale=1, flip_p=0, jitter_p=0, gray_p=0, mean=(0, 0, 0), std=(1, 1, 1))


def pixels(n: int = 8, size_px: int = 32, seed: int = 0) -> torch.Tensor:
    """Noise that was smoothed, so that it has colors and edges but no single-pixel detail."""
    x = torch.rand(n, 3, size_px // 4, size_px // 4, generator=generator(seed))
    return (F.interpolate(x, size=(size_px, size_px), mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_views() -> None:
    settings = Views(crop_px=24, blur_p=0.5)
    first, again = (views(pixels(), settings, generator(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, views(pixels(), settings, generator(6)))


def test_a_generator_goes_on_to_new_views() -> None:
    g = generator()
    assert not torch.equal(views(pixels(), Views(crop_px=32), g), views(pixels(), Views(crop_px=32), g))


def test_samples_are_drawn_independently() -> None:
    same = pixels(1).expand(6, -1, -1, -1)
    x = views(same, Views(crop_px=32), generator())
    assert all(not torch.equal(x[i], x[j]) for i in range(6) for j in range(i))


@pytest.mark.parametrize("crop_px", [16, 32, 48])
@pytest.mark.parametrize("size_px", [32, 64])
def test_views_are_normalized_floats_in_channels_last(crop_px: int, size_px: int) -> None:
    x = views(pixels(3, size_px), Views(crop_px=crop_px, blur_p=0.5), generator())
    assert x.shape == (3, 3, crop_px, crop_px) and x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.isfinite().all() and not x.requires_grad


def test_without_any_augmentation_a_view_is_the_normalized_image() -> None:
    settings = replace(PLAIN, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    expected = tv.normalize(pixels().float() / 255, list(IMAGENET_MEAN), list(IMAGENET_STD))
    torch.testing.assert_close(views(pixels(), settings, generator()), expected, atol=1e-4, rtol=0)


def test_zero_strength_jitter_changes_nothing() -> None:
    x = views(pixels(), replace(PLAIN, jitter_p=1, jitter=(0, 0, 0, 0)), generator())
    torch.testing.assert_close(x, pixels().float() / 255, atol=1e-5, rtol=0)


def test_samples_that_are_not_chosen_for_jitter_keep_their_colors() -> None:
    x = views(pixels(64), replace(PLAIN, jitter_p=0.5), generator())
    kept = (x - pixels(64).float() / 255).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert 16 < kept.sum() < 48


def test_flip_mirrors_left_and_right() -> None:
    flipped = views(pixels(), replace(PLAIN, flip_p=1), generator())
    torch.testing.assert_close(flipped, pixels().flip(-1).float() / 255, atol=1e-4, rtol=0)


def test_gray_views_have_equal_channels_with_the_luma_of_the_image() -> None:
    x = views(pixels(), replace(PLAIN, gray_p=1), generator())
    expected = tv.rgb_to_grayscale(pixels().float() / 255, num_output_channels=3)
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=0)
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 1], x[:, 2])


@pytest.mark.parametrize(
    ("ours", "reference", "values"),
    [
        (colors.brightness, tv.adjust_brightness, (0.6, 1.0, 1.4)),
        (colors.contrast, tv.adjust_contrast, (0.6, 1.0, 1.4)),
        (colors.saturation, tv.adjust_saturation, (0.0, 0.6, 1.4)),
        (colors.hue, tv.adjust_hue, (-0.5, -0.1, 0.0, 0.1, 0.37)),
    ],
)
def test_a_color_operation_agrees_with_torchvision(ours, reference, values) -> None:
    x = pixels(1).float() / 255
    batch = ours(x.expand(len(values), -1, -1, -1), torch.tensor(values))
    for row, value in zip(batch, values, strict=True):
        torch.testing.assert_close(row, reference(x[0], value), atol=2e-5, rtol=0)


def test_the_hue_of_gray_pixels_stays_gray() -> None:
    gray = torch.full((1, 3, 4, 4), 0.5)
    torch.testing.assert_close(colors.hue(gray, torch.tensor([0.3])), gray)


def test_a_full_turn_of_hue_changes_nothing() -> None:
    x = pixels(4).float() / 255
    torch.testing.assert_close(colors.hue(x, torch.ones(4)), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma_px", [0.3, 0.8, 1.5])
def test_blur_agrees_with_torchvision_and_leaves_the_others_alone(sigma_px: float) -> None:
    x = pixels(2).float() / 255
    blurred = colors.blur(x, torch.full((2,), sigma_px), torch.tensor([True, False]), max_sigma_px=1.5)
    torch.testing.assert_close(blurred[0], tv.gaussian_blur(x[0], [11, 11], [sigma_px] * 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(blurred[1], x[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("box", [(0, 0, 64, 64), (10, 4, 32, 40), (20, 30, 30, 24)])
def test_a_crop_agrees_with_torchvision_on_smooth_pictures(box: tuple[int, int, int, int]) -> None:
    left, top, width, height = box
    x = F.interpolate(pixels(1, 32).float() / 255, size=(64, 64), mode="bilinear")
    ours = module._crop(x, torch.tensor([box], dtype=torch.float32), torch.tensor([False]), 32)
    reference = tv.resized_crop(x, top, left, height, width, [32, 32], antialias=True)
    # Torchvision cuts before it resizes, so only we see the pixels beyond a crop's border.
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], reference[..., 1:-1, 1:-1], atol=0.03, rtol=0)


def test_shrinking_by_two_averages_instead_of_picking() -> None:
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    x = checkers.float().expand(1, 3, 64, 64)
    whole = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    torch.testing.assert_close(module._crop(x, whole, torch.tensor([False]), 32), torch.full((1, 3, 32, 32), 0.5))


def test_crops_are_distributed_as_torchvisions() -> None:
    draws = torch.rand(4000, module._CROP_DRAWS, generator=generator())
    ours = module._crop_boxes(draws, Views(crop_px=32), 64, 64)
    torch.manual_seed(0)
    image = torch.empty(3, 64, 64)
    sampler = v2.RandomResizedCrop(32, scale=(0.2, 1.0))
    drawn = [sampler.make_params([image]) for _ in range(4000)]
    reference = torch.tensor([[p["left"], p["top"], p["width"], p["height"]] for p in drawn], dtype=torch.float32)
    torch.testing.assert_close(ours.mean(dim=0), reference.mean(dim=0), atol=0.8, rtol=0)
    torch.testing.assert_close(ours.std(dim=0), reference.std(dim=0), atol=0.6, rtol=0)


@pytest.mark.parametrize(("height_px", "width_px"), [(64, 64), (40, 90), (90, 40), (8, 100)])
def test_every_crop_lies_inside_the_image_with_the_asked_ratio(height_px: int, width_px: int) -> None:
    draws = torch.rand(500, module._CROP_DRAWS, generator=generator())
    left, top, width, height = module._crop_boxes(draws, Views(crop_px=32), height_px, width_px).unbind(1)
    assert (left >= 0).all() and (top >= 0).all()
    assert (left + width <= width_px + 1e-3).all() and (top + height <= height_px + 1e-3).all()
    assert (width / height > 3 / 4 - 1e-3).all() and (width / height < 4 / 3 + 1e-3).all()


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (32, 32), (20, 30), (45, 71), (99, 50), (32, 35)])
def test_center_agrees_with_torchvision(size: tuple[int, int]) -> None:
    x = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=generator())
    resize = [v2.ToDtype(torch.float32, scale=True), v2.Resize(32, antialias=True), v2.CenterCrop(32)]
    steps = v2.Compose([*resize, v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    ours = center(x, 32)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours, steps(x), atol=1e-4, rtol=0)


def test_views_leave_the_pixels_untouched() -> None:
    x = pixels()
    views(x, Views(crop_px=32), generator())
    center(x, 16)
    assert torch.equal(x, pixels())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_px", 0),
        ("min_scale", 0.0),
        ("min_scale", 1.5),
        ("ratio", (2.0, 1.0)),
        ("flip_p", -0.1),
        ("jitter_p", 1.1),
        ("gray_p", float("nan")),
        ("jitter", (0.4, 0.4, 0.4, 0.6)),
        ("jitter", (1.4, 0.4, 0.4, 0.1)),
        ("blur_sigma_px", (0.0, 1.0)),
    ],
)
def test_settings_that_make_no_view_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(PLAIN, **{field: value})


def test_pixels_that_were_scaled_already_are_refused() -> None:
    for call in (lambda x: views(x, PLAIN, generator()), lambda x: center(x, 32)):
        with pytest.raises(ValueError, match="uint8"):
            call(pixels().float() / 255)


@pytest.mark.gpu
def test_a_cpu_generator_gives_the_same_views_on_cuda() -> None:
    settings = Views(crop_px=32, blur_p=0.5)
    on_cpu = views(pixels(64, 64), settings, generator())
    on_cuda = views(pixels(64, 64).cuda(), settings, generator())
    assert on_cuda.is_cuda
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=2e-3, rtol=0)
