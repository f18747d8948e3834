"""Runtimes: what a table can be measured with, by name; only those that are installed can be found.

onnxruntime · onnxruntime-PROVIDER for each execution provider (cuda, tensorrt, ...) · openvino · torch-cuda · tensorrt
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from hardware_profiles.errors import MissingRuntime
from hardware_profiles.measure.models import Prepare, to_onnx_bytes
from hardware_profiles.measure.precision import Int8Style, to_precision
from hardware_profiles.measure.processor import cpu_flags
from hardware_profiles.runners import Arrays, OnnxRunner, Runner, onnxruntime_version
from hardware_profiles.runners.onnx import provider_called, provider_names
from hardware_profiles.types import Precision

OpenOnnx = Callable[[Path], Runner]


@dataclass(frozen=True, kw_only=True, eq=False)
class Runtime:
    """What runs networks.

    Args:
        name: as asked for.
        version: of the library.
        precisions: that it computes in, rather than merely accepting.
        gpu: whether it runs on one.
        prepare: (precision, threads) -> what puts a module on disk for it.
    """

    name: str
    version: str
    precisions: tuple[Precision, ...]
    gpu: bool
    prepare: Callable[[Precision, int], Prepare]


def find_runtime(name: str, *, precision: Precision = "fp32") -> Runtime:
    """The runtime called ``name``, which computes in ``precision``.

    Raises:
        MissingRuntime: not installed, no device for it, or it has no arithmetic of that precision here.
    """
    finder = _FINDERS.get(name)
    if finder is None and (short := name.removeprefix("onnxruntime-")) in provider_names():
        finder = partial(_provider, short)
    if finder is None:
        known = ", ".join([*_FINDERS, *(f"onnxruntime-{short}" for short in provider_names())])
        raise MissingRuntime(f"no runtime is called {name[:40]!r} here; there are {known}")
    runtime = finder()
    if precision not in runtime.precisions:
        has = ", ".join(runtime.precisions)
        raise MissingRuntime(f"{name} does not compute in {precision} on this machine; measure one of {has}")
    return runtime


def onnx_files(open_onnx: OpenOnnx, precision: Precision = "fp32", style: Int8Style | None = None) -> Prepare:
    """Modules as ONNX files in ``precision``; what opens one is ``partial(open_onnx, file)``."""

    def prepare(module: nn.Module, inputs: Arrays, path: Path) -> partial[Runner]:
        file = path.with_name(f"{path.name}.onnx")
        (images,) = inputs.values()
        n, c, h, w = images.shape
        file.write_bytes(to_precision(to_onnx_bytes(module, (n, c, h, w)), precision, inputs, style=style))
        return partial(open_onnx, file)

    return prepare


def _kept(prepare: Prepare) -> Prepare:
    """The same runner each time: it keeps what it built."""

    def keep(module: nn.Module, inputs: Arrays, path: Path) -> Callable[[], Runner]:
        runner = prepare(module, inputs, path)()
        return lambda: runner

    return keep


def gpu_chip() -> tuple[str, int] | None:
    """Name and bytes of memory of the first CUDA device; None where torch sees none."""
    import torch

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    return str(found.name), int(found.total_memory)


def _onnxruntime() -> Runtime:
    def prepare(precision: Precision, threads: int) -> Prepare:
        return onnx_files(partial(OnnxRunner, threads=threads), precision)

    # Elsewhere than on ARM with that arithmetic it casts fp16 to fp32 and back around every operator.
    fp16: tuple[Precision, ...] = ("fp16",) if "asimdhp" in _arm_features() else ()
    return Runtime(
        name="onnxruntime",
        version=onnxruntime_version(),
        precisions=("fp32", *fp16, "int8"),
        gpu=False,
        prepare=prepare,
    )


def _provider(short: str) -> Runtime:
    def prepare(precision: Precision, threads: int) -> Prepare:
        return onnx_files(
            partial(OnnxRunner, threads=threads, provider=provider_called(short)), precision, style="symmetric"
        )

    return Runtime(
        name=f"onnxruntime-{short}",
        version=onnxruntime_version(),
        precisions=("fp32", "fp16", "int8"),
        gpu=short in ("cuda", "tensorrt", "nvtensorrtrtx", "dml", "rocm", "migraphx"),
        prepare=prepare,
    )


def _openvino() -> Runtime:
    if find_spec("openvino") is None:
        raise MissingRuntime("openvino is not installed: pip install 'subnet-zoo[openvino]'")
    from hardware_profiles.runners.openvino import OpenVinoRunner, computes_fp16, openvino_version

    def prepare(precision: Precision, threads: int) -> Prepare:
        hint = "f16" if precision == "fp16" else "f32"
        # The runtime shortens an fp32 model by itself when told to; int8 it reads from QDQ.
        in_file: Precision = "int8" if precision == "int8" else "fp32"
        return _kept(onnx_files(partial(OpenVinoRunner, threads=threads, precision=hint), in_file))

    fp16: tuple[Precision, ...] = ("fp16",) if computes_fp16() else ()
    return Runtime(
        name="openvino", version=openvino_version(), precisions=("fp32", *fp16, "int8"), gpu=False, prepare=prepare
    )


def _torch_cuda() -> Runtime:
    import torch

    if not torch.cuda.is_available():
        raise MissingRuntime("torch sees no CUDA device; without --runtime, onnxruntime measures the processor")
    from hardware_profiles.runners.torch_runners import TorchCudaRunner

    def prepare(precision: Precision, threads: int) -> Prepare:
        assert precision != "int8", "find_runtime refuses it"
        return lambda module, inputs, path: partial(TorchCudaRunner, module, precision=precision, fetch=False)

    return Runtime(name="torch-cuda", version=torch.__version__, precisions=("fp32", "fp16"), gpu=True, prepare=prepare)


def _tensorrt() -> Runtime:
    import torch

    if find_spec("tensorrt") is None and find_spec("tensorrt_rtx") is None:
        raise MissingRuntime("tensorrt is not installed: pip install 'subnet-zoo[tensorrt]'")
    if not torch.cuda.is_available():
        raise MissingRuntime("tensorrt builds on the GPU that it measures, and torch sees no CUDA device")
    from hardware_profiles.runners.tensorrt import TensorRtRunner, tensorrt_version

    def prepare(precision: Precision, threads: int) -> Prepare:
        return _kept(onnx_files(partial(TensorRtRunner, fetch=False), precision, "symmetric"))

    return Runtime(
        name="tensorrt", version=tensorrt_version(), precisions=("fp32", "fp16", "int8"), gpu=True, prepare=prepare
    )


_FINDERS: dict[str, Callable[[], Runtime]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch-cuda": _torch_cuda,
    "tensorrt": _tensorrt,
}


def _arm_features() -> set[str]:
    if platform.machine().lower() not in ("aarch64", "arm64"):
        return set()
    if platform.system() == "Darwin":
        return {"asimdhp"}
    return cpu_flags()
