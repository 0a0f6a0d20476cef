"""Which quantizers are compared, at equal bits per frame."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS, Quantizer


@dataclass(frozen=True)
class Contender:
    """One quantizer in a comparison.

    Attributes:
        label: How tables call it.
        name: In the registry.
        options: Of that quantizer.
        num_codebooks: Books.
        codebook_size: Entries of each.
        beams: Beam sizes to measure it with after training, besides greedy coding.
    """

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    num_codebooks: int = 8
    codebook_size: int = 1024
    beams: tuple[int, ...] = ()

    @property
    def bits(self) -> float:
        """Code bits of a frame."""
        return self.num_codebooks * math.log2(self.codebook_size)

    def build(self, latent_dim: int) -> Quantizer:
        """The quantizer, not started yet, with torch's own random numbers."""
        return QUANTIZERS.create(
            self.name,
            self.options,
            latent_dim=latent_dim,
            num_codebooks=self.num_codebooks,
            codebook_size=self.codebook_size,
        )


# 8 books of 1024 entries, or 5 of 65,536. `multi-scale` is not here: it needs latents that are
# several steps of time wide. Points found by arithmetic fill only a few of the latents' dimensions
# for all books together; in a cascade each book has a projection of its own.
POINTS = ("fsq", "llvq", "latent", "lfq", "bsq", "binary")
EIGHTY_BITS: tuple[Contender, ...] = (
    Contender("rvq", "rvq", beams=(4,)),
    *(
        Contender(name, name)
        for name in (
            *("affine", "cvq", "optvq", "ibq", "gumbel", "simvq", "vqgan-lc", "fvq", "vqwae"),
            *("vaevq", "grvq", "product", "fqgan", "cascade", "cross-scale", "split"),
            *("fsq", "bsq"),
        )
    ),
    *(Contender(f"cascade of {name}", "cascade", {"stage": name}) for name in POINTS),
    Contender("mcrvq", "mcrvq", {"masked": 4}),
    Contender("leech", "leech", {}, 5, 65_536),
)


def chosen(contenders: Sequence[Contender], names: Sequence[str]) -> list[Contender]:
    """Those with these labels, in their order; all for none.

    Raises:
        ConfigError: No such label; the message lists what exists.
    """
    known = {each.label: each for each in contenders}
    for name in names:
        if name not in known:
            raise ConfigError(f"no quantizer '{name}' to compare (known: {', '.join(known)})")
    return [each for label, each in known.items() if not names or label in names]
