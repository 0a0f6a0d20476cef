"""Loss weights that mean shares of the gradient, however large each loss's own gradient is."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sotto.codec import ranks


class Balancer:
    """Scales the gradient of each loss at the decoded audio to its weight's share.

    Reference: EnCodec, https://arxiv.org/abs/2210.13438, section 3.4
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.norms: dict[str, Tensor] = {}  # name to [sum of norms, sum of weights], decaying

    def gradient(self, losses: Mapping[str, tuple[float, Tensor]], decoded: Tensor) -> Tensor:
        """Balanced gradient of all losses, of norm about 1 per item.

        Args:
            losses: Weight and scalar by name; each depends on `decoded`.
            decoded: Audio [B, 1, S].

        Returns:
            Gradient at `decoded`, [B, 1, S].
        """
        wanted = {name: pair for name, pair in losses.items() if pair[0] > 0}
        total = sum(weight for weight, _ in wanted.values())
        balanced = torch.zeros_like(decoded)
        for name, (weight, loss) in wanted.items():
            (gradient,) = torch.autograd.grad(loss, decoded, retain_graph=True)
            norm = self._average_norm(name, gradient)
            balanced += gradient * (weight / total / norm.clamp_min(1e-12))
        return balanced

    def _average_norm(self, name: str, gradient: Tensor) -> Tensor:
        """Smoothed norm per item; one that is not finite is not remembered."""
        found = gradient.flatten(1).norm(dim=1).mean()
        ranks.average([found])
        sums = self.norms.setdefault(name, torch.zeros(2, device=gradient.device))
        if found.isfinite():
            sums.mul_(self.decay).add_(torch.stack([found, torch.ones_like(found)]))
        return sums[0] / sums[1].clamp_min(1e-12)

    def tensors(self) -> dict[str, Tensor]:
        """The smoothed norms."""
        return dict(self.norms)

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Undo `tensors`."""
        self.norms = {name: tensor.to(device) for name, tensor in tensors.items()}
