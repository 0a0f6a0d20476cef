"""The load test's callers are real: they speak, relay codes, measure, and get the right codes."""

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager

import numpy as np
import pytest

from sotto.bench.callers import Caller
from sotto.bench.load_client import BUCKETS, ClientConfig, Clients, argument
from sotto.bench.load_ramp import Ramp, Step
from sotto.bench.load_report import cpu_ratio
from sotto.bench.speech_script import script
from sotto.export.runtime import Codec
from sotto.proto.v1 import codec_pb2 as pb
from sotto.service.models import Models
from sotto.service.server import Server
from sotto.service.settings import Settings


@asynccontextmanager
async def serving(codec: Codec, **settings):
    server = Server(Settings(address="127.0.0.1:0", workers=1, **settings), Models([codec]))
    port = await server.start()
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


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
    async with serving(tiny_codec) as (server, address):
        clients = Clients(ClientConfig(address, (20, 80), 0.5, 0, settle_s=0.3))
        assert await clients.have(2) == {"failed": 0, "why": ""}
        assert server.sessions == 4  # encode and decode of both
        report = await clients.measure()
        assert report["failed"] == 0, report["why"]
        assert sum(report["counts"]) > 0
        assert report["heard_s"] > 0
        assert 0 <= report["ms"][0] <= report["ms"][-1] < BUCKETS
        assert await clients.finish() == {"failed": 0, "why": ""}
        clients.close()


async def test_twenty_callers_at_once_all_complete_with_the_codes_of_the_library():
    codec = Codec.load(beam_size=1)
    async with serving(codec, max_sessions=20) as (server, address):
        clients = Clients(ClientConfig(address, (20, 40, 80), 1.0, 0, settle_s=0.5, keep=True))
        assert await clients.have(20) == {"failed": 0, "why": ""}
        assert await clients.finish() == {"failed": 0, "why": ""}
        while server.sessions:
            await asyncio.sleep(0.01)
    for caller in clients.callers:
        said = caller.audio()
        assert np.array_equal(caller.codes(codec.info), codec.encode(said[None, None])[0])
        assert round(caller.heard_s * codec.info.sample_rate) >= len(said)


async def test_a_caller_that_is_refused_says_why(tiny_codec: Codec):
    async with serving(tiny_codec, max_sessions=1) as (server, address):
        callers = [Caller(script(20), place) for place in range(2)]
        for caller in callers:
            await caller.start(address)
            while server.sessions < 2 and not caller.failure:
                await asyncio.sleep(0.01)
        await callers[1].done.wait()
        assert "sessions are taken" in callers[1].failure
        assert callers[0].failure == ""
        callers[0].finish()
        await callers[0].done.wait()
        assert callers[0].failure == ""


def step(sessions: int, server_ms_per_s: float) -> Step:
    return Step(sessions, 1, 2, 3, 1, 1.0, 0, "", 0.5, 0.1, server_ms_per_s, 100)


def test_the_ratio_is_of_the_largest_step_that_both_were_given():
    batched = Ramp({}, 40, 0, tuple(step(n, c) for n, c in ((20, 40.0), (30, 30.0), (40, 25.0))))
    unbatched = Ramp({}, 20, 0, tuple(step(n, c) for n, c in ((20, 80.0), (30, 90.0))))
    assert cpu_ratio(batched, unbatched) == pytest.approx(3.0)
    assert cpu_ratio(batched, Ramp({}, 0, 0, (step(10, 80.0),))) is None


def test_the_short_form_of_make_load_serves_all_its_callers(tmp_path):
    """20 callers for 20 s, the shipped model; how late they heard themselves is not asserted."""
    options = ["--sessions", "20", "--seconds", "20", "--no-compare", "--output", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "sotto.bench.load", *options], check=True, timeout=110)
    (step,) = json.loads((tmp_path / "load.json").read_text())["batched"]["steps"]
    assert step["sessions"] == 20
    assert step["failed"] == 0
    assert step["results"] > 0
    assert step["heard_s"] > 0
    assert (tmp_path / "load.png").stat().st_size > 1000
