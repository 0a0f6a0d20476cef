"""The load test's clients are real: they send speech, relay codes, and measure what comes back."""

import json

from sotto.bench.load_client import BUCKETS, ClientConfig, Clients, argument
from sotto.export.runtime import Codec
from sotto.proto.v1 import codec_pb2 as pb
from sotto.service.models import Models
from sotto.service.server import Server
from sotto.service.settings import Settings


def test_codes_of_an_encoding_are_on_the_wire_what_a_decoding_takes():
    packet = pb.CodesPacket(first_frame=3, num_frames=4, num_codebooks=2)
    sent = pb.StreamingEncodeResponse(codes=packet).SerializeToString()
    assert sent == pb.StreamingDecodeRequest(codes=packet).SerializeToString()
    assert sent[0] == 0x12


def test_the_configuration_survives_the_command_line():
    config = ClientConfig("127.0.0.1:1", (20, 80), 3.0, 7)
    found = json.loads(argument(config))
    assert ClientConfig(**found | {"chunks_ms": tuple(found["chunks_ms"])}) == config


async def test_sessions_get_their_audio_back_and_measure_the_delay(tiny_codec: Codec):
    server = Server(Settings(address="127.0.0.1:0", workers=1), Models([tiny_codec]))
    port = await server.start()
    clients = Clients(ClientConfig(f"127.0.0.1:{port}", (20, 80), 0.5, 0, settle_s=0.3))
    try:
        report = await clients.step(2)
        assert server.sessions == 4, report["why"]  # encode and decode of both
    finally:
        await clients.close()
        await server.stop(0)
    assert report["failed"] == 0, report["why"]
    assert sum(report["counts"]) > 0
    assert 0 <= report["ms"][0] <= report["ms"][-1] < BUCKETS
