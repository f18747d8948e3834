"""A checkpoint in the layout of GAIA-ssl, made by hand, gives the network that its tensors describe."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search.data_checkpoints import NET, gaia_name, read_gaia
from search.errors import BadSupernet
from search.nets import NETS
from search.nets.resnet import ResNet, ResNetPreset
from search.supernet import load_supernet, save_supernet
from tests.conftest import refused

WIDTHS, DEPTHS, STEM, HIDDEN, DIM = (2, 3, 4, 5), (2, 1, 3, 1), 4, 6, 3
SMALL = ResNet(
    ResNetPreset(
        name=NET,
        stem_kernel=7,
        stem_widths=(2, STEM),
        widths=tuple((1, width) for width in WIDTHS),
        depths=tuple(tuple(range(1, depth + 1)) for depth in DEPTHS),
    )
)


Shapes = dict[str, tuple[int, ...]]


def layout(stem: int, widths: tuple[int, ...], depths: tuple[int, ...], hidden: int, dim: int) -> Shapes:
    """Names and shapes of an encoder as GAIA-ssl registers them; written from its classes, not from our names."""

    def norm(name: str, channels: int) -> Shapes:
        parts = {part: (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
        return {f"{name}.{part}": shape for part, shape in parts.items()} | {f"{name}.num_batches_tracked": ()}

    shapes: Shapes = {"0.conv1.weight": (stem, 3, 7, 7), **norm("0.bn1", stem)}
    c_in = stem
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        for block in range(depth):
            name, c_out = f"0.layer{stage}.{block}", 4 * width
            shapes |= {f"{name}.conv1.weight": (width, c_in, 1, 1), **norm(f"{name}.bn1", width)}
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3), **norm(f"{name}.bn2", width)}
            shapes |= {f"{name}.conv3.weight": (c_out, width, 1, 1), **norm(f"{name}.bn3", c_out)}
            if block == 0:
                shapes |= {f"{name}.downsample.0.weight": (c_out, c_in, 1, 1), **norm(f"{name}.downsample.1", c_out)}
            c_in = c_out
    shapes |= {"1.mlp.0.weight": (hidden, c_in), "1.mlp.0.bias": (hidden,)}
    return shapes | {"1.mlp.2.weight": (dim, hidden), "1.mlp.2.bias": (dim,)}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """DATA's net, but smaller."""
    monkeypatch.setitem(NETS, NET, SMALL)


@pytest.fixture
def state() -> dict[str, Tensor]:
    """A whole state dict: both encoders, the first one's backbone under its second name, and the queue."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    for encoder in ("encoder_q", "encoder_k"):
        for name, shape in layout(STEM, WIDTHS, DEPTHS, HIDDEN, DIM).items():
            tensors[f"{encoder}.{name}"] = torch.randn(shape, generator=generator) * 0.5
            if encoder == "encoder_q" and name.startswith("0."):
                tensors[f"backbone.{name[2:]}"] = tensors[f"{encoder}.{name}"]
    return {**tensors, "queue": torch.randn(DIM, 8), "queue_ptr": torch.zeros(1, dtype=torch.long)}


def written(state: Mapping[str, Tensor], path: Path) -> Path:
    torch.save({"meta": {"epoch": 200, "mmcv_version": "1.3.0"}, "state_dict": dict(state), "optimizer": {}}, path)
    return path


def gaia_forward(state: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What GAIA-ssl's encoder computes of images, with the batch's statistics: last map and projections."""
    q = {name.removeprefix("encoder_q."): tensor for name, tensor in state.items() if name.startswith("encoder_q.")}

    def norm(name: str, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, q[f"{name}.weight"], q[f"{name}.bias"], training=True)

    x = F.max_pool2d(F.relu(norm("0.bn1", F.conv2d(x, q["0.conv1.weight"], stride=2, padding=3))), 3, 2, 1)
    for stage, depth in enumerate(DEPTHS, start=1):
        for block in range(depth):
            name, stride = f"0.layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            y = F.relu(norm(f"{name}.bn1", F.conv2d(x, q[f"{name}.conv1.weight"])))
            y = F.relu(norm(f"{name}.bn2", F.conv2d(y, q[f"{name}.conv2.weight"], stride=stride, padding=1)))
            y = norm(f"{name}.bn3", F.conv2d(y, q[f"{name}.conv3.weight"]))
            if block == 0:
                x = norm(f"{name}.downsample.1", F.conv2d(x, q[f"{name}.downsample.0.weight"], stride=stride))
            x = F.relu(x + y)
    pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
    hidden = F.relu(F.linear(pooled, q["1.mlp.0.weight"], q["1.mlp.0.bias"]))
    return x, F.linear(hidden, q["1.mlp.2.weight"], q["1.mlp.2.bias"])


