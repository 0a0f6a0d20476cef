"""Latents to audio: causal ConvNeXt, then an inverse-STFT head."""

from abc import abstractmethod
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .config import FROZEN, ComponentConfig, Positive
from .layers import ConvNeXtStack, at_least_float32
from .networks.bottleneck import bottleneck
from .noise import ShapedNoise
from .registry import Registry
from .spectral import OverlapAddISTFT, expand
from .streaming import State, Stateful, branch


class Decoder(Stateful):
    """What every decoder offers: latents, how many books each frame heard, and state to audio."""

    @property
    def delay_samples(self) -> int:
        """How many samples later than the encoder's frame the audio comes out."""
        return 0

    @abstractmethod
    def forward(self, x: Tensor, depth: Tensor, state: State) -> tuple[Tensor, State]:
        """Latents [B, T, D], books heard per frame int64 [B, T], and state to audio [B, S]."""


DECODERS: Registry[Decoder] = Registry("decoder")


@DECODERS.register("convnext-istft")
class ISTFTDecoder(Decoder):
    """ConvNeXt stack with a head of real and imaginary parts in the compressed domain.

    The depth, how many books are heard, is embedded and added to the input, so that one decoder
    serves every bitrate. Real and imaginary parts learn phase far sooner than magnitude and angle.

    Reference: Vocos, https://arxiv.org/abs/2306.00814 (the head differs).
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
            noise_bands: Mel bands of the noise that is added; 0 leaves it out.
            band: Share of the spectrum, from 0 Hz up, that has phases of its own. Above is noise
                alone: phases that no code carries repeat from frame to frame, and that buzzes.
            context: Network before the stack, such as a transformer; None leaves it out.
        """

        dim: Positive = 320
        num_blocks: Positive = 6
        expansion: Positive = 2
        kernel_size: Annotated[int, Field(ge=2)] = 7
        power: Annotated[float, Field(gt=0, le=1)] = 0.3
        noise_bands: Annotated[int, Field(ge=0)] = 0
        band: Annotated[float, Field(gt=0, le=1)] = 1.0
        context: ComponentConfig | None = None

        def __post_init__(self) -> None:
            """Something must sound above `band`."""
            if self.band < 1 and not self.noise_bands:
                raise ValueError(f"band={self.band:g} leaves silence above; set noise_bands too")

    def __init__(
        self,
        config: Config,
        *,
        sample_rate: int,
        frame_size: int,
        latent_dim: int,
        num_codebooks: int,
    ) -> None:
        super().__init__()
        self.power = config.power
        self.istft = OverlapAddISTFT(frame_size)
        self.project_in = nn.Linear(latent_dim, config.dim)
        self.depth = nn.Embedding(num_codebooks + 1, config.dim)
        self.norm_in = nn.LayerNorm(config.dim)
        self.context = bottleneck(config.context, config.dim)
        self.stack = ConvNeXtStack(
            config.dim, config.num_blocks, config.expansion, config.kernel_size
        )
        self.num_bins = round(config.band * frame_size) + 1
        self.head = nn.Linear(config.dim, 2 * self.num_bins)
        self.noise: ShapedNoise | None = None
        if config.noise_bands:
            self.noise = ShapedNoise(config.dim, config.noise_bands, frame_size, sample_rate / 2)
        nn.init.normal_(self.depth.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.01)  # starts quiet: expansion makes loud from large
        nn.init.zeros_(self.head.bias)

    @property
    def delay_samples(self) -> int:
        """One hop: overlap-add waits for the next spectrum."""
        return self.istft.hop

    def init_state(self, batch_size: int) -> State:
        """Zeros for every block, the overlap and the noise."""
        state: State = {}
        if self.context is not None:
            state["context"] = self.context.init_state(batch_size)
        state["stack"] = self.stack.init_state(batch_size)
        if self.noise is not None:
            state["noise"] = self.noise.init_state(batch_size)
        state["istft"] = self.istft.init_state(batch_size)
        return state

    def forward(self, x: Tensor, depth: Tensor, state: State) -> tuple[Tensor, State]:
        """Latents [B, T, D], depth int64 [B, T] and state to audio [B, T * frame_size]."""
        hidden = self.norm_in(self.project_in(x) + self.depth(depth))
        after: State = {}
        if self.context is not None:
            hidden, after["context"] = self.context(hidden, branch(state, "context"))
        hidden, after["stack"] = self.stack(hidden, branch(state, "stack"))
        spectrum = self.head(hidden)  # not normalised: loudness stays linear
        with torch.autocast(x.device.type, enabled=False):
            spectrum = at_least_float32(spectrum).reshape(*x.shape[:2], 2, self.num_bins)
            spectrum = expand(spectrum, self.power)
            if self.noise is not None:
                noise, loop = self.noise(at_least_float32(hidden), branch(state, "noise"))
                after["noise"] = loop
                spectrum = noise + F.pad(spectrum, (0, noise.shape[-1] - self.num_bins))
            audio, after["istft"] = self.istft(spectrum, branch(state, "istft"))
        return audio, after
