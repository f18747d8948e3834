"""One picture, one input: whatever its mode, size and format, and on whichever way it comes in."""

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from export.graph.pixels import to_pixels
from export.types import Preprocess
from search.errors import NotEnoughImages
from search.images.read import read_images
from search.labels.inputs import Input
from search.labels.read import read_samples
from search.types import Task
from tests.conftest import structured_image
from zoo.catalogue.model import Model
from zoo.errors import UnreadableImage
from zoo.package.folder import load_package
from zoo.package.readme import render_readme

SIZES = ((16, 16), (61, 40), (41, 60), (203, 97), (8, 131))
FORMATS = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"),
    "tiff": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    "gif": ("L", "P", "RGBA"),
    "avif": ("RGB", "RGBA"),
    "jfif": ("RGB",),
    "heic": ("RGB", "RGBA", "L"),
}
CASES = [(suffix, mode) for suffix, modes in FORMATS.items() for mode in modes]


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    image = structured_image(3, max(size)).crop((0, 0, *size))
    if mode in ("I;16", "I"):
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        return Image.fromarray(grey) if mode == "I;16" else Image.fromarray(grey.astype(np.int32))
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(size))
    return image.convert(mode)


def write(image: Image.Image, path: Path) -> Path:
    name = {".jpg": "JPEG", ".jfif": "JPEG", ".heic": "HEIF"}.get(path.suffix)
    options = {"exif": turned()} if path.suffix in (".jpg", ".webp") else {}
    image.save(path, format=name, **options)
    return path


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def recipe(text: str, path: Path) -> Tensor:
    """What the card's lines for ONNX Runtime feed the graph with."""
    code = re.search(r"```python\n(import numpy.*?)\nfile = ", text, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {"file": io.BytesIO(path.read_bytes())}
    exec(code[1].replace('"photo.jpg"', "file"), names)
    return torch.from_numpy(np.array(names["x"]))


@pytest.fixture(scope="module", params=["crop", "letterbox"])
def model(request: pytest.FixtureRequest, pristine: Path) -> Model:
    package = load_package(pristine)
    how = Preprocess(size_px=(16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25), fit=request.param)
    object.__setattr__(package.card, "preprocess", how)
    return Model(package)


@pytest.mark.parametrize(("suffix", "mode"), CASES)
def test_every_way_in_gives_the_same_pixels_or_refuses(suffix: str, mode: str, model: Model, tmp_path: Path) -> None:
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    how = model.card.preprocess
    text = render_readme(model.card, params=1, embedding_dim=1)
    for i, size in enumerate(SIZES):
        folder = tmp_path / str(i)
        folder.mkdir()
        path = write(picture(mode, size), folder / f"photo.{suffix}")
        with Image.open(path) as opened:
            opened.load()
        before = (opened.size, opened.tobytes())
        ways = [str(path), path, path.read_bytes(), io.BytesIO(path.read_bytes()), opened]
        if mode == "F":
            for way in ways:
                with pytest.raises(UnreadableImage, match="floating-point"):
                    model.preprocess(way)
            with pytest.raises(AssertionError, match="floating point"):
                recipe(text, path)
            continue
        first = model.preprocess(path)
        everything = [model.preprocess(way) for way in ways] + [recipe(text, path)]
        if opened.mode == "RGB" and not opened.getexif():
            array = np.asarray(opened)
            everything += [model.preprocess(array), model.preprocess(torch.from_numpy(array.copy()).permute(2, 0, 1))]
        read = read_images(folder, size_px=16, min_images=1, letterbox=how.fit == "letterbox").pixels
        everything.append(normalized(read, how))
        for other in everything:
            np.testing.assert_array_equal(levels(other, how), levels(first, how))
        assert (opened.size, opened.tobytes()) == before


@pytest.mark.parametrize(("suffix", "mode"), [("jpg", "CMYK"), ("png", "RGBA"), ("png", "I;16"), ("webp", "RGB")])
def test_a_graph_that_takes_pixels_is_fed_those_of_preprocess(
    suffix: str, mode: str, model: Model, tmp_path: Path
) -> None:
    report = model.card.reports[0]
    taking = replace(report, target=replace(report.target, uint8_input=True))
    text = render_readme(replace(model.card, reports=(taking,)), params=1, embedding_dim=1)
    path = write(picture(mode, SIZES[-1]), tmp_path / f"photo.{suffix}")
    how = model.card.preprocess
    np.testing.assert_array_equal(recipe(text, path).numpy(), levels(model.preprocess(path), how))


def normalized(pixels: Tensor, how: Preprocess) -> Tensor:
    return Input(size_px=how.size_px, mean=how.mean, std=how.std, fit=how.fit).normalized(
        pixels.permute(0, 2, 3, 1).numpy()
    )


def levels(x: Tensor, how: Preprocess) -> np.ndarray:
    """The pixels that a graph made with --uint8-input is fed with."""
    return to_pixels(x.numpy(), how)


@pytest.mark.parametrize("most", [1, 255, 4095])
def test_pixels_of_fewer_than_16_bits_in_16_are_refused_on_every_way(most: int, model: Model, tmp_path: Path) -> None:
    grey = np.zeros((20, 30), np.uint16)
    grey[3:9] = most
    path = tmp_path / "photo.png"
    Image.fromarray(grey).save(path)
    for way in (path, path.read_bytes(), Image.fromarray(grey)):
        with pytest.raises(UnreadableImage, match="look like 12 bits"):
            model.preprocess(way)
    with pytest.raises(AssertionError, match="not scaled to 16 bits"):
        recipe(render_readme(model.card, params=1, embedding_dim=1), path)


def test_tiny_pictures_are_refused_on_every_way(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    structured_image(0, 7).save(path)
    for way in (path, path.read_bytes(), structured_image(0, 7), np.zeros((7, 90, 3), np.uint8)):
        with pytest.raises(UnreadableImage, match="at least 8 px"):
            model.preprocess(way)
    with pytest.raises(AssertionError, match="tiny"):
        recipe(render_readme(model.card, params=1, embedding_dim=1), path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_pictures_are_refused_on_every_way(model: Model, tmp_path: Path) -> None:
    path, huge = tmp_path / "photo.png", Image.new("1", (10_000, 9_000))
    huge.save(path)
    for way in (path, path.read_bytes(), huge):
        with pytest.raises(UnreadableImage, match="may be a decompression bomb"):
            model.preprocess(way)
    with pytest.raises(NotEnoughImages, match="may be a decompression bomb"):
        read_images(tmp_path, size_px=16, min_images=1)
    with pytest.raises(AssertionError, match="huge"):
        recipe(render_readme(model.card, params=1, embedding_dim=1), path)


def test_damaged_exif_is_no_business_of_the_user(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    structured_image(0).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert model.preprocess(path).shape == (1, 3, 16, 16)
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(path, tmp_path / name)
    assert len(read_samples(tmp_path, Task.CLS).samples) == 2


def test_no_decoder_beyond_ours_and_no_pipe_is_opened(model: Model, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\nshowpage\n")
    for path in (tmp_path / "pipe.png", tmp_path / "script.png", tmp_path):
        with pytest.raises(UnreadableImage, match="cannot be read as an image"):
            model.preprocess(path)


def test_only_one_place_opens_pictures() -> None:
    """Or another one would open formats that start programs, or read some of them differently."""
    root = Path(__file__).parents[2]
    opens = [
        f"{path.relative_to(root)}:{line.strip()}"
        for room in ("zoo", "search", "export", "hardware_profiles")
        for path in (root / room).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if "Image.open(" in line and "formats=" not in line
    ]
    assert opens == []
