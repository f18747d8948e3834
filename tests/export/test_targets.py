from __future__ import annotations

import subprocess
import sys

import pytest

from export import TARGETS, UnsupportedTarget, target_at
from export.targets import MAX_OPSET, check_target


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_can_be_made_and_is_called_what_it_is_listed_as(name):
    target = target_at(name, 96)
    check_target(target)
    assert target.name == name
    assert target.input_nchw == (1, 3, 96, 96)
    assert target.opset <= MAX_OPSET
    assert (target.tolerance.min_cosine, target.tolerance.max_relative_l2) == (0.99999, 1e-4)


def test_only_the_cloud_takes_any_batch():
    assert {name: target.dynamic_batch for name, target in TARGETS.items()} == {
        "point": False,
        "edge": False,
        "cloud": True,
    }


def test_an_unknown_target_names_the_nearest_first():
    with pytest.raises(UnsupportedTarget, match="'cluod'; use one of cloud"):
        target_at("cluod", 32)


def test_a_resolution_without_pixels_is_refused():
    with pytest.raises(UnsupportedTarget, match="0 px"):
        target_at("edge", 0)


def test_the_package_imports_nothing_heavy_until_it_is_used():
    heavy = ["torch", "onnx", "onnxruntime", "onnxslim", "pydantic"]
    code = f"import export, sys; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
