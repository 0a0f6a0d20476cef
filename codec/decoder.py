"""Latents to audio: causal ConvNeXt, then an inverse-STFT head."""

from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .config import FROZEN, Positive
from .layers import ConvNeXtStack, at_least_float32
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
        """Width, depth and expansion of the stack; `power` of the spectral compression."""

        dim: Positive = 320
        num_blocks: Positive = 6
        expansion: Positive = 2
        kernel_size: Annotated[int, Field(ge=2)] = 7
        power: Annotated[float, Field(gt=0, le=1)] = 0.3

    def __init__(
        self, config: Config, *, frame_size: int, latent_dim: int, num_codebooks: int
    ) -> None:
        super().__init__()
        self.power = config.power
        self.istft = OverlapAddISTFT(frame_size)
        self.project_in = nn.Linear(latent_dim, config.dim)
        self.depth = nn.Embedding(num_codebooks + 1, config.dim)
        self.norm_in = nn.LayerNorm(config.dim)
        self.stack = ConvNeXtStack(
            config.dim, config.num_blocks, config.expansion, config.kernel_size
        )
        self.head = nn.Linear(config.dim, self.istft.num_features)
        nn.init.normal_(self.depth.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.01)  # starts quiet: expansion makes loud from large
        nn.init.zeros_(self.head.bias)

    @property
    def delay_samples(self) -> int:
        """One hop: overlap-add waits for the next spectrum."""
        return self.istft.hop

    def init_state(self, batch_size: int) -> State:
        """Zeros for every block and the overlap."""
        return {
            "stack": self.stack.init_state(batch_size),
            "istft": self.istft.init_state(batch_size),
        }

    def forward(self, x: Tensor, depth: Tensor, state: State) -> tuple[Tensor, State]:
        """Latents [B, T, D], depth int64 [B, T] and state to audio [B, T * frame_size]."""
        hidden = self.norm_in(self.project_in(x) + self.depth(depth))
        hidden, stack = self.stack(hidden, branch(state, "stack"))
        spectrum = self.head(hidden)  # not normalised: loudness stays linear
        with torch.autocast(x.device.type, enabled=False):
            spectrum = expand(at_least_float32(spectrum), self.power)
            audio, istft = self.istft(spectrum, branch(state, "istft"))
        return audio, {"stack": stack, "istft": istft}
