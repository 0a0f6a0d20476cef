"""Losses that follow models of hearing: the disturbances of PESQ and the envelopes of STOI."""

import torch
from torch import Tensor, nn

from .spectrum import Spectrum, energy

WINDOW_S = 0.032
BARK_BANDS, BARK_TOP_HZ = 49, 8_000.0
SPEECH_RMS, SPEECH_DB = 0.05, 79.0  # PESQ plays what has this level at 79 dB
MAX_GAIN = 10.0  # for recordings that are quieter
OCTAVE_BANDS, OCTAVE_FROM_HZ = 15, 150.0
SEGMENT_S = 0.384


class HearingLoss(nn.Module):
    """What listeners would mark down in decoded speech, differentiable and cheap.

    * ``pmsqe``: points of the raw PESQ scale lost. Power in critical bands becomes loudness
      (Zwicker); differences under a quarter of the quieter of the two are not heard, and what the
      codec adds counts a second time. After ITU-T P.862 and J. M. Martin-Donas et al., A Deep
      Learning Loss Function Based on the Perceptual Evaluation of the Speech Quality, 2018,
      https://doi.org/10.1109/LSP.2018.2871419. As there, a band that is louder or quieter
      throughout is forgiven; if it were not, the weight on what is added would teach a decoder to
      be too quiet. Levels are for other losses to teach.
    * ``stoi``: 1 - the correlation of third-octave envelopes over 384 ms, 150 Hz to 4.3 kHz;
      in each band, segments 40 dB below the loudest of the batch do not count. C. Taal et al., An Algorithm for
      Intelligibility Prediction of Time-Frequency Weighted Noisy Speech, 2011,
      https://doi.org/10.1109/TASL.2011.2114881.
    """

    bark: Tensor
    width: Tensor
    threshold: Tensor
    exponent: Tensor
    octaves: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        size = 2 * round(WINDOW_S * sample_rate / 2)
        self.spectrum = Spectrum(size, hop=size // 2)
        self.bin_hz = sample_rate / size
        self.segment = round(SEGMENT_S / (WINDOW_S / 2))
        top = _bark(torch.tensor(BARK_TOP_HZ))
        barks = torch.linspace(0, float(top), BARK_BANDS + 1)
        edges = _hertz(barks)
        middle = _hertz((barks[1:] + barks[:-1]) / 2)
        octaves = OCTAVE_FROM_HZ * 2 ** (torch.arange(OCTAVE_BANDS) / 3)
        constants = {
            "bark": _shares(edges[:-1], edges[1:], size, sample_rate),
            "width": (barks[1:] - barks[:-1])[:, None],
            "threshold": (10 ** (_threshold_db(middle) / 10))[:, None],
            "exponent": _exponent(_bark(middle))[:, None],
            "octaves": _shares(octaves / 2 ** (1 / 6), octaves * 2 ** (1 / 6), size, sample_rate),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, decoded: Tensor, target: Tensor, bandwidth_hz: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scalars ``pmsqe`` and ``stoi`` of decoded audio [B, S] against its target [B, S].

        What lies above `bandwidth_hz` [B], if given, is not heard.
        """
        a, b = energy(self.spectrum(decoded)), energy(self.spectrum(target))
        if bandwidth_hz is not None:
            hertz = torch.arange(a.shape[1], device=a.device) * self.bin_hz
            kept = (hertz <= bandwidth_hz[:, None]).to(a)[..., None]  # [B, bins, 1]
            a, b = a * kept, b * kept
        rms = target.square().mean(-1).sqrt()
        gain = SPEECH_RMS / rms.clamp_min(SPEECH_RMS / MAX_GAIN)
        # A Hann window's energies add up to 1.5 times the mean square.
        scale = (gain.square() * 10 ** (SPEECH_DB / 10) / SPEECH_RMS**2 / 1.5)[:, None, None]
        pmsqe = self._points(self.bark @ (a * scale), self.bark @ (b * scale))
        return pmsqe, self._decorrelation(self.octaves @ a, self.octaves @ b)

    def _points(self, a: Tensor, b: Tensor) -> Tensor:
        """Points that powers of bands [B, bands, frames] lose against others."""
        colour = (a.mean(-1, keepdim=True) + 1e3) / (b.mean(-1, keepdim=True) + 1e3)
        b = b * colour.clamp(0.01, 100)
        loud_a, loud_b = self._loudness(a), self._loudness(b)
        unheard = 0.25 * torch.minimum(loud_a, loud_b)
        heard = ((loud_a - loud_b).abs() - unheard).clamp_min(0) * self.width
        added = ((a + 50) / (b + 50)) ** 1.2
        added = torch.where(added < 3, 0, added.clamp_max(12))
        symmetric = (heard.square().sum(1) * self.width.sum() + 1e-6).sqrt()
        asymmetric = (heard * added).sum(1)
        loud_frames = ((b.sum(1) + 1e5) / 1e7) ** 0.04
        symmetric, asymmetric = (
            ((part / loud_frames).clamp_max(45).square().mean(1) + 1e-9).sqrt().mean()
            for part in (symmetric, asymmetric)
        )
        return 0.1 * symmetric + 0.0309 * asymmetric

    def _loudness(self, power: Tensor) -> Tensor:
        """Sones of bands, from their power in units of 20 micropascals squared."""
        ratio = (0.5 + 0.5 * power / self.threshold) ** self.exponent
        loud = 0.1866 * (2 * self.threshold) ** self.exponent * (ratio - 1)
        return loud.clamp_min(0)

    def _decorrelation(self, a: Tensor, b: Tensor) -> Tensor:
        """1 - correlation of envelopes, from powers of bands [B, bands, frames]."""
        length = min(self.segment, a.shape[-1])
        a, b = ((x + 1e-10).sqrt().unfold(-1, length, max(1, length // 2)) for x in (a, b))
        a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
        size = b.square().sum(-1)
        correlation = (a * b).sum(-1) / (a.square().sum(-1) * size + 1e-14).sqrt()
        counts = (size > 1e-4 * size.amax(dim=(0, 2), keepdim=True)).to(a)
        return 1 - (correlation * counts).sum() / counts.sum().clamp_min(1)


def _bark(hertz: Tensor) -> Tensor:
    """Critical-band rate; H. Traunmueller, 1990, https://doi.org/10.1121/1.399849."""
    return 26.81 * hertz / (1960 + hertz)


def _hertz(bark: Tensor) -> Tensor:
    return 1960 * bark / (26.81 - bark)


def _threshold_db(hertz: Tensor) -> Tensor:
    """Sound that can just be heard; E. Terhardt, https://doi.org/10.1016/0378-5955(79)90025-X."""
    k = hertz / 1000
    return 3.64 * k**-0.8 - 6.5 * torch.exp(-0.6 * (k - 3.3) ** 2) + 1e-3 * k**4


def _exponent(bark: Tensor) -> Tensor:
    """Of loudness in power, greater in the lowest four Bark (ITU-T P.862)."""
    return 0.23 * (6 / (bark + 2)).clamp(1, 2) ** 0.15


def _shares(low: Tensor, high: Tensor, size: int, sample_rate: int) -> Tensor:
    """How much of each bin lies between frequencies `low` and `high` [bands]: [bands, bins]."""
    width = sample_rate / size
    centre = torch.arange(size // 2 + 1) * width
    upper = torch.minimum(high[:, None], centre + width / 2)
    lower = torch.maximum(low[:, None], centre - width / 2)
    return ((upper - lower) / width).clamp_min(0)
