"""The discriminators as one opponent: their update, and what they ask of the codec."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .checkpoint import below, optimizer_tensors, restore_optimizer, with_prefix
from .config import RunConfig
from .discriminators import DISCRIMINATORS, Judgement

MAX_NORM = 10.0  # of the gradient


class Adversary:
    """All discriminators of a run with their optimizer; least-squares losses.

    Reference: LSGAN, https://arxiv.org/abs/1611.04076; feature matching, MelGAN,
    https://arxiv.org/abs/1910.06711
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.modules = nn.ModuleList(
            DISCRIMINATORS.create(part.name, part.options) for part in config.discriminators
        ).to(device)
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), betas=(0.8, 0.99))
        self.device = device
        self.autocast = config.precision == "bf16"

    def _judge(self, audio: Tensor) -> list[Judgement]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return [judgement for module in self.modules for judgement in module(audio)]

    def train_step(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Teach the discriminators to tell audio [B, 1, S] from the original [B, 1, S]."""
        self.modules.requires_grad_(True)
        real, fake = self._judge(target), self._judge(decoded)
        loss = torch.stack(
            [
                (1 - r.score.float()).square().mean() + f.score.float().square().mean()
                for r, f in zip(real, fake, strict=True)
            ]
        ).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.modules.parameters(), MAX_NORM)
        if norm.isfinite():  # a step that would poison the weights is left out
            self.optimizer.step()
        return {"discriminator": loss.detach()}

    def losses(self, decoded: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
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
        return fooling, torch.stack(matching).mean()

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
