"""One book of vectors: nearest-neighbour search, learning, k-means start, restart of entries."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from .kmeans import kmeans

Learning = Literal["ema", "gradient"]
# Buffers that training needs and codes do not depend on.
STATISTICS = frozenset({"usage", "sums", "recent"})


class Codebook(nn.Module):
    """`size` vectors of width `dim`.

    With ``learning="ema"`` the entries follow a moving average of the inputs assigned to them;
    with ``learning="gradient"`` they are a parameter.

    Reference: VQ-VAE-2, https://arxiv.org/abs/1906.00446 (moving average)
    """

    entries: Tensor
    usage: Tensor
    sums: Tensor
    recent: Tensor

    def __init__(self, size: int, dim: int, learning: Learning, decay: float) -> None:
        super().__init__()
        self.size, self.dim, self.learning, self.decay = size, dim, learning, decay
        entries = torch.randn(size, dim) * dim**-0.5
        if learning == "gradient":
            self.entries = nn.Parameter(entries)
        else:
            self.register_buffer("entries", entries)
        self.register_buffer("usage", torch.full((size,), 1 / size))  # share of inputs, smoothed
        self.register_buffer("sums", entries.detach().clone() / size)  # usage times mean input
        self.register_buffer("recent", torch.zeros(size, dim))  # newest inputs; zeros: none yet

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes [...] to vectors [..., dim]."""
        return F.embedding(codes, self.entries)

    def search(self, x: Tensor) -> Tensor:
        """Code of the nearest vector: [..., dim] to int64 [...]."""
        # |x - v|^2 = |x|^2 - 2 (x·v - |v|^2 / 2), and |x|^2 is the same for all v.
        return (x @ self.entries.T - 0.5 * self.entries.square().sum(-1)).argmax(-1)

    @torch.no_grad()
    def observe(self, x: Tensor, codes: Tensor) -> None:
        """Learn from inputs [N, dim] and the codes [N] they were given, in all processes of a run.

        Inputs that are not finite leave the book as it is: they would poison it for good.
        """
        if not len(x):
            return
        share = torch.bincount(codes, minlength=self.size).to(x.dtype) / len(x)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, x) / len(x)
        ranks.average((share, sums))
        if not sums.isfinite().all():
            return
        self.usage.lerp_(share, 1 - self.decay)
        keep = torch.linspace(0, len(x) - 1, min(len(x), self.size), device=x.device).long()
        self.recent = torch.cat([x[keep], self.recent])[: self.size].detach()
        if self.learning == "ema":
            self.sums.lerp_(sums, 1 - self.decay)
            # Entries without usage keep their place until they are restarted.
            alive = self.usage > 1e-3 / self.size
            means = self.sums / self.usage.clamp_min(1e-12)[:, None]
            self.entries.copy_(torch.where(alive[:, None], means, self.entries))

    @torch.no_grad()
    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """Place the entries by k-means on inputs [N, dim]."""
        centres, share = kmeans(x, self.size, generator=generator)
        self._place(torch.arange(self.size, device=x.device), centres, share)

    @torch.no_grad()
    def restart_unused(self, threshold: float, generator: torch.Generator) -> int:
        """Move entries used less than `threshold` of the uniform share to recent inputs.

        Each goes to an input of its own, so no more are moved than inputs were seen.
        """
        seen = self.recent[self.recent.any(dim=1)]
        unused = (self.usage < threshold / self.size).nonzero().squeeze(1)[: len(seen)]
        if len(unused) == 0:
            return 0
        pick = torch.randperm(len(seen), generator=generator)[: len(unused)]
        inputs = seen[pick.to(seen.device)]
        self._place(unused, inputs, torch.full_like(self.usage[unused], 1 / self.size))
        return len(unused)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Weights without the newest inputs are as good: they are there for the next restart only.
        state_dict.setdefault(f"{prefix}recent", self.recent)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _place(self, codes: Tensor, entries: Tensor, share: Tensor) -> None:
        self.entries.data[codes] = entries
        self.usage[codes] = share
        self.sums[codes] = entries * share[:, None]
