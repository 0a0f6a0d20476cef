"""Causal STFT and overlap-add inverse STFT, exact in a stream and in ONNX.

Both use frames of two hops and the sine window, whose square adds up to one over the overlap, so
that synthesis after analysis gives the input back, one hop late.
"""

import math

import torch
from torch import Tensor

from .errors import ConfigError
from .fourier import RealDFT
from .streaming import State, StreamingModule, leaf


def sine_window(size: int) -> Tensor:
    """Sine window float32 [size]; its square adds up to one over two halves."""
    n = torch.arange(size, dtype=torch.float64)
    return torch.sin(math.pi * (n + 0.5) / size).float()


def mel_interpolation(num_bands: int, num_bins: int, top_hz: float) -> Tensor:
    """Weights that spread bands over bins, float32 [num_bands, num_bins], columns summing to one.

    Band centres stand at equal steps of the mel scale from 0 Hz to `top_hz`; between two of them a
    bin is interpolated linearly. Rows divided by their sums are the filters that go back.

    Args:
        num_bands: From 2 to `num_bins`.
        num_bins: Bins of a spectrum, the first at 0 Hz and the last at `top_hz`.
        top_hz: Frequency of the last bin.

    Raises:
        ConfigError: Too few bands, or more bands than bins.
    """
    if not 2 <= num_bands <= num_bins:
        raise ConfigError(f"{num_bands} bands over {num_bins} bins; expected 2 to {num_bins}")
    mel = torch.log1p(torch.linspace(0, top_hz, num_bins, dtype=torch.float64) / 700)
    place = mel / mel[-1] * (num_bands - 1)
    distance = place[None] - torch.arange(num_bands, dtype=torch.float64)[:, None]
    return (1 - distance.abs()).clamp_min(0).half().float()  # graphs store float16


class CausalSTFT(StreamingModule):
    """Spectrum of this hop of audio and the one before it, up to `num_bins` bins.

    State: ``tail`` [B, hop], the newest hop of the past.
    """

    window: Tensor

    def __init__(self, hop: int, num_bins: int) -> None:
        super().__init__()
        self.hop = hop
        self.dft = RealDFT(2 * hop, num_bins)
        self.register_buffer("window", sine_window(2 * hop), persistent=False)

    def init_state(self, batch_size: int) -> State:
        """Silence."""
        return {"tail": self.zeros(batch_size, self.hop)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Audio [B, S], S a multiple of `hop`, to spectra [B, S / hop, 2, num_bins]."""
        seen = torch.cat([leaf(state, "tail"), x], dim=1)
        hops = seen.reshape(x.shape[0], -1, self.hop)  # [B, T + 1, hop]
        frames = torch.cat([hops[:, :-1], hops[:, 1:]], dim=2)  # [B, T, 2 * hop]
        return self.dft(frames * self.window), {"tail": hops[:, -1]}


class OverlapAddISTFT(StreamingModule):
    """Audio from spectra; a hop is finished when the next spectrum has been added to it.

    The output is therefore one hop late. State: ``tail`` [B, hop], the unfinished second half of
    the last frame.
    """

    window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.num_bins = hop + 1
        self.dft = RealDFT(2 * hop, inverse=True)
        self.register_buffer("window", sine_window(2 * hop), persistent=False)

    def init_state(self, batch_size: int) -> State:
        """Silence."""
        return {"tail": self.zeros(batch_size, self.hop)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Spectra [B, T, 2, bins], bins up to hop + 1, to audio [B, T * hop]."""
        first, second = (self.dft(x) * self.window).split(
            [self.hop, self.hop], dim=-1
        )  # [B, T, hop] each
        seconds = torch.cat([leaf(state, "tail")[:, None], second], dim=1)
        return (first + seconds[:, :-1]).flatten(1), {"tail": seconds[:, -1]}


def compress(spectrum: Tensor, power: float) -> Tensor:
    """Power-law compression of the magnitude; the phase stays.

    Args:
        spectrum: [..., 2, bins], real over imaginary parts.
        power: Exponent of the magnitude, below 1.
    """
    return spectrum * (energy(spectrum) + 1e-8) ** ((power - 1) / 2)


def expand(compressed: Tensor, power: float) -> Tensor:
    """Undo `compress`, up to its floor."""
    return compressed * (energy(compressed) + 1e-8) ** ((1 / power - 1) / 2)


def energy(spectrum: Tensor) -> Tensor:
    """Squared magnitudes [..., 1, bins] of spectra [..., 2, bins]."""
    return spectrum.square().sum(-2, keepdim=True)
