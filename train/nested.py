"""Nested dropout: training cuts the tail of the books at random, so that any prefix decodes."""

from typing import Literal

import torch
from torch import Tensor

Lengths = Literal["uniform", "powers"]


def nested_dropout(
    batch: int,
    num_codebooks: int,
    *,
    full_share: float,
    lengths: Lengths = "uniform",
    random: torch.Generator,
) -> Tensor:
    """How many books, from the first on, each item of a batch is heard with: int64 [batch], 1 to K.

    What is learned so is ordered by importance, whatever the structure of the books: residual,
    grouped (the nested masking of MGVQ), side by side or across scales.

    Args:
        batch: Items.
        num_codebooks: K.
        full_share: Share of the items that keep all books, on average.
        lengths: Of the others: ``uniform``, any from 1 to K, or ``powers``, one of the powers of two
            up to K, which gives the first books more to do.
        random: Decides.

    References: Learning Ordered Representations with Nested Dropout,
    https://arxiv.org/abs/1402.0915; Matryoshka Representation Learning,
    https://arxiv.org/abs/2205.13147; for codes, SoundStream, https://arxiv.org/abs/2107.03312,
    One-D-Piece, https://arxiv.org/abs/2501.10064, FlexTok, https://arxiv.org/abs/2502.13967 (the
    powers), and MGVQ, https://arxiv.org/abs/2507.07997.
    """
    K = num_codebooks
    if lengths == "uniform":
        some = torch.randint(1, K + 1, (batch,), generator=random)
    else:
        some = 2 ** torch.randint(0, K.bit_length(), (batch,), generator=random)
    full = torch.rand(batch, generator=random) < full_share
    return torch.where(full, K, some)
