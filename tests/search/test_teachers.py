"""A supernet learns from an outside network, whose features are computed once where they can be."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import search.oneshot  # noqa: F401 - first
from hardware_profiles import to_onnx_bytes
from search.errors import TrainingError, WriteFailed
from search.images.feed import feed
from search.images.views import center
from search.objectives import Matched, SimCLR
from search.teachers import FEATURES, Outside, load_teacher, outside
from tests.conftest import refused
from tests.search.small_runs import checkpoint, ctrl_c, interrupt_at, tiny, train
from tests.search.small_supernets import no_file_above, stripes

E = 6


class Pooling(nn.Module):
    """[B, 3, 16, 16] -> [B, E], with weights that do not pass through a pickle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, E, 3, 2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(x_BCHW).relu().mean((2, 3))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.onnx"
    path.write_bytes(to_onnx_bytes(Pooling().eval(), (1, 3, 16, 16)))
    return path


def taught(onnx_file: Path, folder: Path, **options: Any) -> tuple[Outside, list[str]]:
    said: list[str] = []
    found = outside(str(onnx_file), stripes(64, 20), folder, **{"sees": "image"} | options, say=said.append)
    return found, said


def test_features_are_those_of_whole_images_computed_once(onnx_file: Path, tmp_path: Path) -> None:
    made, said = taught(onnx_file, tmp_path)
    assert "6 features; its passes took" in said[0] and "images/s, once" in said[0]
    with torch.no_grad():
        torch.manual_seed(0)
        x_BCHW = center(stripes(64, 20), 16)
        expected = F.normalize(Pooling().eval()(x_BCHW), dim=1)
    rows = np.array([5, 63, 0])
    found = made.features(rows, x_BCHW[rows], (0, 0, 0), (1, 1, 1))
    torch.testing.assert_close(found, expected[rows], atol=1e-3, rtol=0)
    time_ns = made.path.stat().st_mtime_ns  # type: ignore[union-attr]
    again, said = taught(onnx_file, tmp_path)
    assert "found in" in said[0] and again.path is not None and again.path.stat().st_mtime_ns == time_ns
    again.path.write_bytes(b"cut")
    assert torch.equal(taught(onnx_file, tmp_path)[0].features(rows, x_BCHW, (0, 0, 0), (1, 1, 1)), found)


def test_crops_are_shown_as_the_teacher_takes_them(onnx_file: Path, tmp_path: Path) -> None:
    made, said = taught(onnx_file, tmp_path, sees="crop")
    assert made.path is None and "ms an image in every step" in said[0] and not list(tmp_path.iterdir())
    pixels = torch.rand(4, 3, 16, 16)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    shift, scale = (torch.tensor(v)[:, None, None] for v in (mean, std))
    t = made.teacher
    expected = t.forward((pixels - torch.tensor(t.mean)[:, None, None]) / torch.tensor(t.std)[:, None, None])
    found = made.features(np.arange(4), (pixels - shift) / scale, mean, std)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_match_is_the_cross_entropy_of_relations_beside_the_objective() -> None:
    generator = torch.Generator().manual_seed(0)
    inner = SimCLR(temperature=0.5)
    options = {"dim": E, "projection_dim": 4, "queue": 8, "temperature": 0.2, "teacher_temperature": 0.05}
    for weight in (0.3, 1.0):
        objective = Matched(inner, weight=weight, generator=generator, **options)  # type: ignore[arg-type]
        z1, z2, t_BE = torch.randn(4, 4), torch.randn(4, 4), torch.randn(4, E)
        f_BE = objective.head(z1)
        t, f = F.normalize(t_BE, dim=1), F.normalize(f_BE, dim=1)
        others = torch.cat([t, objective.seen.keys_KD])
        by_hand = -((t @ others.T / 0.05).softmax(1) * (f @ others.T / 0.2).log_softmax(1)).sum(1).mean()
        own = inner.loss((z1, z2), ())
        expected = by_hand if weight == 1 else 0.7 * own + 0.3 * by_hand
        related = objective.relations(t_BE)
        torch.testing.assert_close(objective.loss((z1, z2, f_BE), related), expected)
        objective.update({}, related, ema=0.9)
        torch.testing.assert_close(objective.seen.keys_KD[:4], t)


