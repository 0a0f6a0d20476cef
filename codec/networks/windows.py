"""Attention inside windows of frequency over a bounded past, for spectra cut into patches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..streaming import State, StreamingModule, branch, leaf


class WindowAttention(StreamingModule):
    """Each patch attends to its window: some neighbours in frequency, now and a little before.

    Windows of `window` patches lie side by side; those of a shifted layer begin half a window
    lower, so that two layers in a row see across every border. In time a window ends with the
    column of the patch that looks, and what came before the stream is zeros. A learned bias for
    each distance in time and frequency stands for positions.

    State: ``keys`` and ``values`` [B, context - 1, P, dim], of the newest columns.

    Reference: Swin, https://arxiv.org/abs/2103.14030; in a codec, ESC,
    https://arxiv.org/abs/2404.19441 (there windows also look ahead).
    """

    distance: Tensor
    outside: Tensor

    def __init__(
        self, dim: int, num_heads: int, *, patches: int, window: int, shifted: bool, context: int
    ) -> None:
        """Lay out the windows.

        Args:
            dim: Width of a patch.
            num_heads: Heads; must divide `dim`.
            patches: Patches of a column, P.
            window: Patches of a window; the whole column if it has fewer. Must divide `patches`.
            shifted: Begin half a window lower.
            context: Columns that a patch sees, its own included.

        Raises:
            ConfigError: The numbers do not divide each other.
        """
        super().__init__()
        window = min(window, patches)
        if dim % num_heads or patches % window:
            raise ConfigError(
                f"num_heads={num_heads} must divide the width {dim}, and window={window} the "
                f"{patches} patches of a column"
            )
        self.dim, self.num_heads, self.patches = dim, num_heads, patches
        self.window, self.context = window, context
        self.edge = window // 2 if shifted and patches > window else 0
        self.project_in = nn.Linear(dim, 3 * dim)
        self.project_out = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros(num_heads, context, 2 * window - 1))
        nn.init.trunc_normal_(self.bias, std=0.02)
        at = torch.arange(window)
        distance = at[:, None] - at + window - 1  # [window, window], from 0
        self.register_buffer("distance", distance, persistent=False)
        there = F.pad(torch.ones(patches), (self.edge, self.edge)).reshape(-1, window) > 0
        outside = ~there[:, None, None, None, :]  # [windows, 1, 1, 1, window]
        self.register_buffer("outside", outside, persistent=False)

    def init_state(self, batch_size: int) -> State:
        """Zeros: silence on the left."""
        shape = (batch_size, self.context - 1, self.patches, self.dim)
        return {"keys": self.zeros(*shape), "values": self.zeros(*shape)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, T, P, dim], T columns, to [B, T, P, dim]."""
        T = x.shape[1]
        cached = leaf(state, "keys")
        queries, keys, values = self.project_in(x).chunk(3, dim=-1)
        keys = torch.cat([cached.to(keys.dtype), keys], dim=1)  # [B, context - 1 + T, P, dim]
        values = torch.cat([leaf(state, "values").to(values.dtype), values], dim=1)
        looking = self._cut(queries) * (self.dim // self.num_heads) ** -0.5
        # [B, T, windows, heads, window, context * window]
        scores = looking @ self._near(keys, T).transpose(-1, -2) + self._bias()
        mixed = scores.softmax(dim=-1) @ self._near(values, T)
        y = mixed.transpose(3, 4).flatten(2, 3).flatten(3)  # [B, T, P with edges, dim]
        y = self.project_out(y[:, :, self.edge : self.edge + self.patches])
        return y, {
            "keys": keys[:, T:].to(cached.dtype),
            "values": values[:, T:].to(cached.dtype),
        }

    def _cut(self, x: Tensor) -> Tensor:
        """[B, T, P, dim] to [B, T, windows, heads, window, dim / heads]."""
        padded = F.pad(x, (0, 0, self.edge, self.edge)) if self.edge else x
        shape = (-1, self.window, self.num_heads, self.dim // self.num_heads)
        return padded.reshape(*x.shape[:2], *shape).transpose(3, 4)

    def _near(self, x: Tensor, T: int) -> Tensor:
        """What each of the last T columns sees: [B, T, windows, heads, context * window, width]."""
        cut = self._cut(x)
        near = torch.stack([cut[:, past : past + T] for past in range(self.context)], dim=4)
        return near.flatten(4, 5)

    def _bias(self) -> Tensor:
        """For each pair of a window, -inf where there is no patch: [windows, heads, window, ...]."""
        bias = self.bias[:, :, self.distance].transpose(1, 2)  # [heads, window, context, window]
        return torch.where(self.outside, float("-inf"), bias).flatten(3)


class WindowBlock(StreamingModule):
    """Attention inside windows, then a perceptron; each normalised before and added."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        expansion: int,
        *,
        patches: int,
        window: int,
        shifted: bool,
        context: int,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = WindowAttention(
            dim, num_heads, patches=patches, window=window, shifted=shifted, context=context
        )
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, expansion * dim)
        self.contract = nn.Linear(expansion * dim, dim)

    def init_state(self, batch_size: int) -> State:
        """State of the attention."""
        return {"attention": self.attention.init_state(batch_size)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, T, P, dim] to [B, T, P, dim]."""
        y, attention = self.attention(self.norm_attention(x), branch(state, "attention"))
        x = x + y
        x = x + self.contract(F.gelu(self.expand(self.norm(x))))
        return x, {"attention": attention}


class WindowStack(StreamingModule):
    """`depth` blocks at one resolution; every second one is shifted."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        expansion: int,
        *,
        depth: int,
        patches: int,
        window: int,
        context: int,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            WindowBlock(
                dim,
                num_heads,
                expansion,
                patches=patches,
                window=window,
                shifted=i % 2 == 1,
                context=context,
            )
            for i in range(depth)
        )

    @property
    def _blocks(self) -> list[WindowBlock]:
        return [block for block in self.blocks if isinstance(block, WindowBlock)]

    def init_state(self, batch_size: int) -> State:
        """One entry per block, named by its index."""
        return {str(i): block.init_state(batch_size) for i, block in enumerate(self._blocks)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, T, P, dim] to [B, T, P, dim]."""
        after: State = {}
        for i, block in enumerate(self._blocks):
            x, after[str(i)] = block(x, branch(state, str(i)))
        return x, after
