"""Work-arounds for NNI 3.0 and Lightning 2.6, each with its symptom.

tests/search/test_compat.py holds a test for each, which fails when it is no longer needed.

- ``FixedConv2d``, ``FixedLinear``: ``MixedConv2d(bias=False).freeze`` returns a state dict with ``bias: None``, which
  ``load_state_dict`` refuses (``Unexpected key(s): "bias"``); so does ``MixedLinear``.
- NNI hangs for ever on filelock >= 3.12: pinned in pyproject.toml.
- NNI warns at its first import of two classes in newer torch's ``torch.nn`` that are no modules, and of an installation
  that is read-only: the import below.
- NNI logs to stdout, which is for data, and repeats each failure there; Lightning logs what it found and an
  advertisement to stderr: ``quiet``.
- Lightning asks ``isinstance(spec, LeafSpec)`` of torch's deprecated class, which warns: ``quiet``.
- Lightning's thread that watches the processes it started kills all with SIGKILL when one ends with an error, also the
  one that is about to say which: ``forget_children``.
- Lightning answers Ctrl-C with ``sys.exit(1)``, as if training had failed: ``interruptible``.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from search.nets.layers import conv2d

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", ".*is found to be not a nn.Module", RuntimeWarning)
    warnings.filterwarnings("ignore", "Cannot write to .*_layers.py")
    import nni.nas.nn.pytorch
    from nni.nas.oneshot.pytorch.supermodule.operation import MixedConv2d, MixedLinear

_CHATTY = ("nni", "pytorch_lightning", "lightning_fabric")


class FixedConv2d(MixedConv2d):
    """NNI's weight-sharing convolution without the ``bias: None`` fault, through our fast depthwise gradient."""

    bound_type = nni.nas.nn.pytorch.MutableConv2d

    def freeze_weight(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The sliced tensors, without those that do not exist."""
        return _existing(super().freeze_weight(*args, **kwargs))

    def forward_with_args(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        dilation: int,
        groups: int,
        inputs: Tensor,
    ) -> Tensor:
        """One sampled path: prefix channels, center of the kernel."""
        weight = self.weight[:out_channels, : in_channels // groups]
        side = self.kernel_size[0]
        if kernel_size != side:
            start = (side - kernel_size) // 2
            weight = weight[:, :, start : start + kernel_size, start : start + kernel_size]
        return conv2d(inputs, weight, stride, padding, groups)


class FixedLinear(MixedLinear):
    """NNI's weight-sharing linear layer without the ``bias: None`` fault."""

    bound_type = nni.nas.nn.pytorch.MutableLinear

    def freeze_weight(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The sliced tensors, without those that do not exist."""
        return _existing(super().freeze_weight(*args, **kwargs))


def _existing(tensors: dict[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@contextmanager
def quiet() -> Iterator[None]:
    """Let only warnings and errors of NNI and Lightning through; NNI's are none: an exception carries each of them."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL if logger.name == "nni" else logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


# Of all trainings of this program: its later ones are shared by the processes that Lightning started for the first.
_children: list[subprocess.Popen[bytes]] = []


def children(trainer: Any) -> list[subprocess.Popen[bytes]]:
    """The processes that Lightning started for ``trainer`` and before."""
    _children.extend(one for one in getattr(trainer.strategy.launcher, "procs", ()) if one not in _children)
    return _children


def forget_children(trainer: Any) -> list[subprocess.Popen[bytes]]:
    """The same, no longer watched by it."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._child_processes = []  # type: ignore[attr-defined]
    return children(trainer)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Lightning's exit after Ctrl-C back into KeyboardInterrupt."""
    try:
        yield
    except SystemExit as exit:
        if isinstance(exit.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
