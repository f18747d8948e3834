"""Strategy: the sandwich training of a supernet as NNI's one-shot module and strategy."""

from __future__ import annotations

from typing import Any

import torch
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from pytorch_lightning import LightningModule

from search.oneshot.compat import FixedConv2d, FixedLinear
from search.oneshot.engine.trainer import set_steps
from search.oneshot.space import sample_of
from search.oneshot.ssl import SSL, projected
from search.oneshot.step import Metrics, take_step
from search.types import Architecture


class Stepping(LightningModule):
    """Steps of the algorithm, and checkpoints that are of one run."""

    training_module: SSL
    metrics: Metrics  # of the last step

    def choose(self, architecture: Architecture) -> None:
        """Make the supernet this network until the next call."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step of the algorithm; ``batch`` is only a tick, for the step's number decides its images."""
        self.metrics = take_step(self, self.training_module, self.choose)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark it as this run's."""
        self.training_module.mark(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise TrainingError for another run's; train for as many steps as its plan says."""
        self.training_module.check(checkpoint, self.state_dict())
        set_steps(self.trainer, self.training_module.plan)


class SandwichModule(Stepping, RandomSamplingLightningModule):
    """NNI's one-shot module with the sandwich rule in place of one random path."""

    @property
    def automatic_optimization(self) -> bool:
        """False: several backward passes make one step."""
        return False

    def choose(self, architecture: Architecture) -> None:
        """See ``Stepping``."""
        sample = sample_of(self.training_module.net, architecture)
        for module in self.supernet_modules():
            module.resample(memo=dict(sample))


class Sandwich(RandomOneShot):
    """NNI's strategy whose one-shot module applies the sandwich rule."""

    def default_mutation_hooks(self) -> list[Any]:
        """NNI's, after ours for convolutions and linear layers."""
        return [FixedConv2d.mutate, FixedLinear.mutate, *super().default_mutation_hooks()]

    def configure_oneshot_module(self, training_module: SSL) -> SandwichModule:
        """See NNI."""
        return SandwichModule(training_module)


class SingleModule(Stepping):
    """What ``SandwichModule`` is for a supernet, for one network.

    Args:
        ssl: the parts; its net holds one network.
    """

    automatic_optimization = False

    def __init__(self, ssl: SSL) -> None:
        super().__init__()
        self.training_module = ssl
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(ssl.recipe.seed)
            network = projected(ssl.recipe, ssl.net)
        ssl.set_model(network)

    def choose(self, architecture: Architecture) -> None:
        """There is only one."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See ``SSL``."""
        return self.training_module.configure_optimizers()
