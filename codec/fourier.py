"""The DFT of real frames in two stages, as small matrix products that any graph can hold."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RealDFT(nn.Module):
    """Frames of `size` samples to their lowest `num_bins` bins, and back.

    With size = P * Q, sample n = Q a + b and bin k = c + P d, the transform is P-point transforms
    over a, twiddle factors for each b and c, and Q-point transforms over b. For 960 samples that
    is a third of the products, and a fiftieth of the numbers that must be read, of one matrix; in
    a stream of single frames reading is what costs.

    A complex product is written as four real ones, (re, im, -im, re) times (cos, cos, sin, sin),
    whose sums the next matrix takes. Both directions are scaled by ``size ** -0.5``, so that
    spectra keep about the level of frames.

    Reference: Cooley and Tukey, https://doi.org/10.1090/S0025-5718-1965-0178586-1
    """

    outer: Tensor
    twiddle: Tensor
    inner: Tensor
    weight: Tensor

    def __init__(self, size: int, num_bins: int | None = None, *, inverse: bool = False) -> None:
        """Make the tables.

        Args:
            size: Samples of a frame, even.
            num_bins: How many bins are wanted or given; all ``size // 2 + 1`` by default.
            inverse: From bins to frames instead; bins that are not given count as zero.
        """
        super().__init__()
        self.size, self.inverse = size, inverse
        self.num_bins = size // 2 + 1 if num_bins is None else num_bins
        self.P = P = next(p for p in range(math.isqrt(size) + 2, 0, -1) if size % p == 0)
        self.Q = Q = size // P
        self.rows = -(-self.num_bins // P)  # of P bins each
        a, b, d = torch.arange(P), torch.arange(Q), torch.arange(self.rows)
        cos, sin = _rotation(a[:, None] * a, P)
        real, imaginary = cos, -sin  # of exp(-i angle)
        outer = torch.stack([real, imaginary, -imaginary, real])  # [4, P(c), P(a)]
        cos, sin = _rotation(a[:, None] * b, size)
        twiddle = torch.stack([cos, cos, -sin, -sin])  # [4, P(c), Q(b)]
        cos, sin = _rotation(b[:, None] * d, Q)
        real = torch.stack([cos, sin, cos, sin])  # [4, Q(b), rows]
        imaginary = torch.stack([-sin, cos, -sin, cos])
        inner = torch.stack([real, imaginary], dim=2)  # [4, Q(b), 2, rows]
        tables = {
            "outer": outer.reshape(4 * P, P),
            "twiddle": twiddle * size**-0.5,
            "inner": inner.reshape(4 * Q, 2 * self.rows),
        }
        if inverse:
            tables["outer"], tables["inner"] = tables["outer"].T, tables["inner"].T
            bins = torch.arange(self.num_bins)
            once = (bins == 0) | (2 * bins == size)  # all others stand for a conjugate pair
            tables["weight"] = torch.where(once, 1.0, 2.0)
        for name, table in tables.items():
            self.register_buffer(name, table.float().contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Frames [..., size] to spectra [..., 2, num_bins], real over imaginary; or back."""
        return self._synthesis(x) if self.inverse else self._analysis(x)

    def _analysis(self, x: Tensor) -> Tensor:
        P, Q = self.P, self.Q
        y = (self.outer @ x.reshape(-1, P, Q)).reshape(-1, 4, P, Q) * self.twiddle
        z = y.permute(0, 2, 1, 3).reshape(-1, P, 4 * Q) @ self.inner  # [N, P, 2 * rows]
        z = z.reshape(-1, P, 2, self.rows).permute(0, 2, 3, 1)
        return z.reshape(*x.shape[:-1], 2, self.rows * P)[..., : self.num_bins]

    def _synthesis(self, x: Tensor) -> Tensor:
        P, Q = self.P, self.Q
        z = F.pad(x * self.weight, (0, self.rows * P - self.num_bins))
        z = z.reshape(-1, 2, self.rows, P).permute(0, 3, 1, 2).reshape(-1, P, 2 * self.rows)
        y = (z @ self.inner).reshape(-1, P, 4, Q).permute(0, 2, 1, 3) * self.twiddle
        frames = self.outer @ y.reshape(-1, 4 * P, Q)  # [N, P, Q]
        return frames.reshape(*x.shape[:-2], self.size)


def _rotation(product: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi product / period, float64; reduced first, so nothing is lost."""
    angle = 2 * math.pi / period * torch.remainder(product, period).double()
    return angle.cos(), angle.sin()
