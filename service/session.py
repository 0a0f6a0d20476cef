"""One stream's state: samples to codes, codes to samples, at any rate and for several channels.

Nothing here knows of protobuf, gRPC or the event loop; every method is plain, blocking work.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from sotto.codec.audio import StreamResampler
from sotto.codec.errors import CodesError
from sotto.codec.info import ModelInfo
from sotto.codec.rates import rescale
from sotto.export.streams import StreamDecoder, StreamEncoder

from .errors import LimitError
from .formats import Audio
from .plans import DecodePlan, EncodePlan

Codes = npt.NDArray[np.int64]


class EncodeSession:
    """Audio of one call to codes.

    Attributes:
        num_samples: Samples taken so far, per channel, at the rate of the audio.
        num_frames: Frames given back so far.
        num_codes: Codes given back so far, all books and channels.
    """

    def __init__(self, plan: EncodePlan, max_audio_s: float) -> None:
        """Start a stream that may hold `max_audio_s` seconds."""
        rate, channels = plan.audio.sample_rate, range(plan.channels)
        self._mix_down, self._max_audio_s = plan.mix_down, max_audio_s
        self._max_samples = max_audio_s * rate
        self._resamplers = [StreamResampler(rate, plan.codec.info.sample_rate) for _ in channels]
        self._encoders = [StreamEncoder(plan.codec, plan.num_codebooks) for _ in channels]
        self.num_samples = 0
        self.num_frames = 0
        self.num_codes = 0

    def push(self, audio: Audio) -> Codes:
        """Take audio float32 [S, C]; give the frames that are ready, int64 [C, K, n].

        Raises:
            LimitError: The stream is longer than allowed.
            AudioError: A sample is not finite.
        """
        self.num_samples += len(audio)
        if self.num_samples > self._max_samples:
            raise LimitError(f"the audio is over {self._max_audio_s:g} s, this server's limit")
        if self._mix_down:
            audio = audio.mean(axis=1, keepdims=True, dtype=np.float32)
        return self._gather(
            encoder.push(resampler.push(channel))
            for channel, resampler, encoder in zip(
                np.ascontiguousarray(audio.T), self._resamplers, self._encoders, strict=True
            )
        )

    def flush(self) -> Codes:
        """End the stream; give the remaining frames, int64 [C, K, n]."""
        tails = []
        for resampler, encoder in zip(self._resamplers, self._encoders, strict=True):
            codes = encoder.push(resampler.flush())
            tails.append(np.concatenate([codes, encoder.flush()], axis=1))
        return self._gather(tails)

    def _gather(self, channels: Iterable[Codes]) -> Codes:
        codes = np.stack(list(channels))
        self.num_frames += codes.shape[2]
        self.num_codes += codes.size
        return codes


class DecodeSession:
    """Codes of one call to audio.

    Attributes:
        num_samples: Samples given back so far, per channel, at the rate of the audio.
        num_frames: Frames taken so far.
        num_codes: Codes taken so far, all books and channels.
    """

    def __init__(self, plan: DecodePlan, max_audio_s: float) -> None:
        """Start a stream that may hold `max_audio_s` seconds."""
        channels = range(plan.audio.channels)
        self._info: ModelInfo = plan.codec.info
        self._rate, self._max_audio_s = plan.audio.sample_rate, max_audio_s
        self._decoders = [StreamDecoder(plan.codec) for _ in channels]
        self._resamplers = [StreamResampler(self._info.sample_rate, self._rate) for _ in channels]
        self._wanted = plan.num_samples
        self.num_samples = 0
        self.num_frames = 0
        self.num_codes = 0

    def expect(self, num_samples: int) -> None:
        """Say how long the audio is, at any time before `flush`."""
        self._wanted = num_samples

    def push(self, codes: Codes) -> Audio:
        """Take whole frames, int64 [C, k, n]; give the audio that is ready, float32 [S, C].

        Raises:
            LimitError: The stream is longer than allowed.
            CodesError: A code is out of range.
        """
        self.num_frames += codes.shape[2]
        self.num_codes += codes.size
        if self.num_frames * self._info.frame_size > self._max_audio_s * self._info.sample_rate:
            raise LimitError(f"the codes are over {self._max_audio_s:g} s, this server's limit")
        heard = (decoder.push(c) for decoder, c in zip(self._decoders, codes, strict=True))
        return self._take(
            resampler.push(audio) for audio, resampler in zip(heard, self._resamplers, strict=True)
        )

    def flush(self) -> Audio:
        """End the stream; give the remaining audio, float32 [S, C].

        Raises:
            CodesError: There are too few frames for the length that was announced.
        """
        self._check_frames()
        tails = []
        for decoder, resampler in zip(self._decoders, self._resamplers, strict=True):
            decoder.flush()
            tails.append(resampler.flush(self._wanted))
        return self._take(tails)

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

    def _take(self, channels: Iterable[Audio]) -> Audio:
        audio = np.stack(list(channels), axis=1)
        if self._wanted is not None:
            audio = audio[: max(0, self._wanted - self.num_samples)]
        self.num_samples += len(audio)
        return audio


class TranscodeSession:
    """Audio of one call to the audio that a listener would hear."""

    def __init__(self, plan: EncodePlan, output: DecodePlan, max_audio_s: float) -> None:
        """Start a stream that may hold `max_audio_s` seconds."""
        self._rates = plan.audio.sample_rate, output.audio.sample_rate
        self.encoder = EncodeSession(plan, max_audio_s)
        self.decoder = DecodeSession(output, max_audio_s + 1)  # the last frames reach further

    def push(self, audio: Audio) -> tuple[Codes, Audio]:
        """Take audio float32 [S, C]; give codes int64 [C, K, n] and audio float32 [S', C].

        Raises:
            LimitError: The stream is longer than allowed.
        """
        codes = self.encoder.push(audio)
        return codes, self.decoder.push(codes)

    def flush(self) -> tuple[Codes, Audio]:
        """End the stream; all audio given back is then exactly as long as what came in."""
        sent_rate, heard_rate = self._rates
        codes = self.encoder.flush()
        self.decoder.expect(rescale(self.encoder.num_samples, sent_rate, heard_rate))
        return codes, np.concatenate([self.decoder.push(codes), self.decoder.flush()])
