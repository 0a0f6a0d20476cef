"""Cross-scale residual quantization: at each scale, what the coarser decoded ones did not foresee."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, Part, Positive
from ..errors import ConfigError
from ..layers import at_least_float32
from .base import QUANTIZERS, GradientEstimator, Quantized, pass_gradient
from .gather import gather, mean
from .projection import Projection
from .stages import Stages


@QUANTIZERS.register("cross-scale")
class CrossScaleVQ(Stages):
    """A frame is brought to half its width again and again, and coded from the narrowest up.

    The narrowest scale is quantized as it is. A small learned network makes of what was decoded a
    guess at the next wider scale, and that scale's books quantize only what the guess lacks; so on
    until the latents' own width. Unlike the residual of `cascade`, a guess may be of what no coarse
    book holds.

    The paper does this inside encoder and decoder, with their own layers between the scales, which
    halve time and frequency. Here all of it is in the quantizer and within a frame, where a scale
    is a number of channels: no frame waits for another, and any encoder and decoder go with it.

    The maps learn by how good the guesses are, which is a part of the codebook loss, and by the loss
    of the decoder where it hears a guess alone. The latents get their gradient once, by the estimator.

    Reference: ESC, https://arxiv.org/abs/2404.19441
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            scales: How many, at most one per book; the narrowest has
                latent_dim / 2^(scales - 1) channels.
            inner: The quantizer of each scale; books are shared out evenly, wide scales first.
            hidden: Width of the network that guesses, in units of what it guesses.
            gradient: How the encoder gets its gradient.
        """

        scales: Positive = 3
        inner: Part = ComponentConfig("rvq")
        hidden: Positive = 2
        gradient: GradientEstimator = "straight_through"

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        S, inner = config.scales, config.inner
        if latent_dim % 2 ** (S - 1) or num_codebooks < S:
            raise ConfigError(
                f"scales={S} need latent_dim={latent_dim} to be halved {S - 1} times, and at least "
                f"as many books as scales; there are num_codebooks={num_codebooks}"
            )
        widths = [latent_dim >> (S - 1 - s) for s in range(S)]  # narrowest first
        books = [(num_codebooks + s) // S for s in range(S)]
        super().__init__(
            [
                QUANTIZERS.create(
                    inner.name,
                    inner.options,
                    latent_dim=width,
                    num_codebooks=count,
                    codebook_size=codebook_size,
                )
                for width, count in zip(widths, books, strict=True)
            ],
            config.gradient,
            codebook_size,
        )
        self.compress = nn.ModuleList(Projection(wide, wide // 2) for wide in widths[1:])
        self.recover = nn.ModuleList(
            _network(wide // 2, wide, config.hidden) for wide in widths[1:]
        )

    @property
    def _compress(self) -> list[Projection]:
        return [each for each in self.compress if isinstance(each, Projection)]

    def _scales(self, x: Tensor, *, held: bool = False) -> list[Tensor]:
        """Latents [B, T, D] at every scale, narrowest first; the maps held constant if `held`."""
        scales = [x]
        for each in reversed(self._compress):
            weight = each.down.weight
            scales.insert(0, F.linear(scales[0], weight.detach() if held else weight))
        return scales

    def _guess(self, number: int, below: Tensor | None) -> Tensor | float:
        """Scale `number` from the decoded one below it; nothing for the narrowest."""
        if below is None:
            return 0.0
        guess: Tensor = self._compress[number - 1].up(below) + self.recover[number - 1](below)
        return guess

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; item b hears its first ``depth[b]`` books."""
        parts, commitment, surprise = [], [], []
        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            targets = self._scales(x.detach())  # for the maps
            pulled = self._scales(x, held=True)  # for the latents
            whole = heard = None  # decoded with all books, and with those that are heard
            for number, (stage, some) in enumerate(
                zip(self._stages, self._split(depth), strict=True)
            ):
                target, guess = targets[number], self._guess(number, whole)
                held = guess.detach() if isinstance(guess, Tensor) else guess
                out: Quantized = stage(target.detach() - held, some)
                vectors = stage.decode(out.codes)
                kept = (some > 0).to(x)[:, None, None]
                off = pulled[number] - held - vectors.detach()
                commitment.append((kept * off.square()).mean())
                parts.append(out)
                if isinstance(guess, Tensor):
                    surprise.append(F.mse_loss(guess, target.detach()))
                # Straight through to the scale: what a guess lacks is coded, so that where books
                # are heard the result does not move with the guess.
                passed = held + (target - target.detach())
                heard = torch.where(kept > 0, passed + out.latents, self._guess(number, heard))
                whole = passed + vectors
            assert heard is not None
            quantized = pass_gradient(x, heard, self.gradient)
        out = gather(quantized, torch.cat([p.codes for p in parts], 1), commitment, parts)
        return replace(out, codebook=out.codebook + mean(surprise)) if surprise else out

    def _walk(self, x: Tensor, code: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        codes, below, residual = [], None, x
        for number, (stage, target) in enumerate(zip(self._stages, self._scales(x), strict=True)):
            guess = self._guess(number, below)
            codes.append(code(number, target - guess))
            below = guess + stage.decode(codes[-1])
            residual = target - below
        return torch.cat(codes, dim=1), residual

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, k, T], k <= K, to latents [B, T, D]."""
        below = None
        with torch.autocast(codes.device.type, enabled=False):
            for number, part in enumerate(self._parts(codes)):
                below = self._guess(number, below) + self._stages[number].decode(part)
        assert below is not None
        return below

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Turn every scale to its principal directions on latents [N, D], then start its books.

        Raises:
            CodecError: No latents, or some are not finite.
        """
        x = at_least_float32(latents)
        if len(x) and x.isfinite().all():  # if not, the start of the books says so
            for each in reversed(self._compress):
                each.start(x)
                x = each.down(x)
        super().start(latents, generator)


def _network(narrow: int, wide: int, hidden: int) -> nn.Sequential:
    """What a linear map cannot guess: [..., narrow] to [..., wide], zero for zero, small at first."""
    last = nn.Linear(hidden * wide, wide, bias=False)
    nn.init.normal_(last.weight, std=0.02 * (hidden * wide) ** -0.5)
    return nn.Sequential(nn.Linear(narrow, hidden * wide, bias=False), nn.GELU(), last)
