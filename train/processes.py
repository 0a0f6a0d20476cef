"""One training run in several processes, as `torchrun` starts them: gloo on CPU, nccl on CUDA."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from sotto.codec.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of this process; with ``auto`` or ``cuda``, each process of a machine has its own.

    Raises:
        ConfigError: No such device, or fewer than there are processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device='{name}'; expected auto, cpu, cuda or cuda:N") from error
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        raise ConfigError(f"device={name}, but torch sees no CUDA device; use device=cpu")
    if dist.is_torchelastic_launched():
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise ConfigError(f"process {local} has no GPU of its own: torch sees {there}")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    return device


# A first run decodes a whole corpus before the processes meet again.
PATIENCE = timedelta(hours=1)


@contextmanager
def joined(device: str) -> Iterator[bool]:
    """Inside, the processes that `torchrun` started are one run; alone, nothing happens.

    Yields:
        Whether this is the first process.

    Raises:
        ConfigError: The device is not there.
    """
    if not dist.is_torchelastic_launched():
        yield True
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=chosen)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield dist.get_rank() == 0
    finally:
        dist.destroy_process_group()
