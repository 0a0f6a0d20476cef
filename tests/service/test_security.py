"""TLS, mutual TLS, tokens and reflection: who may call, and who may not."""

import logging
import ssl
from datetime import timedelta

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from sotto.codec.errors import ConfigError
from sotto.service.channel import tls
from sotto.service.client import AsyncSottoClient, RemoteError, SottoClient
from sotto.service.settings import load_settings
from sotto.service.tokens import Tokens, add_line, new_token

from .certificates import Authority

pytestmark = pytest.mark.faults
AUDIO = np.zeros(4800, np.float32)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("server")


def secure(pair, **more):
    return {"tls_cert": pair.cert, "tls_key": pair.key, **more}


def client_of(server, **options):
    return SottoClient(f"127.0.0.1:{server.port}", timeout_s=20, **options)


def unavailable(server, **options):
    with client_of(server, **options) as client, pytest.raises(RemoteError) as caught:
        client.list_models()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_tls_carries_unary_calls_and_streams(serving, authority, pair):
    with serving(**secure(pair)) as server:
        with client_of(server, credentials=tls(authority.ca)) as client:
            assert client.encode(AUDIO, 24_000).totals.num_samples == 4800
            stream = client.stream_encode([AUDIO] * 3, 24_000)
            assert sum(packet.codes.shape[2] for packet in stream) == stream.totals.num_frames
        unavailable(server)  # in the clear
        unavailable(server, credentials=tls())  # an authority that nobody told of


@pytest.mark.faults
def test_an_expired_server_certificate_is_not_accepted(serving, authority):
    expired = authority.issue("expired", -timedelta(days=1))
    with serving(**secure(expired)) as server:
        unavailable(server, credentials=tls(authority.ca))


@pytest.mark.faults
def test_mutual_tls_asks_for_a_client_certificate_of_its_authority(
    serving, authority, pair, tmp_path
):
    good, expired = authority.issue("caller"), authority.issue("late", -timedelta(days=1))
    stranger = Authority(tmp_path, "stranger").issue("stranger")
    with serving(**secure(pair, tls_client_ca=authority.ca)) as server:
        with client_of(server, credentials=tls(authority.ca, good.cert, good.key)) as client:
            assert len(client.list_models()) == 1
        for bad in (expired, stranger):
            unavailable(server, credentials=tls(authority.ca, bad.cert, bad.key))
        unavailable(server, credentials=tls(authority.ca))


def served_certificate(server):
    return ssl.get_server_certificate(("127.0.0.1", server.port))


