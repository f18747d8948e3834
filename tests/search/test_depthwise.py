import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search.nets.depthwise import _weight_gradient
from search.nets.layers import conv2d, dilated_conv2d

# Height, width, kernel: single pixels, lower than the kernel, narrow, odd, and of any size.
FAST = [(1, 1, 3), (2, 2, 3), (1, 1, 5), (2, 2, 5), (1, 3, 5), (3, 4, 5), (4, 4, 5), (2, 8, 5), (9, 3, 5), (4, 7, 5)]
FAST += [(5, 5, 5), (5, 6, 5), (8, 8, 5), (7, 10, 5), (12, 5, 5)]
LIBRARY = [(4, 4, 3), (8, 8, 3), (5, 5, 7)]
FAST_BY_TWO = [(5, 4, 5), (5, 5, 5), (6, 7, 5), (8, 8, 5), (9, 6, 5)]


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


@pytest.mark.parametrize(
    ("stride", "shapes", "fast"), [(1, FAST, True), (2, FAST_BY_TWO, True), (1, LIBRARY, False), (2, LIBRARY, False)]
)
def test_only_where_torch_is_slow_is_the_gradient_our_own(
    stride: int, shapes: list[tuple[int, int, int]], fast: bool
) -> None:
    for height, width, kernel in shapes:
        x, weight = example(height, width, kernel)
        made_by = type(conv2d(x, weight, stride, kernel // 2, 6).grad_fn).__name__
        assert ("Depthwise" in made_by) == fast


@pytest.mark.parametrize(("height", "width", "kernel"), FAST)
def test_whole_numbers_give_exactly_torch_s_gradient(height: int, width: int, kernel: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randint(-8, 8, (2, 4, 6, height, width), generator=generator).float()
    weight = torch.zeros(6, 1, kernel, kernel, requires_grad=True)
    (expected,) = torch.autograd.grad(F.conv2d(x, weight, None, 1, kernel // 2, 1, 6), weight, g)
    for layout in (torch.contiguous_format, torch.channels_last):
        maps = (m.contiguous(memory_format=layout) for m in (g, x))
        assert torch.equal(_weight_gradient(*maps, kernel, 1), expected)


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
