"""What a call has moved so far, read off the messages that pass."""

from collections.abc import Sequence
from typing import Any

from sotto.proto.v1 import codec_pb2 as pb

from .formats import RawFormat
from .report import CallObserver


class Tally:
    """Counts one call's audio and frames, and tells observers of the audio.

    Attributes:
        model: Name of the model, once the server has answered with it.
        audio_in_s: Seconds of audio received.
        audio_out_s: Seconds of audio sent.
        frames: Frames of codes received or sent.
    """

    def __init__(self, method: str, observers: Sequence[CallObserver]) -> None:
        self._method, self._observers = method, observers
        self._bytes_per_s = 0
        self._rate_out = 0
        self.model = ""
        self.audio_in_s = 0.0
        self.audio_out_s = 0.0
        self.frames = 0

    def configured(self, config: Any) -> None:
        """The client's first message of a stream."""
        source = config.encode if isinstance(config, pb.TranscodeConfig) else config
        if isinstance(source, pb.EncodeConfig):
            self._bytes_per_s = _bytes_per_s(source)

    def received(self, field: str, payload: Any) -> None:
        """A later message of a stream: the field that is set, and what is in it."""
        if field == "audio_content" and self._bytes_per_s:
            self._audio_in(len(payload) / self._bytes_per_s)
        elif field == "codes":
            self.frames += max(0, payload.num_frames)

    def sent(self, message: Any) -> None:
        """A response of a stream."""
        field = message.WhichOneof("response")
        if field == "config":
            self.model, self._rate_out = message.config.model.name, message.config.sample_rate_hertz
        elif field == "codes":
            self.frames += message.codes.num_frames
        elif field == "audio":
            self._audio_out(message.audio.num_samples / self._rate_out)
        elif field == "totals":
            self.frames = message.totals.num_frames

    def unary(self, response: Any) -> None:
        """The response of a unary call."""
        if not isinstance(response, pb.EncodeResponse | pb.DecodeResponse):
            return
        self.model, self.frames = response.config.model.name, response.totals.num_frames
        count = self._audio_in if isinstance(response, pb.EncodeResponse) else self._audio_out
        count(response.totals.audio_seconds)

    def _audio_in(self, seconds: float) -> None:
        self.audio_in_s += seconds
        for observer in self._observers:
            observer.audio_in(self._method, seconds)

    def _audio_out(self, seconds: float) -> None:
        self.audio_out_s += seconds
        for observer in self._observers:
            observer.audio_out(self._method, seconds)


def _bytes_per_s(config: pb.EncodeConfig) -> int:
    """Of raw audio; 0 where the configuration makes no sense and will be refused."""
    names = {raw.value: raw for raw in RawFormat}
    raw = names.get(pb.AudioEncoding.Name(config.encoding)) if config.encoding in range(8) else None
    if raw is None:
        return 0
    channels = config.audio_channel_count or 1
    return max(0, raw.bytes_per_sample * channels * config.sample_rate_hertz)
