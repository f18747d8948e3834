"""Teachers: outside networks whose features a supernet learns to match, by name or file, and those features on disk.

``timm:NAME`` is a model of timm; ``hf:org/name`` one of the Hub, or a folder, with weights of transformers or timm in
safetensors; anything else an ONNX file of which the first output is taken. Nothing of them is trained.

Symbols: N images, B of a batch, E features.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor, nn

from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.runners import OnnxRunner
from search.errors import TrainingError, WriteFailed
from search.images.feed import Pixels, checksum, take
from search.images.stored import read_rows
from search.images.views import IMAGENET_MEAN, IMAGENET_STD, center

TIMM, HUB = "timm:", "hf:"
FEATURES, ABOUT = "features.f16", "about.json"
Colors = tuple[float, float, float]
_BATCH = 64
_PX = 224  # of an ONNX file that takes any size


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A frozen network.

    Args:
        name: as it was asked for.
        forward: normalized images [B, 3, size_px, size_px] -> features [B, E].
        dim: E.
        size_px: side of its input.
        mean: subtracted from each channel, on the scale 0..1.
        std: each channel is divided by it.
        parameters: how many it has; 0 where that is not known.
        checksum: of its weights.
    """

    name: str
    forward: Callable[[Tensor], Tensor]
    dim: int
    size_px: int
    mean: Colors
    std: Colors
    parameters: int
    checksum: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Outside:
    """A teacher's features of the images of a training.

    Args:
        teacher: the network.
        path: of the features of all images, float16 [N, E]; None computes them anew from each step's crops.
    """

    teacher: Teacher
    path: Path | None

    @property
    def dim(self) -> int:
        """E."""
        return self.teacher.dim

    @torch.no_grad()
    def features(self, rows: NDArray[Any], x_BCHW: Tensor, mean: Colors, std: Colors) -> Tensor:
        """[B, E] on the device of ``x_BCHW``, the crops of images ``rows``, normalized by ``mean`` and ``std``."""
        if self.path is not None:
            found = read_rows(self.path, rows, 2 * self.dim).view(np.float16)
            return torch.from_numpy(found).float().to(x_BCHW.device)
        t = self.teacher
        (m1, s1), (m2, s2) = (
            [torch.tensor(v, device=x_BCHW.device)[:, None, None] for v in pair]
            for pair in ((mean, std), (t.mean, t.std))
        )
        x_BCHW = ((x_BCHW * s1 + m1) - m2) / s2
        side = (t.size_px, t.size_px)
        return t.forward(nn.functional.interpolate(x_BCHW, side, mode="bilinear", antialias=True))


def outside(
    name: str,
    pixels: Pixels,
    folder: Path,
    *,
    sees: Literal["image", "crop"],
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None],
) -> Outside:
    """Load a teacher; where it sees whole images, its features of them all are found in ``folder`` or computed once.

    Args:
        name: see the module.
        pixels: uint8 [N, 3, S, S], in memory or not.
        folder: of the features.
        sees: the whole ``image``, or the ``crop`` of each step.
        progress: called with (images done, images in all).
        say: receives a line on what the teacher's passes cost.

    Raises:
        TrainingError: there is no such teacher, or it cannot be loaded.
        ModuleNotFoundError: it needs a library.
        WriteFailed: the disk is full, for instance; nothing is left behind.
    """
    teacher = load_teacher(name)
    about = f"teacher {name}: {teacher.parameters / 1e6:.1f} M parameters, {teacher.dim} features"
    if sees == "crop":
        seconds = _pass_s(teacher)
        say(f"{about}; its passes cost {1000 * seconds:.3g} ms an image in every step")
        return Outside(teacher=teacher, path=None)
    place = folder / f"{teacher.checksum:08x}-{checksum(pixels):08x}-{len(pixels)}"
    path = place / FEATURES
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock"):
            if _is_whole(place, len(pixels), teacher.dim):
                say(f"{about}, found in {path}")
                return Outside(teacher=teacher, path=path)
            began = time.perf_counter()
            with path.open("wb") as file:
                for start in range(0, len(pixels), _BATCH):
                    rows = range(start, min(start + _BATCH, len(pixels)))
                    file.write(_of_images(teacher, take(pixels, rows)).tobytes())
                    if progress is not None:
                        progress(rows.stop, len(pixels))
            (place / ABOUT).write_text(json.dumps({"teacher": name, "images": len(pixels), "features": teacher.dim}))
    except OSError as error:
        for left in (FEATURES, ABOUT):
            (place / left).unlink(missing_ok=True)
        needed = 2 * teacher.dim * len(pixels) / 1e9
        raise WriteFailed(
            f"{place} cannot be written ({error.strerror}); free {needed:.2g} GB, or set ZOO_HOME to another disk"
        ) from error
    seconds = time.perf_counter() - began
    say(f"{about}; its passes took {seconds:.3g} s, {len(pixels) / seconds:.0f} images/s, once: {path}")
    return Outside(teacher=teacher, path=path)


def load_teacher(name: str) -> Teacher:
    """See the module.

    Raises:
        TrainingError: there is no such teacher, or it cannot be loaded.
        ModuleNotFoundError: it needs a library.
    """
    load = _from_timm if name.startswith(TIMM) else _from_hub if name.startswith(HUB) else _from_file
    try:
        return load(name)
    except (ModuleNotFoundError, TrainingError):
        raise
    except Exception as error:  # timm, transformers and the runtime raise whatever their loaders meet
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise TrainingError(f"the teacher {name} cannot be loaded: {why}") from None


