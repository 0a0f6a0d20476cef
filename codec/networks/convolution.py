"""Causal convolutions on [B, D, T], up and down in rate: what waveform networks are made of.

Channels come before time here, as convolution kernels want them.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ..errors import ConfigError
from ..streaming import State, StreamingModule, leaf


class CausalConv(StreamingModule):
    """Convolution that sees the past only; with a stride, one output per `stride` inputs.

    State: ``left`` [B, in_dim, dilation * (kernel_size - 1) + 1 - stride], the newest inputs.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        normalise: bool = True,
    ) -> None:
        """Set sizes; `normalise` learns direction and length of each filter apart.

        Raises:
            ConfigError: The kernel reaches no input beyond one stride.
        """
        super().__init__()
        self.in_dim = in_dim
        self.context = dilation * (kernel_size - 1) + 1 - stride
        if self.context < 1:
            raise ConfigError(
                f"kernel_size={kernel_size} sees nothing beyond stride={stride}; use a longer one"
            )
        self.conv = maybe_normalised(
            nn.Conv1d(
                in_dim, out_dim, kernel_size, stride=stride, dilation=dilation, groups=groups
            ),
            normalise,
        )

    def init_state(self, batch_size: int) -> State:
        """Zeros."""
        return {"left": self.zeros(batch_size, self.in_dim, self.context)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, in_dim, T], T a multiple of `stride`, to [B, out_dim, T / stride]."""
        left = leaf(state, "left")
        seen = torch.cat([left.to(x.dtype), x], dim=2)
        return self.conv(seen), {"left": seen[:, :, x.shape[2] :].to(left.dtype)}


class CausalUpsampling(StreamingModule):
    """Transposed convolution over two strides: an input shapes its own stride and the next one.

    The bias is added after the overlap, so that what waits for its other half holds none.
    State: ``tail`` [B, out_dim, stride], the half that waits.
    """

    def __init__(
        self, in_dim: int, out_dim: int, stride: int, *, groups: int = 1, normalise: bool = True
    ) -> None:
        super().__init__()
        self.out_dim, self.stride = out_dim, stride
        self.conv = maybe_normalised(
            nn.ConvTranspose1d(in_dim, out_dim, 2 * stride, stride, groups=groups, bias=False),
            normalise,
        )
        self.bias = nn.Parameter(torch.zeros(out_dim, 1))

    def init_state(self, batch_size: int) -> State:
        """Zeros."""
        return {"tail": self.zeros(batch_size, self.out_dim, self.stride)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, in_dim, T] to [B, out_dim, T * stride]."""
        tail = leaf(state, "tail")
        spread = self.conv(x)  # [B, out_dim, (T + 1) * stride]
        length = x.shape[2] * self.stride
        first = spread[:, :, : self.stride] + tail.to(spread.dtype)
        y = torch.cat([first, spread[:, :, self.stride : length]], dim=2)
        return y + self.bias, {"tail": spread[:, :, length:].to(tail.dtype)}


def maybe_normalised(conv: nn.Module, normalise: bool) -> nn.Module:
    """The convolution, with weight normalisation (https://arxiv.org/abs/1602.07868) if wanted."""
    return weight_norm(conv) if normalise else conv
