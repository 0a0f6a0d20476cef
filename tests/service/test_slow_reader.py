"""A client that stops reading holds no memory: it is held back, and the others do not notice."""

import itertools
import time

import grpc
import numpy as np
import pytest

from sotto.bench.server import running_server
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc
from sotto.service.client import SottoClient

pytestmark = pytest.mark.faults
CALLS = 16
MESSAGES = 3000  # a second each: 384 MB in all, of which 9 GB would come back
MOST_MB = 100  # 16 calls of 30 s of audio that waits, and what the transport holds
CONFIG = pb.StreamingTranscodeRequest(
    streaming_config={
        "encode": {"encoding": "MULAW", "sample_rate_hertz": 8000},
        "output_encoding": "FLOAT32",
        "output_sample_rate_hertz": 48_000,
    }
)


class Talker:
    """Sends as much as it may, and reads nothing."""

    def __init__(self, address):
        self.taken = itertools.count()
        self.sent = 0
        self._channel = grpc.insecure_channel(address)
        self.call = codec_pb2_grpc.SpeechCodecStub(self._channel).StreamingTranscode(self._say())

    def _say(self):
        yield CONFIG
        for _ in range(MESSAGES):
            self.sent = next(self.taken)
            yield pb.StreamingTranscodeRequest(audio_content=bytes(8000))

    def close(self):
        self.call.cancel()
        self._channel.close()


def until_held_back(talkers):
    """Return once none of them gets anything off any more."""
    last, still = -1, 0
    while still < 10:
        time.sleep(0.1)
        now = sum(talker.sent for talker in talkers)
        still = still + 1 if now == last else 0
        last = now


def test_readers_that_stop_hold_no_memory_and_no_other_stream(tiny_bundle):
    with (
        running_server(tiny_bundle, max_audio_s=1e6, workers=1) as server,  # steps hold memory, too
        SottoClient(server.address) as client,
    ):
        assert client.encode(np.zeros(24_000, np.float32), 24_000).totals.num_frames
        before = server.resident_mb()
        talkers = [Talker(server.address) for _ in range(CALLS)]
        try:
            until_held_back(talkers)
            assert all(0 < talker.sent < MESSAGES - 1 for talker in talkers)
            assert server.resident_mb() - before < MOST_MB
            stream = client.stream_encode([np.zeros(1920, np.float32)] * 10, 24_000)
            assert sum(packet.codes.shape[2] for packet in stream) == stream.totals.num_frames
        finally:
            for talker in talkers:
                talker.close()
