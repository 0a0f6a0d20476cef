"""How fast a codec is, offline and in steps, each timing repeated."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sotto.export.streams import StreamDecoder, StreamEncoder

from .clips import Audio

if TYPE_CHECKING:
    from sotto.export.runtime import Codec

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """A value measured several times.

    Attributes:
        median: Median of the repeats.
        low: Smallest.
        high: Largest.
        values: All of them, in order.
    """

    median: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Offline:
    """A whole clip at once, as seconds of audio per second of work."""

    encode: Spread
    decode: Spread
    both: Spread


@dataclass(frozen=True)
class StepTimes:
    """Milliseconds of single steps: their quantiles within each repeat."""

    p50_ms: Spread
    p95_ms: Spread
    max_ms: Spread


@dataclass(frozen=True)
class Streaming:
    """A clip in steps, decoded as it is encoded.

    Attributes:
        step_ms: Milliseconds of audio per step.
        encode: Seconds of audio per second of encoding.
        decode: Seconds of audio per second of decoding.
        both: Seconds of audio per second of both.
        encode_step: Time to encode one step.
        decode_step: Time to decode one step.
        both_step: Time for one step to be encoded and decoded.
    """

    step_ms: float
    encode: Spread
    decode: Spread
    both: Spread
    encode_step: StepTimes
    decode_step: StepTimes
    both_step: StepTimes


def spread(values: Sequence[float]) -> Spread:
    """Sum up repeats."""
    return Spread(statistics.median(values), min(values), max(values), tuple(values))


def time_offline(codec: "Codec", audio: Audio, repeats: int) -> Offline:
    """Time encoding of a clip [S] at the codec's rate with all books, and decoding of the codes."""
    seconds = audio.size / codec.info.sample_rate
    codes = codec.encode(audio[None, None])
    codec.decode(codes, audio.size)  # both have run once: nothing is allocated while timed
    encode_s, decode_s = [], []
    for _ in range(repeats):
        encode_s.append(time_call(lambda: codec.encode(audio[None, None])))
        decode_s.append(time_call(lambda: codec.decode(codes, audio.size)))
    both_s = np.add(encode_s, decode_s)
    return Offline(*(_real_time(seconds, times) for times in (encode_s, decode_s, both_s)))


def time_streaming(codec: "Codec", audio: Audio, step_ms: float, repeats: int) -> Streaming:
    """Time a stream that gets `step_ms` of a clip [S] at a time and is decoded step by step.

    All books are used. The end of the stream, where the last frames come out, is one more step.
    """
    seconds = audio.size / codec.info.sample_rate
    step = max(1, round(codec.info.sample_rate * step_ms / 1000))
    _stream(codec, audio[: 4 * step], step)
    runs = [_stream(codec, audio, step) for _ in range(repeats)]  # each [2, steps]
    encode, decode = [run[0] for run in runs], [run[1] for run in runs]
    both = [run.sum(axis=0) for run in runs]
    return Streaming(
        step_ms=step_ms,
        encode=_real_time(seconds, (steps.sum() for steps in encode)),
        decode=_real_time(seconds, (steps.sum() for steps in decode)),
        both=_real_time(seconds, (steps.sum() for steps in both)),
        encode_step=_step_times(encode),
        decode_step=_step_times(decode),
        both_step=_step_times(both),
    )


def time_call(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _stream(codec: "Codec", audio: Audio, step: int) -> Times:
    """Seconds of every step, float64 [2, steps]: encoding, decoding."""
    encoder, decoder = StreamEncoder(codec), StreamDecoder(codec, num_samples=audio.size)
    times = []
    for chunk in (*np.split(audio, range(step, audio.size, step)), None):
        start = time.perf_counter()
        codes = encoder.flush() if chunk is None else encoder.push(chunk)
        encoded = time.perf_counter()
        decoder.push(codes)
        times.append((encoded - start, time.perf_counter() - encoded))
    decoder.flush()  # checks that all the audio came back
    return np.array(times).T


def _real_time(seconds: float, work_s: Iterable[float]) -> Spread:
    return spread([seconds / float(work) for work in work_s])


def _step_times(runs: Sequence[Times]) -> StepTimes:
    """Quantiles of the steps [steps] of each repeat."""
    ms = np.array([[*np.percentile(1000 * run, [50, 95]), 1000 * run.max()] for run in runs])
    return StepTimes(*(spread(column.tolist()) for column in ms.T))
