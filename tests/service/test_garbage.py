"""Whatever bytes come, the answer is a status and the server goes on.

`make faults` sends FUZZ_MESSAGES=10000 messages; the plain suite a few hundred.
"""

import asyncio
import os
import random
import socket

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.proto.v1 import codec_pb2 as pb

pytestmark = pytest.mark.faults
MESSAGES_WANTED = int(os.environ.get("FUZZ_MESSAGES", "420"))
CALLS = 8  # of an example, all at once
LEAST_MESSAGES = 14  # of an example, on average: calls have one to four
METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["SpeechCodec"].methods]
FINE = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
ENDED_WHILE_WRITING = "Internal error from Core"  # grpc.aio of a call that the server has ended
MESSAGES = [
    message.SerializeToString()
    for message in (
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
        pb.StreamingEncodeRequest(rate_change={"num_codebooks": 1}),
        pb.StreamingEncodeRequest(state_request={}),
        pb.EncodeRequest(
            config={"encoding": "FLOAT32", "sample_rate_hertz": 48_000}, audio_content=bytes(100)
        ),
        pb.DecodeRequest(
            config={"encoding": "WAV"},
            codes={"num_frames": 1, "num_codebooks": 1, "channels": [{"packed": b"\0\0"}]},
        ),
    )
]


@st.composite
def mutated(draw):
    raw = bytearray(draw(st.sampled_from(MESSAGES)))
    for place, value in draw(st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6)):
        raw[place % len(raw)] = value
    return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)


CALL = st.tuples(
    st.sampled_from(METHODS),
    st.lists(st.binary(max_size=60) | mutated(), min_size=1, max_size=4),
)


async def outcome(channel, method, messages):
    """The status of a call that sends these bytes, if the client saw it.

    A unary call sends them as one message.
    """
    sent = messages if method.startswith("Streaming") else [b"".join(messages)]
    call = channel.stream_stream(f"/sotto.v1.SpeechCodec/{method}")(iter(sent), timeout=60)
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return None if error.details() == ENDED_WHILE_WRITING else error.code()
    return grpc.StatusCode.OK


def run_all(loop, channel, calls):
    async def together():
        return await asyncio.gather(*(outcome(channel, *call) for call in calls))

    return loop.run_until_complete(together())


@pytest.fixture(scope="module")
def caller(address):
    """Makes calls at once, on one connection: gives their statuses."""
    loop = asyncio.new_event_loop()

    async def open_channel():
        return grpc.aio.insecure_channel(address)

    channel = loop.run_until_complete(open_channel())
    yield lambda calls: run_all(loop, channel, calls)
    loop.run_until_complete(channel.close())
    loop.close()


@pytest.mark.timeout(600)
def test_random_and_mutated_messages_get_a_status(caller, server):
    sent = 0

    @settings(max_examples=-(-MESSAGES_WANTED // LEAST_MESSAGES), deadline=None)
    @given(calls=st.lists(CALL, min_size=CALLS, max_size=CALLS))
    def fuzz(calls):
        nonlocal sent
        assert {*caller(calls)} - {None} <= FINE
        sent += sum(len(messages) for _, messages in calls)

    fuzz()
    assert sent >= MESSAGES_WANTED
    ended = {
        sample.labels["code"]
        for metric in server.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "sotto_calls_total"
    }
    assert ended <= {code.name for code in FINE} | {"CANCELLED"}


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_no_message_are_an_invalid_argument(caller, method):
    assert caller([(method, [b"\xff" * 20])]) == [grpc.StatusCode.INVALID_ARGUMENT]


def test_bytes_that_are_no_http_are_survived(caller, server):
    chance = random.Random(0)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for begin in (b"", preface, b"GET / HTTP/1.1\r\n\r\n"):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(begin + chance.randbytes(chance.randrange(1, 2000)))
    assert caller([("ListModels", [b""])]) == [grpc.StatusCode.OK]
    assert server.sessions == 0