def _from_timm(name: str) -> Teacher:
    import timm
    from timm.data import resolve_model_data_config

    model = timm.create_model(name.removeprefix(TIMM), pretrained=True, num_classes=0)
    about = resolve_model_data_config(model)
    size_px = int(about["input_size"][-1])
    return _of_module(name, model, model, size_px, tuple(about["mean"]), tuple(about["std"]))


def _from_hub(name: str) -> Teacher:
    from transformers import AutoImageProcessor, AutoModel

    where = name.removeprefix(HUB)
    model: nn.Module = AutoModel.from_pretrained(where, use_safetensors=True)
    seen = AutoImageProcessor.from_pretrained(where, use_fast=True)
    size = getattr(seen, "crop_size", None) or seen.size
    size_px = int(size.get("height") or size.get("shortest_edge") or _PX)
    with_token = any(key.rpartition(".")[2] == "cls_token" for key, _ in model.named_parameters())

    def forward(x_BCHW: Tensor) -> Tensor:
        # Not ``pooler_output``: where the weights hold no pooler, transformers draws one.
        found: Tensor = model(pixel_values=x_BCHW).last_hidden_state
        return found[:, 0] if found.ndim == 3 and with_token else _pooled(found)

    return _of_module(name, model, forward, size_px, tuple(seen.image_mean), tuple(seen.image_std))


def _from_file(name: str) -> Teacher:
    import onnx

    path = Path(name)
    if not path.is_file():
        raise TrainingError(f"no teacher is called {name}; name {TIMM}NAME, {HUB}org/name or an ONNX file")
    data = path.read_bytes()
    model = onnx.load_from_string(data)
    props = {prop.key: prop.value for prop in model.metadata_props}
    how = read_plain_json(props.get("preprocess", "{}"))  # of artefacts of the zoo
    source = model.graph.input[0]
    batch, *_, side = [dim.dim_value for dim in source.type.tensor_type.shape.dim]
    runner = OnnxRunner(data, threads=torch.get_num_threads()).__enter__()

    def forward(x_BCHW: Tensor) -> Tensor:
        x = x_BCHW.float().cpu().contiguous().numpy()
        parts = np.split(x, len(x) // batch) if batch and len(x) % batch == 0 else [x]
        found = [next(iter(runner.run({source.name: part}).values())) for part in parts]
        return _pooled(torch.from_numpy(np.concatenate(found))).to(x_BCHW.device)

    mean, std = (tuple(how.get(key, value)) for key, value in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)))
    parameters = sum(int(np.prod(one.dims)) for one in model.graph.initializer)
    return _made(name, forward, side or _PX, mean, std, parameters, zlib.crc32(data))


def _of_module(
    name: str, model: nn.Module, forward: Callable[[Tensor], Tensor], size_px: int, mean: Any, std: Any
) -> Teacher:
    model.eval().requires_grad_(False)
    weights = 0
    for tensor in model.state_dict().values():
        weights = zlib.crc32(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data, weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)

    def pooled(x_BCHW: Tensor) -> Tensor:
        return _pooled(forward(x_BCHW.to(device))).to(x_BCHW.device)

    parameters = sum(parameter.numel() for parameter in model.parameters())
    return _made(name, pooled, size_px, mean, std, parameters, weights)


def _made(
    name: str,
    forward: Callable[[Tensor], Tensor],
    size_px: int,
    mean: Any,
    std: Any,
    parameters: int,
    weights: int,
) -> Teacher:
    with torch.no_grad():
        dim = forward(torch.zeros(2, 3, size_px, size_px)).shape[1]
    return Teacher(
        name=name,
        forward=forward,
        dim=dim,
        size_px=size_px,
        mean=mean,
        std=std,
        parameters=parameters,
        checksum=weights,
    )


def _pooled(found: Tensor) -> Tensor:
    """Maps [B, E, H, W] and tokens [B, T, E] -> [B, E]."""
    return found.mean((2, 3)) if found.ndim == 4 else found.mean(1) if found.ndim == 3 else found


@torch.no_grad()
def _of_images(teacher: Teacher, pixels_BCHW: Tensor) -> NDArray[np.float16]:
    """Of whole images; normalized, for only their directions count, and float16 may hold any length."""
    x_BCHW = center(pixels_BCHW, teacher.size_px, teacher.mean, teacher.std)
    features: NDArray[np.float16] = nn.functional.normalize(teacher.forward(x_BCHW).float(), dim=1).half().numpy()
    return features


def _pass_s(teacher: Teacher) -> float:
    x_BCHW = torch.zeros(_BATCH, 3, teacher.size_px, teacher.size_px)
    began = time.perf_counter()
    with torch.no_grad():
        teacher.forward(x_BCHW)
    return (time.perf_counter() - began) / _BATCH


def _is_whole(place: Path, images: int, dim: int) -> bool:
    try:
        about = read_plain_json((place / ABOUT).read_bytes())
        whole = (place / FEATURES).stat().st_size == 2 * images * dim
        return bool(about["images"] == images and about["features"] == dim and whole)
    except (OSError, ValueError, KeyError, TypeError):
        return False
