"""What live callers say: a clip of speech, cut into chunks that are messages already."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

from sotto.codec.errors import AudioError
from sotto.proto.v1 import codec_pb2 as pb

from .sample import sample_clip

_SCALE: Final = 32768


@dataclass(frozen=True)
class Script:
    """A clip in chunks; callers begin anywhere in it and go round and round.

    Attributes:
        rate: Hz.
        chunks: int16 [N, chunk].
        requests: The same chunks as messages of StreamingEncode.
    """

    rate: int
    chunks: npt.NDArray[np.int16]
    requests: list[bytes]

    @property
    def chunk_s(self) -> float:
        """Seconds of a chunk."""
        return len(self.chunks[0]) / self.rate

    def audio(self, place: int, count: int) -> npt.NDArray[np.float32]:
        """What a caller says in its first `count` chunks from `place` on, float32 [S]."""
        said = np.arange(place, place + count) % len(self.chunks)
        return self.chunks[said].reshape(-1).astype(np.float32) / np.float32(_SCALE)


@cache
def script(chunk_ms: int, clip: str = "") -> Script:
    """Cut the sample clip, or the mono audio file `clip`, into chunks.

    Raises:
        AudioError: The file has several channels, or less than one chunk.
    """
    speech, rate = soundfile.read(Path(clip), dtype="float32") if clip else sample_clip()
    size = rate * chunk_ms // 1000
    if speech.ndim != 1 or len(speech) < size:
        raise AudioError(f"'{clip}' has shape {speech.shape}; expected mono, {chunk_ms} ms or more")
    pcm = np.rint(speech * (_SCALE - 1)).astype("<i2")
    chunks = pcm[: len(pcm) // size * size].reshape(-1, size)
    requests = [
        pb.StreamingEncodeRequest(audio_content=chunk.tobytes()).SerializeToString()
        for chunk in chunks
    ]
    return Script(rate, chunks, requests)
