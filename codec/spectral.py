"""Causal STFT and overlap-add inverse STFT as matrix products, exact in a stream and in ONNX.

Both use frames of two hops and the sine window, whose square adds up to one over the overlap, so
that synthesis after analysis gives the input back, one hop late.
"""

import math

import torch
from torch import Tensor

from .errors import ConfigError
from .streaming import State, StreamingModule, leaf


def windowed_dft(n_fft: int, num_bins: int | None = None) -> Tensor:
    """Rows of the windowed real DFT, float32 [n_fft, 2 * num_bins]: real parts, imaginary parts.

    Scaled by ``n_fft ** -0.5``, so that spectra keep about the level of the audio. `num_bins`
    keeps the lowest bins only; all ``n_fft // 2 + 1`` by default.
    """
    n = torch.arange(n_fft, dtype=torch.float64)
    window = torch.sin(math.pi * (n + 0.5) / n_fft)
    bins = torch.arange(num_bins or n_fft // 2 + 1, dtype=torch.float64)
    # The product is reduced modulo n_fft before it becomes an angle: no precision is lost.
    angle = 2 * math.pi / n_fft * torch.remainder(n[:, None] * bins[None, :], n_fft)
    basis = torch.cat([torch.cos(angle), -torch.sin(angle)], dim=1)
    rows: Tensor = basis * window[:, None] * n_fft**-0.5
    return rows.float()


def windowed_inverse_dft(n_fft: int) -> Tensor:
    """Rows of the inverse of `windowed_dft`, float32 [2 * (n_fft // 2 + 1), n_fft], windowed again."""
    weight = torch.full((n_fft // 2 + 1,), 2.0)
    weight[0] = weight[-1] = 1.0  # all bins but the first and last stand for a conjugate pair
    return windowed_dft(n_fft).T * weight.repeat(2)[:, None]


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

    basis: Tensor

    def __init__(self, hop: int, num_bins: int) -> None:
        super().__init__()
        self.hop = hop
        self.num_features = 2 * num_bins
        self.register_buffer("basis", windowed_dft(2 * hop, num_bins), persistent=False)

    def init_state(self, batch_size: int) -> State:
        """Silence."""
        return {"tail": self.zeros(batch_size, self.hop)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Audio [B, S], S a multiple of `hop`, to spectra [B, S / hop, num_features]."""
        seen = torch.cat([leaf(state, "tail"), x], dim=1)
        hops = seen.reshape(x.shape[0], -1, self.hop)  # [B, T + 1, hop]
        frames = torch.cat([hops[:, :-1], hops[:, 1:]], dim=2)  # [B, T, 2 * hop]
        return frames @ self.basis, {"tail": hops[:, -1]}


class OverlapAddISTFT(StreamingModule):
    """Audio from spectra; a hop is finished when the next spectrum has been added to it.

    The output is therefore one hop late. State: ``tail`` [B, hop], the unfinished second half of
    the last frame.
    """

    basis: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.num_features = 2 * (hop + 1)  # real and imaginary parts of every bin
        self.register_buffer("basis", windowed_inverse_dft(2 * hop), persistent=False)

    def init_state(self, batch_size: int) -> State:
        """Silence."""
        return {"tail": self.zeros(batch_size, self.hop)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Spectra [B, T, num_features] to audio [B, T * hop]."""
        frames = x @ self.basis  # [B, T, 2 * hop]
        first, second = frames[..., : self.hop], frames[..., self.hop :]
        earlier = torch.cat([leaf(state, "tail")[:, None], second[:, :-1]], dim=1)
        return (first + earlier).flatten(1), {"tail": second[:, -1]}


def compress(spectrum: Tensor, power: float) -> Tensor:
    """Power-law compression of the magnitude; the phase stays.

    Args:
        spectrum: [..., 2 * bins], real parts then imaginary parts.
        power: Exponent of the magnitude, below 1.
    """
    return spectrum * (_energy_of_both(spectrum) + 1e-8) ** ((power - 1) / 2)


def expand(compressed: Tensor, power: float) -> Tensor:
    """Undo `compress`, up to its floor."""
    return compressed * (_energy_of_both(compressed) + 1e-8) ** ((1 / power - 1) / 2)


def energy(spectrum: Tensor) -> Tensor:
    """Squared magnitudes [..., bins] of a spectrum [..., 2 * bins]."""
    real, imaginary = spectrum.chunk(2, dim=-1)
    return real * real + imaginary * imaginary


def _energy_of_both(spectrum: Tensor) -> Tensor:
    """Squared magnitudes, once for the real and once for the imaginary parts."""
    one = energy(spectrum)
    return torch.cat([one, one], dim=-1)
