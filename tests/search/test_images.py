import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from search.errors import NotEnoughImages, SearchError
from search.images.read import ImageSet, read_images, to_square


def gradient(width: int, height: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), (x + y) * 255 / max(width + height - 2, 1)]
    return np.stack(planes[:channels], axis=-1).round().astype(np.uint8)


def only(folder: Path, size_px: int = 32) -> torch.Tensor:
    images = read_images(folder, size_px=size_px, min_images=1)
    assert len(images.paths) == 1 and not images.skipped, images.skipped
    return images.pixels[0]


def skipped_reason(folder: Path, size_px: int = 32) -> str:
    """The one reason, read beside one good image, so that the folder as a whole is usable."""
    Image.fromarray(gradient(32, 32)).save(folder / "good.png")
    images = read_images(folder, size_px=size_px, min_images=1)
    assert [path.name for path in images.paths] == ["good.png"]
    assert len(images.skipped) == 1
    return images.skipped[0].reason


def test_a_square_image_of_the_right_size_keeps_its_pixels_bit_for_bit(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert torch.equal(only(tmp_path), torch.from_numpy(pixels).permute(2, 0, 1))


def test_the_center_of_a_wide_image_is_cropped_without_resampling(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 51, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert torch.equal(only(tmp_path), torch.from_numpy(pixels[:, 9:41]).permute(2, 0, 1))


@pytest.mark.parametrize("side", [20, 64, 100, 333])
def test_resizing_keeps_a_smooth_picture(tmp_path: Path, side: int) -> None:
    Image.fromarray(gradient(side, side)).save(tmp_path / "a.png")
    x = (torch.arange(32) + 0.5) / 32 * side - 0.5
    expected = (x.clamp(0, side - 1) * 255 / (side - 1)).expand(32, 32)
    assert (only(tmp_path)[0].float() - expected).abs().max() <= 255 / 32 * 0.6


def test_shrinking_averages_instead_of_picking(tmp_path: Path) -> None:
    checkers = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkers).save(tmp_path / "a.png")
    assert (only(tmp_path).float() - 127.5).abs().max() < 3


def test_images_come_sorted_from_any_depth_with_any_case_of_suffix(tmp_path: Path) -> None:
    names = ["b/2.JPG", "b/1.jpeg", "a/x/y/z.PnG", "c.webp", "d.BMP", "e.tif", "é 图.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(gradient(16, 16)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not looked at")
    images = read_images(tmp_path, size_px=16, min_images=1)
    assert list(images.paths) == sorted(tmp_path / name for name in names)
    assert images.pixels.shape == (7, 3, 16, 16) and images.pixels.dtype == torch.uint8
    assert images.skipped == ()


def test_hidden_files_are_ignored_and_link_loops_end(tmp_path: Path) -> None:
    for name in ("a.png", ".hidden.png", ".thumbs/b.png", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(gradient(16, 16)).save(tmp_path / name)
    (tmp_path / "deep" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "again", target_is_directory=True)
    images = read_images(tmp_path, size_px=16, min_images=1)
    assert [path.relative_to(tmp_path).as_posix() for path in images.paths] == ["a.png", "deep/c.png"]


def test_a_folder_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Image.fromarray(gradient(16, 16)).save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    assert len(read_images(tmp_path / "images", size_px=16, min_images=1).paths) == 1


def test_rows_follow_paths_when_files_between_are_skipped(tmp_path: Path) -> None:
    for i in range(9):
        if i % 3 == 1:
            (tmp_path / f"{i}.png").write_bytes(b"")
        else:
            Image.new("RGB", (16, 16), (i * 10, 0, 0)).save(tmp_path / f"{i}.png")
    images = read_images(tmp_path, size_px=16, min_images=1)
    assert [int(path.stem) * 10 for path in images.paths] == images.pixels[:, 0, 0, 0].tolist()
    assert [path.path.name for path in images.skipped] == ["1.png", "4.png", "7.png"]


def test_what_is_told_counts_images_smaller_than_the_crop_and_no_skipped_one(tmp_path: Path) -> None:
    for i, size in enumerate([(40, 30), (31, 90), (32, 32), (200, 64)]):
        Image.fromarray(gradient(*size)).save(tmp_path / f"{i}.png")
    (tmp_path / "1b.png").write_text("text")
    images = read_images(tmp_path, size_px=64, min_images=1)
    assert images.sides_px.tolist() == [30, 31, 32, 64]
    assert images.told(32) == "4 images, 1 skipped, 2 enlarged, for they have fewer than 32 px a side"
    assert images.told(30) == "4 images, 1 skipped"


def test_a_limit_spreads_over_all_folders(tmp_path: Path) -> None:
    for label in "abcd":
        (tmp_path / label).mkdir()
        for i in range(5):
            Image.fromarray(gradient(16, 16)).save(tmp_path / label / f"{i}.png")
    images = read_images(tmp_path, size_px=16, min_images=1, limit=4)
    assert [path.parent.name for path in images.paths] == ["a", "b", "c", "d"]


def test_progress_counts_every_file(image_folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    read_images(image_folder, size_px=16, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 64) for i in range(1, 65)]


def test_reading_twice_gives_the_same(image_folder: Path) -> None:
    first, second = (read_images(image_folder, size_px=24) for _ in range(2))
    assert first.paths == second.paths and torch.equal(first.pixels, second.pixels)


# Kinds of images that are converted.


def test_16_bit_gray_keeps_its_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = torch.from_numpy((values / 257).round().astype(np.uint8)).expand(3, 32, 32)
    assert torch.equal(only(tmp_path), expected)


def test_16_bit_gray_tiff_of_either_byte_order_reads_alike(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    for name, order in (("little", "<u2"), ("big", ">u2")):
        (tmp_path / name).mkdir()
        Image.fromarray(values.astype(order)).save(tmp_path / name / "a.tif")
    assert torch.equal(only(tmp_path / "little"), only(tmp_path / "big"))


def test_palette_and_gray_become_rgb(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "l").mkdir()
    Image.new("RGB", (32, 32), (255, 0, 51)).quantize(4).save(tmp_path / "p" / "a.png")
    Image.new("L", (32, 32), 77).save(tmp_path / "l" / "a.png")
    assert only(tmp_path / "p")[:, 0, 0].tolist() == [255, 0, 51]
    assert only(tmp_path / "l")[:, 0, 0].tolist() == [77, 77, 77]


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    bits = np.zeros((32, 32), dtype=bool)
    bits[:, 16:] = True
    Image.fromarray(bits).save(tmp_path / "a.png")
    assert only(tmp_path)[:, 0, [0, 31]].tolist() == [[0, 255]] * 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(tmp_path: Path, mode: str) -> None:
    if mode == "P":
        Image.new("P", (32, 32), 0).save(tmp_path / "a.png", transparency=0)
    else:
        Image.new(mode, (32, 32), (0,) * len(mode)).save(tmp_path / "a.png")
    assert only(tmp_path).min() == 255


def test_half_transparent_pixels_are_blended_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (200, 100, 0, 128)).save(tmp_path / "a.png")
    expected = [255 + (value - 255) * 128 / 255 for value in (200, 100, 0)]
    assert only(tmp_path)[:, 5, 5].tolist() == pytest.approx(expected, abs=1)


def test_cmyk_jpeg_has_the_colors_of_its_rgb_original(tmp_path: Path) -> None:
    original = Image.new("RGB", (32, 32), (200, 40, 90))
    original.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert only(tmp_path)[:, 5, 5].tolist() == pytest.approx([200, 40, 90], abs=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    picture = Image.fromarray(gradient(48, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))
    left, top = (upright.width - 32) // 2, (upright.height - 32) // 2
    expected = np.asarray(upright)[top : top + 32, left : left + 32].transpose(2, 0, 1)
    assert torch.equal(only(tmp_path), torch.from_numpy(expected.copy()))
    assert orientation == 1 or not torch.equal(only(tmp_path), torch.from_numpy(gradient(32, 32)).permute(2, 0, 1))


def test_a_large_jpeg_is_close_to_its_full_decoding(tmp_path: Path) -> None:
    Image.fromarray(gradient(700, 500)).save(tmp_path / "a.jpg", quality=95)
    full = Image.open(tmp_path / "a.jpg").resize((32, 32), Image.Resampling.BILINEAR, box=(100, 0, 600, 500))
    assert np.abs(only(tmp_path).numpy().astype(int) - np.asarray(full).transpose(2, 0, 1)).max() <= 3


def test_an_image_under_another_formats_name_is_read(tmp_path: Path) -> None:
    Image.fromarray(gradient(32, 32)).save(tmp_path / "a.jpg", format="PNG")
    assert only(tmp_path).shape == (3, 32, 32)


# Files that are skipped, with the reason.


def test_a_text_file_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("hello")
    assert skipped_reason(tmp_path) == "not an image"


def test_an_empty_file_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "bad.png").touch()
    assert skipped_reason(tmp_path) == "empty file"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_file_is_skipped(tmp_path: Path, suffix: str, share: float) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / f"bad.{suffix}")
    content = (tmp_path / f"bad.{suffix}").read_bytes()
    (tmp_path / f"bad.{suffix}").write_bytes(content[: int(len(content) * share)])
    reason = skipped_reason(tmp_path)
    assert reason and "\n" not in reason


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 2)])
def test_a_tiny_image_is_skipped_with_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "bad.png")
    assert skipped_reason(tmp_path) == f"{size[0]}x{size[1]} px; the shorter side must be at least 8 px"


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_skipped(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bad.png").write_bytes(content)
    assert "decompression bomb" in skipped_reason(tmp_path)


def test_floating_point_pixels_are_skipped(tmp_path: Path) -> None:
    Image.new("F", (32, 32)).save(tmp_path / "bad.tif")
    assert "floating-point" in skipped_reason(tmp_path)


def test_a_broken_link_is_not_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert skipped_reason(tmp_path) == "not a regular file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_block_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bad.jpg")
    assert skipped_reason(tmp_path) == "not a regular file"


