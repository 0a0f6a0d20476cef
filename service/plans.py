"""What a configuration message asks for, checked and with every default filled in."""

from dataclasses import dataclass

from sotto.codec.errors import CodesError, ConfigError
from sotto.codec.info import ModelInfo
from sotto.codec.rates import check_sample_rate
from sotto.export.runtime import Codec
from sotto.proto.v1 import codec_pb2 as pb

from .containers import Container
from .errors import LimitError
from .formats import RawFormat
from .models import Models
from .settings import Settings


@dataclass(frozen=True)
class AudioFormat:
    """How audio travels: its encoding, rate in Hz and channels."""

    encoding: RawFormat | Container
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class EncodePlan:
    """One encoding call.

    Attributes:
        codec: The model.
        audio: What the client sends.
        mix_down: Whether its channels are averaged into one.
        num_codebooks: Books per frame.
        packed: Whether codes go out as bits rather than integers.
        beam_size: Code paths that the search keeps.
    """

    codec: Codec
    audio: AudioFormat
    mix_down: bool
    num_codebooks: int
    packed: bool
    beam_size: int

    @property
    def channels(self) -> int:
        """Channels that are coded."""
        return 1 if self.mix_down else self.audio.channels


@dataclass(frozen=True)
class DecodePlan:
    """One decoding call.

    Attributes:
        codec: The model.
        audio: What the client gets.
        num_codebooks: The most books of a packet, and the books of one that does not say.
        packed: Whether codes come in as bits rather than integers.
        num_samples: Exact length per channel at the rate of the audio, if known.
    """

    codec: Codec
    audio: AudioFormat
    num_codebooks: int
    packed: bool
    num_samples: int | None


class Planner:
    """Turns configuration messages into plans."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models, self._settings = models, settings

    def encode(self, config: pb.EncodeConfig, found: AudioFormat | None = None) -> EncodePlan:
        """Plan an encoding call.

        Args:
            config: What the client asks for.
            found: What the header of its recording says, if it sent one.

        Raises:
            CodecError: An unknown model or encoding, another identity, a rate, a number of
                channels or books, a bitrate or a beam that cannot be.
        """
        codec = self._models.get(config.model, config.identity)
        if found is None:
            rate, channels = config.sample_rate_hertz, config.audio_channel_count or 1
            found = AudioFormat(input_encoding(config), rate, channels)
        else:
            _agree("sample_rate_hertz", config.sample_rate_hertz, found.sample_rate)
            _agree("audio_channel_count", config.audio_channel_count, found.channels)
        rate_field = config.WhichOneof("rate")
        num_codebooks = codec.info.choose_num_codebooks(
            config.num_codebooks if rate_field == "num_codebooks" else None,
            config.bitrate if rate_field == "bitrate" else None,
        )
        audio, packed = self._checked(found), _packed(config.token_format)
        usual = (max if self._settings.beam else min)(codec.beam_sizes)
        beam_size = codec.choose_beam(config.beam_size or usual)
        return EncodePlan(codec, audio, config.mix_down, num_codebooks, packed, beam_size)

    def decode(self, config: pb.DecodeConfig) -> DecodePlan:
        """Plan a decoding call.

        Raises:
            CodecError: As `encode`, or a negative length.
        """
        codec = self._models.get(config.model, config.identity)
        K = codec.info.num_codebooks
        if not 0 <= config.num_codebooks <= K:
            raise CodesError(
                f"num_codebooks={config.num_codebooks}, but {codec.info.name} has 1 to {K}"
            )
        if config.num_samples < 0:
            raise ConfigError(f"num_samples={config.num_samples}; expected 0 or more")
        audio = AudioFormat(
            encoding_of(config.encoding or pb.LINEAR16),
            config.sample_rate_hertz or codec.info.sample_rate,
            config.audio_channel_count or 1,
        )
        num_samples = config.num_samples if config.HasField("num_samples") else None
        books, packed = config.num_codebooks or K, _packed(config.token_format)
        return DecodePlan(codec, self._checked(audio), books, packed, num_samples)

    def transcode(self, config: pb.TranscodeConfig) -> tuple[EncodePlan, DecodePlan]:
        """Plan a call that encodes and decodes.

        Raises:
            CodecError: As `encode`.
        """
        plan = self.encode(config.encode)
        encoding = config.output_encoding or config.encode.encoding
        rate = config.output_sample_rate_hertz or plan.audio.sample_rate
        audio = self._checked(AudioFormat(encoding_of(encoding), rate, plan.channels))
        return plan, DecodePlan(plan.codec, audio, plan.num_codebooks, plan.packed, None)

    def _checked(self, audio: AudioFormat) -> AudioFormat:
        check_sample_rate(audio.sample_rate, "sample_rate_hertz")
        if audio.channels < 1:
            raise ConfigError(f"audio_channel_count={audio.channels}; expected 1 or more")
        if audio.channels > self._settings.max_channels:
            raise LimitError(
                f"audio_channel_count={audio.channels}; this server takes at most "
                f"{self._settings.max_channels}"
            )
        return audio


def books(info: ModelInfo, change: pb.RateChange) -> int:
    """Books that a client asks for in the middle of a stream.

    Raises:
        ConfigError: It asks for nothing.
        CodesError: The model does not offer it.
    """
    asked = change.WhichOneof("rate")
    if asked is None:
        raise ConfigError("rate_change is empty; expected bitrate or num_codebooks")
    return info.choose_num_codebooks(
        change.num_codebooks if asked == "num_codebooks" else None,
        change.bitrate if asked == "bitrate" else None,
    )


def input_encoding(config: pb.EncodeConfig) -> RawFormat | Container:
    """The encoding of audio that a client sends.

    Raises:
        ConfigError: None was given, or one that this version does not know.
    """
    if config.encoding == pb.AUDIO_ENCODING_UNSPECIFIED:
        raise ConfigError("encoding is not set; say how the audio is written, e.g. LINEAR16")
    return encoding_of(config.encoding)


def encoding_of(value: int) -> RawFormat | Container:
    """The encoding behind a number on the wire.

    Raises:
        ConfigError: This version does not know it.
    """
    known: list[RawFormat | Container] = [*RawFormat, *Container]
    for encoding in known:
        if pb.AudioEncoding.Value(encoding.value) == value:
            return encoding
    raise ConfigError(f"encoding {value} is unknown; known: {', '.join(e.value for e in known)}")


def raw_of(audio: AudioFormat) -> RawFormat:
    """The encoding of a stream.

    Raises:
        ConfigError: It is a file format.
    """
    if isinstance(audio.encoding, RawFormat):
        return audio.encoding
    known = ", ".join(e.value for e in RawFormat)
    raise ConfigError(
        f"{audio.encoding.value} is a file format: it works in unary calls; streams take {known}"
    )


def _packed(value: int) -> bool:
    if value not in (pb.TOKEN_FORMAT_UNSPECIFIED, pb.PACKED, pb.INT32):
        raise ConfigError(f"token_format {value} is unknown; known: PACKED, INT32")
    return value != pb.INT32


def _agree(field: str, asked: int, found: int) -> None:
    if asked not in (0, found):
        raise ConfigError(f"{field}={asked}, but the header of the audio says {found}")
