"""Each mistake of a client has its status, and the server goes on."""

import io
import time
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile

from sotto.proto.v1 import codec_pb2 as pb
from sotto.service.containers import Container, RecordingWriter
from sotto.service.errors import REQUEST_ID_KEY

INVALID, UNMET = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
FULL, MISSING = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND
MAX_INT32 = 2**31 - 1

AUDIO = {"encoding": "LINEAR16", "sample_rate_hertz": 24_000}
BAD_ENCODE_CONFIGS: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({"encoding": None}, INVALID, "encoding is not set"),
    ({"encoding": 99}, INVALID, "encoding 99 is unknown; known: LINEAR16"),
    ({"sample_rate_hertz": 0}, INVALID, "sample_rate_hertz=0"),
    ({"sample_rate_hertz": -8000}, INVALID, "sample_rate_hertz=-8000"),
    ({"sample_rate_hertz": MAX_INT32}, INVALID, "sample_rate_hertz"),
    ({"audio_channel_count": -1}, INVALID, "audio_channel_count=-1"),
    ({"audio_channel_count": MAX_INT32}, FULL, "audio_channel_count"),
    ({"num_codebooks": 0}, INVALID, "num_codebooks=0"),
    ({"num_codebooks": -1}, INVALID, "num_codebooks=-1"),
    ({"num_codebooks": 1000}, INVALID, "num_codebooks=1000"),
    ({"bitrate": 1}, INVALID, "bitrate=1"),
    ({"bitrate": -3000}, INVALID, "bitrate=-3000"),
    ({"bitrate": float("nan")}, INVALID, "bitrate=nan"),
    ({"token_format": 7}, INVALID, "token_format 7"),
    ({"model": "nobody"}, MISSING, "no model 'nobody' on this server; it has:"),
    ({"model": "é" * 100_000}, MISSING, "no model"),
    ({"identity": "f" * 64}, INVALID, "identity"),
]
BAD_DECODE_CONFIGS: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({"encoding": 99}, INVALID, "encoding 99"),
    ({"sample_rate_hertz": 1}, INVALID, "sample_rate_hertz=1"),
    ({"audio_channel_count": -1}, INVALID, "audio_channel_count=-1"),
    ({"audio_channel_count": 256}, FULL, "audio_channel_count=256"),
    ({"num_codebooks": -1}, INVALID, "num_codebooks=-1"),
    ({"num_codebooks": 1000}, INVALID, "num_codebooks=1000"),
    ({"num_samples": -1}, INVALID, "num_samples=-1"),
    ({"token_format": 7}, INVALID, "token_format 7"),
    ({"model": "nobody"}, MISSING, "nobody"),
    ({"identity": "f" * 64}, INVALID, "identity"),
]


@pytest.fixture(autouse=True)
def _still_serving_afterwards(stub, server):
    yield
    audio = bytes(2 * 480)
    assert stub.Encode(
        pb.EncodeRequest(config=encode_config(), audio_content=audio)
    ).totals.num_frames
    while server.sessions:
        time.sleep(0.01)


def encode_config(**changes):
    return pb.EncodeConfig(**(AUDIO | changes))


def encode_stream(stub, *messages):
    wrap = pb.StreamingEncodeRequest
    return list(stub.StreamingEncode(iter([wrap(**message) for message in messages]), timeout=20))


def decode_stream(stub, *messages):
    wrap = pb.StreamingDecodeRequest
    return list(stub.StreamingDecode(iter([wrap(**message) for message in messages]), timeout=20))


def transcode_stream(stub, *messages):
    wrap = pb.StreamingTranscodeRequest
    return list(
        stub.StreamingTranscode(iter([wrap(**message) for message in messages]), timeout=20)
    )


