"""An ONNX file as a TensorRT engine, by one of two libraries that share an interface.

``tensorrt`` builds on, and only for, the GPU of this machine. ``tensorrt_rtx`` needs no GPU: it builds for named
compute capabilities, or for all that it calls portable, and the engine is finished where it is loaded.

TensorRT 11 is strongly typed: no flag turns on FP16 or INT8, the graph's own types are kept. Of int8 graphs it takes
symmetric ones: every zero point is 0. This is the only file
that imports either library.

    python -m export.tensorrt.build MODEL.onnx MODEL.engine --batch 1 8 32
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper

from export.errors import ExportError, InvalidGraph, MissingBackend, UnsupportedTarget, WriteFailed
from export.formats.onnx_file import OnnxFile, read_onnx
from export.staging import draft_of, move
from export.tensorrt.engine_file import Backend, EngineFile, Gpu, find_gpu, install, write_engine

BACKENDS: tuple[Backend, ...] = ("tensorrt", "tensorrt_rtx")

# What tensorrt_rtx builds for when nothing is named (its documentation, "CPU-Only AOT and TensorRT-RTX Engines").
PORTABLE = ("sm80", "sm86", "sm89", "sm120", "sm121")


def build_engine(
    onnx: Path,
    out: Path,
    *,
    backend: Backend | None = None,
    batch: tuple[int, int, int] | None = None,
    compute_capability: str | None = None,
    timing_cache: Path | None = None,
    tf32: bool = False,
) -> EngineFile:
    """Build the engine of ``onnx`` at ``out``, with its sidecar beside it; each appears whole or not at all.

    Args:
        onnx: one file, weights inside; its types are the engine's.
        out: where the engine goes; replaced in one step.
        backend: by default ``tensorrt`` where it is installed and a GPU is there, else ``tensorrt_rtx``.
        batch: smallest, most frequent and largest batch; needed where the graph's batch is dynamic, and only there.
        compute_capability: e.g. ``sm89`` or ``8.9``; by default this machine's GPU, or with ``tensorrt_rtx`` every
            portable one.
        timing_cache: with ``tensorrt``: measured kernel times, read and written, which make the next build faster.
        tf32: let fp32 convolutions round their inputs to 10 bits: faster, and no longer within fp32's tolerance.

    Raises:
        MissingBackend: no such library, or no GPU for ``tensorrt``.
        UnsupportedTarget: a compute capability, batch or option that cannot be had.
        UnusableInput: ``onnx`` cannot be read.
        InvalidGraph: the library rejects the graph.
        WriteFailed: the engine could not be written.
    """
    graph = read_onnx(onnx)
    _check_batch(graph, batch)
    gpu = find_gpu()
    chosen = backend or _default_backend(gpu, compute_capability)
    trt = load_backend(chosen)
    capabilities = _capabilities(trt, chosen, compute_capability, gpu)
    if timing_cache is not None and chosen == "tensorrt_rtx":
        raise UnsupportedTarget("tensorrt_rtx times nothing while it builds, so it has no timing cache; leave it out")
    plan = build_plan(
        trt,
        with_float_biases(graph.content) if graph.precision == "int8" else graph.content,
        batch=batch,
        compute_capabilities=capabilities if compute_capability and chosen == "tensorrt_rtx" else (),
        timing_cache=timing_cache,
        tf32=tf32,
    )
    built_on = gpu if chosen == "tensorrt" else None
    engine = EngineFile(
        path=out,
        sha256=hashlib.sha256(plan).hexdigest(),
        bytes=len(plan),
        onnx_sha256=hashlib.sha256(graph.content).hexdigest(),
        backend=chosen,
        backend_version=str(trt.__version__),
        compute_capabilities=capabilities,
        gpu=built_on.name if built_on else None,
        driver=built_on.driver if built_on else None,
        precision=graph.precision,
        batch=batch,
        tf32=tf32,
    )
    write_engine(engine, plan)
    return engine


def load_backend(backend: Backend) -> Any:
    """Import a back end.

    Raises:
        UnsupportedTarget: there is no such back end.
        MissingBackend: it is not installed, or its libraries cannot be loaded.
    """
    if backend not in BACKENDS:
        raise UnsupportedTarget(f"no back end is called {backend!r}; use one of {', '.join(BACKENDS)}")
    if find_spec(backend) is None:
        raise MissingBackend(f"{backend} is not installed; {install(backend)}")
    try:
        return importlib.import_module(backend)
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MissingBackend(f"{backend} cannot be loaded: {reason}; {install(backend)}") from error


def installed_backends() -> Mapping[Backend, str]:
    """The version of each back end that is installed."""
    return {name: str(load_backend(name).__version__) for name in BACKENDS if find_spec(name)}


def _check_batch(graph: OnnxFile, batch: tuple[int, int, int] | None) -> None:
    if any(isinstance(size, str) for tensor in graph.inputs for size in tensor.shape[1:]):
        raise UnsupportedTarget("the graph has a dynamic size beside its batch; export it at one resolution")
    dynamic = any(isinstance(size, str) for tensor in graph.inputs for size in tensor.shape[:1])
    if dynamic and batch is None:
        raise UnsupportedTarget("the graph has a dynamic batch; say the smallest, usual and largest, e.g. 1 8 32")
    if not dynamic and batch is not None:
        raise UnsupportedTarget(f"the graph fixes its batch, so {batch} has no meaning; leave the batch out")
    if batch is not None and not 1 <= batch[0] <= batch[1] <= batch[2]:
        raise UnsupportedTarget(f"batch {batch} is not 1 <= smallest <= usual <= largest; use e.g. 1 8 32")


def _default_backend(gpu: Gpu | None, compute_capability: str | None) -> Backend:
    if gpu and compute_capability is None and find_spec("tensorrt"):
        return "tensorrt"
    if find_spec("tensorrt_rtx"):
        return "tensorrt_rtx"
    raise MissingBackend(
        f"no TensorRT is installed; for the GPU of this machine {install('tensorrt')};"
        f" for a GeForce or RTX GPU of any machine {install('tensorrt_rtx')}"
    )


def _capabilities(trt: Any, backend: Backend, asked: str | None, gpu: Gpu | None) -> tuple[str, ...]:
    name = "sm" + asked.lower().removeprefix("sm").lstrip("_").replace(".", "") if asked else None
    if backend == "tensorrt":
        if gpu is None:
            raise MissingBackend(f"tensorrt builds on a GPU and torch sees none; {install('tensorrt_rtx')}, which can")
        if name not in (None, gpu.compute_capability):
            at_hand = gpu.compute_capability
            raise UnsupportedTarget(f"tensorrt builds for the GPU at hand ({at_hand}), not {name}; use tensorrt_rtx")
        return (gpu.compute_capability,)
    offered = [key.lower() for key in trt.ComputeCapability.__members__ if key.startswith("SM")]
    if name is None:
        return tuple(capability for capability in PORTABLE if capability in offered)
    if name not in offered:
        raise UnsupportedTarget(f"tensorrt_rtx {trt.__version__} has no {asked}; use one of {', '.join(offered)}")
    return (name,)


def main(words: Sequence[str] | None = None) -> int:
    """Build an engine as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(description="Build a TensorRT engine, and its sidecar, from an ONNX file.")
    parser.add_argument("onnx", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--batch", type=int, nargs=3, metavar=("SMALLEST", "USUAL", "LARGEST"))
    parser.add_argument("--compute-capability", metavar="smXY")
    parser.add_argument("--timing-cache", type=Path)
    parser.add_argument("--tf32", action="store_true")
    options = vars(parser.parse_args(words))
    batch = options.pop("batch")
    try:
        engine = build_engine(batch=tuple(batch) if batch else None, **options)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UnsupportedTarget) else 1
    print(f"{engine.path}  {engine.bytes} bytes  {engine.precision}  {' '.join(engine.compute_capabilities)}")
    return 0


