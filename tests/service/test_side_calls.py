"""Health and reflection leave room for the codec's calls, and nobody holds them up."""

import asyncio
import struct
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sotto.bench import http2
from sotto.proto.v1 import codec_pb2 as pb
from sotto.service import side_calls
from sotto.service.call import SERVICE
from sotto.service.client import RemoteError, SottoClient
from sotto.service.server import SPARE_CALLS
from sotto.service.side_calls import MAX_CHECKS, MAX_WATCHERS

from .waiting import until

pytestmark = pytest.mark.faults
ITS_OWN = MAX_WATCHERS // 2  # of one client
AUDIO = np.zeros(4800, np.float32)
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)


def channel_to(port):
    return grpc.insecure_channel(f"127.0.0.1:{port}")


def watching(channel, service=""):
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Watch(request, timeout=60)


def status(channel, service=""):
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=20).status


def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    return caught.value.code(), caught.value.details()


def test_watchers_cannot_take_the_calls_of_the_codec(serving):
    with (
        serving(max_sessions=1) as server,
        channel_to(server.port) as channel,
        SottoClient(f"127.0.0.1:{server.port}", timeout_s=20) as client,
    ):
        inside = [watching(channel) for _ in range(ITS_OWN)]
        assert [next(watcher).status for watcher in inside] == [SERVING] * ITS_OWN
        code, details = refusal(watching(channel))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"this client has {ITS_OWN} health watchers" in details
        assert client.encode(AUDIO, 24_000).totals.num_samples == 4800
        assert status(channel) == SERVING
        inside[0].cancel()
        until(lambda: not isinstance(first_of(watching(channel)), grpc.RpcError))


def first_of(call):
    try:
        return next(call)
    except grpc.RpcError as error:
        return error


def test_reflection_shares_the_places_of_watchers_and_answers(serving):
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    go_on = threading.Event()

    def questions():
        yield ask
        go_on.wait()

    with serving() as server, channel_to(server.port) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        inside = [stub.ServerReflectionInfo(questions()) for _ in range(ITS_OWN)]
        for call in inside:
            names = [found.name for found in next(call).list_services_response.service]
            assert SERVICE in names
        assert refusal(watching(channel))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
        for call in inside:
            assert list(call) == []


def test_the_places_leave_room_among_all_calls():
    from sotto.service.admission import MAX_QUESTIONS

    assert MAX_QUESTIONS + MAX_CHECKS + MAX_WATCHERS < SPARE_CALLS


@pytest.mark.parametrize("port_of", ["port", "health_port"])
def test_checks_that_are_never_sent_end_soon(serving, monkeypatch, port_of):
    monkeypatch.setattr(side_calls, "PATIENCE_S", 0.5)
    go_on = threading.Event()

    def nothing():
        go_on.wait()
        yield from ()

    with (
        serving(health_address="127.0.0.1:0") as server,
        channel_to(getattr(server, port_of)) as channel,
    ):
        call = channel.stream_stream(CHECK)
        slow = [call(nothing()) for _ in range(MAX_CHECKS // 2)]
        for one in slow:
            code, details = refusal(one)
            assert (code, details) == (
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "the client sent nothing for 0.5 s",
            )
        go_on.set()
        assert status(channel) == SERVING


@pytest.mark.parametrize("method", [CHECK, WATCH])
def test_bytes_that_are_no_message_are_an_invalid_argument(channel, method):
    code, _ = refusal(channel.stream_stream(method)(iter([b"\xff\xff"]), timeout=20))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, details = refusal(channel.stream_stream(method)(iter([]), timeout=20))
    assert (code, "before its message came" in details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        True,
    )


class Deaf(http2.Connection):
    """Lets the server send not a byte of an answer."""

    def connection_made(self, transport):
        self._transport = transport
        settings = struct.pack(">HI", http2._INITIAL_WINDOW_SIZE, 0)
        transport.write(http2._PREFACE + http2._frame(http2.SETTINGS, 0, 0, settings))


async def call_deaf(port, path, message):
    """Begin a call and send its message; gives its connection."""
    connection = await Deaf.connect(f"127.0.0.1:{port}")
    stream = connection.open(path, lambda _: None, lambda _: None)
    stream.send(message)
    return connection


REQUESTS = {
    "Encode": pb.EncodeRequest(
        config={"encoding": "LINEAR16", "sample_rate_hertz": 24_000}, audio_content=bytes(96_000)
    ),
    "StreamingEncode": pb.StreamingEncodeRequest(
        streaming_config={"encoding": "LINEAR16", "sample_rate_hertz": 24_000}
    ),
}


def has_room(client):
    try:
        return client.encode(AUDIO, 24_000).totals.num_samples == len(AUDIO)
    except RemoteError:
        return False


@pytest.mark.parametrize("method", REQUESTS)
async def test_an_answer_that_nobody_reads_ends_the_call_and_keeps_its_place(
    serving, method, caplog
):
    request = REQUESTS[method].SerializeToString()
    labels = {"method": method, "code": "DEADLINE_EXCEEDED"}
    with serving(max_sessions=1, idle_timeout_s=0.5) as server:
        connection = await call_deaf(server.port, f"/{SERVICE}/{method}", request)
        find = server.metrics.registry.get_sample_value
        await asyncio.to_thread(until, lambda: find("sotto_calls_total", labels))
        assert server.sessions == 0
        with SottoClient(f"127.0.0.1:{server.port}", timeout_s=20) as client:
            with pytest.raises(RemoteError, match="all 1 sessions are taken"):
                client.encode(AUDIO, 24_000)  # what was not read is still in memory
            connection.close()
            await asyncio.to_thread(until, lambda: has_room(client))
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_watcher_that_does_not_read_does_not_hide_a_drain(serving, monkeypatch):
    monkeypatch.setattr(side_calls, "PATIENCE_S", 2.0)
    go_on = threading.Event()

    def speech():
        yield AUDIO
        go_on.wait()

    def turned(channel, service):
        until(lambda: status(channel, service) == NOT_SERVING)

    opened = serving(drain_grace_s=20)
    server = await asyncio.to_thread(opened.__enter__)
    with channel_to(server.port) as channel, SottoClient(f"127.0.0.1:{server.port}") as client:
        stream = client.stream_encode(speech(), 24_000)
        await asyncio.to_thread(next, stream)
        request = health_pb2.HealthCheckRequest().SerializeToString()
        deaf = await call_deaf(server.port, WATCH, request)
        await asyncio.sleep(0.3)  # until it holds the lock of what it watches
        stopping = asyncio.create_task(asyncio.to_thread(opened.__exit__, None, None, None))
        await asyncio.to_thread(turned, channel, SERVICE)
        await asyncio.to_thread(turned, channel, "")
        go_on.set()
        await asyncio.to_thread(list, stream)
        assert stream.totals.num_samples == len(AUDIO)
        await stopping
        deaf.close()
