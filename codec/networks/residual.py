"""Residual stages of waveform networks: dilated units in a row, and such rows side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..streaming import State, StreamingModule, branch
from .activation import ActivationName, activation
from .convolution import CausalConv, maybe_normalised


@dataclass(frozen=True)
class UnitOptions:
    """What all units of a network have in common.

    Attributes:
        compress: The inner width is `dim` divided by this.
        pointwise: The second convolution looks at one sample, not at `kernel_size`.
        conv_skip: The way around the unit is a pointwise convolution.
        depthwise: The first convolution filters each channel alone.
        activation: Before each convolution.
        normalise: Weight normalisation of the convolutions.
    """

    compress: int = 1
    pointwise: bool = True
    conv_skip: bool = False
    depthwise: bool = False
    activation: ActivationName = "elu"
    normalise: bool = True


class ResidualUnit(StreamingModule):
    """Activation, dilated convolution, activation, second convolution, added to the input."""

    def __init__(self, dim: int, kernel_size: int, dilation: int, options: UnitOptions) -> None:
        super().__init__()
        inner = max(dim // options.compress, 1)
        groups = inner if options.depthwise and inner == dim else 1
        norm = options.normalise
        self.before = activation(options.activation, dim)
        self.conv = CausalConv(
            dim, inner, kernel_size, dilation=dilation, groups=groups, normalise=norm
        )
        self.between = activation(options.activation, inner)
        self.mix: nn.Module
        if options.pointwise:
            self.mix = maybe_normalised(nn.Conv1d(inner, dim, 1), norm)
        else:
            self.mix = CausalConv(inner, dim, kernel_size, normalise=norm)
        self.skip: nn.Module = nn.Identity()
        if options.conv_skip:
            self.skip = maybe_normalised(nn.Conv1d(dim, dim, 1), norm)

    def init_state(self, batch_size: int) -> State:
        """Zeros for each causal convolution."""
        state: State = {"conv": self.conv.init_state(batch_size)}
        if isinstance(self.mix, CausalConv):
            state["mix"] = self.mix.init_state(batch_size)
        return state

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, dim, T] to [B, dim, T]."""
        after: State = {}
        y, after["conv"] = self.conv(self.before(x), branch(state, "conv"))
        y = self.between(y)
        if isinstance(self.mix, CausalConv):
            y, after["mix"] = self.mix(y, branch(state, "mix"))
        else:
            y = self.mix(y)
        return self.skip(x) + y, after


class ResidualStage(StreamingModule):
    """For each kernel size one row of units, one per dilation; the rows' outputs are averaged.

    One row is the stage of SEANet (https://arxiv.org/abs/2009.02095), SoundStream and DAC; several
    are the multi-receptive-field fusion of HiFi-GAN (https://arxiv.org/abs/2010.05646).
    """

    def __init__(
        self,
        dim: int,
        kernel_sizes: Sequence[int],
        dilations: Sequence[int],
        options: UnitOptions,
    ) -> None:
        super().__init__()
        self.rows = nn.ModuleList(
            nn.ModuleList(ResidualUnit(dim, k, dilation, options) for dilation in dilations)
            for k in kernel_sizes
        )

    @property
    def _rows(self) -> list[list[ResidualUnit]]:
        rows = [row for row in self.rows if isinstance(row, nn.ModuleList)]
        return [[unit for unit in row if isinstance(unit, ResidualUnit)] for row in rows]

    def init_state(self, batch_size: int) -> State:
        """One entry per unit, by row and place."""
        return {
            str(r): {str(i): unit.init_state(batch_size) for i, unit in enumerate(row)}
            for r, row in enumerate(self._rows)
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, dim, T] to [B, dim, T]."""
        after: State = {}
        total: Tensor | None = None
        for r, row in enumerate(self._rows):
            y, units = x, branch(state, str(r))
            new_units: State = {}
            for i, unit in enumerate(row):
                y, new_units[str(i)] = unit(y, branch(units, str(i)))
            after[str(r)] = new_units
            total = y if total is None else total + y
        assert total is not None
        return total / len(self._rows), after
