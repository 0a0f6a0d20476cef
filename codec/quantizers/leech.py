"""Spherical Leech quantization: the shortest vectors of the Leech lattice as a book on the sphere."""

import itertools

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN
from ..errors import ConfigError
from .base import QUANTIZERS
from .scaled import ScaledGrid

WIDTH = 24
WORDS = 4096  # of the extended Golay code
ODD = WIDTH * WORDS  # vectors of shape (-3, 1^23), signs changed on a word
EIGHTS = 759 * 128  # of shape (2^8, 0^16) on the words of weight 8, with evenly many minus signs
PAIRS = 276 * 4  # of shape (4^2, 0^22), any signs
ALL = ODD + EIGHTS + PAIRS  # 196,560
LENGTH = 32**0.5
BLOCK = 8  # places whose signs are looked up together


@QUANTIZERS.register("leech")
class SphericalLeech(ScaledGrid):
    """The nearest of the Leech lattice's minimal vectors, for latents on the sphere of 24 dimensions.

    It is found exactly without going through all of them.
    ``codebook_size=196560`` is the whole book. A power of two up to 65,536 takes its odd vectors
    only: as many positions of the 3 as are needed, and for less than 4096 a part of the Golay code.
    Models take a power of two, because packets do.

    Reference: Spherical Leech Quantization, https://arxiv.org/abs/2512.14697; the lattice, Conway
    and Sloane, Sphere Packings, Lattices and Groups, chapter 4
    """

    attracts = False

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    signs: Tensor
    patterns: Tensor
    octads: Tensor
    pairs: Tensor
    pair_of: Tensor

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        power = codebook_size & (codebook_size - 1) == 0 and codebook_size <= 1 << 16
        if codebook_size != ALL and not power:
            raise ConfigError(
                f"codebook_size={codebook_size}; expected {ALL} or a power of two up to {1 << 16}"
            )
        if latent_dim < WIDTH:
            raise ConfigError(f"latent_dim={latent_dim} is below the lattice's {WIDTH} dimensions")
        super().__init__(
            0.5 ** torch.arange(num_codebooks)[:, None],
            width=WIDTH,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        words = golay_words()
        self.whole = codebook_size == ALL
        self.positions = WIDTH if self.whole else max(codebook_size // WORDS, 1)
        used = words if codebook_size >= WORDS else words[:codebook_size]
        octads = words[words.sum(1) == 8].nonzero()[:, 1].view(-1, 8)
        pairs = torch.tensor(list(itertools.combinations(range(WIDTH), 2)))
        pair_of = torch.zeros(WIDTH, WIDTH, dtype=torch.int64)
        pair_of[pairs[:, 0], pairs[:, 1]] = pair_of[pairs[:, 1], pairs[:, 0]] = torch.arange(276)
        self.register_buffer("signs", 1.0 - 2.0 * used, persistent=False)  # [words, 24]
        # Which of the 256 sign patterns each word has in each block of places: [3, words].
        blocks = used.view(-1, WIDTH // BLOCK, BLOCK) @ 2 ** torch.arange(BLOCK)
        self.register_buffer("patterns", blocks.T.contiguous(), persistent=False)
        self.register_buffer("octads", octads, persistent=False)  # [759, 8]
        self.register_buffer("pairs", pairs, persistent=False)  # [276, 2]
        self.register_buffer("pair_of", pair_of, persistent=False)

    def bound(self, x: Tensor) -> Tensor:
        """Onto the sphere."""
        return F.normalize(x, dim=-1)

    def unit_nearest(self, x: Tensor) -> Tensor:
        """The book's vector at the smallest angle to `x` [..., 24]."""
        x = x.nan_to_num()
        best, codes = self._nearest_odd(x)
        if self.whole:
            for score, found in (self._nearest_eight(x), self._nearest_pair(x)):
                codes = torch.where(score > best, found, codes)
                best = torch.maximum(score, best)
        return codes

    def _nearest_odd(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inner product and code of the best odd vector."""
        least = self._least(x)
        best, word = (x @ self.signs.T - 4 * least).max(-1)
        products = x * F.embedding(word, self.signs)
        return best, products[..., : self.positions].argmin(-1) * len(self.signs) + word

    def _least(self, x: Tensor) -> Tensor:
        """Least of the products of `x` and each word in the places that the 3 may take: [..., words].

        The signs of eight places are one of 256 patterns, so that is worked out for those only.
        """
        bits = _bits(torch.arange(1 << BLOCK, device=x.device), BLOCK)
        signs = (1 - 2 * bits).to(x.dtype)  # [256, 8]
        least = None
        for block, at in enumerate(range(0, self.positions, BLOCK)):
            of_pattern = x[..., at : at + 1] * signs[:, 0]
            for j in range(1, min(BLOCK, self.positions - at)):
                of_pattern = torch.minimum(of_pattern, x[..., at + j : at + j + 1] * signs[:, j])
            of_word = of_pattern[..., self.patterns[block]]
            least = of_word if least is None else torch.minimum(least, of_word)
        assert least is not None
        return least

    def _nearest_eight(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inner product and code of the best vector on eight places."""
        parts = x[..., self.octads]  # [..., 759, 8]
        size = parts.abs()
        odd = (parts < 0).sum(-1).remainder(2)
        score, octad = (2 * (size.sum(-1) - 2 * size.amin(-1) * odd)).max(-1)
        chosen = x.gather(-1, self.octads[octad])
        minus = (chosen < 0).long()
        flip = F.one_hot(chosen.abs().argmin(-1), 8) * minus.sum(-1, keepdim=True).remainder(2)
        minus = (minus + flip).remainder(2)
        weights = 2 ** torch.arange(7, device=x.device)
        return score, ODD + octad * 128 + (minus[..., :7] * weights).sum(-1)

    def _nearest_pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inner product and code of the best vector on two places."""
        size, places = x.abs().topk(2, dim=-1)
        pair = self.pair_of[places[..., 0], places[..., 1]]
        minus = (x.gather(-1, self.pairs[pair]) < 0).long()
        return 4 * size.sum(-1), ODD + EIGHTS + pair * 4 + minus[..., 0] + 2 * minus[..., 1]

    def unit_points(self, codes: Tensor) -> Tensor:
        """Unit vectors [..., 24] of codes [...]."""
        words = len(self.signs)
        odd = codes.clamp_max(ODD - 1)
        three = F.one_hot(odd.div(words, rounding_mode="floor"), WIDTH)
        vectors = F.embedding(odd.remainder(words), self.signs) * (1 - 4 * three)
        if self.whole:
            rest = (codes - ODD).clamp(0, EIGHTS - 1)
            places = self.octads[rest.div(128, rounding_mode="floor")]
            eight = self._place(places, self._minus_of_eight(rest.remainder(128)), 2.0)
            vectors = torch.where((codes >= ODD)[..., None], eight, vectors)
            rest = (codes - ODD - EIGHTS).clamp_min(0)
            places = self.pairs[rest.div(4, rounding_mode="floor")]
            two = self._place(places, _bits(rest.remainder(4), 2), 4.0)
            vectors = torch.where((codes >= ODD + EIGHTS)[..., None], two, vectors)
        return vectors / LENGTH

    @staticmethod
    def _minus_of_eight(number: Tensor) -> Tensor:
        """Seven bits and the eighth that makes them even."""
        bits = _bits(number, 7)
        return torch.cat([bits, bits.sum(-1, keepdim=True).remainder(2)], dim=-1)

    def _place(self, places: Tensor, minus: Tensor, size: float) -> Tensor:
        values = size * (1 - 2 * minus).to(self.signs.dtype)
        zeros = torch.zeros(1, dtype=values.dtype, device=values.device)
        return zeros.expand(*places.shape[:-1], WIDTH).scatter(-1, places, values)


def _bits(number: Tensor, count: int) -> Tensor:
    """Bits [..., count] of numbers, lowest first."""
    weights = 2 ** torch.arange(count, device=number.device)
    return number[..., None].div(weights, rounding_mode="floor").remainder(2)


def golay_words() -> Tensor:
    """The 4096 words [4096, 24] of the extended binary Golay code; word 1 is all ones.

    The cyclic code of x^11 + x^10 + x^6 + x^5 + x^4 + x^2 + 1, with a parity bit.
    """
    polynomial = torch.zeros(23, dtype=torch.int64)
    polynomial[[0, 2, 4, 5, 6, 10, 11]] = 1
    rows = torch.stack([polynomial.roll(shift) for shift in range(12)])
    rows = torch.cat([rows, rows.sum(1, keepdim=True).remainder(2)], dim=1)
    # All ones is in the code; it takes the place of the first row, so that parts of the code
    # that begin with it hold the opposite of every vector.
    basis = torch.cat([torch.ones(1, WIDTH, dtype=torch.int64), rows[1:]])
    numbers = torch.arange(WORDS)[:, None].div(2 ** torch.arange(12), rounding_mode="floor")
    return (numbers.remainder(2) @ basis).remainder(2)
