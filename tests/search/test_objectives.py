"""Laws of every objective, and what each one does beside its loss."""

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search.nets import NETS
from search.objectives import BYOL, OBJECTIVES, DenseCL, MoCo, Objective, ReSSL, SimCLR, Tensors, nt_xent
from search.objectives.densecl import DenseProjector
from search.oneshot.ssl import Projected
from tests.search.small_supernets import TINY, randomize_norms

B, D, K, PX = 4, 8, 12, 12


def network(size: str = "largest", seed: int = 0) -> Projected:
    """A network whose every parameter matters: no residual starts at zero."""
    architecture = {"largest": TINY.largest, "smallest": TINY.smallest}[size](PX)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Projected(TINY, architecture, hidden_dim=6, projection_dim=D)
    randomize_norms(made, seed)
    return made.train()


def view(seed: int = 0) -> Tensor:
    return torch.randn(B, 3, PX, PX, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def queue() -> dict[str, object]:
    return {"dim": D, "queue": K, "temperature": 0.1, "generator": torch.Generator().manual_seed(0)}


MAKE: Mapping[str, Callable[[Projected], Objective]] = {
    "mocov2": lambda teacher: MoCo(teacher, **queue()),
    "ressl": lambda teacher: ReSSL(teacher, teacher_temperature=0.04, **queue()),
    "densecl": lambda teacher: DenseCL(teacher, crop_px=PX, hidden_dim=6, weight=0.5, **queue()),
    "byol": lambda teacher: BYOL(teacher, dim=D, hidden_dim=6),
    "simclr": lambda teacher: SimCLR(temperature=0.5),
}
WITH_TEACHER = [name for name in MAKE if name != "simclr"]


@pytest.fixture(params=MAKE)
def objective(request: pytest.FixtureRequest) -> Objective:
    return make(request.param)


def make(name: str) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MAKE[name](network(seed=1)).train()


def loss_of(objective: Objective, student: Projected) -> Tensor:
    x1, x2 = view(1), view(2)
    return objective.loss(objective.encode(student, x1, x2), objective.targets(x1, x2))


def test_all_are_tested_here() -> None:
    assert MAKE.keys() == OBJECTIVES.keys()
    assert all(type(make(name)) is OBJECTIVES[name] for name in MAKE)


@pytest.mark.parametrize("size", ["largest", "smallest"])
def test_a_gradient_reaches_every_parameter_of_student_and_heads_and_none_of_the_teacher(
    objective: Objective, size: str
) -> None:
    student = network(size)
    loss = loss_of(objective, student)
    assert loss.shape == () and loss.dtype == torch.float32 and loss.isfinite()
    loss.backward()
    heads = {f"head {k}": p for k, p in objective.named_parameters() if p.requires_grad}
    for name, parameter in (dict(student.named_parameters()) | heads).items():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # A bias before a normalization, or one that all projections of a contrast share, may be without effect.
        assert parameter.grad.any() or name.endswith("bias"), name
    assert all(p.grad is None for p in objective.parameters() if not p.requires_grad)


def test_heads_are_those_that_the_papers_name() -> None:
    heads = {n: {k.split(".")[0] for k, p in make(n).named_parameters() if p.requires_grad} for n in MAKE}
    assert heads == {"mocov2": set(), "ressl": set(), "simclr": set(), "byol": {"predictor"}, "densecl": {"dense"}}


def test_targets_carry_no_gradient_and_depend_on_the_teacher_alone(objective: Objective) -> None:
    targets = objective.targets(view(1), view(2))
    assert not any(target.requires_grad for target in targets)
    assert all(len(target) == B for target in targets)
    assert all(torch.equal(a, b) for a, b in zip(targets, objective.targets(view(1), view(2)), strict=True))


def test_projections_come_first_and_the_batch_is_dimension_0(objective: Objective) -> None:
    encoded = objective.encode(network(), view(1), view(2))
    assert encoded[0].shape == (B, D) and all(len(part) == B for part in encoded)


def test_the_length_of_an_encoding_does_not_matter(objective: Objective) -> None:
    encoded, targets = objective.encode(network(), view(1), view(2)), objective.targets(view(1), view(2))
    scaled = tuple(3 * part for part in encoded)
    torch.testing.assert_close(objective.loss(encoded, targets), objective.loss(scaled, targets))


def test_the_order_of_the_images_does_not_matter(objective: Objective) -> None:
    order = torch.tensor([2, 0, 3, 1])
    encoded, targets = objective.encode(network(), view(1), view(2)), objective.targets(view(1), view(2))
    moved: list[Tensors] = [tuple(part[order] for part in parts) for parts in (encoded, targets)]
    torch.testing.assert_close(objective.loss(encoded, targets), objective.loss(*moved))


def test_the_loss_is_computed_in_fp32_under_autocast(objective: Objective) -> None:
    encoded, targets = objective.encode(network(), view(1), view(2)), objective.targets(view(1), view(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective.loss(encoded, targets)
    assert torch.equal(inside, objective.loss(encoded, targets))


def test_encoding_in_pieces_and_gathering_is_encoding_the_pieces_in_one(objective: Objective) -> None:
    """What processes rely on: the loss of all images needs nothing but their encodings and targets."""
    student = network()
    halves = [objective.encode(student, view(1)[i : i + 2], view(2)[i : i + 2]) for i in (0, 2)]
    gathered = tuple(torch.cat(parts) for parts in zip(*halves, strict=True))
    whole = objective.encode(student, view(1), view(2))
    assert [part.shape for part in gathered] == [part.shape for part in whole]
    assert objective.loss(gathered, objective.targets(view(1), view(2))).isfinite()


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_an_update_moves_every_parameter_of_the_teacher_by_name_and_no_buffer(name: str) -> None:
    objective, student = make(name), dict(reversed(list(network(seed=5).named_parameters())))
    if isinstance(objective, DenseCL):
        with torch.no_grad():  # they start equal
            for parameter in objective.dense.parameters():
                parameter += 1
    before, targets = copy.deepcopy(objective.state_dict()), objective.targets(view(1), view(2))
    buffers = {name: b.clone() for name, b in objective.named_buffers()}
    objective.update(student, targets, ema=0.75)
    theirs = {f"teacher.{k}": p for k, p in student.items()}
    theirs |= {k.replace("dense.", "dense_teacher."): p for k, p in objective.named_parameters() if p.requires_grad}
    for key, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, before[key])
        else:
            torch.testing.assert_close(parameter, 0.75 * before[key] + 0.25 * theirs[key])
    for key, buffer in objective.named_buffers():
        assert ("queue" in key) != torch.equal(buffer, buffers[key]), key


def test_an_update_needs_no_gradient_and_leaves_the_student_alone(objective: Objective) -> None:
    student = network(seed=5)
    before = copy.deepcopy(student.state_dict())
    objective.update(dict(student.named_parameters()), objective.targets(view(1), view(2)), ema=0.5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
    assert not any(buffer.requires_grad for buffer in objective.buffers())


def test_simclr_passes_both_views_together() -> None:
    student, objective = network(), make("simclr")
    z1, z2 = (z.detach() for z in objective.encode(student, view(1), view(2)))
    assert torch.equal(torch.cat([z1, z2]), student(torch.cat([view(1), view(2)])))
    torch.testing.assert_close(objective.loss((z1, z2), ()), nt_xent(torch.cat([z1, z2]), 0.5))


def test_byol_is_the_squared_distance_of_unit_vectors_both_ways() -> None:
    p1, p2, z1, z2 = (F.normalize(torch.randn(B, D), dim=1) for _ in range(4))
    wanted = ((p1 - z2).square().sum(1) + (p2 - z1).square().sum(1)).mean() / 2
    torch.testing.assert_close(make("byol").loss((p1, p2), (z1, z2)), wanted)
    assert float(make("byol").loss((z2, z1), (z1, z2))) == pytest.approx(0, abs=1e-6)


def test_byol_predicts_from_each_view_what_the_teacher_makes_of_the_other() -> None:
    objective, student = make("byol"), network()
    assert isinstance(objective, BYOL)
    p1, p2 = objective.encode(student, view(1), view(2))
    assert torch.equal(p1, objective.predictor(student(view(1)))) and not torch.equal(p1, p2)
    z1, z2 = objective.targets(view(1), view(2))
    assert torch.equal(z2, objective.teacher(view(2))) and torch.equal(z1, objective.teacher(view(1)))


def test_densecl_s_keys_are_the_teacher_s_at_the_matching_positions() -> None:
    objective = make("densecl")
    assert isinstance(objective, DenseCL) and objective.level == "p1"
    teacher = objective.teacher
    assert isinstance(teacher, Projected)
    k, matched, pooled = objective.targets(view(1), view(2))
    assert torch.equal(k, F.normalize(teacher(view(2)), dim=1))
    map1, map2 = (teacher.backbone.features(view(seed))["p1"].flatten(2).detach() for seed in (1, 2))
    dense = objective.dense_teacher(teacher.backbone.features(view(2))["p1"]).flatten(2).detach()
    assert matched.shape == (B, 36, D) and pooled.shape == (B, D)
    for i in range(B):
        for s in range(36):
            j = max(range(36), key=lambda j: float(F.cosine_similarity(map1[i, :, s], map2[i, :, j], dim=0)))
            torch.testing.assert_close(matched[i, s], F.normalize(dense[i, :, j], dim=0))
        torch.testing.assert_close(pooled[i], F.normalize(dense[i].mean(1), dim=0))


def test_densecl_s_loss_is_the_weighted_sum_and_a_weight_of_zero_is_moco() -> None:
    student, whole, dense, none = network(), *(make("densecl") for _ in range(3))
    for objective, weight in ((dense, 1.0), (none, 0.0)):
        assert isinstance(objective, DenseCL)
        objective.weight = weight
    both, only_dense, only_whole = (loss_of(objective, student) for objective in (whole, dense, none))
    torch.testing.assert_close(both, 0.5 * only_dense + 0.5 * only_whole)
    moco = make("mocov2")
    moco.queue.load_state_dict(none.queue.state_dict())
    torch.testing.assert_close(only_whole, loss_of(moco, student))


def test_a_narrow_network_s_dense_projection_uses_the_first_channels_alone() -> None:
    projector = DenseProjector(6, 5, D).train()
    x = torch.randn(B, 4, 3, 3)
    padded = torch.cat([x, torch.zeros(B, 2, 3, 3)], dim=1)
    torch.testing.assert_close(projector(x), projector(padded))
    projector(x).square().sum().backward()
    grad = projector.first.weight.grad
    assert grad is not None and grad[:, :4].any() and not grad[:, 4:].any()


@pytest.mark.parametrize(
    ("net", "crop_px", "level"),
    [("mobile", 16, "p2"), ("resnet", 16, "p2"), ("resnet", 64, "p3"), ("resnet-ar50to101", 224, "p5")],
)
def test_the_dense_map_is_the_coarsest_with_four_positions_a_side(net: str, crop_px: int, level: str) -> None:
    from search.objectives.densecl import dense_map

    family = NETS[net]
    with torch.device("meta"):
        backbone = family.build(family.smallest(crop_px))
    was = {name: p.shape for name, p in backbone.named_buffers()}
    name, channels = dense_map(backbone, crop_px)
    assert name == level and channels > 0 and backbone.training
    assert {name: p.shape for name, p in backbone.named_buffers()} == was


def test_maps_of_more_than_eight_positions_a_side_are_pooled() -> None:
    from search.objectives.densecl import positions

    assert positions(torch.zeros(1, 2, 7, 7)).shape == (1, 2, 7, 7)
    assert torch.equal(positions(torch.ones(1, 2, 16, 16)), torch.ones(1, 2, 8, 8))


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_the_teacher_normalizes_with_the_statistics_of_its_own_batch(name: str) -> None:
    objective = make(name)
    found = []
    for value in (100.0, -100.0):
        for key, buffer in objective.named_buffers():
            if key.endswith("running_mean"):
                buffer.fill_(value)
        found.append(objective.targets(view(1), view(2)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_keys_are_unit_vectors_that_are_queued_once_and_the_oldest_leave_first() -> None:
    objective, student = make("mocov2"), dict(network(seed=5).named_parameters())
    assert isinstance(objective, MoCo)
    first = objective.queue.keys_KD.clone()
    for keys in (first, *objective.targets(view(1), view(2))):
        torch.testing.assert_close(keys.norm(dim=1), torch.ones(len(keys)))
    batches = [unit(B, D, seed=seed) for seed in range(K // B + 1)]
    objective.update(student, (batches[0],), ema=0.9)
    assert torch.equal(objective.queue.keys_KD, torch.cat([batches[0], first[B:]])) and objective.queue.enqueued == B
    for batch in batches[1:]:
        objective.update(student, (batch,), ema=0.9)
    assert torch.equal(objective.queue.keys_KD, torch.cat([batches[-1], *batches[1:-1]]))
    assert objective.queue.enqueued == K + B
