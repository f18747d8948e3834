import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import search.oneshot.pretrain
from search.curve import METRICS
from search.errors import TrainingError, WriteFailed
from search.images.views import Views, center
from search.objectives import OBJECTIVES
from search.oneshot.space import plain_key
from search.oneshot.ssl import SSL
from search.oneshot.strategy import SandwichModule
from search.supernet import CARD, WEIGHTS, load_supernet
from search.types import Architecture
from tests.conftest import refused
from tests.search.small_runs import LAST, checkpoint, ctrl_c, equal, interrupt_at, tiny, train
from tests.search.small_supernets import no_file_above, stripes


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return stripes(64, 20)


@pytest.fixture(scope="module")
def finished(pixels: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    train(tiny(), pixels, out)
    return out


def test_the_same_seed_gives_the_same_weights_whatever_else_draws_random_numbers(
    pixels: Tensor, finished: Path, tmp_path: Path
) -> None:
    torch.manual_seed(123)
    np.random.seed(123)
    again = train(tiny(), pixels, tmp_path / "again")
    assert equal(checkpoint(tmp_path / "again")["state_dict"], checkpoint(finished)["state_dict"])
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()
    other = train(tiny(seed=1, epochs=0.25), pixels, tmp_path / "other")
    assert not torch.equal(other.weights["projector.0.weight"], again.weights["projector.0.weight"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("step", [3, 5], ids=["in the middle of an epoch", "after an epoch and a change of crops"])
def test_an_interrupted_and_resumed_run_equals_the_uninterrupted_one(
    pixels: Tensor, finished: Path, tmp_path: Path, optimizer: Any, step: int
) -> None:
    recipe, whole, out = tiny(optimizer=optimizer), finished, tmp_path / "out"
    if optimizer == "adamw":
        whole = tmp_path / "whole"
        train(recipe, pixels, whole)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(step, patch, ctrl_c)
        train(recipe, pixels, out)
    assert checkpoint(out)["global_step"] == step - 1
    assert not (out / WEIGHTS).exists() and not (out / CARD).exists()
    resumed = train(recipe, pixels, out, resume=True)
    assert equal(checkpoint(out)["state_dict"], checkpoint(whole)["state_dict"])
    assert (out / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert (out / METRICS).read_text() == (whole / METRICS).read_text()
    assert resumed.card.training["steps"] == 6


def test_an_interruption_before_the_first_checkpoint_loses_only_the_start(
    pixels: Tensor, finished: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(1, patch, ctrl_c)
        train(tiny(), pixels, tmp_path)
    train(tiny(), pixels, tmp_path, resume=True)
    assert (tmp_path / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()
    assert (tmp_path / METRICS).read_text() == (finished / METRICS).read_text()


def test_resuming_a_finished_run_changes_nothing(pixels: Tensor, finished: Path) -> None:
    files = [finished / name for name in (WEIGHTS, METRICS, LAST)]
    before = [path.read_bytes() for path in files]
    train(tiny(), pixels, finished, resume=True)
    assert [path.read_bytes() for path in files] == before


def test_a_step_takes_the_largest_then_the_smallest_then_random_networks(
    pixels: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[Architecture] = []
    choose = SandwichModule.choose
    monkeypatch.setattr(SandwichModule, "choose", lambda self, a: (chosen.append(a), choose(self, a))[1])
    train(tiny(), pixels, tmp_path)
    ssl = SSL(tiny(), pixels)
    steps = [chosen[i : i + 4] for i in range(0, len(chosen), 4)]
    assert len(steps) == 6
    assert all(step[:2] == [ssl.net.largest(16), ssl.net.smallest(16)] for step in steps)
    assert len({a for step in steps for a in step[2:]}) > 4


def test_a_step_s_networks_and_views_depend_on_seed_and_step_alone(pixels: Tensor) -> None:
    def draw(seed: int, step: int) -> tuple[list[Architecture], Tensor]:
        ssl = SSL(tiny(seed=seed), pixels)
        torch.rand(3)
        np.random.random(3)
        return [s.architecture for s in ssl.students(step)], torch.stack(ssl.two_views(step))

    networks, seen = draw(0, 3)
    assert networks == draw(0, 3)[0] and torch.equal(seen, draw(0, 3)[1])
    for seed, step in ((0, 2), (1, 3)):
        assert networks != draw(seed, step)[0] and not torch.equal(seen, draw(seed, step)[1])
    assert not torch.equal(seen[0], seen[1])


def test_an_epoch_sees_every_image_once(pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered = torch.arange(64, dtype=torch.uint8)[:, None, None, None].expand(64, 3, 20, 20)
    ssl = SSL(tiny(), numbered)
    seen: list[int] = []
    monkeypatch.setattr(
        "search.oneshot.ssl.views", lambda batch, *_, **__: (seen.extend(batch[:, 0, 0, 0].tolist()), batch)[1]
    )
    for step in range(4):
        ssl.two_views(step)
    assert sorted(seen) == sorted(2 * list(range(64)))
    first = list(seen)
    ssl.two_views(4)
    assert seen[128:144] != first[:16]


def test_crops_and_learning_rate_follow_the_recipe(finished: Path) -> None:
    rows = [line.split(",") for line in (finished / METRICS).read_text().splitlines()]
    assert rows[0] == ["step", "crop_px", "lr", "loss_largest", "loss_smallest", "loss_random", "spread", "rank"]
    assert [int(row[0]) for row in rows[1:]] == list(range(6))
    assert [int(row[1]) for row in rows[1:]] == [12, 12, 12, 12, 16, 16]
    assert [float(row[2]) for row in rows[1:]] == [tiny().lr_at(step / 6) for step in range(6)]
    assert all(0 < float(cell) < 20 for row in rows[1:] for cell in row[3:6])


def teacher_and_student(state: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each parameter of the teacher beside the student's."""
    own, its = "training_module._model.", "training_module.objective.teacher."
    student = {plain_key(name.removeprefix(own)): tensor for name, tensor in state.items() if name.startswith(own)}
    teacher = {name.removeprefix(its): tensor for name, tensor in state.items() if name.startswith(its)}
    return [(teacher[name], student[name]) for name in teacher if name.endswith(("weight", "bias"))]


def test_one_update_and_one_enqueue_a_step(pixels: Tensor, finished: Path, tmp_path: Path) -> None:
    assert checkpoint(finished)["state_dict"]["training_module.objective.queue.enqueued"] == 6 * 16
    states = []
    for steps in (1, 2):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(steps, patch, ctrl_c)
            train(tiny(warmup=0, ema=(0.75, 0.75)), pixels, tmp_path / str(steps), running={"checkpoint_steps": 1})
        states.append(teacher_and_student(checkpoint(tmp_path / str(steps))["state_dict"]))
    assert len(states[0]) == len(states[1]) > 20
    for (before, _), (after, student) in zip(*states, strict=True):
        torch.testing.assert_close(after, 0.75 * before + 0.25 * student)


def test_the_teacher_s_statistics_are_its_own(finished: Path) -> None:
    state = checkpoint(finished)["state_dict"]
    teacher = state["training_module.objective.teacher.backbone.stem.conv.1.running_mean"]
    student = state["training_module._model.backbone.stem.conv.1.running_mean"]
    assert teacher.any() and not torch.allclose(teacher, student, rtol=0.01)


def test_the_loss_falls_where_there_is_something_to_learn(pixels: Tensor, tmp_path: Path) -> None:
    easy = replace(tiny().views, min_scale=0.9, jitter_p=0, gray_p=0, flip_p=0)
    recipe = tiny(epochs=10, views=easy, lr=0.1, random_subnets=0, warmup=0)
    train(recipe, pixels, tmp_path, running={"checkpoint_steps": 1000})
    table = np.loadtxt(tmp_path / METRICS, delimiter=",", skiprows=1, usecols=(3, 4))
    early, late = table[4:12].mean(0), table[-8:].mean(0)  # the first steps compare with a queue of noise
    assert (late < early - 0.2).all(), (early, late)


def test_without_random_networks_their_column_is_empty(pixels: Tensor, tmp_path: Path) -> None:
    train(tiny(random_subnets=0, epochs=0.25), pixels, tmp_path)
    assert (tmp_path / METRICS).read_text().splitlines()[1].endswith(",,,")


def test_what_was_written_is_what_was_trained_up_to_fp16(pixels: Tensor, tmp_path: Path) -> None:
    made = train(tiny(), pixels, tmp_path / "run")
    loaded = load_supernet(tmp_path / "run")
    assert loaded.weights.keys() == made.weights.keys()
    assert all(torch.equal(loaded.weights[k], v.half().float()) for k, v in made.weights.items())
    card = loaded.card
    assert (card.name, card.net, card.objective, card.resolution_px) == ("tiny", "tiny", "mocov2", 16)
    assert (card.projection, card.mean, card.std) == ((16, 8), tiny().views.mean, tiny().views.std)
    assert card.recipe == json.loads(json.dumps(asdict(tiny())))
    assert card.data == {"images": 64, "terms": "none"} and card.training["steps"] == 6
    assert {path.name for path in (tmp_path / "run").iterdir()} == {WEIGHTS, CARD, METRICS, "checkpoints"}
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]


def test_progress_counts_the_steps_and_the_terminal_stays_empty(
    pixels: Tensor, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, int]] = []
    train(tiny(), pixels, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 6) for step in range(1, 7)]
    assert capfd.readouterr() == ("", "") and not caplog.messages


@pytest.mark.parametrize(
    ("change", "make", "message"),
    [
        ({"lr": 0.1}, lambda p: p, "of a recipe with lr 0.05, not 0.1"),
        ({"net": "resnet"}, lambda p: p, "of a recipe with net tiny, not resnet"),
        ({}, lambda p: p.flip(0), "of 64 other images than these 64"),
        ({}, lambda p: p[:63], "of 64 other images than these 63"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(
    pixels: Tensor, finished: Path, change: dict[str, Any], make: Callable[[Tensor], Tensor], message: str
) -> None:
    before = (finished / LAST).read_bytes()
    with refused(TrainingError, match=message):
        train(tiny(**change), make(pixels), finished, resume=True)
    assert (finished / LAST).read_bytes() == before


def test_a_checkpoint_from_before_a_setting_existed_is_of_its_default(
    pixels: Tensor, finished: Path, tmp_path: Path
) -> None:
    data = torch.load(finished / LAST, weights_only=True)
    for field in ("accumulate", "distill", "elastic", "teacher_views"):
        del data["subnet_zoo"]["recipe"][field]
    (tmp_path / "checkpoints").mkdir()
    torch.save(data, tmp_path / LAST)
    train(tiny(), pixels, tmp_path, resume=True)
    assert (tmp_path / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()
    with pytest.raises(TrainingError, match="of a recipe with accumulate 1, not 2"):
        train(tiny(accumulate=2), pixels, tmp_path, resume=True)


def unmarked(out: Path, **changes: Tensor) -> Path:
    """A run whose checkpoint does not say what it belongs to."""
    data = torch.load(out / LAST, weights_only=True)
    del data["subnet_zoo"]
    data["state_dict"] |= changes
    return data


def test_a_checkpoint_without_a_mark_is_known_by_its_shapes(pixels: Tensor, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save(unmarked(finished), tmp_path / LAST)
    train(tiny(), pixels, tmp_path, resume=True)
    assert (tmp_path / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()
    torch.save(unmarked(finished, **{"training_module._model.projector.3.bias": torch.zeros(9)}), tmp_path / LAST)
    with pytest.raises(TrainingError, match=r"of another network \(it differs in training_module._model.projector.3"):
        train(tiny(), pixels, tmp_path, resume=True)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"junk" * 99])
def test_a_damaged_checkpoint_is_refused_in_one_line(
    pixels: Tensor, finished: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / LAST).write_bytes(damage((finished / LAST).read_bytes()))
    with refused(TrainingError, match=r"last.ckpt is damaged \(.*\); delete it and train anew"):
        train(tiny(), pixels, tmp_path, resume=True)


def test_a_checkpoint_that_nobody_asked_to_resume_is_not_overwritten(pixels: Tensor, finished: Path) -> None:
    before = (finished / LAST).read_bytes()
    with pytest.raises(TrainingError, match="of an earlier run; resume that, or train into another folder"):
        train(tiny(), pixels, finished)
    assert (finished / LAST).read_bytes() == before


def test_images_smaller_than_a_crop_or_fewer_than_a_batch_are_refused(pixels: Tensor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(TrainingError, match="the images are 12 px and the largest crop 16 px"):
        train(tiny(), pixels[..., :12], out)
    with pytest.raises(TrainingError, match="15 images are fewer than a batch of 16"):
        train(tiny(), pixels[:15], out)
    assert not out.exists()


def test_a_loss_that_is_not_finite_stops_training_and_names_the_step(pixels: Tensor, tmp_path: Path) -> None:
    with refused(TrainingError, match=r"the loss is .*nan.* at step \d; train anew with a lower"):
        train(tiny(lr=1e30, warmup=0), pixels, tmp_path)
    assert not (tmp_path / WEIGHTS).exists()


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e6])
def test_weights_that_are_not_finite_after_the_last_step_are_not_saved(
    value: float, pixels: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the last step no loss tells; 1e6 is finite in 32 bits and not in the 16 that are saved."""
    whole = search.oneshot.pretrain.do_job

    def diverged(*args: Any, **options: Any) -> SSL:
        ssl = whole(*args, **options)
        with torch.no_grad():
            weight = next(iter(ssl.student.values()))
            weight[(0,) * weight.ndim] = value
        return ssl

    monkeypatch.setattr(search.oneshot.pretrain, "do_job", diverged)
    with pytest.raises(TrainingError, match=r"1 tensors are not finite after the last step, .*nothing was saved"):
        train(tiny(), pixels, tmp_path)
    assert not (tmp_path / WEIGHTS).exists() and not (tmp_path / CARD).exists()


def test_when_the_disk_is_full_the_previous_checkpoint_stays_usable(
    pixels: Tensor, finished: Path, tmp_path: Path
) -> None:
    with (
        no_file_above(4000),
        pytest.raises(WriteFailed, match=r"cannot be written .*; free \d+ MiB and resume") as caught,
    ):
        train(tiny(), pixels, tmp_path)
    assert "\n" not in str(caught.value) and list((tmp_path / "checkpoints").iterdir()) == []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(3, patch, ctrl_c)
        train(tiny(), pixels, tmp_path)
    with no_file_above(4000), pytest.raises(WriteFailed):
        train(tiny(), pixels, tmp_path, resume=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]
    assert checkpoint(tmp_path)["global_step"] == 2
    train(tiny(), pixels, tmp_path, resume=True)
    assert (tmp_path / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "mocov2"])
def test_every_objective_trains_is_resumed_exactly_and_keeps_its_heads_to_itself(
    pixels: Tensor, tmp_path: Path, objective: str
) -> None:
    recipe = tiny(objective=objective, random_subnets=1)
    train(recipe, pixels, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(5, patch, ctrl_c)
        train(recipe, pixels, tmp_path / "out")
    made = train(recipe, pixels, tmp_path / "out", resume=True)
    assert equal(checkpoint(tmp_path / "out")["state_dict"], checkpoint(tmp_path / "whole")["state_dict"])
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert load_supernet(tmp_path / "out").card.objective == objective
    assert {name.split(".")[0] for name in made.weights} == {"backbone", "projector"}


def test_the_teacher_s_own_views_are_those_of_the_recipe(pixels: Tensor) -> None:
    still = Views(crop_px=16, min_scale=1.0, ratio=(1.0, 1.0), flip_p=0, jitter_p=0, gray_p=0)
    ssl = SSL(tiny(teacher_views=still), pixels)
    usual, (first, second) = SSL(tiny(), pixels).two_views(0), ssl.two_views(0)
    assert torch.equal(first, usual[0]) and not torch.equal(second, usual[1])
    order = np.random.default_rng((0, 0)).permutation(64)[:16]
    torch.testing.assert_close(second, center(pixels[torch.from_numpy(order)], 12), atol=0.5, rtol=0)