def refused(code, words, call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    assert caught.value.code() is code, caught.value.details()
    assert words in caught.value.details()
    assert len(dict(caught.value.trailing_metadata())[REQUEST_ID_KEY]) == 16


@pytest.mark.parametrize(("changes", "code", "words"), BAD_ENCODE_CONFIGS)
def test_a_bad_configuration_to_encode_is_refused_in_every_call(stub, changes, code, words):
    config = encode_config(**changes)
    refused(code, words, encode_stream, stub, {"streaming_config": config})
    refused(code, words, stub.Encode, pb.EncodeRequest(config=config, audio_content=bytes(960)))
    transcode = pb.TranscodeConfig(encode=config)
    refused(code, words, transcode_stream, stub, {"streaming_config": transcode})


@pytest.mark.parametrize(("changes", "code", "words"), BAD_DECODE_CONFIGS)
def test_a_bad_configuration_to_decode_is_refused_in_every_call(stub, changes, code, words):
    config = pb.DecodeConfig(**changes)
    refused(code, words, decode_stream, stub, {"streaming_config": config})
    refused(code, words, stub.Decode, pb.DecodeRequest(config=config))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_encoding": 99}, "encoding 99"),
        ({"output_encoding": "FLAC"}, "FLAC is a file format"),
        ({"output_sample_rate_hertz": 3}, "sample_rate_hertz=3"),
        ({"output_sample_rate_hertz": -1}, "sample_rate_hertz=-1"),
    ],
)
def test_a_bad_output_of_a_transcoding_is_refused(stub, changes, words):
    config = pb.TranscodeConfig(encode=encode_config(), **changes)
    refused(INVALID, words, transcode_stream, stub, {"streaming_config": config})


@pytest.mark.parametrize("encoding", ["FLAC", "OGG_OPUS", "WAV"])
def test_file_formats_are_refused_in_streams(stub, encoding):
    config = encode_config(encoding=encoding)
    refused(INVALID, "unary calls", encode_stream, stub, {"streaming_config": config})
    decode = pb.DecodeConfig(encoding=encoding)
    refused(INVALID, "unary calls", decode_stream, stub, {"streaming_config": decode})


def test_payload_before_the_configuration_is_a_failed_precondition(stub):
    refused(UNMET, "audio_content came first", encode_stream, stub, {"audio_content": bytes(4)})
    refused(UNMET, "codes came first", decode_stream, stub, {"codes": pb.CodesPacket()})
    refused(UNMET, "audio_content came first", transcode_stream, stub, {"audio_content": b""})


@pytest.mark.parametrize("stream", [encode_stream, decode_stream, transcode_stream])
def test_messages_out_of_place_are_refused(stub, stream):
    config = {
        encode_stream: encode_config(),
        decode_stream: pb.DecodeConfig(),
        transcode_stream: pb.TranscodeConfig(encode=encode_config()),
    }[stream]
    first = {"streaming_config": config}
    refused(INVALID, "ended before its configuration", stream, stub)
    refused(INVALID, "first message is empty", stream, stub, {})
    refused(INVALID, "came again", stream, stub, first, first)
    refused(INVALID, "a message is empty", stream, stub, first, {})


def test_a_stream_without_audio_ends_with_totals_of_nothing(stub):
    responses = encode_stream(stub, {"streaming_config": encode_config()})
    assert [r.WhichOneof("response") for r in responses] == ["config", "totals"]
    assert responses[1].totals == pb.Totals()
    responses = decode_stream(stub, {"streaming_config": pb.DecodeConfig(num_samples=0)})
    assert responses[1].totals == pb.Totals()
    config = pb.TranscodeConfig(encode=encode_config(sample_rate_hertz=8000))
    responses = transcode_stream(stub, {"streaming_config": config}, {"audio_content": b""})
    assert responses[1].totals == pb.Totals()


def test_an_odd_byte_count_is_refused(stub):
    first = {"streaming_config": encode_config()}
    refused(INVALID, "whole samples", encode_stream, stub, first, {"audio_content": bytes(3)})
    stereo = pb.EncodeRequest(config=encode_config(audio_channel_count=2), audio_content=bytes(6))
    refused(INVALID, "whole samples", stub.Encode, stereo)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_audio_that_is_not_finite_is_refused(stub, bad):
    config = encode_config(encoding="FLOAT32")
    audio = np.array([0, bad, 0], "<f4").tobytes()
    first = {"streaming_config": config}
    refused(INVALID, "NaN", encode_stream, stub, first, {"audio_content": audio})
    refused(INVALID, "NaN", stub.Encode, pb.EncodeRequest(config=config, audio_content=audio))


