"""Limits are real: each has its status, and what it protects stays free."""

import io
import itertools
import time

import grpc
import numpy as np
import pytest
import soundfile

from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc
from sotto.service.client import RemoteError, SottoClient

SECOND = np.zeros(24_000, np.float32)


def client_of(server):
    return SottoClient(f"127.0.0.1:{server.port}", timeout_s=20)


def channel_to(server):
    return grpc.insecure_channel(f"127.0.0.1:{server.port}")


def forever(pause_s=0.01):
    while True:
        yield SECOND[:480]
        time.sleep(pause_s)


def wait_until_free(server):
    while server.sessions:
        time.sleep(0.01)


def test_calls_beyond_the_sessions_are_refused_and_the_others_unharmed(serving):
    with serving(max_sessions=1) as server, client_of(server) as client:
        with (
            client.stream_encode(forever(), 24_000) as one,
            client.stream_encode(forever(), 24_000) as two,
        ):
            assert one.info.request_id != two.info.request_id
            with pytest.raises(RemoteError, match="RESOURCE_EXHAUSTED: all 1 sessions"):
                list(client.stream_encode([], 24_000))
            with pytest.raises(RemoteError, match="RESOURCE_EXHAUSTED: all 1 sessions"):
                client.encode(SECOND, 24_000)
            assert len(client.list_models()) == 1
            assert next(one).first_frame == next(two).first_frame == 0
        wait_until_free(server)
        assert client.encode(SECOND, 24_000).totals.num_samples == 24_000


def test_a_client_that_sends_nothing_is_let_go(serving):
    def silent():
        yield SECOND
        time.sleep(2)

    with serving(idle_timeout_s=0.2) as server, client_of(server) as client:
        with pytest.raises(
            RemoteError, match=r"DEADLINE_EXCEEDED: the client sent nothing for 0.2 s"
        ):
            list(client.stream_encode(silent(), 24_000))
        wait_until_free(server)


@pytest.mark.faults
def test_a_client_that_reads_nothing_is_held_back_and_let_go(serving):
    taken = itertools.count()

    def requests():
        yield pb.StreamingTranscodeRequest(
            streaming_config={
                "encode": {"encoding": "MULAW", "sample_rate_hertz": 8000},
                "output_encoding": "FLOAT32",
                "output_sample_rate_hertz": 48_000,
            }
        )
        for _ in range(3000):
            next(taken)
            yield pb.StreamingTranscodeRequest(audio_content=bytes(8000))

    with serving(idle_timeout_s=0.5, max_audio_s=1e6) as server, channel_to(server) as channel:
        call = codec_pb2_grpc.SpeechCodecStub(channel).StreamingTranscode(requests())
        while not server.sessions:
            time.sleep(0.01)
        wait_until_free(server)  # without having read a single response
        assert next(taken) < 2000
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "read nothing" in caught.value.details()


def test_a_call_that_stays_too_long_is_ended(serving):
    with serving(max_session_s=0.3) as server, client_of(server) as client:
        with pytest.raises(RemoteError, match=r"RESOURCE_EXHAUSTED: the call is over 0.3 s"):
            list(client.stream_encode(forever(), 24_000))
        wait_until_free(server)


def test_audio_that_is_too_long_is_refused_in_every_call(serving, tiny_codec):
    codes = np.zeros((1, 1, tiny_codec.info.num_frames(3 * 24_000)), np.int64)
    with serving(max_audio_s=2, max_unary_s=2) as server, client_of(server) as client:
        for call in (
            lambda: list(client.stream_encode([SECOND] * 3, 24_000)),
            lambda: list(client.stream_transcode([SECOND] * 3, 24_000)),
            lambda: list(client.stream_decode([codes])),
            lambda: client.encode(np.zeros(3 * 24_000, np.float32), 24_000),
            lambda: client.decode(codes),
        ):
            with pytest.raises(RemoteError, match=r"RESOURCE_EXHAUSTED: the .* over 2 s"):
                call()
        assert len(list(client.stream_transcode([SECOND] * 2, 24_000))) > 0


def test_a_small_flac_that_unfolds_into_an_hour_is_refused(serving):
    bomb = io.BytesIO()
    soundfile.write(bomb, np.zeros(8000 * 3600, np.int16), 8000, format="FLAC")
    assert len(bomb.getvalue()) < 1 << 20
    with serving(max_unary_s=5) as server, channel_to(server) as channel:
        request = pb.EncodeRequest(config={"encoding": "FLAC"}, audio_content=bomb.getvalue())
        with pytest.raises(grpc.RpcError) as caught:
            codec_pb2_grpc.SpeechCodecStub(channel).Encode(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.faults
def test_messages_that_are_too_large_are_refused(serving):
    with serving(max_message_bytes=50_000) as server, client_of(server) as client:
        with pytest.raises(RemoteError, match=r"RESOURCE_EXHAUSTED.*larger than max"):
            client.encode(SECOND, 24_000)
        with pytest.raises(RemoteError, match=r"RESOURCE_EXHAUSTED.*larger than max"):
            list(client.stream_encode([SECOND], 24_000))
        codes = client.encode(SECOND, 24_000, encoding="MULAW").codes
        with pytest.raises(
            RemoteError, match="RESOURCE_EXHAUSTED: the decoded audio is over 50000"
        ):
            client.decode(codes)
        assert client.decode(codes, encoding="MULAW").audio.shape[1] > 0


def test_compressed_messages_are_refused_since_they_could_unfold_without_end(serving):
    with serving() as server, channel_to(server) as channel:
        request = pb.EncodeRequest(
            config={"encoding": "MULAW", "sample_rate_hertz": 8000}, audio_content=bytes(80_000)
        )
        stub = codec_pb2_grpc.SpeechCodecStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Encode(request, compression=grpc.Compression.Gzip)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert stub.Encode(request).totals.num_samples == 80_000
