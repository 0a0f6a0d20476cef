"""Networks over whole frames between an encoder and a decoder, chosen by name: the recurrent one."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, Positive
from ..layers import at_least_float32
from ..registry import Registry
from ..streaming import State, StreamingModule, leaf

BOTTLENECKS: Registry[StreamingModule] = Registry("bottleneck")


def bottleneck(part: ComponentConfig | None, dim: int) -> StreamingModule | None:
    """The network `part` on [B, T, dim]; None if there is none.

    Raises:
        ConfigError: Unknown name or option, or it does not fit `dim`.
    """
    return None if part is None else BOTTLENECKS.create(part.name, part.options, dim=dim)


@BOTTLENECKS.register("lstm")
class LSTM(StreamingModule):
    """Long short-term memory with its input added to the output, as in EnCodec.

    It runs in float32, whatever the autocast. State: ``hidden`` and ``cell`` [B, num_layers, dim].

    Reference: https://arxiv.org/abs/2210.13438
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """`num_layers` on top of each other."""

        num_layers: Positive = 2

    def __init__(self, config: Config, *, dim: int) -> None:
        super().__init__()
        self.shape = (config.num_layers, dim)
        self.lstm = nn.LSTM(dim, dim, config.num_layers, batch_first=True)

    def init_state(self, batch_size: int) -> State:
        """Zeros."""
        return {name: self.zeros(batch_size, *self.shape) for name in ("hidden", "cell")}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, T, dim] to [B, T, dim]."""
        hidden, cell = (leaf(state, name).transpose(0, 1) for name in ("hidden", "cell"))
        with torch.autocast(x.device.type, enabled=False):
            wide = at_least_float32(x)
            if torch.onnx.is_in_onnx_export():
                y, hidden, cell = self._as_operator(wide, hidden, cell)
            else:
                y, (hidden, cell) = self.lstm(wide, (hidden.contiguous(), cell.contiguous()))
        return wide + y, {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}

    def _as_operator(
        self, x: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same as ONNX's own operator, one per layer.

        Traced, the recurrence would be unrolled over the frames of the example.
        """
        (L, D), B, T = self.shape, x.shape[0], x.shape[1]
        y = x.transpose(0, 1)  # [T, B, D]
        hiddens, cells = [], []
        for i in range(L):
            of_layer = [getattr(self.lstm, f"{kind}_l{i}") for kind in _WEIGHTS]
            w, r, b, c = (_gates_as_in_onnx(weight) for weight in of_layer)
            y, last, kept = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                (
                    y,
                    w[None],
                    r[None],
                    torch.cat([b, c])[None],
                    None,
                    *(before[i : i + 1] for before in (hidden, cell)),
                ),
                {"hidden_size": D},
                dtypes=(x.dtype,) * 3,
                shapes=((T, 1, B, D), (1, B, D), (1, B, D)),
            )
            y = y[:, 0]
            hiddens.append(last)
            cells.append(kept)
        return y.transpose(0, 1), torch.cat(hiddens), torch.cat(cells)


_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _gates_as_in_onnx(weight: Tensor) -> Tensor:
    """Rows of torch's gates (input, forget, cell, output) in ONNX's order (i, o, f, c)."""
    i, f, g, o = weight.chunk(4)
    return torch.cat([i, o, f, g])
