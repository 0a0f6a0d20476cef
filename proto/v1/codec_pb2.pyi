from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AudioEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_ENCODING_UNSPECIFIED: _ClassVar[AudioEncoding]
    LINEAR16: _ClassVar[AudioEncoding]
    FLOAT32: _ClassVar[AudioEncoding]
    MULAW: _ClassVar[AudioEncoding]
    ALAW: _ClassVar[AudioEncoding]
    FLAC: _ClassVar[AudioEncoding]
    OGG_OPUS: _ClassVar[AudioEncoding]
    WAV: _ClassVar[AudioEncoding]

class TokenFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOKEN_FORMAT_UNSPECIFIED: _ClassVar[TokenFormat]
    PACKED: _ClassVar[TokenFormat]
    INT32: _ClassVar[TokenFormat]
AUDIO_ENCODING_UNSPECIFIED: AudioEncoding
LINEAR16: AudioEncoding
FLOAT32: AudioEncoding
MULAW: AudioEncoding
ALAW: AudioEncoding
FLAC: AudioEncoding
OGG_OPUS: AudioEncoding
WAV: AudioEncoding
TOKEN_FORMAT_UNSPECIFIED: TokenFormat
PACKED: TokenFormat
INT32: TokenFormat

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "identity", "sample_rate_hertz", "frame_size", "frame_rate", "num_codebooks", "codebook_size", "bits_per_code", "delay_samples", "latency_ms", "bitrates", "beam_sizes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    FRAME_SIZE_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    NUM_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    CODEBOOK_SIZE_FIELD_NUMBER: _ClassVar[int]
    BITS_PER_CODE_FIELD_NUMBER: _ClassVar[int]
    DELAY_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    BITRATES_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    identity: str
    sample_rate_hertz: int
    frame_size: int
    frame_rate: float
    num_codebooks: int
    codebook_size: int
    bits_per_code: int
    delay_samples: int
    latency_ms: float
    bitrates: _containers.RepeatedScalarFieldContainer[float]
    beam_sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., identity: _Optional[str] = ..., sample_rate_hertz: _Optional[int] = ..., frame_size: _Optional[int] = ..., frame_rate: _Optional[float] = ..., num_codebooks: _Optional[int] = ..., codebook_size: _Optional[int] = ..., bits_per_code: _Optional[int] = ..., delay_samples: _Optional[int] = ..., latency_ms: _Optional[float] = ..., bitrates: _Optional[_Iterable[float]] = ..., beam_sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class EncodeConfig(_message.Message):
    __slots__ = ("model", "identity", "encoding", "sample_rate_hertz", "audio_channel_count", "mix_down", "bitrate", "num_codebooks", "token_format", "resume_token", "beam_size")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIX_DOWN_FIELD_NUMBER: _ClassVar[int]
    BITRATE_FIELD_NUMBER: _ClassVar[int]
    NUM_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FORMAT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    model: str
    identity: str
    encoding: AudioEncoding
    sample_rate_hertz: int
    audio_channel_count: int
    mix_down: bool
    bitrate: float
    num_codebooks: int
    token_format: TokenFormat
    resume_token: bytes
    beam_size: int
    def __init__(self, model: _Optional[str] = ..., identity: _Optional[str] = ..., encoding: _Optional[_Union[AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ..., audio_channel_count: _Optional[int] = ..., mix_down: _Optional[bool] = ..., bitrate: _Optional[float] = ..., num_codebooks: _Optional[int] = ..., token_format: _Optional[_Union[TokenFormat, str]] = ..., resume_token: _Optional[bytes] = ..., beam_size: _Optional[int] = ...) -> None: ...

class DecodeConfig(_message.Message):
    __slots__ = ("model", "identity", "encoding", "sample_rate_hertz", "audio_channel_count", "num_codebooks", "token_format", "num_samples", "resume_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUM_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FORMAT_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: str
    identity: str
    encoding: AudioEncoding
    sample_rate_hertz: int
    audio_channel_count: int
    num_codebooks: int
    token_format: TokenFormat
    num_samples: int
    resume_token: bytes
    def __init__(self, model: _Optional[str] = ..., identity: _Optional[str] = ..., encoding: _Optional[_Union[AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ..., audio_channel_count: _Optional[int] = ..., num_codebooks: _Optional[int] = ..., token_format: _Optional[_Union[TokenFormat, str]] = ..., num_samples: _Optional[int] = ..., resume_token: _Optional[bytes] = ...) -> None: ...

class TranscodeConfig(_message.Message):
    __slots__ = ("encode", "output_encoding", "output_sample_rate_hertz", "return_codes", "resume_token")
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ENCODING_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    RETURN_CODES_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    encode: EncodeConfig
    output_encoding: AudioEncoding
    output_sample_rate_hertz: int
    return_codes: bool
    resume_token: bytes
    def __init__(self, encode: _Optional[_Union[EncodeConfig, _Mapping]] = ..., output_encoding: _Optional[_Union[AudioEncoding, str]] = ..., output_sample_rate_hertz: _Optional[int] = ..., return_codes: _Optional[bool] = ..., resume_token: _Optional[bytes] = ...) -> None: ...

class ResolvedConfig(_message.Message):
    __slots__ = ("model", "audio_channel_count", "num_codebooks", "bitrate", "token_format", "encoding", "sample_rate_hertz", "request_id", "num_samples", "num_frames", "beam_size")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUM_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    BITRATE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FORMAT_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    model: Model
    audio_channel_count: int
    num_codebooks: int
    bitrate: float
    token_format: TokenFormat
    encoding: AudioEncoding
    sample_rate_hertz: int
    request_id: str
    num_samples: int
    num_frames: int
    beam_size: int
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., audio_channel_count: _Optional[int] = ..., num_codebooks: _Optional[int] = ..., bitrate: _Optional[float] = ..., token_format: _Optional[_Union[TokenFormat, str]] = ..., encoding: _Optional[_Union[AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ..., request_id: _Optional[str] = ..., num_samples: _Optional[int] = ..., num_frames: _Optional[int] = ..., beam_size: _Optional[int] = ...) -> None: ...

class RateChange(_message.Message):
    __slots__ = ("bitrate", "num_codebooks")
    BITRATE_FIELD_NUMBER: _ClassVar[int]
    NUM_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    bitrate: float
    num_codebooks: int
    def __init__(self, bitrate: _Optional[float] = ..., num_codebooks: _Optional[int] = ...) -> None: ...

class StateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResumeState(_message.Message):
    __slots__ = ("token", "num_samples", "num_frames", "num_output_samples")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_FIELD_NUMBER: _ClassVar[int]
    NUM_OUTPUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    token: bytes
    num_samples: int
    num_frames: int
    num_output_samples: int
    def __init__(self, token: _Optional[bytes] = ..., num_samples: _Optional[int] = ..., num_frames: _Optional[int] = ..., num_output_samples: _Optional[int] = ...) -> None: ...

class CodesPacket(_message.Message):
    __slots__ = ("first_frame", "num_frames", "num_codebooks", "channels")
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_FIELD_NUMBER: _ClassVar[int]
    NUM_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    first_frame: int
    num_frames: int
    num_codebooks: int
    channels: _containers.RepeatedCompositeFieldContainer[ChannelCodes]
    def __init__(self, first_frame: _Optional[int] = ..., num_frames: _Optional[int] = ..., num_codebooks: _Optional[int] = ..., channels: _Optional[_Iterable[_Union[ChannelCodes, _Mapping]]] = ...) -> None: ...

class ChannelCodes(_message.Message):
    __slots__ = ("packed", "values")
    PACKED_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    packed: bytes
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, packed: _Optional[bytes] = ..., values: _Optional[_Iterable[int]] = ...) -> None: ...

class AudioPacket(_message.Message):
    __slots__ = ("audio_content", "first_sample", "num_samples")
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    audio_content: bytes
    first_sample: int
    num_samples: int
    def __init__(self, audio_content: _Optional[bytes] = ..., first_sample: _Optional[int] = ..., num_samples: _Optional[int] = ...) -> None: ...

class Totals(_message.Message):
    __slots__ = ("num_samples", "num_frames", "audio_seconds", "num_bytes", "real_time_factor")
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NUM_BYTES_FIELD_NUMBER: _ClassVar[int]
    REAL_TIME_FACTOR_FIELD_NUMBER: _ClassVar[int]
    num_samples: int
    num_frames: int
    audio_seconds: float
    num_bytes: int
    real_time_factor: float
    def __init__(self, num_samples: _Optional[int] = ..., num_frames: _Optional[int] = ..., audio_seconds: _Optional[float] = ..., num_bytes: _Optional[int] = ..., real_time_factor: _Optional[float] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("config", "audio_content")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    config: EncodeConfig
    audio_content: bytes
    def __init__(self, config: _Optional[_Union[EncodeConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("config", "codes", "totals")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    config: ResolvedConfig
    codes: CodesPacket
    totals: Totals
    def __init__(self, config: _Optional[_Union[ResolvedConfig, _Mapping]] = ..., codes: _Optional[_Union[CodesPacket, _Mapping]] = ..., totals: _Optional[_Union[Totals, _Mapping]] = ...) -> None: ...

class DecodeRequest(_message.Message):
    __slots__ = ("config", "codes")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    config: DecodeConfig
    codes: CodesPacket
    def __init__(self, config: _Optional[_Union[DecodeConfig, _Mapping]] = ..., codes: _Optional[_Union[CodesPacket, _Mapping]] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("config", "audio_content", "totals")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    config: ResolvedConfig
    audio_content: bytes
    totals: Totals
    def __init__(self, config: _Optional[_Union[ResolvedConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ..., totals: _Optional[_Union[Totals, _Mapping]] = ...) -> None: ...

class StreamingEncodeRequest(_message.Message):
    __slots__ = ("streaming_config", "audio_content", "rate_change", "state_request")
    STREAMING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    RATE_CHANGE_FIELD_NUMBER: _ClassVar[int]
    STATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    streaming_config: EncodeConfig
    audio_content: bytes
    rate_change: RateChange
    state_request: StateRequest
    def __init__(self, streaming_config: _Optional[_Union[EncodeConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ..., rate_change: _Optional[_Union[RateChange, _Mapping]] = ..., state_request: _Optional[_Union[StateRequest, _Mapping]] = ...) -> None: ...

class StreamingEncodeResponse(_message.Message):
    __slots__ = ("config", "codes", "totals", "resume_state")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    RESUME_STATE_FIELD_NUMBER: _ClassVar[int]
    config: ResolvedConfig
    codes: CodesPacket
    totals: Totals
    resume_state: ResumeState
    def __init__(self, config: _Optional[_Union[ResolvedConfig, _Mapping]] = ..., codes: _Optional[_Union[CodesPacket, _Mapping]] = ..., totals: _Optional[_Union[Totals, _Mapping]] = ..., resume_state: _Optional[_Union[ResumeState, _Mapping]] = ...) -> None: ...

class StreamingDecodeRequest(_message.Message):
    __slots__ = ("streaming_config", "codes", "state_request")
    STREAMING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    STATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    streaming_config: DecodeConfig
    codes: CodesPacket
    state_request: StateRequest
    def __init__(self, streaming_config: _Optional[_Union[DecodeConfig, _Mapping]] = ..., codes: _Optional[_Union[CodesPacket, _Mapping]] = ..., state_request: _Optional[_Union[StateRequest, _Mapping]] = ...) -> None: ...

class StreamingDecodeResponse(_message.Message):
    __slots__ = ("config", "audio", "totals", "resume_state")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    RESUME_STATE_FIELD_NUMBER: _ClassVar[int]
    config: ResolvedConfig
    audio: AudioPacket
    totals: Totals
    resume_state: ResumeState
    def __init__(self, config: _Optional[_Union[ResolvedConfig, _Mapping]] = ..., audio: _Optional[_Union[AudioPacket, _Mapping]] = ..., totals: _Optional[_Union[Totals, _Mapping]] = ..., resume_state: _Optional[_Union[ResumeState, _Mapping]] = ...) -> None: ...

class StreamingTranscodeRequest(_message.Message):
    __slots__ = ("streaming_config", "audio_content", "rate_change", "state_request")
    STREAMING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    RATE_CHANGE_FIELD_NUMBER: _ClassVar[int]
    STATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    streaming_config: TranscodeConfig
    audio_content: bytes
    rate_change: RateChange
    state_request: StateRequest
    def __init__(self, streaming_config: _Optional[_Union[TranscodeConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ..., rate_change: _Optional[_Union[RateChange, _Mapping]] = ..., state_request: _Optional[_Union[StateRequest, _Mapping]] = ...) -> None: ...

class StreamingTranscodeResponse(_message.Message):
    __slots__ = ("config", "audio", "totals", "codes", "resume_state")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    RESUME_STATE_FIELD_NUMBER: _ClassVar[int]
    config: ResolvedConfig
    audio: AudioPacket
    totals: Totals
    codes: CodesPacket
    resume_state: ResumeState
    def __init__(self, config: _Optional[_Union[ResolvedConfig, _Mapping]] = ..., audio: _Optional[_Union[AudioPacket, _Mapping]] = ..., totals: _Optional[_Union[Totals, _Mapping]] = ..., codes: _Optional[_Union[CodesPacket, _Mapping]] = ..., resume_state: _Optional[_Union[ResumeState, _Mapping]] = ...) -> None: ...
