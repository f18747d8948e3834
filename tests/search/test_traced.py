"""A network in use is plain torch: every tool that records or transforms a module can take it, gradients on or off."""

import pytest
import torch
from torch import fx

from search.nets import NETS, Backbone


@pytest.fixture(scope="module", params=sorted(NETS))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    net = NETS[request.param]
    torch.manual_seed(0)
    return net.build(net.smallest(32)).eval()


@pytest.fixture
def image(backbone: Backbone) -> torch.Tensor:
    return torch.randn(2, 3, 32, 32)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # tracing is old, and still in use
def test_it_is_traced_with_gradients_on(backbone: Backbone, image: torch.Tensor) -> None:
    traced = torch.jit.trace(backbone, image)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(traced(image), backbone(image))


def test_its_graph_is_recorded(backbone: Backbone, image: torch.Tensor) -> None:
    recorded = fx.symbolic_trace(backbone)
    torch.testing.assert_close(recorded(image), backbone(image))


def test_it_is_mapped_over_a_batch(backbone: Backbone, image: torch.Tensor) -> None:
    mapped = torch.vmap(lambda one: backbone(one[None])[0])(image)
    torch.testing.assert_close(mapped, backbone(image), rtol=1e-4, atol=1e-5)
