"""The discriminators as one opponent: their update, and what they ask of the codec."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sotto.codec import ranks

from .checkpoint import below, optimizer_tensors, restore_optimizer, with_prefix
from .config import RunConfig
from .discriminators import DISCRIMINATORS, Judgement
from .precision import Precision

MAX_NORM = 10.0  # of the gradient


class Adversary:
    """All discriminators of a run with their optimizer; least-squares losses.

    Reference: LSGAN, https://arxiv.org/abs/1611.04076; feature matching, MelGAN,
    https://arxiv.org/abs/1910.06711
    """

    def __init__(self, config: RunConfig, device: torch.device, precision: Precision) -> None:
        self.modules = nn.ModuleList(
            DISCRIMINATORS.create(part.name, part.options) for part in config.discriminators
        ).to(device)
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), betas=(0.8, 0.99))
        ranks.copy_from_first(self.modules.state_dict().values())
        self.precision = precision
        self._fresh = True  # no gradient of the next step yet

    def _judge(self, audio: Tensor) -> list[Judgement]:
        with self.precision.autocast():
            return [judgement for module in self.modules for judgement in module(audio)]

    def observe(self, decoded: Tensor, target: Tensor, count: int) -> dict[str, Tensor]:
        """Learn to tell audio [B, 1, S] from the original [B, 1, S], one of a step's `count`."""
        self.modules.requires_grad_(True)
        real, fake = self._judge(target), self._judge(decoded)
        loss = torch.stack(
            [
                (1 - r.score.float()).square().mean() + f.score.float().square().mean()
                for r, f in zip(real, fake, strict=True)
            ]
        ).mean()
        if self._fresh:
            self.optimizer.zero_grad(set_to_none=True)
        self._fresh = False
        self.precision.backward([loss / count], [None])
        return {"discriminator": loss.detach()}

    def step(self) -> dict[str, Tensor]:
        """Take what was learned into the weights, unless it would poison them."""
        self._fresh = True
        norm = self.precision.step(self.optimizer, self.modules, MAX_NORM)
        return {"discriminator_gradient_norm": norm.detach()}

    def losses(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Adversarial and feature-matching loss of the codec, scalars."""
        self.modules.requires_grad_(False)
        with torch.no_grad():
            real = self._judge(target)
        fake = self._judge(decoded)
        fooling = torch.stack([(1 - f.score.float()).square().mean() for f in fake]).mean()
        matching = [
            (a.float() - b.float()).abs().mean() / b.float().abs().mean().clamp_min(1e-4)
            for f, r in zip(fake, real, strict=True)
            for a, b in zip(f.features, r.features, strict=True)
        ]
        return {"adversarial": fooling, "feature_matching": torch.stack(matching).mean()}

    def set_learning_rate(self, rate: float) -> None:
        """Rate of the next steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimizer state."""
        weights = with_prefix("modules", self.modules.state_dict())
        return weights | with_prefix("optimizer", optimizer_tensors(self.optimizer))

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors`."""
        self.modules.load_state_dict(below("modules", tensors))
        restore_optimizer(self.optimizer, below("optimizer", tensors))
