"""Every public function answers an argument of another kind with one line: what came, what is accepted."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from search.types import Task
from zoo.checks import accepted, fits, hints_of
from zoo.errors import BadRequest


def functions() -> list[tuple[str, Any]]:
    rooms = (zoo, zoo.devices)
    found = {name: getattr(room, name) for room in rooms for name in dir(room)}
    return [(name, one) for name, one in found.items() if inspect.isfunction(one)]


class Odd:
    def __repr__(self) -> str:
        return "odd"


@pytest.mark.parametrize(("name", "function"), functions())
def test_no_public_function_takes_what_its_signature_does_not_name(name: str, function: Any) -> None:
    hints = hints_of(function)
    required = {
        one.name: Odd()
        for one in inspect.signature(function).parameters.values()
        if one.default is one.empty and one.kind is not one.VAR_POSITIONAL
    }
    for argument in hints:
        if inspect.signature(function).parameters[argument].kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        with pytest.raises(BadRequest, match=r"^\w+ is odd \(Odd\); \w+ takes .+$"):
            function(**{**required, argument: Odd()})


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: zoo.get(3), "name is 3 (int); get takes a text or a Path"),
        (lambda: zoo.get("a", verify=1), "verify is 1 (int); get takes True or False"),
        (lambda: zoo.search("photos", budget=3, out="x"), "budget is 3 (int); search takes a text or a Budget"),
        (
            lambda: zoo.search("photos", budget="1ms", out="x", task="fly"),
            "task is 'fly'; search takes cls, det or seg",
        ),
        (
            lambda: zoo.search("p", budget="1ms", out="x", seed=-1),
            "seed is -1 (int); search takes a whole number of at",
        ),
        (lambda: zoo.export("m", target=8, out="x"), "target is 8 (int); export_package takes a text"),
        (
            lambda: zoo.search("p", budget="1ms", out="x", threads=10**5),
            "threads is 100000 (int); search takes",
        ),
        (lambda: zoo.benchmark("m", threads=2), "threads is 2 (int); benchmark takes a list (each a whole number"),
        (
            lambda: zoo.benchmark("m", batches=[0]),
            "batches is [0] (list); benchmark takes a list (each a whole number of",
        ),
        (lambda: zoo.predict("m", "a.jpg"), "pictures is 'a.jpg'; predict takes a list (each a text or a Path)"),
        (lambda: zoo.predict("m", ["a.jpg"], min_score=2), "min_score is 2 (int); predict takes a number of 0 to 1"),
        (
            lambda: zoo.finetune("m", data="d", out="o", task="detect"),
            "task is 'detect'; finetune takes cls, det or seg",
        ),
        (
            lambda: zoo.finetune("m", data="d", out="o", size_px=0),
            "size_px is 0 (int); finetune takes a whole number of",
        ),
        (lambda: zoo.list(max_ms="1ms"), "max_ms is '1ms'; list_models takes a number"),
        (lambda: zoo.pretrain("i", "o", epochs=float("nan")), "epochs is nan (float); pretrain takes a number above 0"),
        (
            lambda: zoo.search("p", budget="1ms", out="x", progress="bar"),
            "progress is 'bar'; search takes a function or",
        ),
    ],
)
def test_a_wrong_argument_is_one_line_and_nothing_is_written(
    call: Any, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadRequest) as caught:
        call()
    assert complaint in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_fits_is_told_by_its_kind_and_not_by_its_truth() -> None:
    assert fits(True, bool) and not fits(True, int) and not fits(1, bool)
    assert fits(torch.tensor([3]).numpy()[0], int) and fits(2, float) and not fits(float("nan"), float)
    assert fits("cls", Task) and fits(Task.CLS, Task) and not fits("fly", Task)
    assert accepted(Task) == "cls, det or seg"


def test_heads_and_pictures_of_another_kind_are_one_line(pristine: Path) -> None:
    model = zoo.get(pristine)
    for call, complaint in [
        (lambda: model.with_head("5"), "num_classes is '5'; with_head takes a whole number of at least 1"),
        (lambda: model.with_head(0), "num_classes is 0 (int)"),
        (lambda: model.with_head(5, task="detect"), "task is 'detect'; with_head takes cls, det or seg or None"),
        (lambda: model.preprocess(3.5), "a float is no picture"),
        (lambda: model.preprocess(b"..."), "cannot be read as an image"),
        (lambda: model.preprocess([]), "no picture was given"),
        (lambda: model.predict("a.jpg"), "is a backbone without a head"),
        (lambda: zoo.Model.from_pretrained(3), "name is 3 (int)"),
        (lambda: model.save_pretrained(3), "folder is 3 (int)"),
        (lambda: model.push_to_hub(3), "repo is 3 (int)"),
        (lambda: model(3), "int is no input; give what model.preprocess returns"),
        (lambda: model(torch.zeros(2, 16, 16)), "[2, 16, 16]"),
        (lambda: model.features(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)), "torch.uint8"),
    ]:
        with pytest.raises(Exception) as caught:
            call()  # type: ignore[no-untyped-call]
        assert type(caught.value).__module__ == "zoo.errors", repr(caught.value)
        assert complaint in str(caught.value) and "\n" not in str(caught.value)