@pytest.mark.parametrize("objective", ["mocov2", "densecl", "ressl", "byol", "simclr"])
def test_every_objective_learns_from_it_and_is_resumed_to_the_bit(
    objective: str, onnx_file: Path, tmp_path: Path
) -> None:
    recipe = tiny(objective=objective, teacher=str(onnx_file), teacher_weight=0.5, distill=0.5)
    teacher, _ = taught(onnx_file, tmp_path / "features")
    train(recipe, stripes(64, 20), tmp_path / "whole", outside=teacher)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(3, patch, ctrl_c)
        train(recipe, stripes(64, 20), tmp_path / "out", outside=teacher)
    train(recipe, stripes(64, 20), tmp_path / "out", outside=teacher, resume=True)
    states = [checkpoint(tmp_path / name)["state_dict"] for name in ("whole", "out")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_teacher_alone_leaves_the_objective_no_part(onnx_file: Path, tmp_path: Path) -> None:
    made = []
    for objective in ("mocov2", "densecl", "ressl", "byol", "simclr"):
        recipe = tiny(objective=objective, teacher=str(onnx_file), distill=0.5)
        assert recipe.taught_alone
        teacher, _ = taught(onnx_file, tmp_path / "features")
        made.append(train(recipe, stripes(64, 20), tmp_path / objective, outside=teacher).weights)
    assert all(torch.equal(tensor, other[name]) for other in made for name, tensor in made[0].items())


def test_the_student_comes_to_resemble_the_teacher(onnx_file: Path, tmp_path: Path) -> None:
    recipe = tiny(teacher=str(onnx_file), teacher_weight=1.0, epochs=20, warmup=0)
    train(recipe, stripes(64, 20), tmp_path / "out", outside=taught(onnx_file, tmp_path)[0])
    losses = np.genfromtxt(tmp_path / "out" / "metrics.csv", delimiter=",", names=True)["loss_largest"]
    assert losses[-8:].mean() < losses[:8].mean() - 0.1


def test_the_card_names_the_teacher_and_so_do_those_that_begin_from_its_weights(
    onnx_file: Path, tmp_path: Path
) -> None:
    recipe = tiny(teacher=str(onnx_file), teacher_weight=0.5)
    first = train(recipe, stripes(64, 20), tmp_path / "a", outside=taught(onnx_file, tmp_path)[0])
    assert first.card.data["teacher"] == "teacher.onnx, 50% of the loss"
    second = train(tiny(), stripes(64, 20), tmp_path / "b", start=first)
    assert second.card.data["teacher"] == first.card.data["teacher"]
    assert "teacher" not in train(tiny(), stripes(64, 20), tmp_path / "c").card.data


def test_a_recipe_and_what_it_is_given_must_agree(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the recipe's teacher is a\.onnx, and another is given"):
        train(tiny(teacher="a.onnx"), stripes(64, 20), tmp_path)
    with pytest.raises(ValueError, match=r"teacher_weight is 2; it must be 0\.\.1"):
        tiny(teacher_weight=2)


def test_a_full_disk_leaves_no_features(onnx_file: Path, tmp_path: Path) -> None:
    with no_file_above(100), pytest.raises(WriteFailed, match=r"cannot be written .*; free .* GB"):
        taught(onnx_file, tmp_path)
    assert not list(tmp_path.rglob(FEATURES))


@pytest.mark.parametrize(("name", "complaint"), [("nothing.onnx", "no teacher is called nothing.onnx; name timm:NAME")])
def test_what_is_no_teacher_is_one_line(name: str, complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        load_teacher(name)


def test_a_damaged_file_is_no_teacher(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    with refused(TrainingError, match=r"a\.onnx cannot be loaded: "):
        load_teacher(str(tmp_path / "a.onnx"))


def test_models_of_timm_and_transformers_are_taken_from_a_folder(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("test_vit", pretrained=False, num_classes=0)
    folder = tmp_path / "timm"
    from timm.models import save_for_hf

    save_for_hf(model, folder, safe_serialization=True)
    teacher = load_teacher(f"timm:local-dir:{folder}")
    x_BCHW = torch.rand(2, 3, teacher.size_px, teacher.size_px)
    with torch.no_grad():
        torch.testing.assert_close(teacher.forward(x_BCHW), model.eval()(x_BCHW))
    assert teacher.parameters == sum(p.numel() for p in model.parameters())

    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    other = transformers.Dinov2Model(config).eval()
    other.save_pretrained(tmp_path / "hf", safe_serialization=True)
    size = {"height": 28, "width": 28}
    transformers.BitImageProcessor(size={"shortest_edge": 28}, crop_size=size).save_pretrained(tmp_path / "hf")
    teacher = load_teacher(f"hf:{tmp_path / 'hf'}")
    assert (teacher.size_px, teacher.dim) == (28, 12)
    x_BCHW = torch.rand(2, 3, 28, 28)
    with torch.no_grad():
        expected = other(pixel_values=x_BCHW).last_hidden_state[:, 0]
        torch.testing.assert_close(teacher.forward(x_BCHW), expected)


def test_the_cache_serves_images_that_are_not_in_memory(onnx_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    for i, image in enumerate(stripes(64, 20).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(tmp_path / "images" / f"{i:02}.png")
    found = []
    for cache in ("ram", "disk", "none"):
        pixels = feed(tmp_path / "images", size_px=20, crop_px=16, cache=cache, folder=tmp_path / "cache").pixels  # type: ignore[arg-type]
        made = outside(str(onnx_file), pixels, tmp_path / cache, sees="image", say=lambda line: None)
        found.append(made.path.read_bytes())  # type: ignore[union-attr]
    assert found[0] == found[1] == found[2]
