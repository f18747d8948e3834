"""Strategies: one step of the search for cells, as NNI's one-shot module takes it, with a contrastive loss.

First-order bi-level optimization (Liu et al., DARTS, ICLR 2019, algorithm 1 with xi = 0) of NT-Xent in place of a loss
on labels (SSNAS, arXiv:2007.01500, section 3): Adam moves the architecture on a batch of one half of the images, then
SGD the weights on a batch of the other. Whatever is random in step t is drawn from (seed, t), so a resumed search
equals the uninterrupted one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty
from nni.nas.oneshot.pytorch.strategy import DARTS, GumbelDARTS
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer, GumbelSoftmax
from torch import Tensor, nn

from search import ranks
from search.cells.derive import Alphas, CellCosts
from search.cells.log import Epoch, from_plain, to_plain
from search.cells.recipe import DartsRecipe
from search.errors import TrainingError
from search.nets.genotype import ROLES
from search.oneshot.darts.latency import CellProfiler, Distribution, derived_distribution
from search.oneshot.darts.loss import SEED_STRIDE, Contrast
from search.oneshot.darts.space import ALPHAS, LABELS, WEIGHTS

_LOG, _BUDGET = "subnet_zoo_epochs", "subnet_zoo_budget_ms"
# What a step gets in place of batches; NNI takes the architecture's from ``val``.
TICK = {"train": WEIGHTS, "val": ALPHAS}


class DartsModule(DartsLightningModule):
    """NNI's one-shot module; the two phases of a step are its own."""

    training_module: Contrast
    log_of_epochs: tuple[Epoch, ...] = ()

    @cached_property
    def parameters_by_label(self) -> dict[str, nn.Parameter]:
        """Of every edge, one for all cells of its role, in the order of ``LABELS``."""
        found = {m.label: m._arch_alpha for m in self.modules() if isinstance(m, DifferentiableMixedLayer)}
        return {label: found[label] for role in ROLES for label in LABELS[role]}

    def arch_parameters(self) -> list[nn.Parameter]:
        """In an order that is the same in every process, or a resumed Adam would mix the edges up."""
        return list(self.parameters_by_label.values())

    @cached_property
    def weights(self) -> list[nn.Parameter]:
        """All that is trained but the architecture."""
        alphas = set(self.arch_parameters())
        return [p for p in self.parameters() if p not in alphas]

    def logits(self) -> dict[str, Tensor]:
        """By role [14, 8]."""
        return {role: torch.stack([self.parameters_by_label[label] for label in LABELS[role]]) for role in ROLES}

    def alphas(self) -> Alphas:
        """As numbers."""
        return {role: logits.detach().double().cpu().numpy() for role, logits in self.logits().items()}

    def export_probs(self) -> Distribution:
        """Of the cell that will be derived; with a gradient, which NNI's own numbers do not have."""
        softmax = {role: ranks.alike(logits.double().softmax(dim=1)) for role, logits in self.logits().items()}
        return derived_distribution(softmax)

    @property
    def budget_ms(self) -> float | None:
        """What the alpha step holds the expected milliseconds against."""
        return None if self.penalty is None else self.penalty.baseline

    def expected_ms(self) -> float | None:
        """Of the cell that will be derived, where there is a table."""
        with torch.no_grad():
            return None if self.penalty is None else float(self.penalty.profile(self.export_probs()))

    def log_probs(self, probs: Distribution) -> None:
        """Not one by one: ``search.cells.log`` keeps them."""

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Only the gradients that the coming optimizer step uses; a first-order phase needs no others.

        A phase has one backward pass, so the sum over all processes can follow it at once.
        """
        inputs = self.arch_parameters() if self.training_module.half == ALPHAS else self.weights
        super().manual_backward(loss, *args, inputs=inputs, **kwargs)
        ranks.add_gradients(inputs)

    def training_step(self, batch: dict[str, str], batch_idx: int) -> None:
        """NNI's two phases; ``batch`` only names the halves, for the step's number decides its images."""
        ssl, recipe = self.training_module, self.training_module.recipe
        self.trainer.optimizers[0].param_groups[0]["lr"] = recipe.lr_at(ssl.progress)
        for module in self.modules():
            if isinstance(module, GumbelSoftmax):
                module.tau = recipe.tau_at(ssl.progress)
        with torch.random.fork_rng(devices=[]):  # Gumbel's noise is drawn from the global generator
            torch.manual_seed(recipe.seed * SEED_STRIDE + int(ssl.step))
            super().training_step(batch, batch_idx)
        ssl.step += 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark it as this search's, and keep its log."""
        self.training_module.run.mark(checkpoint)
        checkpoint[_LOG] = [to_plain(epoch) for epoch in self.log_of_epochs]
        checkpoint[_BUDGET] = self.budget_ms

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise TrainingError for another search's."""
        self.training_module.run.check(checkpoint, self.state_dict())
        if checkpoint[_BUDGET] != self.budget_ms:
            asked, found = (f"{ms:g} ms" if ms else "no budget" for ms in (self.budget_ms, checkpoint[_BUDGET]))
            raise TrainingError(f"the checkpoint is of a search with {found}, not {asked}; resume with that")
        self.log_of_epochs = tuple(from_plain(epoch) for epoch in checkpoint[_LOG])


class _Ours(DARTS):
    """What differs from NNI's strategies: seeded parameters, our module, one loader for both halves."""

    def __init__(self, recipe: DartsRecipe, costs: CellCosts | None = None, budget_ms: float | None = None) -> None:
        penalty = None
        if costs is not None and budget_ms is not None:
            penalty = ExpectationProfilerPenalty(
                CellProfiler(costs), baseline=budget_ms, scale=recipe.penalty, nonlinear="positive"
            )
        super().__init__(
            arc_learning_rate=recipe.alpha_lr,
            gradient_clip_val=recipe.clip,
            warmup_epochs=recipe.warmup_epochs,
            penalty=penalty,
        )
        self._seed = recipe.seed

    def mutate_model(self, model: nn.Module) -> nn.Module:
        """See NNI; the parameters start as 0.001 times normal noise."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed + 1)
            return super().mutate_model(model)  # type: ignore[no-any-return]

    def configure_oneshot_module(self, training_module: LightningModule) -> DartsModule:
        """See NNI."""
        return DartsModule(
            training_module,
            arc_learning_rate=self.arc_learning_rate,
            gradient_clip_val=self.gradient_clip_val,
            warmup_epochs=self.warmup_epochs,
            penalty=self.penalty,
        )

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        """The loader as it is: its ticks name both halves."""
        return train_dataloader_fn()


class Darts(_Ours):
    """Every edge computes the softmax-weighted sum of its operations."""


class GumbelDarts(_Ours, GumbelDARTS):
    """The weights are drawn from Gumbel's softmax, ever closer to one-hot."""

    configure_oneshot_module = _Ours.configure_oneshot_module


STRATEGIES: dict[str, type[_Ours]] = {"darts": Darts, "gumbel": GumbelDarts}
