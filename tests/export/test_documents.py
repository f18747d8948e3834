from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from export import (
    Comparison,
    ExportReport,
    MalformedReport,
    OutputComparison,
    Preprocess,
    read_document,
    target_at,
    to_document,
)
from hardware_profiles import Latency
from tests.conftest import refused

OUTPUT = OutputComparison(output="p2", min_cosine=0.9999999, relative_l2=1e-6, psnr_db=math.inf, needed_atol=1e-5)
REPORT = ExportReport(
    target=target_at("cloud", 96),
    path=Path("onnx") / "model.onnx",
    sha256="0" * 64,
    bytes=12345,
    comparison=Comparison(outputs=(OUTPUT,), images=64, neighbour_agreement=None, passed=True),
    measured=Latency(median_ms=0.7, p90_ms=0.8, samples=100),
    predicted_ms=0.65,
    device="this",
    threads=1,
    versions={"torch": "2.15.0"},
)
WORST = replace(OUTPUT, min_cosine=-1.0, relative_l2=math.inf, psnr_db=-math.inf, needed_atol=math.inf)


@pytest.mark.parametrize(
    "report",
    [
        REPORT,
        replace(REPORT, measured=None, predicted_ms=None),
        replace(REPORT, comparison=replace(REPORT.comparison, outputs=(WORST, OUTPUT), neighbour_agreement=0.5)),
    ],
)
def test_a_report_survives_strict_json_and_yaml(report):
    document = to_document(report)
    assert read_document(ExportReport, json.loads(json.dumps(document, allow_nan=False))) == report
    assert read_document(ExportReport, yaml.safe_load(yaml.safe_dump(document))) == report


def test_parts_of_a_report_can_be_stored_alone():
    assert read_document(Comparison, to_document(REPORT.comparison)) == REPORT.comparison
    assert read_document(Latency, to_document(REPORT.measured)) == REPORT.measured


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("schema"), "schema None"),
        (lambda document: document.update(schema=2), "schema 2"),
        (lambda document: document.update(extra=1), "unknown key extra"),
        (lambda document: document["comparison"]["outputs"][0].update(extra=1), "comparison.outputs.0.extra"),
        (lambda document: document["measured"].update(extra=1), "measured.extra"),
        (lambda document: document.pop("sha256"), "sha256"),
        (lambda document: document.update(bytes="many"), "bytes"),
        (lambda document: document["target"].update(name="phone"), r"target\.name"),
        (lambda document: document["measured"].update(median_ms=-1.0), "measured"),
        (lambda document: document["measured"].update(median_ms="nan"), "measured"),
    ],
)
def test_a_report_that_was_changed_is_refused_in_one_line(change, message):
    document = to_document(REPORT)
    change(document)
    with refused(MalformedReport, match=message):
        read_document(ExportReport, document)


def test_what_is_no_mapping_is_refused():
    with pytest.raises(MalformedReport, match="not list"):
        read_document(ExportReport, [])


@pytest.mark.parametrize(
    "change",
    [
        {"size_px": (0, 32)},
        {"std": (0.0, 1.0, 1.0)},
        {"mean": (math.nan, 0.0, 0.0)},
        {"scale": 0.0},
        {"scale": math.inf},
    ],
)
def test_preprocessing_that_no_picture_survives_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Preprocess(**{"size_px": (32, 32), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **change})
