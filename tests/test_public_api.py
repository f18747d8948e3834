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
        "ExportError",
        "ExportReport",
        "ExportTarget",
        "InvalidGraph",
        "MalformedReport",
        "OutputComparison",
        "Preprocess",
        "TARGETS",
        "Tolerance",
        "UnsupportedTarget",
        "UnusableInput",
        "WriteFailed",
        "artefact_outputs",
        "compare_outputs",
        "export",
        "make_onnx",
        "metadata_props",
        "read_document",
        "read_preprocess",
        "target_at",
        "to_document",
        "torch_outputs",
    },
    "hardware_profiles": {
        "BadOp",
        "BadProfile",
        "Compute",
        "DeviceProfile",
        "Kind",
        "Latency",
        "LatencyTable",
        "MeasureFailed",
        "MissingOp",
        "MissingTable",
        "Network",
        "OnnxRunner",
        "OpKey",
        "ProfileError",
        "Runner",
        "ScriptedClock",
        "ScriptedRunner",
        "Source",
        "TableFile",
        "TorchRunner",
        "UnknownDevice",
        "Validation",
        "block_ms",
        "count_compute",
        "estimate_ms",
        "find_device",
        "find_table",
        "keep_table",
        "list_tables",
        "load_table",
        "margin",
        "measure_table",
        "parse_op",
        "part_ms",
        "probe_device",
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
    "search.evaluate": {"knn_accuracy"},
    "search.nets": {"Backbone", "Choice", "Layers", "NETS", "Net", "Part", "PlainLayers"},
    "zoo": {"Model", "ModelCard", "__version__", "get", "list", "search"},
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
