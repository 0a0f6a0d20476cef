"""Residual stages of any quantizers: each codes what the stages before it left over."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..layers import at_least_float32
from .base import (
    GradientEstimator,
    Quantized,
    Quantizer,
    pass_gradient,
    usable,
    with_all_books,
)
from .gather import gather


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
        if gradient == "assignment":
            raise ConfigError(
                "gradient='assignment' is for one book of vectors; stages take 'straight_through' "
                "or 'rotation'"
            )
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
        parts, commitment = [], []
        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            residual, total = x, torch.zeros_like(x)
            for stage, some in zip(self._stages, self._split(depth), strict=True):
                out: Quantized = stage(residual.detach(), some)
                parts.append(out)
                taken = stage.decode(out.codes).detach()
                kept = (some > 0).to(x)[:, None, None]
                commitment.append((kept * (residual - taken).square()).mean())
                total = total + out.latents
                residual = residual - taken
            quantized = pass_gradient(x, total, self.gradient)
        return gather(quantized, torch.cat([p.codes for p in parts], 1), commitment, parts)

    def _walk(self, x: Tensor, code: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Give every stage its residual in turn.

        Args:
            x: [B, T, D].
            code: Makes codes [B, k, T] of the stage of this number out of its residual [B, T, d].

        Returns:
            codes: Of all stages, [B, K, T].
            residual: What they leave of `x`, [B, T, D].
        """
        codes, residual = [], x
        for number, stage in enumerate(self._stages):
            codes.append(code(number, residual))
            residual = residual - stage.decode(codes[-1])
        return torch.cat(codes, dim=1), residual

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T], greedily."""
        stages = self._stages
        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            return self._walk(x, lambda number, residual: stages[number].encode(residual))[0]

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Codes of the first ``depth[b]`` books by beams within each stage: int64 [B, K, T].

        Stages of one book are greedy. A frame keeps the greedy codes where they are nearer.

        Raises:
            ConfigError: `beam_size` is not from 1 to `codebook_size`.
        """
        greedy = super().search(latents, depth, 1)
        if beam_size == 1:
            return greedy
        stages, depths = self._stages, self._split(depth)

        def code(number: int, residual: Tensor) -> Tensor:
            width = beam_size if stages[number].num_codebooks > 1 else 1
            return stages[number].search(residual, depths[number], width)

        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            codes, left = self._walk(x, code)
            before = (x - self.decode(greedy)).square().sum(-1)
            better = left.square().sum(-1) < before
        return torch.where(better[:, None], codes, greedy)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, k, T], k <= K, to latents [B, T, D]."""
        total = None
        for stage, part in zip(self._stages, self._parts(codes), strict=True):
            vectors = stage.decode(part)
            total = vectors if total is None else total + vectors
        assert total is not None
        return total

    def _parts(self, codes: Tensor) -> Sequence[Tensor]:
        """Codes [B, k, T], k <= K, of each stage, `NOT_HEARD` where there are none."""
        codes = with_all_books(codes, self.num_codebooks)
        return torch.split(codes, [stage.num_codebooks for stage in self._stages], 1)

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Start each stage on the residual of the ones before, on latents [N, D]."""
        stages = self._stages

        def code(number: int, residual: Tensor) -> Tensor:
            stages[number].start(residual[0], generator)
            return stages[number].encode(residual)

        with torch.autocast(latents.device.type, enabled=False):
            self._walk(usable(latents)[None], code)

    def restart_unused(self, generator: torch.Generator) -> int:
        """Restart in every stage; returns how many entries moved in all."""
        return sum(stage.restart_unused(generator) for stage in self._stages)
