"""A study's jobs: what one does, what can go wrong in it, and that what is done stays done wherever they run."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from search.errors import MissingEngine, TrainingError
from search.nets import NETS, Net
from search.study import job, workers
from search.study.plan import answer_file
from search.study.workers import ENGINES, locally, on_ray
from tests.search.study_workers import answer, die_on_v2, job_of, write_images, write_set


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("study") / "images", 64)


def told(out: Path, name: str) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((out / "answers" / name).glob("*.json"))}


def test_what_fails_is_told_and_tried_again_and_what_is_done_is_not(tmp_path: Path, images: Path) -> None:
    good, gone = write_set(tmp_path / "good"), write_set(tmp_path / "gone")
    single = write_set(tmp_path / "single", classes=1)
    asked = job_of("resnet18", tmp_path / "out", good, gone, single, images=images)
    shutil.move(tmp_path / "gone", tmp_path / "moved")
    reasons = {outcome.set: outcome.reason for outcome in job.do(asked)}
    assert reasons["good"] == "" and "gone" in reasons["gone"] and "one class" in reasons["single"]
    first = told(asked.out, "resnet18")
    assert list(first) == ["good"]

    shutil.move(tmp_path / "moved", tmp_path / "gone")
    weights = (asked.folder / "model.safetensors").stat().st_mtime_ns
    assert {outcome.set: bool(outcome.reason) for outcome in job.do(asked)} == {"gone": False, "single": True}
    assert (asked.folder / "model.safetensors").stat().st_mtime_ns == weights
    assert told(asked.out, "resnet18")["good"] == first["good"]
    assert job.do(replace(asked, sets=(good, gone))) == ()

    again = replace(asked, out=tmp_path / "again", sets=(good, gone))
    job.do(again)
    assert told(again.out, "resnet18") == told(asked.out, "resnet18")


def test_an_answer_holds_what_the_network_costs(tmp_path: Path, images: Path) -> None:
    asked = job_of("v6", tmp_path / "out", write_set(tmp_path / "a"), images=images)
    (outcome,) = job.do(asked)
    row = json.loads(answer_file(asked.out, "v6", "a").read_text())
    backbone = job.load_supernet(asked.folder).subnet(asked.architecture)
    assert outcome.reason == "" and row["params"] == sum(p.numel() for p in backbone.parameters())
    assert 0 < row["early_params"] < row["params"] and row["macs"] > 0 and row["ms"] > 0
    assert (row["classes"], row["train"], row["test"]) == (2, 12, 12) and 0 <= row["linear"] <= 1


@pytest.mark.parametrize("net", [NETS["mobile"], NETS["resnet-photo"]], ids=lambda net: net.name)
def test_a_network_of_a_search_is_priced_and_divided_like_a_variant(tmp_path: Path, net: Net) -> None:
    small, large = (job._costs(a, job_of("v1", tmp_path).protocol) for a in (net.smallest(16), net.largest(16)))
    for what in ("params", "early_params", "macs", "ms"):
        assert 0 < getattr(small, what) < getattr(large, what)


def test_a_training_that_fails_costs_its_own_answers_and_begins_anew(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = (write_set(tmp_path / "a"), write_set(tmp_path / "b"))
    asked = job_of("resnet18", tmp_path / "out", *sets, images=images)

    def collapse(*args: object, **options: object) -> None:
        (asked.folder / "half").touch()
        raise TrainingError("the embeddings\nhave collapsed")

    with monkeypatch.context() as patch:
        patch.setattr(job, "pretrain", collapse)
        assert [outcome.reason for outcome in job.do(asked)] == 2 * ["the embeddings have collapsed"]
    assert not (asked.folder / "half").exists()
    assert [outcome.reason for outcome in job.do(asked)] == ["", ""]


def test_a_full_disk_is_a_reason(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job, "write_answer", full)
    (outcome,) = job.do(job_of("resnet18", tmp_path / "out", write_set(tmp_path / "a"), images=images))
    assert "No space left" in outcome.reason


def test_a_job_whose_process_is_killed_costs_no_other_job(tmp_path: Path) -> None:
    jobs = [job_of(name, tmp_path, write_set(tmp_path / name)) for name in ("v1", "v2", "v3")]
    found = {one.name: outcomes[0].reason for one, outcomes in locally(jobs, do=die_on_v2)}
    assert found["v1"] == found["v3"] == "" and "was killed" in found["v2"]
    assert [one.name for one in jobs if one.missing] == ["v2"]


@pytest.mark.slow
def test_ray_does_the_same_as_this_machine_and_loses_no_more(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    jobs = [job_of(name, tmp_path / "ray", write_set(tmp_path / name)) for name in ("v2", "v1")]
    found = {one.name: outcomes[0].reason for one, outcomes in on_ray(jobs, 1, die_on_v2)}
    assert found["v1"] == "" and "was killed" in found["v2"]
    here = replace(jobs[1], out=tmp_path / "here")
    answer(here)
    assert told(here.out, "v1") == told(jobs[1].out, "v1")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(MissingEngine, match=r"subnet-zoo\[cluster\]"):
        list(ENGINES["ray"]([], None))
