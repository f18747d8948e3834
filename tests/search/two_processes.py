"""What processes share: the first steps of several recipes, or a small search of cells within a budget.

``python -m tests.search.two_processes FOLDER RANK COUNT`` takes the steps; what a process knows at the end is in
``FOLDER/RANK.pt``: by recipe its losses, architectures and tensors. With ``OUT DEVICES`` it searches.
"""

import search.oneshot  # noqa: F401 - first

# isort: split
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from search.cells.derive import cell_costs
from search.nets import NETS
from search.objectives import OBJECTIVES
from search.oneshot.darts.search import search_cells
from search.oneshot.space import SupernetSpace
from search.oneshot.ssl import SSL
from search.oneshot.step import take_step
from search.oneshot.strategy import Sandwich, SandwichModule
from search.recipes import Recipe, Stage
from search.running import Running
from tests.search import small_cells
from tests.search.small_runs import Stepping
from tests.search.small_supernets import TINY, made_up_table, stripes

BASE = Recipe(
    epochs=10.0,
    batch=16,
    norm_groups=2,
    hidden_dim=8,
    projection_dim=6,
    lr=0.05,
    warmup=0.0,
    stages=(Stage(until=1.0, crop_px=12),),
    precision="fp32",
)
STEPS = 20


def recipes() -> dict[str, Recipe]:
    base = replace(BASE, net="tiny")
    made = {name: replace(base, objective=name, queue=32) for name in OBJECTIVES}
    # At a higher rate 20 steps multiply rounding by thousands; weights moved by 1e-7 do the same.
    made["options"] = replace(
        base, queue=32, accumulate=2, lr=0.002, distill=0.5, elastic=(0.75, 1.0), slow_start=0.2, epochs=20.0
    )
    return made


def train(recipe: Recipe) -> dict[str, Any]:
    ssl = SSL(recipe, stripes(32, 16))
    space = SupernetSpace(ssl.net, hidden_dim=recipe.hidden_dim, projection_dim=recipe.projection_dim)
    ssl.set_model(Sandwich().mutate_model(space))
    module, stepping = SandwichModule(ssl), Stepping(ssl.configure_optimizers())
    module.train()
    losses, chosen, seen = [], [], []
    start = {name: tensor.detach().clone() for name, tensor in ssl.student.items()}
    for step in range(STEPS):
        stepping.global_step = step
        seen.append(ssl.two_views(step)[0])
        chosen.append([list(student.architecture.choices) for student in ssl.students(step)])
        metrics = take_step(stepping, ssl, module.choose)  # type: ignore[arg-type]
        losses.append([metrics[f"loss_{role}"] for role in ("largest", "smallest", "random")])
    state = {name: tensor.detach().clone() for name, tensor in ssl.student.items()}
    moved = max(float((state[name] - tensor).abs().max()) for name, tensor in start.items())
    state |= {f"objective.{name}": tensor.detach().clone() for name, tensor in ssl.objective.named_parameters()}
    state |= {name: b.clone() for name, b in ssl.objective.named_buffers() if "queue" in name}
    return {"losses": losses, "chosen": chosen, "seen": seen, "state": state, "moved": moved}


def main(folder: Path, rank: int, count: int) -> None:
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=count)
    try:
        torch.save({name: train(recipe) for name, recipe in recipes().items()}, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def search_shared(out: Path, devices: int) -> None:
    costs = cell_costs(made_up_table("cell", 16), cells=5, channels=8)
    # One epoch: Adam and norms of two images multiply rounding by a hundred in each; weights moved by 1e-7 do the same.
    recipe, budget_ms = small_cells.tiny(batch=4, norm_groups=2, epochs=1), 1.02 * costs.network_ms(costs.fastest)
    how = Running(devices=devices)
    search_cells(recipe, stripes(32, 10), out, costs=costs, budget_ms=budget_ms, running=how)


if __name__ == "__main__":
    folder, *numbers = sys.argv[1:]
    if len(numbers) == 1:
        search_shared(Path(folder), int(numbers[0]))
    else:
        NETS[TINY.name] = TINY
        torch.set_num_threads(1)
        main(Path(folder), *map(int, numbers))
