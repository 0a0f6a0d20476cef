"""Who gets in when it is full: each limit has its refusal, and those inside do not notice."""

import itertools
import threading
import time
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from grpc_status import rpc_status

from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc
from sotto.service.admission import MAX_QUESTIONS
from sotto.service.client import RemoteError, SottoClient
from sotto.service.peers import peer_key
from sotto.service.tokens import add_line, new_token

from .waiting import until

pytestmark = pytest.mark.faults
AUDIO = np.zeros(4800, np.float32)
CODES = np.zeros((1, 1, 8), np.int64)


def client_of(server, **options):
    return SottoClient(f"127.0.0.1:{server.port}", timeout_s=20, **options)


def speaking(client):
    def chunks():
        while True:
            yield AUDIO[:480]
            time.sleep(0.01)

    return client.stream_transcode(chunks(), 24_000)


def full(match, call):
    with pytest.raises(RemoteError, match=f"RESOURCE_EXHAUSTED: {match}") as caught:
        call()
    assert 1 <= caught.value.retry_after_s <= 3
    assert caught.value.request_id


def test_a_full_server_says_when_to_come_back_and_the_streams_inside_go_on(serving):
    with serving(max_sessions=1) as server, client_of(server) as client, speaking(client) as inside:
        next(inside)
        for _ in range(20):
            full("all 1 sessions are taken", lambda: client.encode(AUDIO, 24_000))
        full("all 1 sessions are taken", lambda: list(client.stream_encode([AUDIO], 24_000)))
        assert next(inside).shape[1] > 0


def test_a_caller_who_speaks_and_listens_takes_one_session_in_one_call_or_in_two(serving):
    def speech():
        while True:
            yield AUDIO[:480]
            time.sleep(0.01)

    with serving(max_sessions=2) as server, client_of(server) as client, speaking(client) as both:
        next(both)
        with client.stream_encode(speech(), 24_000) as one, client.stream_encode(speech(), 24_000):
            assert next(one).first_frame == 0
            full("all 2 sessions", lambda: list(client.stream_decode([CODES])))
        until(lambda: server.sessions == 1)
        with client.stream_encode(speech(), 24_000) as one:
            next(one)
            assert list(client.stream_decode([CODES]))
            full("all 2 sessions", lambda: list(client.stream_transcode([AUDIO], 24_000)))
            full("all 2 sessions", lambda: client.encode(AUDIO, 24_000))


def test_any_client_can_read_the_retry_info(serving):
    with serving(max_sessions=1) as server, client_of(server) as client, speaking(client) as inside:
        next(inside)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = codec_pb2_grpc.SpeechCodecStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Encode(pb.EncodeRequest())
    status = rpc_status.from_call(caught.value)
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert status.details[0].type_url == "type.googleapis.com/google.rpc.RetryInfo"


def test_one_client_cannot_take_all_sessions(serving, tmp_path):
    path = tmp_path / "tokens"
    made = [new_token(name) for name in ("alice", "bob")]
    for _, line in made:
        add_line(path, line)
    (alice, _), (bob, _) = made
    with serving(max_sessions_per_peer=1, tokens=path) as server:
        with (
            client_of(server, token=alice) as client,
            client_of(server, token=bob) as other,
            speaking(client) as inside,
        ):
            next(inside)
            full("this client has 1 sessions of 1", lambda: client.encode(AUDIO, 24_000))
            assert other.encode(AUDIO, 24_000).totals.num_samples == 4800
        until(lambda: server.sessions == 0)
        with client_of(server, token=alice) as client:
            assert client.encode(AUDIO, 24_000).totals.num_samples == 4800


def test_without_tokens_an_address_is_a_client(serving):
    with (
        serving(max_sessions_per_peer=1) as server,
        client_of(server) as one,
        client_of(server) as two,
        speaking(one) as inside,
    ):
        next(inside)
        full("this client has 1 sessions of 1", lambda: two.encode(AUDIO, 24_000))


def slow(channel, method, stop):
    """A unary call whose message never comes."""

    def nothing():
        stop.wait()
        yield from ()

    return channel.stream_unary(f"/sotto.v1.SpeechCodec/{method}")(nothing(), timeout=60)


def begin(channel, method, stop, pool):
    thread = threading.Thread(target=swallow, args=(channel, method, stop))
    thread.start()
    pool.append(thread)


def swallow(channel, method, stop):
    with pytest.raises(grpc.RpcError):
        slow(channel, method, stop)


@pytest.mark.parametrize(
    ("method", "most", "match"),
    [("Encode", 2, "2 unary calls"), ("GetModel", MAX_QUESTIONS, f"{MAX_QUESTIONS} calls about")],
)
def test_unary_calls_are_refused_before_their_message_is_read(serving, method, most, match):
    stop, pool = threading.Event(), []
    with serving(max_unary_calls=2) as server, client_of(server) as client:
        opened = {"method": method}
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for _ in range(most):
                begin(channel, method, stop, pool)
            until(lambda: count(server, opened) == most)
            ask = client.get_model if method == "GetModel" else lambda: client.encode(AUDIO, 24_000)
            full(match, ask)
            with pytest.raises(grpc.RpcError) as caught:
                slow(channel, method, threading.Event())  # it has not sent a byte
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            packets = list(client.stream_encode([AUDIO], 24_000))
            assert packets
            stop.set()
            for thread in pool:
                thread.join()


def count(server, labels):
    return server.metrics.registry.get_sample_value("sotto_sessions_opened_total", labels)


def test_a_unary_call_that_never_sends_is_let_go(serving):
    with serving(idle_timeout_s=0.2) as server:
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        with channel, pytest.raises(grpc.RpcError) as caught:
            slow(channel, "Encode", threading.Event())
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: server.sessions == 0)


def test_a_unary_call_without_a_message_is_an_invalid_argument(channel):
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary("/sotto.v1.SpeechCodec/Encode")(iter(()), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "before its message came" in caught.value.details()


def key(peer, identity=None, token=""):
    context = SimpleNamespace(peer=lambda: peer, auth_context=lambda: identity or {})
    return peer_key(context, token)


def test_a_client_is_its_token_or_its_certificate_or_its_address():
    assert key("ipv4:192.0.2.1:5", token="alice") == "token:alice"
    names = {"x509_common_name": [b"phone"]}
    assert key("ipv4:192.0.2.1:5", names) == "certificate:phone"
    assert key("ipv4:192.0.2.1:5") == key("ipv4:192.0.2.1:6") != key("ipv4:192.0.2.2:5")
    assert key("ipv6:%5B2001:db8::1%5D:5") == key("ipv6:%5B2001:db8::ffff%5D:5")
    assert key("ipv6:%5B2001:db8::1%5D:5") != key("ipv6:%5B2001:db8:0:1::1%5D:5")
    assert key("ipv6:[fe80::1%eth0]:5") == "fe80::/64"
    assert key("unix:") == "local"


def test_many_questions_in_turn_are_answered(serving):
    with serving() as server, client_of(server) as client:
        for _ in itertools.repeat(None, 3 * MAX_QUESTIONS):
            assert client.get_model()
