"""Number formats of the forward pass, and the loss scaling that float16 needs."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from sotto.codec import ranks

log = logging.getLogger(__name__)

FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What processors that multiply bfloat16 have one of; all others convert number by number.
BF16_ARITHMETIC = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "sve_bf16")


class Precision:
    """Autocast, backward and optimizer steps in one number format.

    With ``fp16`` losses are scaled, as gradients would vanish otherwise; a step whose scaled
    gradient overflows is left out and the scale is halved.

    Reference: Mixed precision training, https://arxiv.org/abs/1710.03740
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.device_type = device.type
        self.format = FORMATS.get(name)
        self.scaler = GradScaler(device.type, enabled=name == "fp16")
        if device.type == "cpu" and self.format is torch.bfloat16 and not bf16_is_fast():
            log.warning(
                "precision=bf16 is far slower than fp32 here: this processor has none of %s",
                ", ".join(BF16_ARITHMETIC),
            )

    @property
    def products(self) -> torch.dtype:
        """Format of what an optimizer multiplies: float16 has too little range for it."""
        return torch.bfloat16 if self.format is torch.bfloat16 else torch.float32

    def autocast(self) -> torch.autocast:
        """Context of a forward pass."""
        return torch.autocast(
            self.device_type, self.format or torch.bfloat16, enabled=self.format is not None
        )

    def backward(self, outputs: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Add to the gradients of what `outputs` depend on; None stands for a loss's 1."""
        scaled = [
            self.scaler.scale(torch.ones_like(out) if gradient is None else gradient)
            for out, gradient in zip(outputs, gradients, strict=True)
        ]
        torch.autograd.backward(outputs, scaled)

    def step(self, optimizer: Optimizer, module: nn.Module, clip: float) -> Tensor:
        """Average the gradients over all processes and, if they are finite, take the step.

        Returns:
            Norm of the gradient before it was clipped.
        """
        ranks.average(p.grad for p in module.parameters() if p.grad is not None)
        self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(module.parameters(), clip)
        if norm.isfinite():
            self.scaler.step(optimizer)
        return norm

    def end_step(self) -> bool:
        """Adapt the scale after all optimizers; tells whether it can still give way."""
        before = self.scaler.get_scale()
        self.scaler.update()
        return before > 1 and self.scaler.is_enabled()

    def tensors(self) -> dict[str, Tensor]:
        """State of the scaling; empty unless it is used."""
        state = self.scaler.state_dict()
        wanted = ("scale", "_growth_tracker") if state else ()
        return {name: torch.tensor(state[name], dtype=torch.float64) for name in wanted}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors`; without any the scaling starts anew."""
        if tensors and self.scaler.is_enabled():
            values = {"scale": float(tensors["scale"])}
            values["_growth_tracker"] = int(tensors["_growth_tracker"])
            self.scaler.load_state_dict(self.scaler.state_dict() | values)


def bf16_is_fast() -> bool:
    """Whether this processor calculates with bfloat16 numbers."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in BF16_ARITHMETIC)