@pytest.mark.usefixtures("small")
def test_the_network_computes_what_gaia_s_encoder_does(state: dict[str, Tensor], tmp_path: Path) -> None:
    supernet = read_gaia(written(state, tmp_path / "epoch_200.pth"), name="data")
    backbone = supernet.subnet(SMALL.largest(224)).train()
    projector = supernet.projector(int(backbone.embedding_dim)).train()
    x = torch.randn(4, 3, 64, 64)
    last, z = gaia_forward(state, x)
    with torch.no_grad():
        torch.testing.assert_close(backbone.features(x)["p5"], last)
        torch.testing.assert_close(projector(backbone(x)), z)
    save_supernet(supernet, tmp_path / "out")
    card = load_supernet(tmp_path / "out").card
    assert (card.net, card.objective, card.resolution_px) == (SMALL.name, "mocov2", 224)
    assert card.projection == (HIDDEN, DIM) and not card.projector_norm
    assert card.training["imported"] == "epoch_200.pth"


def test_the_paper_s_space_has_the_release_s_names_and_shapes() -> None:
    net = NETS["resnet-ar50to101"]
    with torch.device("meta"):
        backbone = net.build(net.largest(224))
    ours = {gaia_name(f"backbone.{name}"): tuple(p.shape) for name, p in backbone.named_parameters()}
    theirs = layout(64, (80, 160, 320, 640), (4, 6, 29, 4), 2048, 128)
    trained = {
        f"encoder_q.{k}": v for k, v in theirs.items() if k.endswith((".weight", ".bias")) and k.startswith("0.")
    }
    assert ours == trained
    assert backbone.embedding_dim == theirs["1.mlp.0.weight"][1] == 2560


@pytest.mark.usefixtures("small")
def test_a_bare_state_dict_and_one_of_a_parallel_module_are_read_too(state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = read_gaia(written(state, tmp_path / "a.pth"), name="data").weights
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "b.pth")
    bare = read_gaia(tmp_path / "b.pth", name="data").weights
    assert whole.keys() == bare.keys() and all(torch.equal(whole[name], bare[name]) for name in whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("encoder_q.0.layer3.2.conv2.weight"),
            r"1 tensors differ, first encoder_q.0.layer3.2.conv2.weight \(nothing, not 4x4x3x3\)",
        ),
        (
            lambda s: s.update({"encoder_q.0.conv1.weight": torch.zeros(8, 3, 7, 7)}),
            r"first encoder_q.0.conv1.weight \(8x3x7x7, not 4x3x7x7\)",
        ),
        (
            lambda s: s.update({"encoder_q.0.layer1.2.conv1.weight": torch.zeros(2, 8, 1, 1)}),
            r"layer1.2.conv1.weight \(2x8x1x1, not nothing\)",
        ),
        (
            lambda s: s.pop("encoder_q.1.mlp.0.weight"),
            "has no encoder_q.1.mlp.0.weight; name a checkpoint",
        ),
        (lambda s: s.update({"queue_ptr": 3}), "holds no state_dict"),
    ],
)
@pytest.mark.usefixtures("small")
def test_a_checkpoint_of_other_networks_is_refused_in_one_line(
    state: dict[str, Tensor], tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    change(state)
    with refused(BadSupernet, match=message):
        read_gaia(written(state, tmp_path / "x.pth"), name="data")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch harm",))


@pytest.mark.usefixtures("small")
def test_code_in_a_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Harmful()}, "code.pth")
    Path("junk.pth").write_bytes(b"junk")
    for name in ("code.pth", "junk.pth"):
        with refused(BadSupernet, match="is damaged or holds more than tensors"):
            read_gaia(Path(name), name="data")
    assert not Path("harm").exists()
    with pytest.raises(BadSupernet, match=r"none.pth cannot be read \(No such file"):
        read_gaia(Path("none.pth"), name="data")
