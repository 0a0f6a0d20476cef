"""What the processes of one training run share; in a run of one process all of it does nothing."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """Processes of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def index() -> int:
    """This process, from 0."""
    return dist.get_rank() if count() > 1 else 0


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace float32 tensors by their means over all processes, in one message.

    The result is the same to the bit everywhere. What is not finite anywhere becomes so everywhere,
    so that all processes decide alike.
    """
    found = list(tensors)
    if count() == 1 or not found:
        return
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in found])
    dist.all_reduce(flat)
    flat /= count()
    for tensor, mean in zip(found, torch.split(flat, [t.numel() for t in found]), strict=True):
        tensor.copy_(mean.view_as(tensor))


@torch.no_grad()
def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by those of the first process."""
    if count() > 1:
        for tensor in tensors:
            whole = tensor.detach().contiguous()
            dist.broadcast(whole, src=0)
            tensor.copy_(whole)


def anywhere(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set in any process."""
    if count() == 1:
        return flag
    found = torch.tensor(float(flag), device=device)
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return bool(found)


def wait() -> None:
    """Go on when all processes have come here."""
    if count() > 1:
        dist.barrier()
