"""Engines in a delivery, on a double of the library whose device memory is the host's."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from small_nets import ConvNet, seeded, structured_images
from torch import Tensor

import export.tensorrt.try_engine
from export import Delivered, deliver, read_document, target_at, to_document
from export.page import render_page
from export.targets import DELIVERIES
from export.tensorrt.runner import EngineRunner
from hardware_profiles import Latency


@pytest.fixture
def cloud(double, monkeypatch, images: Tensor, metadata, tmp_path):
    """What the cloud gets on a machine with a GPU; its engine takes no time."""
    timed = Latency(median_ms=1e-6, p90_ms=1e-6, samples=10)
    monkeypatch.setattr(EngineRunner, "time", lambda runner, inputs: timed)

    def call(**changes) -> Delivered:
        arguments = {
            "target": target_at("cloud", 32),
            "delivery": DELIVERIES["cloud"],
            "out": tmp_path / "out",
            "name": "small-cls-1ms",
            "metadata": metadata,
            "device": "this",
            "threads": 1,
            "calibration_NCHW": structured_images(40, seed=9),
            "time": True,
        }
        return deliver(seeded(ConvNet()), images, **{**arguments, **changes})

    return call


def test_an_engine_is_compared_with_torch_and_timed_on_its_gpu(cloud):
    delivered = cloud()
    (report,) = delivered.engines
    assert (report.target.format, report.device, report.measured.median_ms) == ("engine", "nvidia-l4", 1e-6)
    assert report.comparison.passed and report.comparison.images == 11
    assert report.sha256 == hashlib.sha256(report.path.read_bytes()).hexdigest()
    assert {path.name for path in delivered.others} >= {"model.engine", "model.engine.json"}
    assert not delivered.failed and not delivered.refused
    assert "`model.engine` was timed on nvidia-l4" in render_page(delivered, title="x")
    assert read_document(Delivered, to_document(delivered)) == delivered


def test_a_gpu_s_milliseconds_are_never_compared_with_the_host_s(cloud):
    assert cloud().recommended.target.format == "onnx"


def test_a_wrong_engine_is_set_aside_and_the_rest_is_delivered(cloud, monkeypatch, tmp_path):
    right = EngineRunner.run
    swapped = lambda runner, inputs: {name: np.flip(x, axis=1) for name, x in right(runner, inputs).items()}  # noqa: E731
    monkeypatch.setattr(EngineRunner, "run", swapped)
    delivered = cloud()
    assert [report.path.name for report in delivered.failed] == ["model.failed.engine"]
    assert delivered.failed[0].path.is_file() and delivered.failed[0].measured is None
    assert len(delivered.reports) == 2 and not delivered.engines
    assert any("model.failed.engine" in sentence for sentence in delivered.refused)
    assert sorted(path.name for path in (tmp_path / "out").glob("*engine*")) == ["model.failed.engine"]


def test_an_engine_that_cannot_run_is_refused_in_one_line(cloud, monkeypatch, tmp_path):
    def broken(runner: EngineRunner, inputs: object) -> None:
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(EngineRunner, "run", broken)
    delivered = cloud()
    assert any("NVIDIA L4: no kernel image is available" in sentence for sentence in delivered.refused)
    assert not list((tmp_path / "out").glob("*engine*")) and len(delivered.reports) == 2


def test_on_another_gpu_an_engine_is_delivered_unrun_and_says_so(cloud, monkeypatch):
    other = SimpleNamespace(name="NVIDIA T4", compute_capability="sm75", driver="580.95.05")
    monkeypatch.setattr(export.tensorrt.try_engine, "find_gpu", lambda: other)
    delivered = cloud()
    assert not delivered.engines and any("did not run here" in note for note in delivered.notes)
    assert {path.name for path in delivered.others} >= {"model.engine", "model.engine.json"}
