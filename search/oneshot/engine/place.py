"""Place: which of several processes this one is, and what they give to each other.

All of them go through the same steps with the same random numbers, each with its share of a batch. They exchange
encodings, so that every process computes the loss of the whole batch, and gradients, which add up to the whole batch's:
training does not depend on how many processes share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Place:
    """Process ``rank`` of ``count``."""

    rank: int = 0
    count: int = 1

    def gather(self, x: Tensor) -> Tensor:
        """[B, ...] of this process -> [count * B, ...] of all in order; the gradient reaches this one's rows alone."""
        if self.count == 1:
            return x
        mine = x.detach().contiguous()
        parts = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(parts, mine)
        parts[self.rank] = x
        return torch.cat(parts)

    def agree(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=_device())
        dist.broadcast(shared, src=0)
        return float(shared)

    def take_over(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by the first process's."""
        if self.count > 1:
            for tensor in tensors:
                shared = tensor.detach().to(_device(), copy=True, memory_format=torch.contiguous_format)
                dist.broadcast(shared, src=0)
                with torch.no_grad():
                    tensor.copy_(shared)

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by the sum of all processes'; the same parameters have one in each of them."""
        if self.count == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        for grad, summed in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
            grad.copy_(summed.view(grad.shape))


ALONE = Place()


def _device() -> torch.device:
    """Where the processes' back-end wants its tensors."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