def test_a_script_in_disguise_is_never_interpreted(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    assert skipped_reason(tmp_path) == "not an image"


# Folders that cannot be used.


def failure(folder: Path, min_images: int = 64) -> str:
    with pytest.raises(NotEnoughImages) as caught:
        read_images(folder, size_px=16, min_images=min_images)
    assert isinstance(caught.value, SearchError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file.png").touch()
    assert "is not a folder" in failure(tmp_path / "nowhere")
    assert "is not a folder" in failure(tmp_path / "file.png")


def test_an_empty_folder_is_refused_even_when_none_are_asked_for(tmp_path: Path) -> None:
    assert failure(tmp_path, min_images=0) == f"{tmp_path} holds 0 usable images; needed are at least 1: add images"
    assert "at least 64" in failure(tmp_path)


def test_too_few_images_names_the_first_three_that_were_skipped(image_folder: Path) -> None:
    for i in range(4):
        (image_folder / f"00{i}.png").write_bytes(b"")
    message = failure(image_folder)
    assert "60 usable images" in message and "at least 64" in message and "4 skipped" in message
    assert message.count("empty file") == 3


def test_files_of_formats_that_are_not_read_are_counted_by_their_suffixes(tmp_path: Path) -> None:
    for name in ("a.ppm", "b.PPM", "c.psd", ".hidden.raw"):
        (tmp_path / name).write_bytes(b"x")
    assert "convert them to JPEG or PNG (2 .ppm, 1 .psd files are not read)" in failure(tmp_path)


def test_an_image_set_is_frozen(image_folder: Path) -> None:
    images: ImageSet = read_images(image_folder, size_px=16)
    with pytest.raises(AttributeError):
        images.paths = ()  # type: ignore[misc]


def test_one_opened_image_becomes_the_same_pixels_as_in_a_folder(tmp_path: Path) -> None:
    Image.fromarray(gradient(300, 200)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert torch.equal(torch.from_numpy(to_square(image, 32)).permute(2, 0, 1), only(tmp_path))


def test_damaged_files_of_all_kinds_never_end_the_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "webp", "bmp"):
        Image.effect_noise((40, 40), 60).convert("RGB").save(tmp_path / f"good.{suffix}")
        content = np.frombuffer((tmp_path / f"good.{suffix}").read_bytes(), dtype=np.uint8)
        for i in range(40):
            damaged = content.copy()
            where = rng.integers(0, (64, 600, len(content))[i % 3], size=3) % len(content)
            damaged[where] = rng.integers(0, 256, 3)
            (tmp_path / f"{i}.{suffix}").write_bytes(damaged.tobytes())
    images = read_images(tmp_path, size_px=32, min_images=4)
    assert len(images.paths) + len(images.skipped) == 164
    assert len(images.skipped) > 20 and all(item.reason for item in images.skipped)
