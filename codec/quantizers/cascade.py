"""Residual stages of any quantizers: each codes what the stages before it left over."""

from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, Part, Positive
from ..errors import ConfigError
from ..layers import at_least_float32
from .base import (
    NOT_HEARD,
    QUANTIZERS,
    GradientEstimator,
    Quantized,
    Quantizer,
    mean,
    mean_auxiliary,
    pass_gradient,
    usable,
)
from .grouped import Grouped, shares_of


class Stages(Quantizer):
    """Quantizers in a row, each on the residual of the ones before, in the latents' own space.

    As in `ResidualVQ` the residuals are detached and the gradient estimator is applied once, to the
    sum of all stages. So the commitment is counted here: distance of each residual to what its
    stage decodes.
    """

    def __init__(
        self, stages: Sequence[Quantizer], gradient: GradientEstimator, codebook_size: int
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.gradient: GradientEstimator = gradient
        self.num_codebooks = sum(stage.num_codebooks for stage in stages)
        self.codebook_size = codebook_size

    @property
    def _stages(self) -> list[Quantizer]:
        return [stage for stage in self.stages if isinstance(stage, Quantizer)]

    def _split(self, depth: Tensor) -> list[Tensor]:
        """How many books each stage has of `depth` in all."""
        depths, before = [], 0
        for stage in self._stages:
            depths.append((depth - before).clamp(0, stage.num_codebooks))
            before += stage.num_codebooks
        return depths

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; item b hears its first ``depth[b]`` books."""
        codes, commitment, codebook, auxiliary = [], [], [], []
        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            residual, total = x, torch.zeros_like(x)
            for stage, some in zip(self._stages, self._split(depth), strict=True):
                out: Quantized = stage(residual.detach(), some)
                codes.append(out.codes)
                codebook.append(out.codebook)
                auxiliary.append(out.auxiliary)
                taken = stage.decode(out.codes).detach()
                kept = (some > 0).to(x)[:, None, None]
                commitment.append((kept * (residual - taken).square()).mean())
                total = total + out.latents
                residual = residual - taken
            quantized = pass_gradient(x, total, self.gradient)
        return Quantized(
            quantized,
            torch.cat(codes, 1),
            mean(commitment),
            mean(codebook),
            mean_auxiliary(auxiliary),
        )

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T], greedily."""
        codes = []
        with torch.autocast(latents.device.type, enabled=False):
            residual = at_least_float32(latents)
            for stage in self._stages:
                codes.append(stage.encode(residual))
                residual = residual - stage.decode(codes[-1])
        return torch.cat(codes, dim=1)

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Codes of the first ``depth[b]`` books by beams within each stage: int64 [B, K, T].

        Stages of one book are greedy. A frame keeps the greedy codes where they are nearer.

        Raises:
            ConfigError: `beam_size` is not from 1 to `codebook_size`.
        """
        greedy = super().search(latents, depth, 1)
        if beam_size == 1:
            return greedy
        codes = []
        with torch.autocast(latents.device.type, enabled=False):
            residual = x = at_least_float32(latents)
            for stage, some in zip(self._stages, self._split(depth), strict=True):
                width = beam_size if stage.num_codebooks > 1 else 1
                codes.append(stage.search(residual, some, width))
                residual = residual - stage.decode(codes[-1])
            before = (x - self.decode(greedy)).square().sum(-1)
            better = residual.square().sum(-1) < before
        return torch.where(better[:, None], torch.cat(codes, dim=1), greedy)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, k, T], k <= K, to latents [B, T, D]."""
        missing = self.num_codebooks - codes.shape[1]
        codes = nn.functional.pad(codes, (0, 0, 0, missing), value=NOT_HEARD)
        sizes = [stage.num_codebooks for stage in self._stages]
        parts = [
            stage.decode(part)
            for stage, part in zip(self._stages, torch.split(codes, sizes, 1), strict=True)
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Start each stage on the residual of the ones before, on latents [N, D]."""
        residual = usable(latents)
        for stage in self._stages:
            stage.start(residual, generator)
            residual = residual - stage.decode(stage.encode(residual[None]))[0]

    def restart_unused(self, generator: torch.Generator) -> int:
        """Restart in every stage; returns how many entries moved in all."""
        return sum(stage.restart_unused(generator) for stage in self._stages)


@QUANTIZERS.register("cascade")
class Cascade(Stages):
    """Stages by name, such as a scalar grid first and vectors after.

    By default each book has a projection and a sphere of its own, as in the Descript codec.

    Reference: Improved RVQGAN, https://arxiv.org/abs/2306.06546
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            stage: The quantizer of every stage, with its options.
            first: Another one for the first stage.
            books: Books of each stage; must divide `num_codebooks`.
            gradient: How the encoder gets its gradient.
        """

        stage: Part = ComponentConfig("rvq", {"codebook_dim": 8, "normalize": True})
        first: Part | None = None
        books: Positive = 1
        gradient: GradientEstimator = "straight_through"

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        if num_codebooks < 1 or num_codebooks % config.books:
            raise ConfigError(f"books={config.books} must divide num_codebooks={num_codebooks}")
        sizes = {"latent_dim": latent_dim, "num_codebooks": config.books}
        parts = [config.first or config.stage] + [config.stage] * (
            num_codebooks // config.books - 1
        )
        super().__init__(
            [
                QUANTIZERS.create(part.name, part.options, codebook_size=codebook_size, **sizes)
                for part in parts
            ],
            config.gradient,
            codebook_size,
        )


@QUANTIZERS.register("mcrvq")
class MaskedChannelRVQ(Stages):
    """The first books each see a part of the channels only; the others quantize what is left.

    So the first books share the load that one would carry alone.

    Reference: Language-Codec, https://arxiv.org/abs/2402.12208
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            masked: How many books see a part of the channels; must divide the latents' width.
            first: The quantizer of one such book.
            rest: The quantizer of the residual.
            gradient: How the encoder gets its gradient.
        """

        masked: Positive = 3
        first: Part = ComponentConfig("rvq")
        rest: Part = ComponentConfig("rvq")
        gradient: GradientEstimator = "straight_through"

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        if config.masked >= num_codebooks:
            raise ConfigError(
                f"masked={config.masked} leaves no books of num_codebooks={num_codebooks} for the "
                "residual"
            )
        first, rest = config.first, config.rest
        sizes = shares_of(config.masked, latent_dim, config.masked)
        masked = [
            QUANTIZERS.create(first.name, first.options, codebook_size=codebook_size, **sizes)
            for _ in range(config.masked)
        ]
        size = {"codebook_size": codebook_size}
        remaining = num_codebooks - config.masked
        super().__init__(
            [
                Grouped(masked, num_codebooks=config.masked, **size),
                QUANTIZERS.create(
                    rest.name, rest.options, latent_dim=latent_dim, num_codebooks=remaining, **size
                ),
            ],
            config.gradient,
            codebook_size,
        )
