"""What does NNI cost a search of cells? A step through NNI and Lightning against the same step written plainly.

    python benchmarks/darts_overhead.py [--cells 8] [--channels 16] [--crop 32] [--batch 16] [--pairs 5]

Both do: views and NT-Xent of a batch of one half, backward and Adam on the architecture; then of a batch of the other
half, backward, clipping and SGD on the weights. The plain step mixes operations by a loop over ``nn.Module``s and its
parameters are two tensors [14, 8], as DARTS wrote it. They alternate in one process, so that a drift of the machine
hits both; the ratio is that of each pair, in seconds of the process's cores, for the clock's also count whatever else
runs. Also printed: images a second by the clock, and the process's peak memory: 0.3 GB an image of the batch at the
default size.
"""

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from search.cells.recipe import DartsRecipe, paper
from search.machines import quiet
from search.nets.cell_body import Cell, CellBackbone, Place, make_op, stem_stride
from search.nets.genotype import EDGES, INPUTS, NODES, PRIMITIVES, ROLES
from search.nets.layers import projector_of
from search.objectives import nt_xent
from search.oneshot.darts.loss import Contrast
from search.oneshot.darts.space import ALPHAS, WEIGHTS, DartsSpace
from search.oneshot.darts.strategy import Darts, DartsModule
from search.oneshot.engine.trainer import make_trainer


class ThroughNni:
    """Our module's step, with Lightning's optimizers, without its loop over batches."""

    def __init__(self, recipe: DartsRecipe, pixels: Tensor, folder: Path) -> None:
        strategy = Darts(recipe)
        self.module: DartsModule = strategy.configure_oneshot_module(Contrast(recipe, pixels))
        self.module.set_model(strategy.mutate_model(DartsSpace(recipe)))
        self.module.train()
        trainer = make_trainer(folder, [], precision="fp32", max_epochs=1)
        trainer.strategy.connect(self.module)
        trainer.strategy._lightning_module = self.module
        self.module.trainer = trainer
        self.module.setup("fit")
        trainer.strategy.setup_optimizers(trainer)
        trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = False
        self.module.log_prob_every_n_step = 10**9

    def step(self) -> None:
        self.module.training_step({"train": WEIGHTS, "val": ALPHAS}, 1)


class MixedOp(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.ops = nn.ModuleList(make_op(op, channels, stride, searching=True) for op in PRIMITIVES)
        self.weights: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return sum(w * op(x) for w, op in zip(self.weights, self.ops, strict=True))  # type: ignore[return-value]


class Plain:
    """The same step in plain torch."""

    def __init__(self, recipe: DartsRecipe, ssl: Contrast) -> None:
        self.recipe, self.ssl = recipe, ssl
        self.mixed: dict[str, list[tuple[int, MixedOp]]] = {role: [] for role in ROLES}
        backbone = CellBackbone(recipe.cells, recipe.channels, stem_stride(recipe.crop_px), self._cell)
        width = backbone.embedding_dim
        self.network = nn.Sequential(backbone, projector_of(width, width, recipe.projection_dim))
        self.network.to(memory_format=torch.channels_last).train()
        self.alphas = {role: (1e-3 * torch.randn(len(EDGES), len(PRIMITIVES))).requires_grad_() for role in ROLES}
        self.weights = list(self.network.parameters())
        self.sgd = torch.optim.SGD(self.weights, recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
        self.adam = torch.optim.Adam(self.alphas.values(), recipe.alpha_lr, betas=(0.5, 0.999), weight_decay=1e-3)
        self.steps = 0

    def _cell(self, place: Place) -> Cell:
        nodes: list[list[tuple[int, nn.Module]]] = [[] for _ in range(NODES)]
        for e, (node, source) in enumerate(EDGES):
            mixed = MixedOp(place.channels, place.stride if source < INPUTS else 1)
            self.mixed[place.role].append((e, mixed))
            nodes[node].append((source, mixed))
        return Cell(place, nodes, affine=False)

    def _loss(self, half: str) -> Tensor:
        for role in ROLES:
            weights = self.alphas[role].softmax(dim=1)
            for e, mixed in self.mixed[role]:
                mixed.weights = weights[e]
        return nt_xent(self.network(self.ssl.batch(half, self.steps)), self.recipe.temperature)

    def step(self) -> None:
        self.adam.zero_grad()
        self._loss(ALPHAS).backward(inputs=list(self.alphas.values()))
        self.adam.step()
        self.sgd.zero_grad()
        self._loss(WEIGHTS).backward(inputs=self.weights)
        nn.utils.clip_grad_norm_(self.weights, self.recipe.clip)
        self.sgd.step()
        self.steps += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()

    recipe = replace(
        paper(), cells=args.cells, channels=args.channels, crop_px=args.crop, batch=args.batch, precision="fp32"
    )
    pixels = torch.randint(0, 256, (5 * args.batch, 3, args.crop, args.crop), dtype=torch.uint8)
    clock: dict[str, list[float]] = {"nni": [], "plain": []}
    cores: dict[str, list[float]] = {"nni": [], "plain": []}
    with quiet(), tempfile.TemporaryDirectory() as folder:
        ours = ThroughNni(recipe, pixels, Path(folder))
        plain = Plain(recipe, ours.module.training_module)
        for pair in range(args.pairs + 1):  # the first one warms up
            for name, side in (("nni", ours), ("plain", plain)):
                started, worked = time.perf_counter(), time.process_time()
                side.step()  # type: ignore[attr-defined]
                if pair:
                    clock[name].append(time.perf_counter() - started)
                    cores[name].append(time.process_time() - worked)
    ratios = np.array(cores["nni"]) / np.array(cores["plain"])
    result = {
        **{name: getattr(args, name) for name in ("cells", "channels", "crop", "batch")},
        "threads": torch.get_num_threads(),
        **{f"{name}_core_s": round(float(np.median(taken)), 3) for name, taken in cores.items()},
        **{f"{name}_clock_s": round(float(np.median(taken)), 3) for name, taken in clock.items()},
        "ratio_median": round(float(np.median(ratios)), 3),
        "ratio_min_max": [round(float(ratios.min()), 3), round(float(ratios.max()), 3)],
        "images_per_s": round(2 * args.batch / float(np.median(clock["nni"])), 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
