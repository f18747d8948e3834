"""What decides that a package is right, and what finding out may cost, never comes from the package alone."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import export.verify.contained
from export.errors import UnusableInput
from export.formats.onnx_file import check_self_contained
from export.types import Tolerance
from export.verify.contained import ContainedRunner, GraphError
from zoo.errors import BadPackage, VerificationFailed
from zoo.package.card import CONFIG, config_text, read_card, read_manifest, reports_texts
from zoo.package.folder import load_package
from zoo.package.manifest import describe, digest_of
from zoo.types import ModelCard
from zoo.use.benchmark import benchmark

Edit = Callable[[ModelCard], ModelCard]


def sealed(folder: Path, edit: Edit = lambda card: card, *, honest: bool = True) -> Path:
    """The folder as its author would write it after changing its files or its card."""
    card, manifest = read_card(folder), read_manifest(folder)[1]
    if honest:
        digests = [digest_of((folder / report.path).read_bytes()) for report in card.reports]
        pairs = zip(card.reports, digests, strict=True)
        card = replace(card, reports=tuple(replace(r, sha256=d.sha256, bytes=d.bytes) for r, d in pairs))
    card = edit(card)
    for file, text in reports_texts(card.reports).items():
        (folder / file).write_text(text, "utf-8", newline="\n")
    (folder / CONFIG).write_text(config_text(card, describe(folder, manifest)), "utf-8", newline="\n")
    return folder


def change_graph(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    path = folder / "onnx" / "model.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())


def with_reports(**changes: object) -> Edit:
    return lambda card: replace(card, reports=tuple(replace(report, **changes) for report in card.reports))  # type: ignore[arg-type]


def with_targets(**changes: object) -> Edit:
    def edit(card: ModelCard) -> ModelCard:
        targets = [replace(report.target, **changes) for report in card.reports]  # type: ignore[arg-type]
        return replace(card, reports=tuple(replace(r, target=t) for r, t in zip(card.reports, targets, strict=True)))

    return edit


def randomize(model: onnx.ModelProto) -> None:
    rng = np.random.default_rng(0)
    for weight in model.graph.initializer:
        if len(weight.dims) == 4:
            noise = rng.standard_normal(tuple(weight.dims)).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(noise, weight.name))


def add_endless_loop(model: onnx.ModelProto) -> None:
    scalar = lambda name, kind: helper.make_tensor_value_info(name, kind, [])  # noqa: E731
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Identity", ["v"], ["v_out"])],
        "body",
        [scalar("i", TensorProto.INT64), scalar("c", TensorProto.BOOL), scalar("v", TensorProto.FLOAT)],
        [scalar("c_out", TensorProto.BOOL), scalar("v_out", TensorProto.FLOAT)],
    )
    start = {"trips": np.array(2**62, np.int64), "go": np.array(True), "v0": np.array(0.5, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in start.items())
    model.graph.node.append(helper.make_node("Loop", ["trips", "go", "v0"], ["extra"], body=body))
    model.graph.output.append(scalar("extra", TensorProto.FLOAT))


def add_32_gb(model: onnx.ModelProto) -> None:
    one = numpy_helper.from_array(np.array([1.0], np.float32))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2000, 2000, 2000], np.int64), "huge"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["huge"], ["filled"], value=one))
    model.graph.node.append(helper.make_node("ReduceSum", ["filled"], ["extra"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, []))


def use_foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.stranger"


def use_foreign_file(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../secret")


def test_an_honest_package_passes(package: Path) -> None:
    load_package(sealed(package), verify=True)


def test_another_network_fails_whatever_tolerance_its_author_wrote(package: Path) -> None:
    change_graph(package, randomize)
    anything = Tolerance(min_cosine=-1.0, max_relative_l2=1e6)
    with pytest.raises(VerificationFailed, match="does not reproduce"):
        load_package(sealed(package, with_targets(tolerance=anything)), verify=True)


def test_a_precision_with_more_room_cannot_be_declared(package: Path) -> None:
    with pytest.raises(VerificationFailed, match="computes in fp32, and its report says int8"):
        load_package(sealed(package, with_targets(precision="int8")), verify=True)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (with_reports(sha256="0" * 64), "evidence for onnx/model.onnx is of another file"),
        (with_reports(bytes=7), "evidence for onnx/model.onnx is of another file"),
        (with_reports(threads=100_000), "100000 threads; at most 256"),
        (with_targets(input_nchw=(10**9, 3, 16, 16)), "speaks of input"),
        (with_targets(input_nchw=(1, 3, 60_000, 60_000)), "speaks of input"),
        (lambda card: replace(card, preprocess=replace(card.preprocess, size_px=(60_000, 60_000))), "60000x60000 px"),
        (lambda card: replace(card, preprocess=replace(card.preprocess, size_px=(1000, 1000))), "network of 16 px"),
    ],
)
def test_numbers_that_size_time_and_memory_have_limits(package: Path, edit: Edit, message: str) -> None:
    with pytest.raises(BadPackage, match=re.escape(message)):
        load_package(sealed(package, edit, honest=False))


@pytest.mark.parametrize("change", [use_foreign_operator, use_foreign_file])
def test_a_graph_needs_nothing_but_its_file(package: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    change_graph(package, change)
    with pytest.raises(UnusableInput):
        check_self_contained(package / "onnx" / "model.onnx")
    with pytest.raises(VerificationFailed, match="refused"):
        load_package(sealed(package), verify=True)
    with pytest.raises(BadPackage, match="cannot be run"):
        benchmark(package)


def test_a_graph_that_never_ends_is_stopped(package: Path) -> None:
    change_graph(package, add_endless_loop)
    image = {"input": np.zeros((1, 3, 16, 16), np.float32)}
    with (
        ContainedRunner(package / "onnx" / "model.onnx", seconds=3) as runner,
        pytest.raises(GraphError, match="did not end within 3 s"),
    ):
        runner.run(image)


def test_a_graph_that_fills_the_memory_is_stopped(package: Path) -> None:
    change_graph(package, add_32_gb)
    for attempt in (lambda: load_package(sealed(package), verify=True), lambda: benchmark(package)):
        with pytest.raises((VerificationFailed, BadPackage), match="cannot be run"):
            attempt()


def test_a_contained_graph_gives_what_the_runtime_gives(package: Path) -> None:
    from hardware_profiles.runners import OnnxRunner

    path = package / "onnx" / "model.onnx"
    image = {"input": np.random.default_rng(0).standard_normal((1, 3, 16, 16), dtype=np.float32)}
    with ContainedRunner(path) as contained, OnnxRunner(path, threads=1) as runner:
        for name, value in runner.run(image).items():
            np.testing.assert_array_equal(contained.run(image)[name], value)
    assert export.verify.contained.MEMORY_BYTES <= 2 * 2**30
