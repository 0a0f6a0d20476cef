"""Muon: steps along the nearest orthogonal matrix of the gradient's moving average."""

from collections.abc import Callable, Sequence
from typing import overload

import torch
from torch import Tensor
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)  # lifts small singular values fast; they end in 0.68 to 1.21
ITERATIONS = 5
SMALLEST_NORM = 1e-7
RMS_OF_ADAMW = 0.2


class Muon(Optimizer):
    """Momentum whose every direction is as strong as any other, for weights that are matrices.

    Steps are as large as AdamW's usually are, so that both take the same learning rates and weight
    decays. The number format of the products is the caller's choice, as bfloat16 is a gift
    where a machine multiplies it and ten times slower than float32 where it does not.

    References: Muon, https://kellerjordan.github.io/posts/muon/; the size of its steps: Muon is
    scalable for LLM training, https://arxiv.org/abs/2502.16982
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        *,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 1e-2,
        products: torch.dtype = torch.float32,
    ) -> None:
        """Take the weights.

        Args:
            matrices: Of two dimensions each; at least one.
            lr: Learning rate.
            momentum: Part of the moving average that stays, and of Nesterov's look ahead.
            weight_decay: Times the learning rate, what a weight loses in a step.
            products: Format in which gradients are made orthogonal.

        Raises:
            ValueError: A weight is not a matrix.
        """
        for weight in matrices:
            if weight.ndim != 2:
                raise ValueError(f"Muon is for matrices; got a weight of {tuple(weight.shape)}")
        self.products = products
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every matrix that has a gradient; returns what `closure` does, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate, kept = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                average = state["momentum_buffer"].lerp_(weight.grad, 1 - kept)
                update = orthogonal(weight.grad.lerp(average, kept), self.products)
                weight.mul_(1 - rate * group["weight_decay"])
                size = RMS_OF_ADAMW * max(weight.shape) ** 0.5
                weight.add_(update.to(weight), alpha=-rate * size)
        return loss


def orthogonal(matrix: Tensor, products: torch.dtype = torch.float32) -> Tensor:
    """About U V^T of a matrix U S V^T, by Newton-Schulz iterations.

    Args:
        matrix: [R, C].
        products: Format to calculate in.

    Returns:
        [R, C] of format `products`, with singular values between 0.68 and 1.21, but for those below
        0.2 % of the norm.
    """
    first, third, fifth = QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    result = wide.to(products, copy=True)
    result.div_(result.norm().clamp(min=SMALLEST_NORM))  # no singular value is above 1
    for _ in range(ITERATIONS):
        gram = result @ result.T
        cubic = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        result = torch.addmm(result, cubic, result, beta=first)
    return result if wide is matrix else result.T