def build_plan(
    trt: Any,
    onnx_bytes: bytes,
    *,
    batch: tuple[int, int, int] | None,
    compute_capabilities: Sequence[str],
    timing_cache: Path | None,
    tf32: bool,
) -> bytes:
    """Return the serialized engine.

    Args:
        trt: ``tensorrt`` or ``tensorrt_rtx``.
        onnx_bytes: the graph, weights inside.
        batch: smallest, most frequent and largest batch; ``None`` for a graph that fixes it.
        compute_capabilities: to build for, e.g. ``["sm89"]``; none for the library's own choice.
        timing_cache: measured kernel times, read and written.
        tf32: let fp32 convolutions round their inputs to 10 bits.

    Raises:
        InvalidGraph: the library cannot read the graph, or cannot build it for these GPUs.
        WriteFailed: the timing cache cannot be read or written.
    """
    log = quiet_logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx_bytes):
        raise InvalidGraph(f"TensorRT cannot read the graph: {_parser_error(parser)}; export it without that")
    config = builder.create_builder_config()
    if not tf32:  # it is on by default, and off by a thousandth
        config.clear_flag(trt.BuilderFlag.TF32)
    if batch is not None:
        config.add_optimization_profile(_profile(builder, network, batch))
    if compute_capabilities:
        _aim(trt, config, compute_capabilities)
    cache = _attach_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        where = f" for {', '.join(compute_capabilities)}" if compute_capabilities else ""
        reason = log.errors[0] if log.errors else "it did not say why"
        raise InvalidGraph(f"TensorRT cannot build the engine{where}: {reason}; try another precision or GPU")
    if timing_cache is not None:
        with draft_of(timing_cache, bytes(cache.serialize())) as draft:
            move(draft, timing_cache)
    return bytes(plan)


