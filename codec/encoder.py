"""Audio to latents: causal STFT, power-law compression, causal ConvNeXt."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .config import FROZEN, Positive
from .layers import ConvNeXtStack
from .registry import Registry
from .spectral import CausalSTFT, compress
from .streaming import State, StreamingModule, branch

ENCODERS: Registry[StreamingModule] = Registry("encoder")


@ENCODERS.register("stft-convnext")
class STFTEncoder(StreamingModule):
    """Spectra of 2 frames with a hop of 1, through a ConvNeXt stack, to one latent per frame.

    Latents are not normalised: loud frames reach further than quiet ones, and the first books, which
    see most of that, are worth more at low bitrates (docs/experiments.md).
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            dim: Width of the stack.
            num_blocks: Its depth.
            expansion: Width of each block's inner layer, as a multiple of `dim`.
            kernel_size: Frames that each block sees, this one included.
            power: Exponent of the spectral compression.
            band: Share of the spectrum that is looked at, from 0 Hz up; codes spent below are
                worth more, and the decoder knows what the top of speech sounds like.
        """

        dim: Positive = 256
        num_blocks: Positive = 4
        expansion: Positive = 2
        kernel_size: Annotated[int, Field(ge=2)] = 7
        power: Annotated[float, Field(gt=0, le=1)] = 0.3
        band: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __init__(self, config: Config, *, frame_size: int, latent_dim: int) -> None:
        super().__init__()
        self.power = config.power
        self.stft = CausalSTFT(frame_size, round(config.band * frame_size) + 1)
        self.project_in = nn.Linear(self.stft.num_features, config.dim)
        self.norm_in = nn.LayerNorm(config.dim)
        self.stack = ConvNeXtStack(
            config.dim, config.num_blocks, config.expansion, config.kernel_size
        )
        self.norm_out = nn.LayerNorm(config.dim)
        self.project_out = nn.Linear(config.dim, latent_dim)

    def init_state(self, batch_size: int) -> State:
        """Zeros for the STFT and every block."""
        return {
            "stft": self.stft.init_state(batch_size),
            "stack": self.stack.init_state(batch_size),
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Audio [B, S], S = T * frame_size, to latents [B, T, latent_dim]."""
        with torch.autocast(x.device.type, enabled=False):
            spectrum, stft = self.stft(x, branch(state, "stft"))
            features = compress(spectrum, self.power)
        hidden = self.norm_in(self.project_in(features))
        hidden, stack = self.stack(hidden, branch(state, "stack"))
        latents = self.project_out(self.norm_out(hidden))
        return latents, {"stft": stft, "stack": stack}
