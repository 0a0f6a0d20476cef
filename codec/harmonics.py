"""Harmonics of what is sung below: how a decoder voices bands whose phases no code carries."""

from torch import Tensor, nn

from .fourier import RealDFT
from .noise import MAX_LEVEL
from .spectral import energy, mel_interpolation


class RectifiedHarmonics(nn.Module):
    """The low band of a spectrum, rectified, whitened, and shaped by a log level per mel band.

    The absolute value of a voiced sound has all harmonics of its pitch, in step with it, so the
    phases that are coded at the bottom give those above without a pitch tracker. Voiced bands that
    are filled with noise instead sound hoarse, and with phases that repeat from frame to frame
    they buzz.

    It has no state: rectifying a frame under its window is windowing the rectified signal, as
    windows are not negative. So the frame's own spectrum is enough, and nothing waits.

    Reference: J. Makhoul, M. Berouti, High-frequency regeneration in speech coding systems,
        ICASSP 1979, https://doi.org/10.1109/ICASSP.1979.1170672
    """

    FLOOR = 1e-9  # of power: below -90 dB nothing is whitened, so that silence stays silent

    def __init__(
        self, dim: int, num_bands: int, frame_size: int, top_hz: float, corner_hz: float
    ) -> None:
        """Make harmonics of what lies below `corner_hz`."""
        super().__init__()
        bins = frame_size + 1
        self.low_bins = min(bins, round(corner_hz / top_hz * frame_size) + 1)
        self.synthesis = RealDFT(2 * frame_size, self.low_bins, inverse=True)
        self.analysis = RealDFT(2 * frame_size)
        self.level = nn.Linear(dim, num_bands)
        nn.init.normal_(self.level.weight, std=0.01)
        nn.init.constant_(self.level.bias, -7.0)  # starts near silence
        bands = mel_interpolation(num_bands, bins, top_hz)
        self.register_buffer("interpolation", bands, persistent=False)
        mean = (bands / bands.sum(1, keepdim=True)).T.contiguous().half().float()
        self.register_buffer("mean", mean, persistent=False)

    interpolation: Tensor
    mean: Tensor

    def forward(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """Features [B, T, dim] and spectra [B, T, 2, bins] to spectra [B, T, 2, frame_size + 1].

        No gradient goes through the phases of `spectrum`.
        """
        low = spectrum[..., : self.low_bins].detach()
        source = self.analysis(self.synthesis(low).abs())
        power = (energy(source) @ self.mean + self.FLOOR).log()  # [B, T, 1, bands]
        level = self.level(x).clamp_max(MAX_LEVEL)[:, :, None]
        return source * ((level - 0.5 * power) @ self.interpolation).exp()
