"""Whatever bytes come, the answer is a status and the server goes on.

`make faults` sends FUZZ_MESSAGES=10000 messages; the plain suite a few hundred.
"""

import os

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.proto.v1 import codec_pb2 as pb

pytestmark = pytest.mark.faults
METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["SpeechCodec"].methods]
EXAMPLES = -(-int(os.environ.get("FUZZ_MESSAGES", "420")) // len(METHODS))  # of a message or more
FINE = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
MESSAGES = [
    pb.StreamingEncodeRequest(
        streaming_config={"encoding": "LINEAR16", "sample_rate_hertz": 8000, "num_codebooks": 2}
    ),
    pb.StreamingEncodeRequest(audio_content=bytes(range(200))),
    pb.StreamingDecodeRequest(
        streaming_config={"encoding": "FLOAT32", "token_format": "INT32", "num_samples": 5}
    ),
    pb.StreamingDecodeRequest(
        codes={"num_frames": 2, "num_codebooks": 1, "channels": [{"values": [1, 2]}]}
    ),
    pb.StreamingTranscodeRequest(
        streaming_config={"encode": {"encoding": "ALAW", "sample_rate_hertz": 8000}}
    ),
    pb.EncodeRequest(
        config={"encoding": "FLOAT32", "sample_rate_hertz": 48_000}, audio_content=bytes(100)
    ),
    pb.DecodeRequest(
        config={"encoding": "WAV"},
        codes={"num_frames": 1, "num_codebooks": 1, "channels": [{"packed": b"\0\0"}]},
    ),
]


@st.composite
def mutated(draw):
    raw = bytearray(draw(st.sampled_from(MESSAGES)).SerializeToString())
    for place, value in draw(st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6)):
        raw[place % len(raw)] = value
    return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)


def outcome(channel, method, messages):
    path = f"/sotto.v1.SpeechCodec/{method}"
    try:
        if method.startswith("Streaming"):
            list(channel.stream_stream(path)(iter(messages), timeout=20))
        else:
            channel.unary_unary(path)(b"".join(messages), timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(messages=st.lists(st.binary(max_size=60) | mutated(), min_size=1, max_size=4))
def test_random_and_mutated_messages_get_a_status(channel, method, messages):
    assert outcome(channel, method, messages) in FINE


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_no_message_are_an_invalid_argument(channel, method):
    assert outcome(channel, method, [b"\xff" * 20]) is grpc.StatusCode.INVALID_ARGUMENT
