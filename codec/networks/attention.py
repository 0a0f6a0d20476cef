"""Causal attention over a bounded past: a transformer whose stream has a state of fixed size."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, Positive
from ..errors import ConfigError
from ..streaming import State, StreamingModule, branch, leaf
from .bottleneck import BOTTLENECKS


class CausalAttention(StreamingModule):
    """Each frame attends to itself and to the `context - 1` frames before it.

    Positions are rotary, so only distances count: keys are kept as they were before rotation, and
    a stream may run for ever. State: ``keys`` and ``values`` [B, context - 1, dim], and ``seen``
    [B, 1], how many of these are frames of the stream and not the zeros before its start.

    Reference: RoFormer, https://arxiv.org/abs/2104.09864
    """

    inverse_wavelength: Tensor

    def __init__(self, dim: int, num_heads: int, context: int) -> None:
        super().__init__()
        if dim % num_heads or dim // num_heads % 2:
            raise ConfigError(
                f"num_heads={num_heads} must divide dim={dim} into heads of even width"
            )
        self.dim, self.num_heads, self.past = dim, num_heads, context - 1
        self.project_in = nn.Linear(dim, 3 * dim, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)
        half = dim // num_heads // 2
        rates = 10_000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("inverse_wavelength", rates, persistent=False)

    def init_state(self, batch_size: int) -> State:
        """Nothing seen."""
        return {
            "keys": self.zeros(batch_size, self.past, self.dim),
            "values": self.zeros(batch_size, self.past, self.dim),
            "seen": self.zeros(batch_size, 1),
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, T, dim] to [B, T, dim]."""
        cached, T = leaf(state, "keys"), x.shape[1]
        queries, keys, values = self.project_in(x).chunk(3, dim=-1)
        keys = torch.cat([cached.to(keys.dtype), keys], dim=1)  # [B, past + T, dim]
        values = torch.cat([leaf(state, "values").to(values.dtype), values], dim=1)
        at = torch.arange(T, device=x.device) + self.past
        of = torch.arange(self.past + T, device=x.device)
        distance = at[:, None] - of
        near = (distance >= 0) & (distance <= self.past)  # [T, past + T]
        there = of >= self.past - leaf(state, "seen")  # [B, past + T]
        mixed = F.scaled_dot_product_attention(
            self._rotate(self._heads(queries), at),
            self._rotate(self._heads(keys), of),
            self._heads(values),
            attn_mask=near[None, None] & there[:, None, None],
        )
        y = self.project_out(mixed.transpose(1, 2).flatten(2))
        return y, {
            "keys": keys[:, T:].to(cached.dtype),
            "values": values[:, T:].to(cached.dtype),
            "seen": (leaf(state, "seen") + T).clamp_max(self.past),
        }

    def _heads(self, x: Tensor) -> Tensor:
        """[B, T, dim] to [B, heads, T, dim / heads]."""
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _rotate(self, x: Tensor, position: Tensor) -> Tensor:
        """Turn pairs of channels of [B, heads, T, width] by angles that grow with position [T]."""
        angle = position[:, None] * self.inverse_wavelength  # [T, width / 2]
        cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)


class TransformerLayer(StreamingModule):
    """Attention, then a perceptron; each normalised before, scaled after, and added."""

    def __init__(
        self, dim: int, num_heads: int, context: int, expansion: int, layer_scale: float
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, num_heads, context)
        self.scale_attention = nn.Parameter(torch.full((dim,), layer_scale))
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, expansion * dim, bias=False)
        self.contract = nn.Linear(expansion * dim, dim, bias=False)
        self.scale = nn.Parameter(torch.full((dim,), layer_scale))

    def init_state(self, batch_size: int) -> State:
        """State of the attention."""
        return {"attention": self.attention.init_state(batch_size)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, T, dim] to [B, T, dim]."""
        y, attention = self.attention(self.norm_attention(x), branch(state, "attention"))
        x = x + self.scale_attention * y
        y = self.contract(F.gelu(self.expand(self.norm(x))))
        return x + self.scale * y, {"attention": attention}


@BOTTLENECKS.register("transformer")
class Transformer(StreamingModule):
    """Causal transformer of pre-normalised layers, as on both sides of Mimi's quantizer.

    Reference: Moshi, https://arxiv.org/abs/2410.00037
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            num_layers: Depth.
            num_heads: Heads of each attention.
            expansion: Width of the perceptrons, as a multiple of `dim`.
            context: Frames that a frame attends to, itself included.
            layer_scale: Where the factors on what is added start.
        """

        num_layers: Positive = 8
        num_heads: Positive = 8
        expansion: Positive = 4
        context: Annotated[int, Field(ge=2)] = 250
        layer_scale: Annotated[float, Field(gt=0)] = 0.01

    def __init__(self, config: Config, *, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerLayer(
                dim, config.num_heads, config.context, config.expansion, config.layer_scale
            )
            for _ in range(config.num_layers)
        )

    @property
    def _layers(self) -> list[TransformerLayer]:
        return [layer for layer in self.layers if isinstance(layer, TransformerLayer)]

    def init_state(self, batch_size: int) -> State:
        """One entry per layer, named by its index."""
        return {str(i): layer.init_state(batch_size) for i, layer in enumerate(self._layers)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, T, dim] to [B, T, dim]."""
        after: State = {}
        for i, layer in enumerate(self._layers):
            x, after[str(i)] = layer(x, branch(state, str(i)))
        return x, after
