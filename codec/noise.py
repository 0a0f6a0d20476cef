"""Noise of a chosen level per band: what a decoder says where no code says the phase."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fourier import RealDFT
from .spectral import mel_interpolation, sine_window
from .streaming import State, StreamingModule, leaf


class ShapedNoise(StreamingModule):
    """Features to the spectrum of noise, shaped by a log level per mel band.

    Above about 1 kHz no low bitrate pays for phases, and a decoder that is taught to match them
    learns to say too little there. Levels are cheap, and noise at the right level is what the ear
    and the intelligibility measures expect of such bands. The noise is a loop of `num_frames`
    spectra that belongs to the weights, so decoding is deterministic and exact in a stream. Its
    bands are as loud in every frame (`even_noise`): levels that come and go by chance are heard.

    State: ``position`` [B, 1], the next frame of the loop.

    Reference: the filtered noise of DDSP, https://arxiv.org/abs/2001.04643
    """

    spectra: Tensor
    interpolation: Tensor
    MAX_LEVEL = 3.0  # in nepers: an error of the network stays finite

    def __init__(
        self, dim: int, num_bands: int, frame_size: int, top_hz: float, num_frames: int = 64
    ) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.level = nn.Linear(dim, num_bands)
        nn.init.normal_(self.level.weight, std=0.01)
        nn.init.constant_(self.level.bias, -7.0)  # starts near silence
        window = sine_window(2 * frame_size) * 2**0.5
        noise = even_noise(num_frames * frame_size, frame_size).to(window).reshape(num_frames, -1)
        looped = torch.cat([noise, noise.roll(-1, 0)], dim=1)  # each frame: a hop and the next
        spectra = RealDFT(2 * frame_size)(looped * window)
        self.register_buffer("spectra", spectra.flatten(1))
        self.register_buffer(
            "interpolation", mel_interpolation(num_bands, frame_size + 1, top_hz), persistent=False
        )

    def init_state(self, batch_size: int) -> State:
        """The start of the loop."""
        return {"position": self.zeros(batch_size, 1)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Features [B, T, dim] to spectra [B, T, 2, bins]: real over imaginary parts."""
        B, T, _ = x.shape
        position = leaf(state, "position").to(torch.int64)
        step = torch.remainder(position + torch.arange(T, device=x.device), self.num_frames)
        after = torch.remainder(step[:, -1:] + 1, self.num_frames)
        if self.training:  # every item of a batch hears another stretch
            step = step + 7 * torch.arange(B, device=x.device)[:, None]
            step = torch.remainder(step, self.num_frames)
        level = self.level(x).clamp_max(self.MAX_LEVEL) @ self.interpolation
        noise = F.embedding(step, self.spectra).reshape(B, T, 2, -1)
        return noise * level.exp()[:, :, None], {"position": after.to(x.dtype)}


@cache
def even_noise(num_samples: int, frame_size: int, rounds: int = 60) -> Tensor:
    """A loop of noise float32 [num_samples] whose short-time levels hardly change.

    Gaussian noise of which each round evens out the levels of mel bands, in windows of another
    length and other bands.

    Args:
        num_samples: Length of the loop, a multiple of `frame_size`.
        frame_size: Samples of a hop; windows are one to two of them long.
        rounds: More make it more even.

    Reference: J. Pumplin, Low-noise noise, 1985, https://doi.org/10.1121/1.392571
    """
    with torch.device("cpu"):  # whatever a model is being built on
        noise = torch.randn(num_samples, generator=torch.Generator().manual_seed(0))
        for turn in range(rounds):
            size = frame_size * (20, 16, 12)[turn % 3] // 10 // 4 * 4
            bins, hop = size // 2 + 1, size // 4
            window = torch.hann_window(size)
            count = min((48, 41, 55, 36)[turn % 4], bins)
            nearest = mel_interpolation(count, bins, 12_000.0).argmax(0)
            bands = F.one_hot(nearest).float()  # [bins, bands]
            looped = torch.cat([noise[-size:], noise, noise[: 2 * size]])
            spectra = torch.fft.rfft(looped.unfold(0, size, hop) * window)
            level = spectra.abs().square() @ (bands / bands.sum(0).clamp_min(1))
            spectra = spectra * ((level.mean() / (level + 1e-6)).sqrt() @ bands.T)
            frames = torch.stack(
                [torch.fft.irfft(spectra, n=size) * window, (window**2).expand(len(spectra), -1)]
            )
            length = (len(spectra) - 1) * hop + size
            summed, weight = F.fold(frames.transpose(1, 2), (1, length), (1, size), stride=(1, hop))
            noise = (summed / weight.clamp_min(1e-3)).flatten()[size : size + num_samples]
            noise = noise / noise.square().mean().sqrt()
    return noise
