"""One call's streams: samples to codes, codes to samples, at any rate and for several channels.

Nothing here knows of protobuf or gRPC. The model's steps are shared with all other sessions; the
rest is numpy and soxr, done at once for a live chunk and in a worker thread for a long one.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from sotto.codec.audio import StreamResampler
from sotto.codec.errors import CodesError
from sotto.codec.info import ModelInfo
from sotto.codec.rates import rescale
from sotto.export.framing import DecodeFraming, EncodeFraming

from .engine import Engine
from .errors import LimitError
from .formats import Audio
from .plans import DecodePlan, EncodePlan
from .rows import joined, stacked
from .scheduler import Lane

Codes = npt.NDArray[np.int64]
T = TypeVar("T")
_SHORT: Final = 8192  # samples whose resampling is cheaper than the way to another thread


class _Session:
    """What both directions share.

    Attributes:
        num_samples: Samples on the side of the audio so far, per channel, at its rate.
        num_frames: Frames on the side of the codes so far.
        num_codes: Codes so far, all books and channels.
        lane: Its way through the model.
    """

    def __init__(self, engine: Engine, lane: Lane) -> None:
        self._engine, self.lane = engine, lane
        self._own_s = 0.0
        self.num_samples = 0
        self.num_frames = 0
        self.num_codes = 0

    @property
    def busy_s(self) -> float:
        """Seconds of work so far."""
        return self._own_s + self.lane.busy_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lane.close()

    async def _do(self, size: int, work: Callable[..., T], *args: Any) -> T:
        """Do `work`, which handles `size` samples, at once or in a thread."""
        if size <= _SHORT:
            return self._timed(work, *args)
        return await self._engine.worker.run(lambda: self._timed(work, *args))

    def _timed(self, work: Callable[..., T], *args: Any) -> T:
        start = perf_counter()
        try:
            return work(*args)
        finally:
            self._own_s += perf_counter() - start


class EncodeSession(_Session):
    """Audio of one call to codes; use it in a `with` block.

    Attributes:
        num_codebooks: Books that the frames to come have; may be changed between chunks.
    """

    def __init__(
        self, engine: Engine, plan: EncodePlan, max_audio_s: float, *, bulk: bool = False
    ) -> None:
        """Start a stream that may hold `max_audio_s` seconds; `bulk` lets live streams go first."""
        super().__init__(
            engine, engine.encoder(plan.codec, plan.channels, plan.beam_size, bulk=bulk)
        )
        self._plan, self._info, self._max_audio_s = plan, plan.codec.info, max_audio_s
        rate, channels = plan.audio.sample_rate, range(plan.channels)
        self.resamplers = [
            StreamResampler(rate, self._info.sample_rate, resumable=True) for _ in channels
        ]
        self.framings = [EncodeFraming(self._info) for _ in channels]
        self.num_codebooks = plan.num_codebooks

    async def push(self, audio: Audio) -> Codes:
        """Take audio float32 [S, C]; give the frames that are ready, int64 [C, K, n].

        Raises:
            LimitError: The stream is longer than allowed.
            AudioError: A sample is not finite.
        """
        self.num_samples += len(audio)
        if self.num_samples > self._max_audio_s * self._plan.audio.sample_rate:
            raise LimitError(f"the audio is over {self._max_audio_s:g} s, this server's limit")
        return await self._encode(await self._do(audio.size, self._frames, audio))

    async def flush(self) -> Codes:
        """End the stream; give the remaining frames, int64 [C, K, n]."""
        return await self._encode(await self._do(0, self._last_frames))

    def _frames(self, audio: Audio) -> Audio:
        """Whole frames of the model's audio, [C, n * frame_size]."""
        if self._plan.mix_down:
            audio = audio.mean(axis=1, keepdims=True, dtype=np.float32)
        rows = zip(np.ascontiguousarray(audio.T), self.resamplers, self.framings, strict=True)
        return stacked([framing.push(filter_.push(row)) for row, filter_, framing in rows])

    def _last_frames(self) -> Audio:
        tails = []
        for resampler, framing in zip(self.resamplers, self.framings, strict=True):
            full = framing.push(resampler.flush())
            tails.append(np.concatenate([full, framing.flush()]))
        return stacked(tails)

    async def _encode(self, audio: Audio) -> Codes:
        frames, books = audio.shape[1] // self._info.frame_size, self.num_codebooks
        parts = await self.lane.run(audio[:, None], frames, books)
        heard = [part[:, :books] for part in parts]
        codes = joined(heard) if heard else np.zeros((len(audio), books, 0), np.int64)
        self.num_frames += frames
        self.num_codes += codes.size
        return codes


