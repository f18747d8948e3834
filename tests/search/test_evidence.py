import json
from pathlib import Path

import pytest

from search.scores import CRITERIA, SCORES
from search.scores.evidence import EVIDENCE, expectation, judged
from search.types import Task


def kept(folder: Path, gain_points: list[float]) -> Path:
    scores = {
        "projected cosine": {"tau": [0.5, 0.4, 0.6], "gain_points": gain_points},
        "MACs": {"tau": [0.2, 0.1, 0.3], "gain_points": [0.5, 0.1, 0.9]},
    }
    path = folder / "evidence.json"
    path.write_text(json.dumps({"cls": {"supernet": "some", "networks": 48, "sets": 6, "scores": scores}}))
    return path


def test_what_was_measured_is_told_with_its_interval_and_that_of_the_baseline(tmp_path: Path) -> None:
    told = expectation(Task.CLS, "projected cosine", kept(tmp_path, [1.2, 0.3, 2.0]))
    assert told.startswith("expect better networks") and "6 sets, 48 networks of some" in told
    assert "+1.2 points" in told and "+0.3 to +2.0" in told and "MACs +0.20" in told


def test_no_gain_is_promised_where_the_interval_holds_zero(tmp_path: Path) -> None:
    assert "no surely better networks" in expectation(Task.CLS, "projected cosine", kept(tmp_path, [1.2, -0.1, 2.0]))


@pytest.mark.parametrize(("task", "criterion"), [(Task.SEG, "projected cosine"), (Task.CLS, "layouts")])
def test_what_was_not_measured_is_called_so(tmp_path: Path, task: Task, criterion: str) -> None:
    path = kept(tmp_path, [1.2, 0.3, 2.0])
    assert judged(task, criterion, path) is None and "nobody has measured" in expectation(task, criterion, path)


def test_the_kept_evidence_is_of_known_scores() -> None:
    found = json.loads(EVIDENCE.read_text("utf-8")) if EVIDENCE.exists() else {}
    assert found.keys() <= {"cls", "dense"}
    assert all({*of["scores"]} <= {*CRITERIA, "MACs", "parameters", "depth", "milliseconds"} for of in found.values())
    assert all(expectation(task, SCORES[task]) for task in Task)
