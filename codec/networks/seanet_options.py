"""What an encoder and a decoder of strided waveform convolutions have in common."""

import math
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..config import FROZEN, ComponentConfig, Positive
from ..errors import ConfigError
from .activation import ActivationName
from .residual import ResidualStage, UnitOptions

Kernel = Annotated[int, Field(ge=2)]


@dataclass(frozen=True, config=FROZEN)
class SEANetOptions:
    """Options of both sides; the decoder is the encoder's mirror image.

    Attributes:
        channels: Width at the full rate; it doubles with every stride.
        strides: By which the rate falls, in the encoder's order.
        kernel_size: Of the convolution that meets the audio.
        latent_kernel_size: Of the convolution that meets the latents.
        residual_kernel_sizes: One row of residual units each; the rows are averaged.
        dilations: Of the units in each row.
        compress: Inner width of a unit: its width divided by this.
        pointwise: The second convolution of a unit looks at one sample.
        conv_skip: The way around a unit is a pointwise convolution.
        depthwise: Units filter each channel alone.
        activation: Between convolutions.
        normalise: Weight normalisation of all convolutions.
        bottleneck: Network at the lowest rate of the strides, on the widest channels; or None.
        context: Network over the latents at that rate; or None.
        frame_stride: One more stride, of the latents themselves, from that rate to the frames.
        frame_steps: How many latents in a row make up a frame, one after the other; for quantizers
            that see steps of time inside a frame, such as ``multi-scale``.
    """

    channels: Positive = 32
    strides: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (2, 4, 5, 8)
    kernel_size: Kernel = 7
    latent_kernel_size: Kernel = 7
    residual_kernel_sizes: Annotated[tuple[Kernel, ...], Field(min_length=1)] = (3,)
    dilations: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    compress: Positive = 2
    pointwise: bool = True
    conv_skip: bool = False
    depthwise: bool = False
    activation: ActivationName = "elu"
    normalise: bool = True
    bottleneck: ComponentConfig | None = None
    context: ComponentConfig | None = None
    frame_stride: Positive = 1
    frame_steps: Positive = 1

    @property
    def widest(self) -> int:
        """Channels at the lowest rate."""
        return int(self.channels * 2 ** len(self.strides))

    def check(self, frame_size: int, latent_dim: int) -> None:
        """Raise ConfigError unless all strides make a frame, and all steps fit into a latent."""
        steps = self.frame_steps
        product = math.prod(self.strides) * self.frame_stride * steps
        if product != frame_size:
            raise ConfigError(
                f"strides {list(self.strides)} with frame_stride={self.frame_stride} and "
                f"frame_steps={steps} make frames of {product} samples, not frame_size={frame_size}"
            )
        if latent_dim % steps:
            raise ConfigError(f"frame_steps={steps} must divide latent_dim={latent_dim}")

    def stage(self, dim: int) -> ResidualStage:
        """Residual units at one rate."""
        units = UnitOptions(
            compress=self.compress,
            pointwise=self.pointwise,
            conv_skip=self.conv_skip,
            depthwise=self.depthwise,
            activation=self.activation,
            normalise=self.normalise,
        )
        return ResidualStage(dim, self.residual_kernel_sizes, self.dilations, units)
