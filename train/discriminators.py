"""Discriminators: multi-scale complex STFT and multi-period, chosen by name."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from sotto.codec.config import FROZEN, Positive
from sotto.codec.registry import Registry

from .spectrum import Spectrum


@plain_dataclass(frozen=True)
class Judgement:
    """What one discriminator says of a batch.

    Attributes:
        score: [B, 1, ...], near 1 for original, near 0 for decoded.
        features: Activations on the way there, for feature matching.
    """

    score: Tensor
    features: list[Tensor]


class Discriminator(nn.Module):
    """Judges audio [B, 1, S] at several scales or periods."""

    members: nn.ModuleList

    def forward(self, audio: Tensor) -> list[Judgement]:
        """One judgement per member."""
        return [member(audio) for member in self.members]


FAINT = 0.02  # level of a compressed picture that stays faint: about -70 dB

DISCRIMINATORS: Registry[Discriminator] = Registry("discriminator")


class ConvStack(nn.Module):
    """2-D convolutions with leaky rectifiers; every activation is kept as a feature."""

    def __init__(self, layers: list[nn.Conv2d], last: nn.Conv2d) -> None:
        super().__init__()
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.last = weight_norm(last)

    def forward(self, x: Tensor) -> Judgement:
        """Judge a picture [B, C, H, W]."""
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return Judgement(self.last(x), features)


class STFTDiscriminator(nn.Module):
    """Real and imaginary parts of one STFT as the two channels of a picture."""

    def __init__(self, window: int, channels: int, band: float) -> None:
        super().__init__()
        self.spectrum = Spectrum(window)
        self.num_bins = round(band * window / 2) + 1
        layers = [nn.Conv2d(2, channels, (9, 3), padding=(4, 1))]
        layers += [
            nn.Conv2d(channels, channels, (9, 3), stride=(2, 1), dilation=(1, d), padding=(4, d))
            for d in (1, 2, 4)
        ]
        layers.append(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1)))
        self.stack = ConvStack(layers, nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, audio: Tensor) -> Judgement:
        """Judge audio [B, 1, S]."""
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = self.spectrum(audio[:, 0].float())[:, : self.num_bins]
            # Compressed: quiet detail must be visible beside loud vowels.
            energy = spectrum.real.square() + spectrum.imag.square() + 1e-6
            picture = torch.view_as_real(spectrum * energy**-0.25).permute(0, 3, 1, 2)
            # Every clip at the same level: weights start out made for that.
            power = picture.square().mean((1, 2, 3), keepdim=True)
            picture = picture * (power + FAINT**2).rsqrt()
        judgement: Judgement = self.stack(picture)  # [B, 2, bins, frames]
        return judgement


@DISCRIMINATORS.register("stft")
class MultiScaleSTFTDiscriminator(Discriminator):
    """Complex STFTs at several window lengths; EnCodec, https://arxiv.org/abs/2210.13438."""

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Window lengths in samples and channels of each member; what they see.

        `band` is the share of the spectrum, from 0 Hz up, that is judged: all of it, or only where
        the decoder draws phases, which costs less.
        """

        windows: Annotated[tuple[int, ...], Field(min_length=1)] = (2048, 1024, 512)
        channels: Positive = 16
        band: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            STFTDiscriminator(window, config.channels, config.band) for window in config.windows
        )


class PeriodDiscriminator(nn.Module):
    """Every `period`-th sample in one row, so that pitch errors show."""

    def __init__(self, period: int, channels: int, max_channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [min(channels * 4**i, max_channels) for i in range(4)]
        layers = [
            nn.Conv2d(before, after, (5, 1), stride=(3, 1), padding=(2, 0))
            for before, after in zip([1, *widths[:-1]], widths, strict=True)
        ]
        self.stack = ConvStack(layers, nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, audio: Tensor) -> Judgement:
        """Judge audio [B, 1, S]."""
        missing = -audio.shape[-1] % self.period
        padded = F.pad(audio, (0, missing), mode="reflect") if missing else audio
        judgement: Judgement = self.stack(padded.reshape(*padded.shape[:2], -1, self.period))
        return judgement


@DISCRIMINATORS.register("period")
class MultiPeriodDiscriminator(Discriminator):
    """Waveforms folded at several periods; HiFi-GAN, https://arxiv.org/abs/2010.05646."""

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Periods in samples, channels of the first layer and of the widest."""

        periods: Annotated[tuple[int, ...], Field(min_length=1)] = (2, 3, 5, 7, 11)
        channels: Positive = 16
        max_channels: Positive = 256

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            PeriodDiscriminator(period, config.channels, config.max_channels)
            for period in config.periods
        )
