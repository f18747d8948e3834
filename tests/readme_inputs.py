"""What README and the tutorials take for granted: photos, labelled ones, and ones with boxes."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.demo import write_demo_images


def write_inputs(folder: Path) -> None:
    """``photos``, ``labelled``, ``boxes``, ``cat.jpg``, ``dog.jpg`` and ``photo.jpg`` in a folder."""
    write_demo_images(folder / "photos")
    pictures = [Image.open(path).convert("RGB") for path in sorted((folder / "photos").glob("*"))]
    for picture, name in zip(pictures, ("cat.jpg", "dog.jpg", "photo.jpg"), strict=False):
        picture.save(folder / name)
    for i, part in enumerate(("train", "test")):
        for label in range(2):
            (folder / "labelled" / part / f"class{label}").mkdir(parents=True)
            for number, picture in enumerate(pictures[label * 128 + i * 32 :][:32]):
                picture.save(folder / "labelled" / part / f"class{label}" / f"{number}.jpg")
    _boxes(folder / "boxes")


def _boxes(folder: Path) -> None:
    """Bright squares on noise, as COCO."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    images, rows = [], []
    for i in range(20):
        pixels = rng.integers(0, 90, (120, 160, 3), dtype=np.uint8)
        x, y = (int(value) for value in rng.integers(0, 80, 2))
        pixels[y : y + 40, x : x + 40] = 230
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
        rows.append({"id": i, "image_id": i, "category_id": 1, "bbox": [x, y, 40, 40]})
    document = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "square"}]}
    (folder / "boxes.json").write_text(json.dumps(document))
