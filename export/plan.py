"""The bytes of a TensorRT engine, made by whichever library is handed in (``trt``): parse, configure, build.

Source: NVIDIA TensorRT Python API reference: Builder, IBuilderConfig, IOptimizationProfile, ITimingCache, OnnxParser.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.draft import draft_of, move
from export.errors import InvalidGraph, WriteFailed


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
