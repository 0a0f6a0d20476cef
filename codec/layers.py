"""Causal building blocks on [B, T, D]: depthwise convolution and the ConvNeXt block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .streaming import State, StreamingModule, branch, leaf


class CausalDepthwiseConv(StreamingModule):
    """One filter per channel over this frame and the `kernel_size - 1` frames before it.

    State: ``left`` [B, kernel_size - 1, D], the newest inputs of the past.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.context = kernel_size - 1
        self.weight = nn.Parameter(torch.empty(dim, 1, kernel_size))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.trunc_normal_(self.weight, std=kernel_size**-0.5)

    def init_state(self, batch_size: int) -> State:
        """Zeros."""
        return {"left": self.zeros(batch_size, self.context, self.dim)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Filter `x` [B, T, D] along T.

        Written as shifted products: they are the same to the bit in any shape, so a stream does
        not depend on how it is cut, and in training and in a graph that serves many streams they
        cost less than a convolution, whose kernels take one small matrix product per channel.
        """
        left = leaf(state, "left")
        seen = torch.cat([left.to(x.dtype), x], dim=1)
        T = x.shape[1]
        y = self.bias + seen[:, :T] * self.weight[:, 0, 0]
        for k in range(1, self.context + 1):
            y = y + seen[:, k : k + T] * self.weight[:, 0, k]
        return y, {"left": seen[:, T:].to(left.dtype)}


class ConvNeXtBlock(StreamingModule):
    """Depthwise convolution over time, then a two-layer perceptron per frame, added to the input.

    LayerNorm looks at one frame only, so the block is causal; LayerScale starts small so that a
    deep stack starts near the identity.

    Reference: A ConvNet for the 2020s, https://arxiv.org/abs/2201.03545; as a vocoder, Vocos,
    https://arxiv.org/abs/2306.00814
    """

    def __init__(self, dim: int, expansion: int, kernel_size: int, layer_scale: float) -> None:
        super().__init__()
        self.conv = CausalDepthwiseConv(dim, kernel_size)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, dim * expansion)
        self.contract = nn.Linear(dim * expansion, dim)
        self.scale = nn.Parameter(torch.full((dim,), layer_scale))
        for linear in (self.expand, self.contract):
            nn.init.trunc_normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)

    def init_state(self, batch_size: int) -> State:
        """State of the convolution."""
        return {"conv": self.conv.init_state(batch_size)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map `x` [B, T, D] to [B, T, D]."""
        y, conv = self.conv(x, branch(state, "conv"))
        y = F.gelu(self.expand(self.norm(y)))
        # LayerScale on the weights instead of the output: in a graph it is a constant.
        weight, bias = self.scale[:, None] * self.contract.weight, self.scale * self.contract.bias
        return x + F.linear(y, weight, bias), {"conv": conv}


class ConvNeXtStack(StreamingModule):
    """`num_blocks` ConvNeXt blocks in a row, each at LayerScale 1 / `num_blocks`."""

    def __init__(self, dim: int, num_blocks: int, expansion: int, kernel_size: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(dim, expansion, kernel_size, layer_scale=1 / num_blocks)
            for _ in range(num_blocks)
        )

    @property
    def _blocks(self) -> list[ConvNeXtBlock]:
        return [block for block in self.blocks if isinstance(block, ConvNeXtBlock)]

    def init_state(self, batch_size: int) -> State:
        """One entry per block, named by its index."""
        return {str(i): block.init_state(batch_size) for i, block in enumerate(self._blocks)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map `x` [B, T, D] to [B, T, D]."""
        new_state: State = {}
        for i, block in enumerate(self._blocks):
            x, new_state[str(i)] = block(x, branch(state, str(i)))
        return x, new_state


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision widened: spectra and codes must not depend on the autocast around them."""
    return x if x.dtype == torch.float64 else x.float()
