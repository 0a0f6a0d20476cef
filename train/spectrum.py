"""Spectra of audio as the losses see them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spectrum(nn.Module):
    """Complex STFT with a Hann window, scaled to be level with the audio."""

    window: Tensor

    def __init__(self, size: int, hop: int | None = None) -> None:
        """A window of `size` samples every `hop`, by default a quarter of it."""
        super().__init__()
        self.size = size
        self.hop = hop or size // 4
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Audio [B, S] to complex [B, bins, frames]; silence is added if it is too short to fold."""
        if audio.shape[-1] <= self.size // 2:
            audio = F.pad(audio, (0, self.size - audio.shape[-1]))
        spectrum = torch.stft(audio, self.size, self.hop, window=self.window, return_complex=True)
        return spectrum * (2 / self.size)


def energy(spectrum: Tensor) -> Tensor:
    """Squared magnitudes, a little above zero so that roots have a gradient."""
    return spectrum.real.square() + spectrum.imag.square() + 1e-12
