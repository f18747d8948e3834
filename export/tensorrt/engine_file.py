"""A TensorRT engine with its sidecar, and everything that is checked before one is loaded.

EngineFile (what an engine is) · write_engine · read_engine · rebuild_command

Loading an engine runs native code that it may carry, whatever the runtime's flags say (TensorRT documentation,
"Engine Deserialization and the Trust Boundary"). So an engine is loaded only if the caller vouches for it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from export.documents import read_document, to_document
from export.errors import EngineRefused, MalformedReport, MissingBackend
from export.staging import draft_of, move
from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.types import Precision

Backend = Literal["tensorrt", "tensorrt_rtx"]


@dataclass(frozen=True, kw_only=True)
class EngineFile:
    """An engine and where it may run.

    Args:
        path: the engine; its sidecar lies beside it, at ``sidecar_of(path)``, and holds the file's name only.
        sha256: of the engine.
        bytes: size of the engine.
        onnx_sha256: of the graph that it was built from.
        backend: the library that built it, and the only one that can load it.
        backend_version: of that library; another one refuses the engine.
        compute_capabilities: of the GPUs that it runs on, e.g. ``("sm86", "sm89")``.
        gpu: name of the GPU that it was built on; ``None`` where none was needed.
        driver: version of that GPU's driver.
        precision: of the graph, which TensorRT 11 keeps to.
        batch: smallest, most frequent and largest batch; ``None`` where the graph fixes it.
        tf32: whether fp32 convolutions may round their inputs to 10 bits.
    """

    path: Path
    sha256: str
    bytes: int
    onnx_sha256: str
    backend: Backend
    backend_version: str
    compute_capabilities: tuple[str, ...]
    gpu: str | None
    driver: str | None
    precision: Precision
    batch: tuple[int, int, int] | None
    tf32: bool


def sidecar_of(path: Path) -> Path:
    """Where the sidecar of the engine at ``path`` lies."""
    return path.with_name(f"{path.name}.json")


def write_engine(engine: EngineFile, content: bytes) -> None:
    """Write an engine and its sidecar; each appears whole or not at all.

    Raises:
        WriteFailed: there is no room, or no right, to write them; neither was changed.
    """
    text = json.dumps(to_document(replace(engine, path=Path(engine.path.name))), indent=2) + "\n"
    sidecar = sidecar_of(engine.path)
    with draft_of(engine.path, content) as draft, draft_of(sidecar, text.encode("utf-8")) as sidecar_draft:
        # Interrupted between the two moves, the sidecar is another engine's, and the new engine is refused.
        move(draft, engine.path)
        move(sidecar_draft, sidecar)


def read_engine(
    path: Path,
    *,
    gpu: Gpu | None,
    installed: Mapping[Backend, str],
    onnx: Path | None = None,
    trusted: bool = False,
) -> tuple[EngineFile, bytes]:
    """Return an engine that may be loaded, and the very bytes that were checked.

    Args:
        path: the engine.
        gpu: that it is to run on.
        installed: version of each back end that is installed.
        onnx: the graph that it must have been built from, where that is known.
        trusted: the caller built this engine, or had it over a channel that nobody else can write to.

    Raises:
        EngineRefused: nobody vouches; no sidecar, other bytes, another graph, another library or another GPU.
        MissingBackend: its library is not installed, or there is no GPU.
    """
    anew = _command(path, onnx, ())  # without a word of a sidecar that anyone may have written
    if not trusted:
        raise EngineRefused(
            f"loading an engine can run code, and {path} may be anyone's; build it here: {anew};"
            f" or vouch for it with trusted=True"
        )
    engine = _read_sidecar(path, anew)
    command = rebuild_command(engine, onnx)
    content = _content(path, engine, command)
    if onnx is not None and _sha256(onnx) != engine.onnx_sha256:
        raise EngineRefused(f"{path} was built from another graph than {onnx}; build it again: {command}")
    _check_library(engine, installed, command)
    _check_gpu(engine, gpu, command)
    return engine, content


def rebuild_command(engine: EngineFile, onnx: Path | None = None) -> str:
    """What a user types to build the same engine again, with the library and for the GPU at hand."""
    options = ["--backend", engine.backend]
    if engine.batch:
        options += ["--batch", *map(str, engine.batch)]
    if engine.backend == "tensorrt_rtx" and len(engine.compute_capabilities) == 1:
        options += ["--compute-capability", engine.compute_capabilities[0]]
    return _command(engine.path, onnx, [*options, *(["--tf32"] if engine.tf32 else [])])


def install(backend: Backend) -> str:
    """How to get a back end."""
    return f"install it: pip install 'subnet-zoo[{backend.replace('_', '-')}]'"


def _command(path: Path, onnx: Path | None, options: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "export.tensorrt.build", str(onnx or "MODEL.onnx"), str(path), *options])


def _read_sidecar(path: Path, anew: str) -> EngineFile:
    sidecar = sidecar_of(path)
    try:
        engine = read_document(EngineFile, read_plain_json(sidecar.read_bytes()))
    except OSError as error:
        raise EngineRefused(f"{sidecar} cannot be read ({error.strerror}); build it here: {anew}") from error
    except (ValueError, KeyError, AttributeError, TypeError, MalformedReport) as error:
        raise EngineRefused(f"{sidecar} is not an engine's sidecar of this version; build it here: {anew}") from error
    if engine.path != Path(path.name):
        raise EngineRefused(f"{sidecar} describes another file than {path.name}; build it here: {anew}")
    return replace(engine, path=path)


def _content(path: Path, engine: EngineFile, command: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EngineRefused(f"{path} cannot be read ({error.strerror}); build it again: {command}") from error
    if hashlib.sha256(content).hexdigest() != engine.sha256:
        raise EngineRefused(f"{path} is damaged: its sha256 is not its sidecar's; build it again: {command}")
    return content


def _check_library(engine: EngineFile, installed: Mapping[Backend, str], command: str) -> None:
    found = installed.get(engine.backend)
    if found is None:
        raise MissingBackend(
            f"{engine.path} needs {engine.backend} {engine.backend_version}; {install(engine.backend)}"
        )
    if found != engine.backend_version:
        raise EngineRefused(
            f"{engine.path} was built by {engine.backend} {engine.backend_version}, and {found} is installed;"
            f" build it again: {command}"
        )


def _check_gpu(engine: EngineFile, gpu: Gpu | None, command: str) -> None:
    wanted = " or ".join(engine.compute_capabilities)
    if gpu is None:
        raise MissingBackend(f"{engine.path} needs a GPU ({engine.gpu or wanted}) and torch sees none; run it there")
    if gpu.compute_capability not in engine.compute_capabilities or engine.gpu not in (None, gpu.name):
        raise EngineRefused(
            f"{engine.path} was built for {engine.gpu or 'GPUs'} ({wanted}), and this is {gpu.name}"
            f" ({gpu.compute_capability}); build it again: {command}"
        )
    if engine.driver and gpu.driver and _numbers(gpu.driver) < _numbers(engine.driver):
        raise EngineRefused(
            f"{engine.path} was built with driver {engine.driver}, and this is the older {gpu.driver};"
            f" update the driver or build it again: {command}"
        )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineRefused(f"{path} cannot be read ({error.strerror}), so no engine can be checked by it") from error


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU.

    Args:
        name: e.g. ``NVIDIA GeForce RTX 4090``.
        compute_capability: e.g. ``sm89``.
        driver: version of its driver, e.g. ``580.95.05``; empty where nobody could tell.
    """

    name: str
    compute_capability: str
    driver: str


def find_gpu() -> Gpu | None:
    """The GPU that torch uses by default, or nothing on a machine without one."""
    if not torch.cuda.is_available():
        return None
    index = torch.cuda.current_device()
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(name=torch.cuda.get_device_name(index), compute_capability=f"sm{major}{minor}", driver=_driver())


def _driver() -> str:
    """Of all GPUs, as they share one; torch only knows the CUDA version that it supports."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.strip().splitlines()[0].strip() if said.strip() else ""
