"""Losses over a whole book: the entropy of its use, and a Wasserstein distance to its inputs."""

import math

import torch
from torch import Tensor

from .assignment import scores


def entropy_term(x: Tensor, table: Tensor, temperature: float) -> Tensor:
    """Low for sure choices of each input and even use over all: H(code | input) - H(code).

    Args:
        x: Inputs [..., D].
        table: Entries [V, D].
        temperature: Squared distance at which an entry's share falls to 1 / e, in units of the
            inputs' mean squared distance from their mean.

    Returns:
        Scalar, in units of log V, -1 to 1; 0 for no inputs.

    Reference: MAGVIT-v2, https://arxiv.org/abs/2310.05737
    """
    inputs = x.flatten(0, -2)
    if not len(inputs):
        return x.new_zeros(())
    spread = (inputs - inputs.mean(0)).detach().square().sum(-1).mean().clamp_min(1e-12)
    logits = 2 * scores(inputs, table) / (temperature * spread)
    shares = logits.softmax(-1)
    each = -(shares * logits.log_softmax(-1)).sum(-1).mean()
    use = shares.mean(0)
    together = -(use * use.clamp_min(1e-12).log()).sum()
    return (each - together) / math.log(len(table))


def wasserstein_term(x: Tensor, table: Tensor, usage: Tensor, directions: int = 32) -> Tensor:
    """Sliced squared Wasserstein distance between the inputs and the entries as they are used.

    Along fixed directions both are sorted, and the quantiles of the entries, weighted by `usage`,
    are compared with those of the inputs. The paper solves the full transport; its slices are
    exact in one dimension, need no iterations, and fall to zero at the same place.

    Args:
        x: Inputs [..., D].
        table: Entries [V, D].
        usage: Share of the inputs that each entry gets, [V].
        directions: How many.

    Returns:
        Scalar; 0 for no inputs.

    Reference: Vector Quantized Wasserstein Auto-Encoder, https://arxiv.org/abs/2302.05917
    """
    inputs = x.flatten(0, -2)
    N, D = inputs.shape
    if not N:
        return x.new_zeros(())
    random = torch.Generator().manual_seed(0)
    axes = torch.randn(D, directions, generator=random, dtype=torch.float64).to(x)
    axes = axes / axes.norm(dim=0)
    ours, order = (table @ axes).sort(dim=0)  # [V, directions]
    theirs = (inputs @ axes).sort(dim=0).values  # [N, directions]
    reached = (usage / usage.sum())[order].cumsum(0).T.contiguous()  # [directions, V]
    at = ((torch.arange(N, device=x.device) + 0.5) / N).to(reached).expand(directions, N)
    which = torch.searchsorted(reached, at.contiguous()).clamp_max(len(table) - 1)
    distance: Tensor = (ours.gather(0, which.T) - theirs).square().mean()
    return distance
