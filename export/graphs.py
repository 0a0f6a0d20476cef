"""The two step functions as modules with flat, named state: what is exported and what is checked."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sotto.codec.model import CodecModel
from sotto.codec.streaming import State, flatten, unflatten


class EncoderStep(nn.Module):
    """audio [B, 1, S], state → codes [B, K, T], new state; state by dotted names.

    With a beam it also takes num_codebooks, int64 [B]: the codes are the best path of so many
    books, and -1 in the others.
    """

    def __init__(self, model: CodecModel, beam_size: int = 1) -> None:
        super().__init__()
        self.model = model
        self.beam_size = beam_size

    def init_state(self, batch_size: int) -> dict[str, Tensor]:
        """State before the first frame."""
        return flatten(self.model.encoder.init_state(batch_size))

    def forward(
        self, audio: Tensor, state: Mapping[str, Tensor], num_codebooks: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the encoder."""
        codes, new_state = self.model.encode(audio, unflatten(state), num_codebooks, self.beam_size)
        return codes, _in_order_of(state, new_state)


class DecoderStep(nn.Module):
    """codes [B, K, T], state → audio [B, 1, S], new state; -1 marks a book that was not heard."""

    def __init__(self, model: CodecModel) -> None:
        super().__init__()
        self.model = model

    def init_state(self, batch_size: int) -> dict[str, Tensor]:
        """State before the first frame."""
        return flatten(self.model.decoder.init_state(batch_size))

    def forward(
        self, codes: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the decoder."""
        audio, new_state = self.model.decode(codes, unflatten(state))
        return audio, _in_order_of(state, new_state)


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round every weight to what float16 can hold, so that torch and the stored graphs agree."""
    for tensor in model.state_dict().values():  # not the DFT tables: they are computed
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().to(tensor.dtype))


def _in_order_of(state: Mapping[str, Tensor], after: State) -> dict[str, Tensor]:
    """State `after` a step, flat, in the order of `state`: outputs get their names by place."""
    flat = flatten(after)
    return {name: flat[name] for name in state}
