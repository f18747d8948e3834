"""Single: the training of one network, as a sandwich that holds nothing else."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule

from search.oneshot.ssl import SSL, projected
from search.oneshot.step import Metrics, take_step
from search.oneshot.trainer import set_steps
from search.types import Architecture


class SingleModule(LightningModule):
    """What ``search.oneshot.sandwich`` is for a supernet.

    Args:
        ssl: the parts; its net holds one network.
    """

    automatic_optimization = False
    metrics: Metrics  # of the last step

    def __init__(self, ssl: SSL) -> None:
        super().__init__()
        self.training_module = ssl
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(ssl.recipe.seed)
            network = projected(ssl.recipe, ssl.net)
        ssl.set_model(network)

    def choose(self, architecture: Architecture) -> None:
        """There is only one."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step of the algorithm; ``batch`` is only a tick, for the step's number decides its images."""
        self.metrics = take_step(self, self.training_module, self.choose)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See ``SSL``."""
        return self.training_module.configure_optimizers()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark it as this run's."""
        self.training_module.mark(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise TrainingError for another run's; train for as many steps as its plan says."""
        self.training_module.check(checkpoint, self.state_dict())
        set_steps(self.trainer, self.training_module.plan)