def test_a_renewed_certificate_is_picked_up_and_streams_go_on(serving, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    with (
        serving(**secure(pair)) as server,
        client_of(server, credentials=tls(authority.ca)) as client,
    ):

        def chunks():
            yield AUDIO
            authority.issue("server")
            assert served_certificate(server) == pair.cert.read_text()
            yield AUDIO

        before = served_certificate(server)
        assert before == pair.cert.read_text()
        stream = client.stream_encode(chunks(), 24_000)
        list(stream)
        assert stream.totals.num_samples == 9600
        assert pair.cert.read_text() != before


def test_a_renewal_that_goes_wrong_leaves_the_old_certificate(serving, tmp_path, caplog):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    with serving(**secure(pair)) as server, caplog.at_level(logging.ERROR):
        before = served_certificate(server)
        pair.key.write_bytes(authority.issue("other").key.read_bytes())
        assert served_certificate(server) == before
    assert "stays in force" in caplog.text


@pytest.mark.parametrize("broken", ["tls_cert", "tls_key", "tls_client_ca"])
def test_files_that_are_no_certificates_are_refused_at_the_start(
    serving, authority, pair, tmp_path, broken
):
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    settings = secure(pair, tls_client_ca=authority.ca) | {broken: garbage}
    with pytest.raises(ConfigError, match=r"garbage\.pem"), serving(**settings):
        pass


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    token, line = new_token("alice")
    add_line(path, line)
    return path, token


@pytest.mark.parametrize("before", ["", "# staff\n", "# staff", "bob sha256:" + 64 * "0"])
def test_a_new_token_stands_on_a_line_of_its_own(tmp_path, before):
    path = tmp_path / "tokens"
    path.write_text(before)
    token, line = new_token("alice")
    add_line(path, line)
    kept = before.splitlines()
    assert path.read_text().splitlines() == [*kept, line]
    assert Tokens(path).name_of(token) == "alice"


def refused(server, details, **options):
    with client_of(server, **options) as client:
        for call in (
            client.list_models,
            lambda: client.encode(AUDIO, 24_000),
            lambda: list(client.stream_encode([AUDIO], 24_000)),
        ):
            with pytest.raises(RemoteError, match=details) as caught:
                call()
            assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
            assert caught.value.request_id


@pytest.mark.faults
async def test_a_token_opens_every_call_and_nothing_else_does(serving, tokens):
    path, token = tokens
    with serving(tokens=path) as server:
        with client_of(server, token=token) as client:
            assert client.encode(AUDIO, 24_000).totals.num_samples == 4800
            assert len(list(client.stream_decode([np.zeros((1, 1, 5), np.int64)]))) > 0
        address = f"127.0.0.1:{server.port}"
        async with AsyncSottoClient(address, token=token) as client:
            assert len(await client.list_models()) == 1
            assert [p async for p in client.stream_encode([AUDIO], 24_000)]
        refused(server, "no token; send the metadata")
        refused(server, "not known here", token=f"{token}x")
        refused(server, "not known here", token="")


def test_health_is_open_and_reflection_is_not(serving, tokens):
    path, token = tokens
    with (
        serving(tokens=path) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1
        with pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        metadata = (("authorization", f"Bearer {token}"),)
        assert list(reflect(iter([b"\x3a\x01*"]), metadata=metadata))  # list_services


def test_reflection_can_be_turned_off(serving):
    with (
        serving(reflection=False) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_tokens_are_rotated_without_a_restart(serving, tokens, caplog):
    path, old = tokens
    new, line = new_token("alice")
    with serving(tokens=path) as server, client_of(server, token=old) as client:
        client.list_models()
        path.write_text(f"# the old one is gone\n{line}  # the new one\n")
        with pytest.raises(RemoteError, match="UNAUTHENTICATED"):
            client.list_models()
        with client_of(server, token=new) as newer:
            newer.list_models()
            path.write_text("no token at all, not even hashed\n")
            with caplog.at_level(logging.ERROR):
                newer.list_models()
    assert "line 1 is not 'NAME sha256:" in caplog.text
    assert "not even" not in caplog.text


def test_a_token_is_kept_as_its_hash_in_a_file_of_its_owner(tokens):
    path, token = tokens
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert Tokens(path).name_of(token) == "alice"
    assert Tokens(path).name_of("another") is None


def test_a_file_without_tokens_is_refused(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# nobody\n")
    with pytest.raises(ConfigError, match="no token in it"):
        Tokens(path)
    with pytest.raises(ConfigError, match="No such file"):
        Tokens(tmp_path / "missing")
    with pytest.raises(ValueError, match="is not a name"):
        new_token("two words")


def test_a_client_does_not_send_a_token_over_the_network_in_the_clear():
    with pytest.raises(ConfigError, match="in the clear"):
        SottoClient("example.org:443", token="secret")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "name:0"])
def test_leaving_this_machine_needs_tls_or_tokens_or_a_decision(address, tokens, pair):
    with pytest.raises(ConfigError, match="other machines: set tls_cert"):
        load_settings(address=address)
    assert load_settings(address=address, allow_insecure=True).address == address
    assert load_settings(address=address, tokens=tokens[0]).address == address
    assert load_settings(address=address, **secure(pair)).address == address


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "localhost:0"])
def test_this_machine_needs_neither(address):
    assert load_settings(address=address).address == address


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"tls_cert": "a.pem"}, "tls_key is not set"),
        ({"tls_key": "a.pem"}, "tls_cert is not set"),
        ({"tls_client_ca": "a.pem"}, "tls_client_ca needs"),
    ],
)
def test_half_a_certificate_is_refused(bad, reason):
    with pytest.raises(ConfigError, match=reason):
        load_settings(**bad)