def test_a_wav_with_nan_in_it_is_refused(stub):
    file = io.BytesIO()
    soundfile.write(file, np.array([0, np.nan], np.float32), 24_000, format="WAV", subtype="FLOAT")
    request = pb.EncodeRequest(config={"encoding": "WAV"}, audio_content=file.getvalue())
    refused(INVALID, "finite", stub.Encode, request)


@pytest.mark.parametrize("encoding", ["FLAC", "OGG_OPUS", "WAV"])
def test_a_recording_that_is_none_is_refused(stub, encoding):
    request = pb.EncodeRequest(config={"encoding": encoding}, audio_content=b"OggS?" * 99)
    refused(INVALID, "", stub.Encode, request)


@pytest.mark.parametrize("encoding", ["FLAC", "OGG_OPUS", "WAV"])
def test_recordings_with_a_header_need_no_rate_and_must_not_contradict_it(stub, speech, encoding):
    writer = RecordingWriter(Container(encoding), 16_000, 2, 1 << 20)
    writer.write(speech.T)
    request = pb.EncodeRequest(config={"encoding": encoding}, audio_content=writer.close())
    response = stub.Encode(request)
    rate, channels = response.config.sample_rate_hertz, response.config.audio_channel_count
    assert (rate, channels, response.totals.num_samples) == (16_000, 2, speech.shape[1])
    request.config.sample_rate_hertz = 24_000
    refused(INVALID, "header of the audio says 16000", stub.Encode, request)
    decode = pb.DecodeRequest(
        config={
            "encoding": encoding,
            "audio_channel_count": 2,
            "sample_rate_hertz": 16_000,
            "num_samples": speech.shape[1],
        },
        codes=response.codes,
    )
    assert stub.Decode(decode).audio_content[:4] in (b"fLaC", b"OggS", b"RIFF")


def packet(frames=2, books=1, **changes):
    fields = {
        "num_frames": frames,
        "num_codebooks": books,
        "channels": [{"values": [0] * frames * books}],
    }
    return pb.CodesPacket(**(fields | changes))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"first_frame": 5}, "0 was next"),
        ({"first_frame": -1}, "0 was next"),
        ({"num_frames": MAX_INT32}, "values"),
        ({"num_frames": -5}, "-5 frames"),
        ({"books": 1000}, "1000 books"),
        ({"channels": []}, "0 channels"),
        ({"channels": [{"values": [0, 99]}]}, "codes run from"),
        ({"channels": [{"values": [0, -2]}]}, "codes run from"),
        ({"channels": [{"packed": b"xx"}]}, "0 values"),
    ],
)
def test_bad_codes_are_refused(stub, change, words):
    config = pb.DecodeConfig(token_format="INT32")
    codes = packet(**change)
    first = {"streaming_config": config}
    refused(INVALID, words, decode_stream, stub, first, {"codes": codes})
    refused(INVALID, words, stub.Decode, pb.DecodeRequest(config=config, codes=codes))


def test_frames_must_follow_each_other(stub):
    first = {"streaming_config": pb.DecodeConfig(token_format="INT32")}
    one, two = {"codes": packet(first_frame=0)}, {"codes": packet(first_frame=2)}
    assert decode_stream(stub, first, one, two)[-1].totals.num_frames == 4
    assert decode_stream(stub, first, one, {"codes": packet()})[-1].totals.num_frames == 4
    refused(INVALID, "2 was next", decode_stream, stub, first, one, one)


def test_more_samples_than_the_codes_hold_are_refused(stub):
    config = pb.DecodeConfig(token_format="INT32", num_samples=100_000)
    first = {"streaming_config": config}
    refused(INVALID, "needs 210 frames", decode_stream, stub, first, {"codes": packet()})
    refused(
        INVALID, "needs 210 frames", stub.Decode, pb.DecodeRequest(config=config, codes=packet())
    )
    config.num_samples = 2**62
    refused(INVALID, "the stream had 2", decode_stream, stub, first, {"codes": packet()})


def test_models_are_found_by_name(stub, tiny_codec):
    refused(MISSING, "nobody", stub.GetModel, pb.GetModelRequest(model="nobody"))
    assert stub.GetModel(pb.GetModelRequest(model=tiny_codec.info.name)).identity
