"""A test for each work-around of oneshot/compat.py and machines.py; where one fails, delete it and what it tests."""

import search.oneshot  # noqa: F401 - first: without it the next import fails, for warnings are errors here

# isort: split
import importlib.metadata
import logging
import signal
import sys
import warnings
from pathlib import Path

import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.nn.pytorch.layers import generate_stub_file
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from packaging.requirements import Requirement
from pytorch_lightning import Trainer
from torch import Tensor, nn

from search.machines import interruptible, quiet
from search.nets import NETS
from search.oneshot.space import SupernetSpace, sample_of
from search.oneshot.strategy import Sandwich


class OneWeight(LightningModule):
    """The smallest thing that Lightning trains; ``step`` is what happens in its only step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def step(self) -> None:
        return None

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.step()
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Interrupted(OneWeight):
    def step(self) -> None:
        raise KeyboardInterrupt


def trainer(folder: Path) -> Trainer:
    return Trainer(
        max_steps=1,
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=1,
    )


def fit(module: LightningModule, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one test says which
        trainer(folder).fit(module, range(1))


def space() -> SupernetSpace:
    return SupernetSpace(NETS["tiny"], hidden_dim=4, projection_dim=2)


def test_nni_freezes_a_convolution_without_bias_into_a_state_dict_that_torch_refuses() -> None:
    net = NETS["tiny"]
    sample = sample_of(net, net.smallest(16))
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"bias"'):
        RandomOneShot().mutate_model(space()).freeze(sample)
    supernet = Sandwich().mutate_model(space()).eval()
    for module in supernet.modules():
        if isinstance(module, BaseSuperNetModule):
            module.resample(memo=dict(sample))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(supernet.freeze(sample).eval()(x), supernet(x))


def test_nni_pins_filelock_below_the_version_it_hangs_on() -> None:
    pins = [Requirement(text) for text in importlib.metadata.requires("nni") or []]
    (filelock,) = [pin for pin in pins if pin.name == "filelock"]
    assert not filelock.specifier.contains("3.12") and filelock.specifier.contains("3.11")


def test_nni_warns_of_classes_in_torch_nn_that_are_no_modules() -> None:
    with pytest.warns(RuntimeWarning, match="is found to be not a nn.Module"):
        generate_stub_file()


def test_lightning_warns_of_its_own_use_of_a_deprecated_class(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer(tmp_path).fit(OneWeight(), range(1))
    assert any("isinstance(treespec, LeafSpec)" in str(w.message) for w in seen)


def test_lightning_and_nni_chatter_and_quiet_silences_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def chatter() -> list[str]:
        caplog.clear()
        logging.getLogger("nni.nas").error("Model 1 fails to be executed.")
        fit(OneWeight(), tmp_path)
        return caplog.messages

    loud = chatter()
    assert any("GPU available" in line for line in loud) and any("Model 1 fails" in line for line in loud)
    with quiet():
        assert chatter() == []
    assert chatter() == loud


def test_nni_writes_its_log_to_stdout() -> None:
    handlers = logging.getLogger("nni").handlers
    assert any(isinstance(h, logging.StreamHandler) and h.formatter.__module__.startswith("nni") for h in handlers)


def test_lightning_turns_ctrl_c_into_an_exit(tmp_path: Path) -> None:
    with quiet(), pytest.raises(SystemExit):
        fit(Interrupted(), tmp_path)


def test_interruptible_gives_ctrl_c_back_and_leaves_its_handler_alone(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible(), quiet():
        fit(Interrupted(), tmp_path)
    assert signal.getsignal(signal.SIGINT) == handler


def test_interruptible_lets_every_other_exit_pass() -> None:
    with pytest.raises(SystemExit, match="3"), interruptible():
        sys.exit(3)
