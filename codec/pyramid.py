"""Encoder and decoder of window attention over a spectrum whose resolution halves again and again.

Reference: ESC, https://arxiv.org/abs/2404.19441
"""

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .config import FROZEN, Positive
from .decoder import DECODERS, Decoder
from .encoder import ENCODERS
from .errors import ConfigError
from .layers import at_least_float32
from .networks.windows import WindowStack
from .spectral import CausalSTFT, OverlapAddISTFT, compress, expand
from .streaming import State, StreamingModule, branch

Sizes = Annotated[tuple[Positive, ...], Field(min_length=2)]


@dataclass(frozen=True, config=FROZEN)
class PyramidOptions:
    """Options of both sides; the decoder is the encoder's mirror image.

    Attributes:
        dims: Width of a patch at each scale, fine to coarse; every scale has half the patches of
            the one before.
        num_heads: Heads at every scale but the coarsest, which has no layers of its own.
        columns: Spectra in a frame; a window is two of their hops.
        patch_bins: Bins of a patch at the finest scale.
        depth: Layers of attention at a scale.
        expansion: Width of the perceptrons, as a multiple of `dims`.
        window: Patches of a window of attention.
        context: Columns that a patch sees, its own included.
        power: Exponent of the spectral compression.
    """

    dims: Sizes = (45, 72, 96, 144, 192, 384)
    num_heads: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3, 6, 12, 24, 24)
    columns: Positive = 2
    patch_bins: Positive = 3
    depth: Positive = 2
    expansion: Positive = 4
    window: Positive = 4
    context: Annotated[int, Field(ge=2)] = 4
    power: Annotated[float, Field(gt=0, le=1)] = 0.3

    @property
    def scales(self) -> int:
        """How many there are."""
        return len(self.dims)

    def check(self, frame_size: int, latent_dim: int) -> None:
        """Raise ConfigError unless frames, scales and latents come out even."""
        if len(self.num_heads) != self.scales - 1:
            raise ConfigError(
                f"num_heads has {len(self.num_heads)} entries; expected {self.scales - 1}, one "
                f"for each of the {self.scales} dims but the last"
            )
        if frame_size % self.columns or latent_dim % self.scales:
            raise ConfigError(
                f"columns={self.columns} must divide frame_size={frame_size}, and the "
                f"{self.scales} scales latent_dim={latent_dim}"
            )

    def patches(self, hop: int) -> list[int]:
        """Patches of a column at each scale, fine to coarse; the finest may reach past the top."""
        halvings = 1 << (self.scales - 1)
        coarsest = -(-(hop + 1) // (self.patch_bins * halvings))
        return [coarsest * halvings >> scale for scale in range(self.scales)]

    def stacks(self, patches: list[int]) -> nn.ModuleList:
        """Layers of every scale but the coarsest."""
        return nn.ModuleList(
            WindowStack(
                dim,
                heads,
                self.expansion,
                depth=self.depth,
                patches=count,
                window=self.window,
                context=self.context,
            )
            for dim, heads, count in zip(self.dims, self.num_heads, patches, strict=False)
        )


@ENCODERS.register("stft-pyramid")
class PyramidEncoder(StreamingModule):
    """Spectra through layers of window attention; each scale gives its share of the latents.

    The latents of a frame are those of its scales one after the other, coarse to fine, each
    latent_dim / scales wide.
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(PyramidOptions):
        """The options of both sides."""

    def __init__(
        self, config: Config, *, sample_rate: int, frame_size: int, latent_dim: int
    ) -> None:
        super().__init__()
        config.check(frame_size, latent_dim)
        self.config, dims = config, config.dims
        self.hop = frame_size // config.columns
        self.patches = config.patches(self.hop)
        self.stft = CausalSTFT(self.hop, self.hop + 1)
        self.embed = nn.Linear(2 * config.patch_bins, dims[0])
        self.stacks = config.stacks(self.patches)
        self.merge = nn.ModuleList(nn.Linear(2 * fine, coarse) for fine, coarse in pairwise(dims))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in dims)
        self.to_latents = nn.ModuleList(
            nn.Linear(config.columns * count * dim, latent_dim // config.scales)
            for count, dim in zip(self.patches, dims, strict=True)
        )

    def init_state(self, batch_size: int) -> State:
        """Zeros: silence on the left."""
        return {"stft": self.stft.init_state(batch_size), **_states(self.stacks, batch_size)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Audio [B, S], S = T * frame_size, to latents [B, T, latent_dim]."""
        after: State = {}
        with torch.autocast(x.device.type, enabled=False):
            spectrum, after["stft"] = self.stft(x, branch(state, "stft"))
            hidden = self._patches(compress(spectrum, self.config.power))
        hidden = self.embed(hidden)  # [B, T * columns, P, dim]
        found = []
        for scale, norm in enumerate(self.norms):
            if scale < len(self.stacks):
                name = f"scale{scale}"
                hidden, after[name] = self.stacks[scale](hidden, branch(state, name))
            columns = norm(hidden).flatten(2).unflatten(1, (-1, self.config.columns))
            found.append(self.to_latents[scale](columns.flatten(2)))  # [B, T, share]
            if scale < len(self.merge):
                hidden = self.merge[scale](hidden.unflatten(2, (-1, 2)).flatten(3))
        return torch.cat(found[::-1], dim=-1), after

    def _patches(self, spectrum: Tensor) -> Tensor:
        """Spectra [B, T, 2, bins] to patches [B, T, P, 2 * patch_bins]; zeros above the top."""
        P, bins = self.patches[0], self.config.patch_bins
        padded = F.pad(spectrum, (0, P * bins - spectrum.shape[3]))
        return padded.reshape(*spectrum.shape[:3], P, bins).transpose(2, 3).flatten(3)


@DECODERS.register("pyramid-istft")
class PyramidDecoder(Decoder):
    """Latents of all scales to audio: from the coarsest up, each scale adds its share.

    A quantizer that guesses, such as ``cross-scale``, fills in what was not heard.
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(PyramidOptions):
        """The options of both sides."""

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
        config.check(frame_size, latent_dim)
        self.config, dims = config, config.dims
        self.hop = frame_size // config.columns
        self.patches = config.patches(self.hop)
        self.from_latents = nn.ModuleList(
            nn.Linear(latent_dim // config.scales, config.columns * count * dim)
            for count, dim in zip(self.patches, dims, strict=True)
        )
        self.split = nn.ModuleList(nn.Linear(coarse, 2 * fine) for fine, coarse in pairwise(dims))
        self.stacks = config.stacks(self.patches)
        self.norm_out = nn.LayerNorm(dims[0])
        self.head = nn.Linear(dims[0], 2 * config.patch_bins)
        self.istft = OverlapAddISTFT(self.hop)
        nn.init.normal_(self.head.weight, std=0.01)  # starts quiet: expansion makes loud from large
        nn.init.zeros_(self.head.bias)

    @property
    def delay_samples(self) -> int:
        """One hop: overlap-add waits for the next spectrum."""
        return self.hop

    def init_state(self, batch_size: int) -> State:
        """Zeros for the layers and the overlap."""
        return {**_states(self.stacks, batch_size), "istft": self.istft.init_state(batch_size)}

    def forward(self, x: Tensor, depth: Tensor, state: State) -> tuple[Tensor, State]:
        """Latents [B, T, D] and state to audio [B, T * frame_size]; `depth` is not looked at."""
        coarsest = self.config.scales - 1
        after: State = {}
        shares = x.reshape(*x.shape[:2], self.config.scales, -1)
        hidden = self._share(shares[:, :, 0], coarsest)
        for scale in range(coarsest - 1, -1, -1):
            hidden = self.split[scale](hidden).unflatten(3, (2, -1)).flatten(2, 3)
            hidden = hidden + self._share(shares[:, :, coarsest - scale], scale)
            name = f"scale{scale}"
            hidden, after[name] = self.stacks[scale](hidden, branch(state, name))
        with torch.autocast(x.device.type, enabled=False):
            patches = at_least_float32(self.head(self.norm_out(hidden)))
            spectrum = patches.reshape(*patches.shape[:3], 2, -1).transpose(2, 3).flatten(3)
            spectrum = expand(spectrum[..., : self.hop + 1], self.config.power)
            audio, after["istft"] = self.istft(spectrum, branch(state, "istft"))
        return audio, after

    def _share(self, latents: Tensor, scale: int) -> Tensor:
        """Latents of one scale [B, T, share] to its patches [B, T * columns, P, dim]."""
        shape = (self.config.columns, self.patches[scale], self.config.dims[scale])
        share: Tensor = self.from_latents[scale](latents)
        return share.reshape(*latents.shape[:2], *shape).flatten(1, 2)


def _states(stacks: nn.ModuleList, batch_size: int) -> State:
    """State of the layers at each scale, in the order they are used by name."""
    return {
        f"scale{i}": stack.init_state(batch_size)
        for i, stack in enumerate(stacks)
        if isinstance(stack, WindowStack)
    }
