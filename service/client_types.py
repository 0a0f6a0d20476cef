"""What the clients take and give."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
import numpy.typing as npt

from sotto.codec.info import ModelInfo

from .formats import RawFormat

Audio = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]
Encoding = RawFormat | str
DEFAULT_ADDRESS: Final = "127.0.0.1:50551"


class EncodeOptions(TypedDict, total=False):
    """What may be said about an encoding.

    Attributes:
        model: Name; the server's default model otherwise.
        identity: Identity that the model must have.
        num_codebooks: Books per frame; all otherwise.
        bitrate: bit/s of one channel, instead of `num_codebooks`.
        beam_size: Code paths that the search keeps, one of those that the server's model offers;
            the server's choice otherwise. More are better codes and more work for the server.
        mix_down: Average the channels into one.
        encoding: How audio travels: FLOAT32 (default, exact), LINEAR16, MULAW or ALAW.
    """

    model: str
    identity: str
    num_codebooks: int
    bitrate: float
    beam_size: int
    mix_down: bool
    encoding: Encoding


class TranscodeOptions(EncodeOptions, total=False):
    """What may be said about a transcoding, beside its encoding.

    Attributes:
        output_sample_rate: Hz of the audio that comes back; as it was sent otherwise.
        on_codes: Called with each packet of codes, before the audio that was made from it.
    """

    output_sample_rate: int
    on_codes: "Callable[[Packet], None]"


class DecodeOptions(TypedDict, total=False):
    """What may be said about a decoding.

    Attributes:
        model: Name; the server's default model otherwise.
        identity: Identity of the model that made the codes; another one is refused.
        sample_rate: Hz of the audio; the model's otherwise.
        num_samples: Exact length per channel at that rate.
        packed: Send codes as bits (default); integers may be -1 where a code did not arrive.
        encoding: How audio travels: FLOAT32 (default, exact), LINEAR16, MULAW or ALAW.
    """

    model: str
    identity: str
    sample_rate: int
    num_samples: int | None
    packed: bool
    encoding: Encoding


@dataclass(frozen=True)
class StreamInfo:
    """A call as the server understood it.

    Attributes:
        model: The model that does the work.
        channels: Channels that are coded.
        num_codebooks: Books per frame; when decoding, the most a packet may carry.
        bitrate: bit/s of one channel with that many books.
        sample_rate: Hz of the audio: what is sent when encoding, otherwise what comes back.
        request_id: Name of the call in the server's log.
        beam_size: Code paths that the search keeps; 0 when decoding.
    """

    model: ModelInfo
    channels: int
    num_codebooks: int
    bitrate: float
    sample_rate: int
    request_id: str
    beam_size: int


@dataclass(frozen=True)
class Totals:
    """What a call came to.

    Attributes:
        num_samples: Samples per channel: those sent when encoding, otherwise those that came back.
        num_frames: Frames of codes per channel.
        audio_seconds: Duration of those samples.
        num_bytes: Bytes of all codes if packed without gaps.
        real_time_factor: Seconds of the server's work for one second of audio.
    """

    num_samples: int
    num_frames: int
    audio_seconds: float
    num_bytes: int
    real_time_factor: float


@dataclass(frozen=True)
class Packet:
    """Codes int64 [C, K, n] of consecutive frames, and the index of the first."""

    codes: Codes
    first_frame: int


@dataclass(frozen=True)
class Encoded:
    """A recording as codes int64 [C, K, T]."""

    codes: Codes
    info: StreamInfo
    totals: Totals


@dataclass(frozen=True)
class Decoded:
    """A recording as audio float32 [C, S]."""

    audio: Audio
    info: StreamInfo
    totals: Totals
