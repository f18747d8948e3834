"""Ranks: what the processes that share a training give to each other; ``search.machines`` starts them.

All of them go through the same steps with the same random numbers, each with its share of a batch. They exchange
encodings, so that every process computes the loss of the whole batch, and gradients, which add up to the whole batch's:
training does not depend on how many processes share it. Without ``torch.distributed`` there is one process.

Torch's wrapper for data-parallel modules cannot be used: it expects one backward pass a step in which every parameter
takes part, and a step of a supernet has one for each of its networks, of which all but the largest leave parameters
out. The sum is right nevertheless, because a step's networks are drawn from (seed, step) alone: the same parameters
have a gradient on all ranks, each gradient is a sum over the step's backward passes, and so one sum over the ranks
after the last of them is the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from search.errors import TrainingError


def rank() -> int:
    """Which process this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gather(x: Tensor) -> Tensor:
    """[B, ...] of this process -> [count * B, ...] of all in order.

    The gradient reaches this one's rows alone: every rank has the whole loss, so what it would send to the others'
    rows they know themselves; the sum of the ranks' gradients is the whole, and no backward pass waits for another.
    """
    if count() == 1:
        return x
    mine = x.detach().contiguous()
    parts = [torch.empty_like(mine) for _ in range(count())]
    dist.all_gather(parts, mine)
    parts[rank()] = x
    return torch.cat(parts)


def alike(x: Tensor) -> Tensor:
    """``x``, which all processes compute alike from their weights; each gives its part of the gradient."""
    return x if count() == 1 else x.detach() + (x - x.detach()) / count()


def wait() -> None:
    """For all processes to come here."""
    if count() > 1:
        dist.barrier()


def mean(x: Tensor) -> Tensor:
    """Of all processes' tensors; without a gradient."""
    if count() == 1:
        return x.detach()
    shared = x.detach().to(torch.get_default_dtype(), copy=True)
    dist.all_reduce(shared)
    return shared / count()


def agree(value: float) -> float:
    """The first process's value, in all of them."""
    if count() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=_device())
    dist.broadcast(shared, src=0)
    return float(shared)


def any_of(flag: bool) -> bool:
    """Whether it is true of any process."""
    if count() == 1:
        return flag
    shared = torch.tensor(int(flag), device=_device())
    dist.all_reduce(shared)
    return bool(shared)


def require_same(checksum: int, what: str) -> None:
    """Raise TrainingError, on all ranks, where they have different numbers."""
    if count() == 1:
        return
    mine = torch.tensor([checksum], dtype=torch.int64, device=_device())
    parts = [torch.empty_like(mine) for _ in range(count())]
    dist.all_gather(parts, mine)
    other = next((i for i, part in enumerate(parts) if int(part) != int(parts[0])), None)
    if other is not None:
        raise TrainingError(f"ranks 0 and {other} disagree about the {what}; start all with the same command and files")


def take_over(tensors: Iterable[Tensor]) -> None:
    """Replace every tensor by the first process's."""
    if count() > 1:
        for tensor in tensors:
            shared = tensor.detach().to(_device(), copy=True, memory_format=torch.contiguous_format)
            dist.broadcast(shared, src=0)
            with torch.no_grad():
                tensor.copy_(shared)


def add_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by the sum of all processes'; the same parameters have one in each of them."""
    if count() == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    dist.all_reduce(flat)
    for grad, summed in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
        grad.copy_(summed.view(grad.shape))


def _device() -> torch.device:
    """Where the processes' back-end wants its tensors."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
