"""What anyone who handles codes must know about the model that made them; needs no torch."""

import math
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from .config import FROZEN, Positive
from .errors import CodesError

BUNDLE_FORMAT = 1


@dataclass(frozen=True, config=FROZEN)
class ModelInfo:
    """Sizes, rates and identity of a codec.

    Attributes:
        name: Model name, for example ``speech-24khz``.
        version: Version of the encoder and codebooks.
        identity: sha256 over options and weights of encoder and codebooks, 64 hex digits. Codes of
            one identity decode only with a bundle of the same identity.
        sample_rate: Hz.
        frame_size: Samples per frame.
        num_codebooks: Books per frame, K.
        codebook_size: Entries per book.
        delay_samples: How much later than its input a sample leaves encoder and decoder, beyond
            the frame it has to wait for. Encoding covers it with extra frames at the end,
            decoding removes it from the start.
    """

    name: str
    version: str
    identity: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sample_rate: Positive
    frame_size: Positive
    num_codebooks: Positive
    codebook_size: Annotated[int, Field(ge=2, le=1 << 16)]
    delay_samples: Annotated[int, Field(ge=0)]

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.frame_size

    @property
    def bits_per_code(self) -> int:
        """Bits of one code in a packet."""
        return (self.codebook_size - 1).bit_length()

    @property
    def latency_ms(self) -> float:
        """Algorithmic latency: one frame to fill plus the delay."""
        return 1000 * (self.frame_size + self.delay_samples) / self.sample_rate

    def bitrate(self, num_codebooks: int) -> float:
        """Bits per second of the first `num_codebooks` books."""
        return self.frame_rate * self.bits_per_code * num_codebooks

    def num_frames(self, num_samples: int) -> int:
        """Frames that carry `num_samples` samples; 0 for 0."""
        if num_samples == 0:
            return 0
        return math.ceil((num_samples + self.delay_samples) / self.frame_size)

    def choose_num_codebooks(
        self, num_codebooks: int | None = None, bitrate: float | None = None
    ) -> int:
        """How many books to use for what a caller asked for; all of them if nothing was asked.

        Args:
            num_codebooks: Books, 1 to K.
            bitrate: Bits per second; the most books that do not exceed it are used.

        Raises:
            CodesError: Both were given, or the value is out of the model's range.
        """
        K = self.num_codebooks
        if num_codebooks is not None and bitrate is not None:
            raise CodesError(
                f"got num_codebooks={num_codebooks} and bitrate={bitrate:g}; give only one of them"
            )
        if bitrate is not None:
            if not self.bitrate(1) <= bitrate <= self.bitrate(K):
                raise CodesError(
                    f"bitrate={bitrate:g} bit/s is outside what {self.name} offers: "
                    f"{self.bitrate(1):g} to {self.bitrate(K):g} in steps of {self.bitrate(1):g}"
                )
            return int(bitrate / self.bitrate(1) + 1e-6)
        if num_codebooks is None:
            return K
        if not 1 <= num_codebooks <= K:
            raise CodesError(f"num_codebooks={num_codebooks}, but {self.name} has 1 to {K}")
        return num_codebooks
