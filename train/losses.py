"""Reconstruction losses: multi-scale log-mel, complex spectra, waveform and models of hearing."""

from dataclasses import dataclass

import librosa
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .band import in_band
from .config_losses import LossConfig
from .hearing import HearingLoss
from .spectrum import Spectrum, energy


@dataclass(frozen=True)
class ReconstructionLosses:
    """Unweighted scalars."""

    mel: Tensor
    loudness: Tensor
    stft: Tensor
    waveform: Tensor
    pmsqe: Tensor
    stoi: Tensor


class ReconstructionLoss(nn.Module):
    """How far decoded audio is from the original, band by band up to what was recorded.

    * ``mel``: mean absolute difference of natural-log mel levels (root of a band's mean energy,
      floor 1e-5), averaged over `mel_windows`; Parallel WaveGAN,
      https://arxiv.org/abs/1910.11480. Energies, not mean magnitudes: of two bands with the same
      mean magnitude the one with harmonics is louder than the one with noise.
    * ``loudness``: the same with magnitudes raised to 0.3 instead of their logarithm: nearer to
      how loud a band sounds, and quiet bands count less.
    * ``stft``: mean absolute difference of complex spectra whose magnitudes are raised to 0.3,
      averaged over `stft_windows`; it carries the phase. Bins count by 1 / (1 + (f / corner)^2):
      asking for phases that no code can pay for teaches a decoder to be too quiet there.
    * ``waveform``: mean absolute difference of samples, below `waveform_corner_hz` if that is set,
      for the same reason.
    * ``pmsqe`` and ``stoi``: see `HearingLoss`; zero unless `hearing` asks for them.

    What lies above a recording's own bandwidth is left out of all of them, so that a codec trained
    on mixed material does not learn to cut the top.
    """

    def __init__(self, config: LossConfig, sample_rate: int, *, hearing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.hearing = HearingLoss(sample_rate) if hearing else None
        self.sample_rate = sample_rate
        if config.waveform_corner_hz:
            size = round(sample_rate / config.waveform_corner_hz)  # half is left at 1 / size
            taps = torch.hann_window(size + 1, periodic=False)
            self.register_buffer("low_pass", (taps / taps.sum())[None, None], persistent=False)
        sizes = sorted({*config.mel_windows, *config.stft_windows})
        self.spectra = nn.ModuleDict({str(size): Spectrum(size) for size in sizes})
        for size, bands in zip(config.mel_windows, config.mel_bands, strict=True):
            filters = torch.from_numpy(
                librosa.filters.mel(sr=sample_rate, n_fft=size, n_mels=bands, norm=None)
            )
            area = filters.sum(1, keepdim=True).clamp_min(1e-6)
            self.register_buffer(f"mel_{size}", filters / area, persistent=False)
            edges = librosa.mel_frequencies(bands + 2, fmin=0, fmax=sample_rate / 2)[2:]
            self.register_buffer(
                f"edge_{size}", torch.tensor(edges, dtype=torch.float32), persistent=False
            )

    def forward(
        self,
        decoded: Tensor,
        target: Tensor,
        bandwidth_hz: Tensor,
        random: torch.Generator | None = None,
    ) -> ReconstructionLosses:
        """Compare decoded audio with its target.

        Args:
            decoded: [B, S].
            target: [B, S].
            bandwidth_hz: [B], up to where each target holds sound.
            random: Draws the windows of this step, if `windows_per_step` asks for a draw; without
                it all windows are used.
        """
        mel_windows = self._draw(self.config.mel_windows, random)
        stft_windows = self._draw(self.config.stft_windows, random)
        mel, loudness, stft = [], [], []
        for size in sorted({*mel_windows, *stft_windows}):
            spectrum = self.spectra[str(size)]
            a, b = spectrum(decoded), spectrum(target)
            if size in mel_windows:
                log_distance, power_distance = self._mel(size, a, b, bandwidth_hz)
                mel.append(log_distance)
                loudness.append(power_distance)
            if size in stft_windows:
                stft.append(self._complex(size, a, b, bandwidth_hz))
        none = decoded.new_zeros(())
        pmsqe, stoi = self.hearing(decoded, target, bandwidth_hz) if self.hearing else (none, none)
        return ReconstructionLosses(
            mel=torch.stack(mel).mean(),
            loudness=torch.stack(loudness).mean(),
            stft=torch.stack(stft).mean(),
            waveform=self._low(self._in_band(decoded - target, bandwidth_hz)).abs().mean(),
            pmsqe=pmsqe,
            stoi=stoi,
        )

    def _in_band(self, x: Tensor, bandwidth_hz: Tensor) -> Tensor:
        """What of x [B, S] lies within each item's band."""
        return in_band(x[:, None], bandwidth_hz, self.sample_rate)[:, 0]

    def _low(self, x: Tensor) -> Tensor:
        """What a Hann window as a filter leaves of x [B, S]."""
        if not self.config.waveform_corner_hz:
            return x
        taps = self.get_buffer("low_pass").to(x.dtype)
        return F.conv1d(x[:, None], taps, padding=taps.shape[-1] // 2)[:, 0]

    def _draw(self, windows: tuple[int, ...], random: torch.Generator | None) -> set[int]:
        """The windows of this step."""
        count = self.config.windows_per_step or len(windows)
        if random is None or count >= len(windows):
            return set(windows)
        return {windows[i] for i in torch.randperm(len(windows), generator=random)[:count]}

    def _mel(self, size: int, a: Tensor, b: Tensor, bandwidth_hz: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of logarithms and of powers of mel magnitudes."""
        filters, edge = self.get_buffer(f"mel_{size}"), self.get_buffer(f"edge_{size}")
        a, b = ((filters @ energy(x)).sqrt().clamp_min(1e-5) for x in (a, b))
        kept = edge[None] <= bandwidth_hz[:, None] + 1  # [B, bands]
        return (
            _masked_mean((a.log() - b.log()).abs(), kept),
            _masked_mean((a.pow(0.3) - b.pow(0.3)).abs(), kept),
        )

    def _complex(self, size: int, a: Tensor, b: Tensor, bandwidth_hz: Tensor) -> Tensor:
        frequency = torch.linspace(0, self.sample_rate / 2, size // 2 + 1, device=a.device)
        kept = frequency[None] <= bandwidth_hz[:, None]  # [B, bins]
        difference = torch.view_as_real(_power_law(a) - _power_law(b)).abs().sum(-1)
        if self.config.stft_corner_hz:
            weight = 1 / (1 + (frequency / self.config.stft_corner_hz) ** 2)
            difference = difference * weight[:, None]
        return _masked_mean(difference, kept)


def _power_law(spectrum: Tensor) -> Tensor:
    return spectrum * (spectrum.real.square() + spectrum.imag.square() + 1e-8) ** -0.35


def _masked_mean(values: Tensor, kept: Tensor) -> Tensor:
    """Mean of values [B, bins, frames] over the bins that are kept [B, bins]."""
    weight = kept.to(values)[..., None]
    return (values * weight).sum() / (weight.sum() * values.shape[2]).clamp_min(1)
