"""The codec's optimizer: AdamW for all weights, or Muon for the matrices of its networks."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel

from .muon import Muon

OptimizerName = Literal["adamw", "muon"]

BETAS = (0.8, 0.99)
WEIGHT_DECAY = 1e-2


class MuonAdamW(Optimizer):
    """Muon for some matrices, AdamW for all other weights, as one optimizer with one state.

    Reference: Muon is scalable for LLM training, https://arxiv.org/abs/2502.16982
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        others: Sequence[Tensor],
        products: torch.dtype = torch.float32,
    ) -> None:
        """Take the weights; none of them is in both lists.

        Args:
            matrices: Of two dimensions each; at least one.
            others: Of any shape; at least one.
            products: Format of Muon's products of matrices.
        """
        self.products = products
        self._muon = Muon(matrices, weight_decay=WEIGHT_DECAY, products=products)
        self._adamw = AdamW(others, betas=BETAS, weight_decay=WEIGHT_DECAY)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every weight that has a gradient; returns what `closure` does, if given."""
        loss = None if closure is None else closure()
        for part, group in zip((self._muon, self._adamw), self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state  # both change when it is restored
            part.step()
        return loss


def make_optimizer(
    name: OptimizerName,
    model: CodecModel,
    learned: nn.Module,
    products: torch.dtype = torch.float32,
) -> Optimizer:
    """The optimizer of all parameters of `learned`, in their order.

    Args:
        name: ``muon`` is for the weights of linear layers in the encoder and the decoder; books,
            embeddings, convolutions, biases and scales stay with AdamW.
        model: Part of `learned`.
        learned: Everything that learns beside the discriminators.
        products: Format of Muon's products of matrices.

    Raises:
        ConfigError: There is no matrix for ``muon``.
    """
    if name == "adamw":
        return AdamW(learned.parameters(), betas=BETAS, weight_decay=WEIGHT_DECAY)
    linear = [
        layer.weight
        for part in (model.encoder, model.decoder)
        for layer in part.modules()
        if isinstance(layer, nn.Linear)
    ]
    if not linear:
        raise ConfigError(
            f"optimizer 'muon' is for linear layers, and encoder '{model.config.encoder.name}' and "
            f"decoder '{model.config.decoder.name}' have none; use optimizer 'adamw'"
        )
    chosen = set(map(id, linear))
    others = [weight for weight in learned.parameters() if id(weight) not in chosen]
    return MuonAdamW(linear, others, products)


def states(group: dict[str, Any]) -> int:
    """Numbers that the optimizer keeps for each weight of one of its groups."""
    return 1 if "momentum" in group else 2
