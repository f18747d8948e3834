"""The names a package offers are exactly the documented ones, and each of them exists.

A package offers what its ``__init__`` lists in ``__all__`` or re-exports as ``from a import b as b``.
"""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PUBLIC: dict[str, set[str]] = {
    "export": {
        "Comparison",
        "ComparisonFailed",
        "DELIVERIES",
        "Delivered",
        "Delivery",
        "EngineFile",
        "EngineRefused",
        "EngineRunner",
        "ExportError",
        "ExportReport",
        "ExportTarget",
        "InvalidGraph",
        "MalformedReport",
        "MissingBackend",
        "OutputComparison",
        "Preprocess",
        "Quantization",
        "TARGETS",
        "Tolerance",
        "UnsupportedTarget",
        "UnusableInput",
        "WriteFailed",
        "artefact_outputs",
        "build_engine",
        "compare_outputs",
        "deliver",
        "export",
        "make_onnx",
        "metadata_props",
        "read_document",
        "read_engine",
        "read_preprocess",
        "required_operators",
        "target_at",
        "to_document",
        "torch_outputs",
        "triton_repository",
        "with_precision",
    },
    "hardware_profiles": {
        "BadKit",
        "BadOp",
        "BadProfile",
        "BadTimes",
        "Check",
        "Compute",
        "DeviceProfile",
        "Kind",
        "Latency",
        "LatencyTable",
        "MeasureFailed",
        "MissingOp",
        "MissingRuntime",
        "MissingTable",
        "Network",
        "NoisyMachine",
        "OnnxRunner",
        "OpKey",
        "ProfileError",
        "Runner",
        "ScriptedClock",
        "Scaling",
        "ScriptedRunner",
        "Source",
        "TableFile",
        "TableHead",
        "TorchRunner",
        "UnknownDevice",
        "Validation",
        "adapt_table",
        "block_ms",
        "count_compute",
        "estimate_ms",
        "find_device",
        "find_table",
        "fit_table",
        "keep_table",
        "list_tables",
        "load_head",
        "load_table",
        "margin",
        "measure_table",
        "parse_op",
        "part_ms",
        "pick_diverse",
        "probe_device",
        "resize_table",
        "save_table",
        "time_call",
        "time_runners",
        "to_onnx_bytes",
    },
    "search": {
        "Architecture",
        "BadSupernet",
        "Budget",
        "Candidate",
        "ImageSet",
        "InfeasibleBudget",
        "NETS",
        "NotEnoughImages",
        "SearchError",
        "SearchResult",
        "Supernet",
        "SupernetCard",
        "Task",
        "TrainingError",
        "dead_leaves",
        "load_supernet",
        "read_images",
        "save_supernet",
    },
    "search.evaluate": {
        "Labelled",
        "Preprocessing",
        "embed",
        "knn_accuracy",
        "linear_accuracy",
        "read_labelled",
        "recalibrate_on",
    },
    "search.nets": {"Backbone", "Choice", "Layers", "NETS", "Net", "Part", "PlainLayers"},
    "zoo": {"Model", "ModelCard", "__version__", "export", "get", "list", "pull", "push", "search"},
}


def offered(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= set(ast.literal_eval(node.value))
    return names


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_offers_exactly_the_documented_names(package: str) -> None:
    init = ROOT.joinpath(*package.split("."), "__init__.py")
    assert offered(init.read_text("utf-8")) == PUBLIC[package]


@pytest.mark.parametrize("package", PUBLIC)
def test_every_documented_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in sorted(PUBLIC[package]) if getattr(module, name, None) is None] == []


def test_both_ways_of_offering_a_name_are_seen() -> None:
    assert offered("from a import b as b, c\n__all__ = ['d']\nif TYPE_CHECKING:\n    from e import f as f") == set(
        "bdf"
    )
