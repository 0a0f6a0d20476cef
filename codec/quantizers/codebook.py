"""One book of vectors: its table, how it learns, its k-means start, restart of entries."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..registry import Registry
from .assignment import ASSIGNMENTS, nearest
from .kmeans import kmeans
from .terms import entropy_term, wasserstein_term

if TYPE_CHECKING:
    from .options import BookOptions

# Buffers that training needs and codes do not depend on.
STATISTICS = frozenset({"usage", "sums", "recent", "steps"})


@dataclass(frozen=True)
class Step:
    """What a book makes of inputs [..., dim] in a training pass.

    Attributes:
        codes: int64 [...].
        vectors: Their entries [..., dim].
        codebook: Scalar that pulls the entries to the inputs; zero where none learns by gradient.
        auxiliary: Weighted sum of the other losses that were asked for, or None.
    """

    codes: Tensor
    vectors: Tensor
    codebook: Tensor
    auxiliary: Tensor | None


class Codebook(nn.Module):
    """`size` vectors of width `dim`; subclasses say where they come from and how they learn."""

    entries: Tensor
    usage: Tensor
    recent: Tensor
    by_gradient = False  # whether `Step.codebook` is what the entries learn by
    movable = True  # whether an entry can be put anywhere

    def __init__(self, *, size: int, dim: int, shared: "BookOptions") -> None:
        super().__init__()
        self.size, self.dim, self.options = size, dim, shared
        how = shared.assignment
        self.assignment = ASSIGNMENTS.create(how.name, how.options)

    def _fill(self, entries: Tensor, *, learned: bool) -> None:
        """Register `entries` [size, dim] and the statistics of their use."""
        if learned:
            self.entries = nn.Parameter(entries)
        else:
            self.register_buffer("entries", entries)
        size = self.size
        self.register_buffer("usage", torch.full((size,), 1 / size))  # share of inputs, smoothed
        # The newest inputs; zeros: none yet.
        self.register_buffer("recent", torch.zeros(size, self.dim))

    def table(self) -> Tensor:
        """The vectors [size, dim], differentiable with respect to what learns."""
        vectors = self._vectors()
        return F.normalize(vectors, dim=-1) if self.options.normalize else vectors

    def _vectors(self) -> Tensor:
        return self.entries

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes [...] to vectors [..., dim]."""
        return F.embedding(codes, self.table())

    def search(self, x: Tensor) -> Tensor:
        """Code of the nearest vector: [..., dim] to int64 [...]."""
        return nearest(x, self.table())

    def forward(self, x: Tensor) -> Step:
        """Quantize inputs [..., dim], and in training learn from them."""
        o = self.options
        if self.training:
            for _ in range(o.inner_steps):
                self._improve(x.detach())
        table = self.table()
        if self.training:
            table = table.clone()  # learning changes the entries before gradients are taken
        assigned = self.assignment(x, table)
        codebook = x.new_zeros(())
        if self.by_gradient:
            codebook = F.mse_loss(assigned.learned, x.detach())
        terms = []
        if o.entropy:
            terms.append(o.entropy * entropy_term(x, table, o.entropy_temperature))
        if o.wasserstein:
            terms.append(o.wasserstein * wasserstein_term(x, table, self.usage))
        auxiliary = torch.stack(terms).sum() if terms else None
        if self.training:
            self.observe(x.detach().flatten(0, -2), assigned.codes.flatten())
        return Step(assigned.codes, assigned.vectors, codebook, auxiliary)

    @torch.no_grad()
    def observe(self, x: Tensor, codes: Tensor) -> None:
        """Learn from inputs [N, dim] and the codes [N] they were given, in all processes of a run.

        Inputs that are not finite leave the book as it is: they would poison it for good.
        """
        if not len(x):
            return
        share = torch.bincount(codes, minlength=self.size).to(x.dtype) / len(x)
        sums = torch.zeros(self.size, self.dim).to(x).index_add_(0, codes, x) / len(x)
        ranks.average((share, sums))
        if not sums.isfinite().all():
            return
        self.usage.lerp_(share, 1 - self.options.decay)
        keep = torch.linspace(0, len(x) - 1, min(len(x), self.size), device=x.device).long()
        self.recent = torch.cat([x[keep], self.recent])[: self.size].detach()
        self._learn(sums)
        if self.options.upkeep == "anchors":
            self._to_anchors(x)

    def _learn(self, sums: Tensor) -> None:
        """Follow this batch's inputs, [size, dim] sums per entry over their number."""

    @torch.no_grad()
    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """Place the entries by k-means on inputs [N, dim]."""
        self.place(*kmeans(x, self.size, generator=generator))

    @torch.no_grad()
    def place(self, vectors: Tensor, share: Tensor) -> None:
        """Put all entries where the table has them at `vectors` [size, dim], used by `share`."""
        self._place(torch.arange(self.size, device=vectors.device), vectors, share)

    @torch.no_grad()
    def restart_unused(self, generator: torch.Generator) -> int:
        """Move entries used less than `restart_threshold` of the uniform share to recent inputs.

        Each goes to an input of its own, so no more are moved than inputs were seen.
        """
        if not self.movable or self.options.upkeep == "anchors":
            return 0
        seen = self.recent[self.recent.any(dim=1)]
        threshold = self.options.restart_threshold / self.size
        unused = (self.usage < threshold).nonzero().squeeze(1)[: len(seen)]
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

    def _improve(self, x: Tensor) -> None:
        """One plain gradient step of the book alone, towards inputs [..., dim]."""
        x = x.flatten(0, -2)
        if not x.numel() or not x.isfinite().all():
            return
        learned = dict(self.named_parameters())
        with torch.enable_grad():
            assigned = self.assignment(x, self.table())
            loss = 0.5 * (assigned.learned - x).square().sum(-1).mean()
        gradients = torch.autograd.grad(loss, list(learned.values()))
        share = torch.bincount(assigned.codes.flatten(), minlength=self.size) / len(assigned.codes)
        ranks.average((*gradients, share))
        for (name, parameter), gradient in zip(learned.items(), gradients, strict=True):
            if name == "entries":  # at a rate of 1 an entry that is in use goes to its inputs' mean
                gradient = gradient / share.clamp_min(1 / self.size)[:, None]
            parameter.data.sub_(self.options.inner_rate * gradient)

    def _to_anchors(self, x: Tensor) -> None:
        """Move every entry to its nearest input of [N, dim], the further the less it is used.

        Reference: Online Clustered Codebook, https://arxiv.org/abs/2307.15139
        """
        vectors = self._vectors()
        anchors = x[nearest(vectors, x)]
        ranks.copy_from_first((anchors,))
        weight = (-10 * self.usage * self.size / (1 - self.options.decay) - 1e-3).exp()
        moved = torch.lerp(vectors, anchors, weight[:, None])
        self.place(moved, self.usage.clone())


LEARNING: Registry[Codebook] = Registry("learning")
