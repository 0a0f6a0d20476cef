"""FVQ: a small transformer over the codebook itself (VQBridge) makes the entries that are used."""

from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, Part, Positive
from ..errors import ConfigError
from .base import QUANTIZERS
from .codebook import LEARNING
from .mapped import EntryMap, MappedBook
from .residual import ResidualVQ

if TYPE_CHECKING:
    from .options import BookOptions


class _Block(nn.Module):
    """Self-attention and a perceptron over tokens [N, width], each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attend = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Process tokens [N, width]."""
        parts = self.attend(self.norms[0](x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(1, 2, 0, 3).unbind(0)  # [heads, N, width / heads]
        seen = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        x = x + self.join(seen.transpose(0, 1).flatten(1))
        y: Tensor = self.contract(F.gelu(self.expand(self.norms[1](x))))
        return x + y


class VQBridge(EntryMap):
    """Compress, process, recover: entries [V, D] to a table [V, D].

    Neighbouring entries are compressed into one token, the tokens exchange what they know, and
    each is recovered into its entries. What comes out is added to the entries and is next to
    nothing at first, so that a k-means start holds; that sum is ours, the paper's bridge stands
    alone.
    """

    def __init__(self, size: int, dim: int, tokens: int, width: int, blocks: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.compress = nn.Linear(size // tokens * dim, width)
        self.blocks = nn.ModuleList(_Block(width, heads=4) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.recover = nn.Linear(width, size // tokens * dim)
        self.reset()

    def forward(self, entries: Tensor) -> Tensor:
        """The table of entries [V, D]."""
        x = self.compress(entries.reshape(self.tokens, -1))
        for block in self.blocks:
            x = block(x)
        table: Tensor = entries + self.recover(self.norm(x)).view_as(entries)
        return table

    @torch.no_grad()
    def reset(self) -> None:
        """Become the identity but for a thousandth, without which nothing could learn."""
        random = torch.Generator().manual_seed(0)
        weight = torch.randn(self.recover.weight.shape, generator=random)
        self.recover.weight.copy_(1e-3 * self.recover.in_features**-0.5 * weight)
        self.recover.bias.zero_()


@LEARNING.register("bridge")
class BridgedBook(MappedBook):
    """Entries and the `VQBridge` learn together; serving needs the table only.

    The paper anneals the learning rate to zero, which the trainer's schedule does.

    Reference: Scalable Training for Vector-Quantized Networks with 100% Codebook Utilization,
    https://arxiv.org/abs/2509.10140
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            tokens: Into how many tokens the book is compressed; at most one per entry.
            width: Of a token, a multiple of four.
            blocks: Attention blocks.
        """

        tokens: Positive = 64
        width: Annotated[int, Field(gt=0, multiple_of=4)] = 128
        blocks: Positive = 2

    def __init__(self, config: Config, *, size: int, dim: int, shared: "BookOptions") -> None:
        tokens = min(config.tokens, size)
        if size % tokens:
            raise ConfigError(f"tokens={tokens} must divide codebook_size={size}")
        bridge = VQBridge(size, dim, tokens, config.width, config.blocks)
        super().__init__(bridge, learned=True, size=size, dim=dim, shared=shared)


@QUANTIZERS.register("fvq")
class FVQ(ResidualVQ):
    """Residual books of `BridgedBook`."""

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with another default."""

        learning: Part = ComponentConfig("bridge")
