"""Where a codebook starts: principal directions and k-means of the inputs it will see."""

import torch
from torch import Tensor

ROWS, COLUMNS = 256, 1024  # distances at a time: a megabyte, which stays in a core's cache


def principal_directions(x: Tensor, count: int) -> Tensor:
    """Orthonormal directions [count, D] in which the rows of `x` [N, D] have most energy."""
    moments = x.T @ x / len(x)
    columns: Tensor = torch.linalg.eigh(moments).eigenvectors  # by rising energy
    return columns.flip(1).T[:count].contiguous()


def kmeans(
    x: Tensor, size: int, *, generator: torch.Generator, iterations: int = 20
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from random rows; an empty cluster moves to a random row.

    Args:
        x: Inputs [N, D]; rows are repeated with a little noise if N < `size`.
        size: Number of clusters.
        generator: On the CPU; decides all that is random.
        iterations: Rounds of assignment and averaging.

    Returns:
        centres: [size, D].
        share: Share of the inputs in each cluster, [size].

    Reference: SoundStream, https://arxiv.org/abs/2107.03312 (as the start of a codebook)
    """
    if len(x) < size:
        repeated = x.repeat(-(-size // len(x)), 1)
        noise = torch.randn(repeated.shape, generator=generator).to(x)
        x = repeated + 1e-3 * x.std().nan_to_num() * noise
    rows = torch.randperm(len(x), generator=generator)
    centres = x[rows[:size].to(x.device)].clone()
    for _ in range(iterations):
        codes = nearest_centres(x, centres)
        count = torch.bincount(codes, minlength=size).to(x.dtype)
        sums = torch.zeros_like(centres).index_add_(0, codes, x)
        centres = sums / count.clamp_min(1)[:, None]
        empty = (count == 0).nonzero().squeeze(1)
        fresh = torch.randint(len(x), (len(empty),), generator=generator)
        centres[empty] = x[fresh.to(x.device)]
    return centres, count / len(x)


def nearest_centres(x: Tensor, centres: Tensor) -> Tensor:
    """Index int64 [N] of the centre [V, D] nearest to each row of `x` [N, D].

    It goes block by block: in a book of 65,536 that takes half the time, and memory for no more
    than a block.
    """
    half = 0.5 * centres.square().sum(1)
    blocks = list(zip(torch.split(centres, COLUMNS), torch.split(half, COLUMNS), strict=True))
    parts = []
    for rows in torch.split(x, ROWS):
        found = [torch.addmm(h, rows, c.T, alpha=-1).min(1) for c, h in blocks]
        block = torch.stack([each.values for each in found]).argmin(0, keepdim=True)
        inside = torch.stack([each.indices for each in found]).gather(0, block)
        parts.append((COLUMNS * block + inside)[0])
    return torch.cat(parts)
