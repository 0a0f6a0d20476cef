"""Audio to latents: causal STFT, power-law compression, causal ConvNeXt."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .config import FROZEN, Positive
from .layers import ConvNeXtStack
from .registry import Registry
from .spectral import CausalSTFT, compress, energy, mel_interpolation
from .streaming import State, StreamingModule, branch

ENCODERS: Registry[StreamingModule] = Registry("encoder")


@ENCODERS.register("stft-convnext")
class STFTEncoder(StreamingModule):
    """Spectra of 2 frames with a hop of 1, through a ConvNeXt stack, to one latent per frame.

    Levels of mel bands can be given beside the spectrum: how loud a band is takes a network long to
    learn from real and imaginary parts, and it is what most bands should be coded by.

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
            mel_bands: Bands whose log energies are looked at, too; 0 for none.
            band: Share of the spectrum that is looked at, from 0 Hz up; codes spent below are
                worth more, and the decoder knows what the top of speech sounds like.
        """

        dim: Positive = 256
        num_blocks: Positive = 4
        expansion: Positive = 2
        kernel_size: Annotated[int, Field(ge=2)] = 7
        power: Annotated[float, Field(gt=0, le=1)] = 0.3
        mel_bands: Annotated[int, Field(ge=0)] = 0
        band: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __init__(
        self, config: Config, *, sample_rate: int, frame_size: int, latent_dim: int
    ) -> None:
        super().__init__()
        self.power = config.power
        num_bins = round(config.band * frame_size) + 1
        self.stft = CausalSTFT(frame_size, num_bins)
        self.mel: LogMel | None = None
        if config.mel_bands:
            self.mel = LogMel(config.mel_bands, num_bins, config.band * sample_rate / 2)
        self.project_in = nn.Linear(2 * num_bins + config.mel_bands, config.dim)
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
            features = compress(spectrum, self.power).flatten(2)
            if self.mel is not None:
                features = torch.cat([features, self.mel(spectrum)], dim=-1)
        hidden = self.norm_in(self.project_in(features))
        hidden, stack = self.stack(hidden, branch(state, "stack"))
        latents = self.project_out(self.norm_out(hidden))
        return latents, {"stft": stft, "stack": stack}


class LogMel(nn.Module):
    """Log energies of mel bands, scaled to about one."""

    filters: Tensor

    def __init__(self, num_bands: int, num_bins: int, top_hz: float) -> None:
        super().__init__()
        rows = mel_interpolation(num_bands, num_bins, top_hz)
        filters = (rows / rows.sum(1, keepdim=True)).half().float()  # graphs store float16
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Spectra [B, T, 2, num_bins] to [B, T, num_bands]; -70 dB are -2, 10 dB are 2.6."""
        return (energy(spectrum).squeeze(2) @ self.filters + 1e-7).log() / 4 + 2