def quiet_logger(trt: Any) -> Any:
    """A logger of ``trt`` that prints nothing and keeps what went wrong in ``errors``."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # Without a driver every real error is followed by a complaint about the missing driver.
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR) and "catchCudaError" not in message:
                self.errors.append(" ".join(message.split()))

    return Logger()


def _profile(builder: Any, network: Any, batch: tuple[int, int, int]) -> Any:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, *((size, *rest) for size in batch))
    return profile


def _aim(trt: Any, config: Any, compute_capabilities: Sequence[str]) -> None:
    config.num_compute_capabilities = len(compute_capabilities)
    for index, capability in enumerate(compute_capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, capability.upper()), index)


def _attach_cache(config: Any, path: Path | None) -> Any:
    """A cache of another GPU or version is no error: TensorRT declines it, and an empty one takes its place."""
    if path is None:
        return None
    try:
        stored = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise WriteFailed(f"the timing cache {path} cannot be read ({error.strerror}); name another") from error
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _parser_error(parser: Any) -> str:
    if not parser.num_errors:
        return "it did not say why"
    error = parser.get_error(0)
    node = f" at {error.node_name()} ({error.node_operator()})" if error.node_name() else ""
    return " ".join(str(error.desc()).split()) + node


def with_float_biases(onnx_bytes: bytes) -> bytes:
    """Return the graph with every dequantized int32 constant as the float32 constant that it stands for.

    The values stay the same to the last bit of float32; a graph without such constants comes back as it is.

    Args:
        onnx_bytes: a whole ONNX file, weights inside.
    """
    model = onnx.load_from_string(onnx_bytes)
    weights = {weight.name: weight for weight in model.graph.initializer}
    found = [node for node in model.graph.node if _dequantizes_int32(node, weights)]
    if not found:
        return onnx_bytes
    for node in found:
        bias = _dequantized(node, weights)
        model.graph.node.remove(node)
        model.graph.initializer.append(numpy_helper.from_array(bias, node.output[0]))
    changed: bytes = model.SerializeToString()
    return changed


def _dequantizes_int32(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    constant = all(name in weights for name in node.input if name)
    return (
        node.op_type == "DequantizeLinear" and constant and weights[node.input[0]].data_type == onnx.TensorProto.INT32
    )


def _dequantized(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> npt.NDArray[Any]:
    values, scale, *zero = (numpy_helper.to_array(weights[name]) for name in node.input if name)
    bias: npt.NDArray[Any] = (values - zero[0] if zero else values).astype(scale.dtype) * scale
    return bias


if __name__ == "__main__":
    sys.exit(main())
