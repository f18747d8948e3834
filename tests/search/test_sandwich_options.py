"""Each option of the sandwich does what it says to a step, and nothing where it is left alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search.errors import TrainingError
from search.images.views import views
from search.objectives import OBJECTIVES
from search.objectives.ressl import distillation
from search.oneshot.space import SupernetSpace
from search.oneshot.ssl import SSL
from search.oneshot.step import Metrics, take_step
from search.oneshot.strategy import Sandwich, SandwichModule
from search.recipes import Recipe, Stage
from search.types import Architecture
from tests.conftest import refused
from tests.search.small_runs import Stepping
from tests.search.small_supernets import randomize_norms, stripes

PX = 12


def tiny(**changes: Any) -> Recipe:
    recipe = Recipe(
        epochs=2.0,
        batch=8,
        queue=16,
        hidden_dim=8,
        projection_dim=6,
        lr=0.05,
        warmup=0.0,
        stages=(Stage(until=1.0, crop_px=PX),),
        precision="fp32",
    )
    return replace(recipe, **{"net": "tiny"} | changes)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return stripes(32, 16)


class Training(Stepping):
    """A supernet in the middle of training, without Lightning."""

    def __init__(self, recipe: Recipe, pixels: Tensor) -> None:
        self.ssl = SSL(recipe, pixels)
        space = SupernetSpace(self.ssl.net, hidden_dim=recipe.hidden_dim, projection_dim=recipe.projection_dim)
        self.ssl.set_model(Sandwich().mutate_model(space))
        randomize_norms(self.ssl.model)  # no residual is the identity
        self.module = SandwichModule(self.ssl)
        self.module.train()
        super().__init__(self.ssl.configure_optimizers())
        self.chosen: list[Architecture] = []

    def choose(self, architecture: Architecture) -> None:
        self.chosen.append(architecture)
        self.module.choose(architecture)

    def step(self, number: int = 0) -> Metrics:
        self.global_step = number
        return take_step(self, self.ssl, self.choose)  # type: ignore[arg-type]

    def gradients(self) -> dict[str, Tensor]:
        return {name: p.grad.clone() for name, p in self.ssl.student.items() if p.grad is not None}


def gradients_of(recipe: Recipe, pixels: Tensor) -> dict[str, Tensor]:
    training = Training(recipe, pixels)
    training.step()
    return training.gradients()


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6, msg=name)


def test_the_largest_is_trained_alone_at_first_and_its_divisor_is_one(pixels: Tensor) -> None:
    ssl = SSL(tiny(slow_start=0.5, random_subnets=2), pixels)
    roles = [[student.role for student in ssl.students(step)] for step in range(8)]
    assert roles == [["largest"]] * 4 + [["largest", "smallest", "random", "random"]] * 4
    assert ssl.students(0)[0].divisor == 1
    training = Training(tiny(slow_start=0.5), pixels)
    metrics = training.step(0)
    assert metrics["loss_largest"] is not None and metrics["loss_smallest"] is metrics["loss_random"] is None


def test_weights_share_the_loss_out_and_a_weight_of_zero_leaves_a_network_out(pixels: Tensor) -> None:
    def shares(**changes: Any) -> list[float]:
        return [1 / s.divisor for s in SSL(tiny(random_subnets=2, **changes), pixels).students(0)]

    assert shares() == [0.25] * 4
    assert shares(loss_weights=(2.5, 1.0, 0.75)) == pytest.approx([0.5, 0.2, 0.15, 0.15])
    assert shares(loss_weights=(3.0, 1.0, 0.0)) == pytest.approx([0.75, 0.25])


def test_a_step_s_gradient_is_the_weighted_sum_of_its_networks(pixels: Tensor) -> None:
    whole = gradients_of(tiny(loss_weights=(3.0, 2.0, 5.0)), pixels)
    training = Training(tiny(), pixels)
    ssl = training.ssl
    x1, x2 = ssl.two_views(0)
    for share, student in zip((0.3, 0.2, 0.5), ssl.students(0), strict=True):
        training.choose(student.architecture)
        (share * ssl.objective.loss(ssl.objective.encode(ssl.model, x1, x2), ssl.objective.targets(x1, x2))).backward()
    close(whole, training.gradients())


def test_distillation_is_the_cross_entropy_of_relations_and_the_largest_gets_none_of_it() -> None:
    z, largest = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    others = F.normalize(torch.randn(9, 6), dim=1)
    wanted = (F.normalize(largest, dim=1) @ others.T / 0.05).softmax(1)
    mine = (F.normalize(z, dim=1) @ others.T / 0.1).log_softmax(1)
    loss = distillation(z, largest, others, 0.1)
    torch.testing.assert_close(loss, -(wanted * mine).sum(1).mean())
    loss.backward()
    assert z.grad is not None and z.grad.any() and largest.grad is None
    own = F.normalize(largest.detach(), dim=1)
    torch.testing.assert_close(distillation(z, largest, None, 0.1), distillation(z, largest, own, 0.1))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_distillation_adds_to_the_loss_of_all_networks_but_the_largest(pixels: Tensor, objective: str) -> None:
    queue = 16 if objective in ("mocov2", "ressl", "densecl") else 0
    without = Training(tiny(objective=objective, queue=queue), pixels).step()
    with_it = Training(tiny(objective=objective, queue=queue, distill=0.5), pixels).step()
    assert without["loss_largest"] == with_it["loss_largest"]
    for role in ("loss_smallest", "loss_random"):
        more = with_it[role] - without[role]  # type: ignore[operator]
        assert 0 < more < 0.5 * 2 * np.log(8 + queue) + 2


def test_random_networks_see_shrunk_views_and_others_do_not(pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(tiny(elastic=(0.75, 1.0), random_subnets=2), pixels)
    sides: list[int] = []
    encode = training.ssl.objective.encode
    monkeypatch.setattr(
        training.ssl.objective, "encode", lambda net, x1, x2: (sides.append(x1.shape[-1]), encode(net, x1, x2))[1]
    )
    for step in range(6):
        training.step(step)
    steps = [sides[i : i + 4] for i in range(0, len(sides), 4)]
    assert all(step[:2] == [PX, PX] for step in steps)
    assert {side for step in steps for side in step[2:]} == {9, PX}


@pytest.mark.parametrize("objective", ["byol", "simclr", "mocov2"])
def test_parts_of_a_batch_add_up_to_the_mean_of_their_gradients(pixels: Tensor, objective: str) -> None:
    recipe = tiny(objective=objective, queue=16 if objective == "mocov2" else 0)
    training = Training(replace(recipe, accumulate=2), pixels)
    ssl = training.ssl
    by_hand = Training(recipe, pixels)
    x1, x2 = by_hand.ssl.two_views(0)
    for part in range(2):
        rows = slice(4 * part, 4 * part + 4)
        assert all(torch.equal(a, b[rows]) for a, b in zip(ssl.two_views(0, part), (x1, x2), strict=True))
        targets = by_hand.ssl.objective.targets(x1[rows], x2[rows])
        for student in by_hand.ssl.students(0):
            by_hand.choose(student.architecture)
            encoded = by_hand.ssl.objective.encode(by_hand.ssl.model, x1[rows], x2[rows])
            (by_hand.ssl.objective.loss(encoded, targets) / 6).backward()
    training.step()
    close(training.gradients(), by_hand.gradients())


def test_parts_are_enqueued_together_and_the_teacher_moves_once(pixels: Tensor) -> None:
    training = Training(tiny(accumulate=4), pixels)
    calls: list[int] = []
    update = training.ssl.objective.update
    training.ssl.objective.update = lambda *args, **kwargs: (calls.append(1), update(*args, **kwargs))[1]  # type: ignore[method-assign, func-returns-value]
    training.step()
    assert calls == [1] and training.ssl.objective.queue.enqueued == 8  # type: ignore[union-attr, comparison-overlap]


def one_by_one(training: Training, groups: int) -> tuple[Tensor, Tensor]:
    """The loss of the largest network with groups that are encoded by hand, and the keys."""
    ssl = training.ssl
    x1, x2 = ssl.two_views(0)
    training.choose(ssl.net.largest(PX))
    size = len(x1) // groups
    z = torch.cat([ssl.model(x1[i : i + size]) for i in range(0, len(x1), size)])
    keys = torch.empty(len(x1), 6)
    for g in range(groups):
        (keys[g::groups],) = ssl.objective.targets(x1[g::groups], x2[g::groups])
    return ssl.objective.loss((z,), (keys,)), keys


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_are_normalized_apart_and_compared_together_and_keys_have_other_groups(
    pixels: Tensor, groups: int
) -> None:
    training = Training(tiny(norm_groups=groups), pixels)
    ssl = training.ssl
    loss, keys = one_by_one(training, groups)
    (found,) = ssl.targets(*ssl.two_views(0))
    torch.testing.assert_close(found, keys)
    metrics = training.step()
    assert metrics["loss_largest"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert metrics["loss_largest"] != pytest.approx(Training(tiny(), pixels).step()["loss_largest"], rel=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_goes_with_groups_and_parts(pixels: Tensor, objective: str) -> None:
    queue = 16 if objective in ("mocov2", "ressl", "densecl") else 0
    training = Training(tiny(objective=objective, queue=queue, norm_groups=2, accumulate=2, distill=0.5), pixels)
    before = {name: p.detach().clone() for name, p in training.ssl.student.items()}
    assert np.isfinite([v for v in training.step().values() if v is not None]).all()
    assert all(not torch.equal(p, before[name]) for name, p in training.ssl.student.items() if p.ndim > 1)


def test_a_part_of_a_batch_gets_the_views_that_it_would_get_in_the_whole(pixels: Tensor) -> None:
    settings = tiny().views
    draw: Callable[..., Tensor] = lambda x, **at: views(x, settings, torch.Generator().manual_seed(3), **at)  # noqa: E731
    assert torch.equal(draw(pixels[:8])[2:5], draw(pixels[2:5], start=2, of=8))


def test_only_copies_of_a_few_images_are_refused(pixels: Tensor) -> None:
    from search.oneshot.pretrain import check_run

    last = Path("none")
    check_run(tiny(), pixels, last, resume=False)
    with refused(TrainingError, match="only 1 of 32 images are not copies, fewer than a batch of 8"):
        check_run(tiny(), pixels[:1].expand(32, -1, -1, -1), last, resume=False)