class DecodeSession(_Session):
    """Codes of one call to audio; use it in a `with` block."""

    def __init__(
        self, engine: Engine, plan: DecodePlan, max_audio_s: float, *, bulk: bool = False
    ) -> None:
        """Start a stream that may hold `max_audio_s` seconds; `bulk` lets live streams go first."""
        channels = range(plan.audio.channels)
        super().__init__(engine, engine.decoder(plan.codec, plan.audio.channels, bulk=bulk))
        self._info: ModelInfo = plan.codec.info
        self._rate, self._max_audio_s = plan.audio.sample_rate, max_audio_s
        self._wanted = plan.num_samples
        self.framings = [DecodeFraming(self._info) for _ in channels]
        self.resamplers = [
            StreamResampler(self._info.sample_rate, self._rate, resumable=True) for _ in channels
        ]

    def expect(self, num_samples: int) -> None:
        """Say how long the audio is, at any time before `flush`."""
        self._wanted = num_samples

    async def push(self, codes: Codes) -> Audio:
        """Take whole frames, int64 [C, k, n]; give the audio that is ready, float32 [S, C].

        Raises:
            LimitError: The stream is longer than allowed.
            CodesError: A code is out of range.
        """
        frames = codes.shape[2]
        if (self.num_frames + frames) / self._info.frame_rate > self._max_audio_s:
            raise LimitError(f"the codes are over {self._max_audio_s:g} s, this server's limit")
        books = stacked([f.push(c) for f, c in zip(self.framings, codes, strict=True)])
        self.num_frames += frames
        self.num_codes += codes.size
        parts = await self.lane.run(books, frames, books.shape[1])
        audio = joined(parts)[:, 0] if parts else np.zeros((len(codes), 0), np.float32)
        return await self._do(audio.size, self._heard, audio)

    async def flush(self) -> Audio:
        """End the stream; give the remaining audio, float32 [S, C].

        Raises:
            CodesError: There are too few frames for the length that was announced.
        """
        self._check_frames()
        return await self._do(0, self._last_audio)

    def _heard(self, audio: Audio) -> Audio:
        """The model's audio [C, S] as it is played."""
        rows = zip(audio, self.framings, self.resamplers, strict=True)
        return self._take([filter_.push(framing.heard(row)) for row, framing, filter_ in rows])

    def _last_audio(self) -> Audio:
        for framing in self.framings:
            framing.flush()
        return self._take([resampler.flush(self._wanted) for resampler in self.resamplers])

    def _check_frames(self) -> None:
        if not self._wanted:
            return
        # The fewest samples of the model that make as many at the rate of the audio.
        fewest = -(-(2 * self._wanted - 1) * self._info.sample_rate // (2 * self._rate))
        frames = self._info.num_frames(fewest)
        if self.num_frames < frames:
            raise CodesError(
                f"num_samples={self._wanted} needs {frames} frames; the stream had "
                f"{self.num_frames}"
            )

    def _take(self, channels: Sequence[Audio]) -> Audio:
        audio = stacked(channels).T
        if self._wanted is not None:
            audio = audio[: max(0, self._wanted - self.num_samples)]
        self.num_samples += len(audio)
        return audio


class TranscodeSession:
    """Audio of one call to the audio that a listener would hear; use it in a `with` block."""

    def __init__(
        self, engine: Engine, plan: EncodePlan, output: DecodePlan, max_audio_s: float
    ) -> None:
        """Start a stream that may hold `max_audio_s` seconds."""
        self._rates = plan.audio.sample_rate, output.audio.sample_rate
        self.encoder = EncodeSession(engine, plan, max_audio_s)
        self.decoder = DecodeSession(engine, output, max_audio_s + 1)  # the last frames reach on

    @property
    def busy_s(self) -> float:
        """Seconds of work so far."""
        return self.encoder.busy_s + self.decoder.busy_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.encoder.__exit__()
        self.decoder.__exit__()

    async def push(self, audio: Audio) -> tuple[Codes, Audio]:
        """Take audio float32 [S, C]; give codes int64 [C, K, n] and audio float32 [S', C].

        Raises:
            LimitError: The stream is longer than allowed.
        """
        codes = await self.encoder.push(audio)
        return codes, await self.decoder.push(codes)

    async def flush(self) -> tuple[Codes, Audio]:
        """End the stream; all audio given back is then exactly as long as what came in."""
        sent_rate, heard_rate = self._rates
        codes = await self.encoder.flush()
        self.decoder.expect(rescale(self.encoder.num_samples, sent_rate, heard_rate))
        return codes, np.concatenate([await self.decoder.push(codes), await self.decoder.flush()])
