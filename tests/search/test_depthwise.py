import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search.nets.layers import conv2d, dilated_conv2d

FAST = [(1, 1, 3), (1, 1, 5), (2, 2, 3), (2, 2, 5), (1, 3, 5), (4, 4, 5), (3, 4, 5), (2, 8, 5)]  # height, width, kernel
LIBRARY = [(4, 4, 3), (5, 5, 5), (8, 8, 3)]


def example(height: int, width: int, kernel: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, height, width, generator=generator, dtype=dtype)
    weight = torch.randn(6, 1, kernel, kernel, generator=generator, dtype=dtype)
    return x.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize(("height", "width", "kernel"), FAST + LIBRARY)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_output_and_gradients_are_torch_s(
    height: int, width: int, kernel: int, stride: int, layout: torch.memory_format
) -> None:
    x, weight = example(height, width, kernel)
    ours = conv2d(x.contiguous(memory_format=layout), weight, stride, kernel // 2, 6)
    torch_s = F.conv2d(x, weight, None, stride, kernel // 2, 1, 6)
    torch.testing.assert_close(ours, torch_s)
    g = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(
        torch.autograd.grad(ours, (x, weight), g), torch.autograd.grad(torch_s, (x, weight), g), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(("height", "width", "kernel"), FAST)
def test_gradients_are_those_of_finite_differences(height: int, width: int, kernel: int) -> None:
    x, weight = example(height, width, kernel, torch.float64)
    assert torch.autograd.gradcheck(lambda x, w: conv2d(x, w, 1, kernel // 2, 6), (x, weight))


@pytest.mark.parametrize(
    ("shapes", "fast"), [(FAST, True), (LIBRARY, False)], ids=["small maps", "maps where torch is as fast"]
)
def test_only_small_maps_take_the_own_gradient(shapes: list[tuple[int, int, int]], fast: bool) -> None:
    for height, width, kernel in shapes:
        x, weight = example(height, width, kernel)
        made_by = type(conv2d(x, weight, 1, kernel // 2, 6).grad_fn).__name__
        assert ("SmallMap" in made_by) == fast


def test_a_convolution_that_is_not_depthwise_is_torch_s() -> None:
    x, weight = torch.randn(2, 6, 2, 2), torch.randn(4, 3, 3, 3, requires_grad=True)
    assert torch.equal(conv2d(x, weight, 1, 1, 2), F.conv2d(x, weight, None, 1, 1, 1, 2))


def test_an_input_without_gradient_gets_none() -> None:
    x, weight = example(2, 2, 3)
    conv2d(x.detach(), weight, 1, 1, 6).sum().backward()
    assert weight.grad is not None and x.grad is None


@pytest.mark.parametrize("height", [2, 4, 8])
@pytest.mark.parametrize("dilated", [False, True])
def test_where_the_rest_is_bf16_it_stays_fp32_and_so_do_its_gradients(height: int, dilated: bool) -> None:
    def run(x: Tensor, weight: Tensor) -> Tensor:
        return dilated_conv2d(x, weight, 1) if dilated else conv2d(x, weight, 1, 2, 6)

    x, weight = example(height, height, 5)
    exact = run(x, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = run(x.bfloat16(), weight)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, run(x.bfloat16().float(), weight))
    g = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(
        torch.autograd.grad(mixed, (x, weight), g), torch.autograd.grad(exact, (x, weight), g), strict=True
    ):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, theirs, rtol=0.02, atol=0.05)
