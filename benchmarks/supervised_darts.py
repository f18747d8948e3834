"""The supervised search of cells, for comparison: DARTS with cross-entropy, otherwise as ``zoo darts`` searches.

    python benchmarks/supervised_darts.py --train DIR -o OUT [--preset quick] [--seeds 4]

A labelled set is a folder with one sub-folder a class. The same halves, views, steps, optimizers and rule of derivation
as without labels; only the loss differs. Writes ``OUT/SEED/genotype.json`` for ``benchmarks/cells.py``; the same
command goes on where it stopped.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from search.cells.recipe import PRESETS, DartsRecipe
from search.images.read import read_images
from search.nets.genotype import write_genotype
from search.oneshot.darts.loss import Contrast
from search.oneshot.darts.search import search_cells
from search.oneshot.darts.space import halves


class CrossEntropy(Contrast):
    """Both views of an image have its class; the projector's output is the classes' scores."""

    def __init__(self, labels: Tensor, recipe: DartsRecipe, pixels: Tensor) -> None:
        super().__init__(recipe, pixels)
        # Split as the pixels are, by looking like them.
        like = labels.to(torch.int16)[:, None, None, None].expand(-1, 1, *pixels.shape[-2:])
        self.classes = halves(like, recipe)

    def loss(self, half: str, step: int) -> Tensor:
        labels = self.classes.of(half)[self.chosen(half, step), 0, 0, 0].long().to(self.device)
        return F.cross_entropy(self.model(self.batch(half, step)), labels.repeat(2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--preset", choices=list(PRESETS), default="quick")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()

    recipe = PRESETS[args.preset]()
    images = read_images(args.train, size_px=2 * args.resolution, limit=recipe.images)
    classes = sorted(path.name for path in args.train.iterdir() if path.is_dir())
    labels = torch.tensor([classes.index(path.parent.name) for path in images.paths])
    recipe = replace(recipe, projection_dim=len(classes), epochs=args.epochs or recipe.epochs)
    if args.epochs:
        recipe = replace(recipe, warmup_epochs=min(recipe.warmup_epochs, args.epochs - 1))
    for seed in range(args.seeds):
        out = args.out / str(seed)
        make_loss = partial(CrossEntropy, labels)
        found = search_cells(
            replace(recipe, seed=seed), images.pixels, out, resume=True, make_loss=make_loss, say=print
        )
        write_genotype(found.genotype, out / "genotype.json")
        print(f"{out / 'genotype.json'}  {found.genotype}")


if __name__ == "__main__":
    main()
