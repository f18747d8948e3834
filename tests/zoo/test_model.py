import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search.errors import NotEnoughImages
from search.images.read import read_images
from search.images.views import center
from search.types import Task
from zoo.catalogue.get import get
from zoo.catalogue.model import Model
from zoo.errors import BadRequest, UnreadableImage
from zoo.heads.network import KINDS, make_network
from zoo.package.folder import load_package
from zoo.types import HeadCard


@pytest.fixture(scope="module")
def model(pristine: Path) -> Model:
    return get(pristine)


def test_preprocessing_is_what_the_search_saw(model: Model, image_folder: Path) -> None:
    images = read_images(image_folder, size_px=16)
    how = model.card.preprocess
    torch.testing.assert_close(
        model.preprocess(images.paths), center(images.pixels, 16, how.mean, how.std), rtol=0, atol=1e-6
    )


def test_every_form_of_a_picture_gives_the_same_input(model: Model, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(array), array, tensor, tensor[None], [array]]
    inputs = [model.preprocess(form) for form in forms]
    assert inputs[0].shape == (1, 3, 16, 16) and inputs[0].dtype == torch.float32
    assert all(torch.equal(one, inputs[0]) for one in inputs)
    assert model.preprocess([array, Image.fromarray(array).convert("L")]).shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    "bad",
    [torch.zeros(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), np.zeros((8, 8, 3)), np.zeros((3, 8, 8), np.uint8)],
)
def test_arrays_of_another_kind_are_refused(model: Model, bad: torch.Tensor) -> None:
    with pytest.raises(BadRequest, match="is not uint8"):
        model.preprocess(bad)


def test_a_file_that_is_no_image_is_one_line(model: Model, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    Image.new("RGB", (64, 64)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:300])
    for path in (tmp_path / "text.jpg", tmp_path / "cut.jpg", tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(UnreadableImage) as caught:
            model.preprocess(path)
        assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_embeddings_are_the_pooled_coarsest_features(model: Model) -> None:
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        maps = model.features(x)
        assert torch.equal(model(x), model.embed(x))
        assert torch.equal(model(x), model.backbone.embed(list(maps.values())[-1]))
    assert [16 // m.shape[-1] for m in maps.values()] == [2 ** int(name[1:]) for name in maps]


def test_its_text_says_how_to_use_it(model: Model) -> None:
    assert model.card.name in repr(model) and "model.preprocess(" in repr(model)
    assert model.onnx_path.is_file() and str(model.onnx_path) in repr(model)


@pytest.mark.parametrize("bad", [None, 3.5, [], [3.5], b"text", io.BytesIO(b"")])
def test_what_is_no_picture_is_refused_in_one_line(model: Model, bad: object) -> None:
    with pytest.raises((BadRequest, UnreadableImage)) as caught:
        model.preprocess(bad)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and "has no attribute" not in str(caught.value)


def test_pixels_that_no_screen_shows_are_refused_by_the_reader_and_by_preprocess_alike(
    model: Model, tmp_path: Path
) -> None:
    ramp = np.arange(32 * 32).reshape(32, 32)
    for name, values in (("float.tif", ramp.astype(np.float32)), ("twelve.png", (ramp * 4).astype(np.uint16))):
        Image.fromarray(values).save(tmp_path / name)
        with pytest.raises(UnreadableImage, match=r"floating-point|12 bits"):
            model.preprocess(tmp_path / name)
        with pytest.raises(NotEnoughImages, match=r"floating-point|12 bits"):
            read_images(tmp_path, size_px=16, min_images=1)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("task", [None, *Task])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_a_model_is_traced_recorded_and_mapped_like_any_other_module(task: Task | None, pristine: Path) -> None:
    package = load_package(pristine)
    if task is not None:
        head = HeadCard(task=task, classes=("a", "b"), kind=KINDS[task], trained=True)
        object.__setattr__(package.card, "head", head)
        object.__setattr__(package.card, "task", task)
        object.__setattr__(package, "network", make_network(package.backbone, head, 16))
    model, x = Model(package), torch.randn(2, 3, 16, 16)
    traced = torch.jit.trace(model, x, strict=False)  # type: ignore[no-untyped-call] # a dict of outputs is not strict
    torch.testing.assert_close(traced(x), model(x))
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))
    mapped = torch.vmap(lambda one: model(one[None]))(x)
    whole = model(x)
    torch.testing.assert_close(
        {k: v[:, 0] for k, v in mapped.items()} if task is not None else mapped[:, 0], whole, rtol=1e-4, atol=1e-5
    )
