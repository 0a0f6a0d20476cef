"""VAEVQ: in training a latent is a small Gaussian, and a draw from it is what is quantized."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, NonNegative, Part
from ..layers import at_least_float32
from .base import QUANTIZERS, GradientEstimator, Quantized, usable
from .draws import draws
from .stages import Stages

LEAST, MOST = -12.0, 0.0  # log variance, in units of the prior's


@QUANTIZERS.register("vaevq")
class VariationalVQ(Stages):
    """Any quantizer behind a variational bottleneck.

    The latent is the mean, and a learned linear map of it gives the log variance. A draw is
    quantized in training, the mean itself otherwise. The three parts of the paper: the draw with
    its divergence to a prior; a commitment that is the weaker in a dimension the wider its Gaussian
    is; and the distance between book and latents as distributions, which is `wasserstein` of the
    inner quantizer. Not the paper's: the prior is as wide as the latents at the start, so that no
    scale is asked of the encoder, and the width of a commitment is relative to the mean width.

    Reference: VAEVQ, https://arxiv.org/abs/2511.06863
    """

    steps: Tensor
    prior: Tensor

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            inner: What quantizes the draws.
            divergence: Weight of the Kullback-Leibler divergence to the prior, per dimension.
            deviation: Standard deviation to begin with, in units of the latents' own.
            gradient: How the encoder gets its gradient.
        """

        inner: Part = ComponentConfig("rvq", {"learning": "gradient", "wasserstein": 0.5})
        divergence: NonNegative = 1e-3
        deviation: NonNegative = 0.1
        gradient: GradientEstimator = "straight_through"

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        inner = config.inner
        sizes = {"latent_dim": latent_dim, "num_codebooks": num_codebooks}
        stage = QUANTIZERS.create(inner.name, inner.options, codebook_size=codebook_size, **sizes)
        super().__init__([stage], config.gradient, codebook_size)
        self.divergence = config.divergence
        self.spread = nn.Linear(latent_dim, latent_dim)
        nn.init.zeros_(self.spread.weight)
        nn.init.constant_(self.spread.bias, 2 * torch.tensor(config.deviation).log().item())
        self.register_buffer("prior", torch.ones(latent_dim))  # standard deviations
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; in training, a draw around each."""
        if not self.training:
            return super().forward(latents, depth)
        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            log_variance = self.spread(x / self.prior).clamp(LEAST, MOST)  # relative to the prior's
            shift = self.prior * (0.5 * log_variance).exp() * self._noise(x)
            out = super().forward(x + shift, depth)
            taken = self._stages[0].decode(out.codes).detach()
            sure = (-log_variance).exp().detach()
            sure = sure / sure.mean().clamp_min(1e-12) if x.numel() else sure
            kept = (depth > 0).to(x)[:, None, None]
            commitment = (kept * sure * (x + shift.detach() - taken).square()).mean()
            auxiliary = self.divergence * self._divergence(x, log_variance)
        if x.numel():
            self.steps += 1
        if out.auxiliary is not None:
            auxiliary = auxiliary + out.auxiliary
        return Quantized(out.latents, out.codes, commitment, out.codebook, auxiliary)

    def _divergence(self, x: Tensor, log_variance: Tensor) -> Tensor:
        """From the Gaussians of means [B, T, D] to the prior, mean over dimensions and frames."""
        if not x.numel():
            return x.new_zeros(())
        mean = (x / self.prior).square()
        return 0.5 * (mean + log_variance.exp() - 1 - log_variance).mean()

    def _noise(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=draws(int(self.steps))).to(x)

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Take the size of sample latents [N, D] as the prior's, then start the inner quantizer.

        Raises:
            CodecError: No latents, or some are not finite.
        """
        self.prior.copy_(usable(latents).square().mean(0).sqrt().clamp_min(1e-6))
        super().start(latents, generator)
