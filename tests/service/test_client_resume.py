"""The client's streams outlive a server: nothing is lost, nothing comes twice, nothing changes."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from sotto.service.async_client import AsyncSottoClient
from sotto.service.async_stream import AsyncStream
from sotto.service.client import Rate, RemoteError, Resume, SottoClient
from sotto.service.client_resume import Journal, Once, pieces
from sotto.service.client_streams import encoding
from sotto.service.plain_stream import Stream

from .waiting import until

SERVE = """
import sys
from pathlib import Path
from sotto.service.server import run
from sotto.service.settings import Settings
settings = Settings(
    address="127.0.0.1:0", models=(sys.argv[1],), resume_key_file=Path(sys.argv[2]), workers=1
)
run(settings, lambda port: print(port, flush=True))
"""
RESUME = Resume(every_s=0.2, attempts=20, backoff_s=0.05)


@contextmanager
def process(bundle, key):
    """A server in a process of its own, to be killed: the process and its port."""
    command = [sys.executable, "-c", SERVE, str(bundle), str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server, int(server.stdout.readline())
        finally:
            server.kill()


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "resume.key"
    path.write_bytes(bytes(range(32)))
    return path


def chunks_of(audio, at, disturb):
    for i, chunk in enumerate(np.split(audio, range(960, audio.shape[-1], 960), axis=-1)):
        if i == at:
            disturb()
        yield chunk
        if i == 20:
            yield Rate(num_codebooks=2)


def joined(packets):
    """Codes of each frame; frames must come once and in order."""
    frames = []
    for packet in packets:
        assert packet.first_frame == len(frames)
        frames += np.moveaxis(packet.codes, 2, 0).tolist()
    return frames


@pytest.mark.faults
def test_a_killed_server_changes_nothing_for_the_plain_client(serving, key, tiny_bundle, speech):
    with serving(resume_key_file=key) as other, process(tiny_bundle, key) as (victim, port):
        with SottoClient(f"127.0.0.1:{other.port}") as client:
            whole = joined(client.stream_encode(chunks_of(speech, -1, None), 24_000, channels=2))
        address = f"ipv4:127.0.0.1:{port},127.0.0.1:{other.port}"
        with SottoClient(address) as client:
            chunks = chunks_of(speech, 40, victim.kill)
            stream = client.stream_encode(chunks, 24_000, channels=2, resume=RESUME)
            found = joined(stream)
    assert victim.poll() is not None
    assert found == whole
    assert {len(frame[0]) for frame in found} == {4, 2}
    assert stream.totals.num_samples == speech.shape[1]


@pytest.mark.faults
async def test_a_killed_server_changes_nothing_for_the_async_client(
    serving, key, tiny_bundle, speech
):
    with serving(resume_key_file=key) as other, process(tiny_bundle, key) as (victim, port):
        address = f"ipv4:127.0.0.1:{port},127.0.0.1:{other.port}"

        async def chunks():
            for chunk in chunks_of(speech, 40, victim.kill):
                yield chunk
                await asyncio.sleep(0.002)

        async with AsyncSottoClient(f"127.0.0.1:{other.port}") as client:
            whole = [
                p
                async for p in client.stream_encode(chunks_of(speech, -1, None), 24_000, channels=2)
            ]
            heard = [a async for a in client.stream_decode(whole, channels=2, sample_rate=8_000)]
        async with AsyncSottoClient(address) as client:
            stream = client.stream_encode(chunks(), 24_000, channels=2, resume=RESUME)
            found = [packet async for packet in stream]
            again = client.stream_decode(found, channels=2, sample_rate=8_000, resume=RESUME)
            audio = [part async for part in again]
    assert victim.poll() is not None
    assert joined(found) == joined(whole)
    assert np.array_equal(np.concatenate(audio, axis=1), np.concatenate(heard, axis=1))


def test_without_resume_or_without_a_server_the_error_is_raised(key, tiny_bundle, speech):
    with process(tiny_bundle, key) as (victim, port), SottoClient(f"127.0.0.1:{port}") as client:
        for resume in (None, Resume(attempts=2, backoff_s=0.01)):
            chunks = chunks_of(speech, 30, victim.kill)
            with pytest.raises(RemoteError, match="UNAVAILABLE"):
                list(client.stream_encode(chunks, 24_000, channels=2, resume=resume))


def test_the_rate_changes_in_the_middle_of_a_stream(address, speech):
    with SottoClient(address) as client:
        items = [speech[0, :24_000], Rate(num_codebooks=1), speech[0, 24_000:], Rate(bitrate=800.0)]
        packets = list(client.stream_encode(items, 24_000, num_codebooks=3))
        assert len(joined(packets)) == 101
        assert [len(p.codes[0]) for p in packets][:: len(packets) - 1] == [3, 4]
        assert len(np.concatenate(list(client.stream_decode(packets)), axis=1)[0]) > 47_000
        with pytest.raises(RemoteError, match="INVALID_ARGUMENT: num_codebooks=5"):
            list(client.stream_encode([Rate(num_codebooks=5)], 24_000))
        with pytest.raises(RemoteError, match="INVALID_ARGUMENT: rate_change is empty"):
            list(client.stream_encode([Rate()], 24_000))


class Lost(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "gone"

    def trailing_metadata(self):
        return ()


class LostCall:
    """A call whose server is always gone."""

    def __init__(self, begun):
        begun.append(self)

    def cancel(self):
        pass

    def __next__(self):
        raise Lost

    async def read(self):
        raise Lost


def test_a_stream_that_is_cancelled_between_two_attempts_does_not_begin_again():
    begun = []
    plan = encoding(24_000, 1, {})
    stream = Stream(lambda _: LostCall(begun), plan, [], Resume(backoff_s=60))
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(next, stream)
        until(lambda: len(begun) == 2)  # the third comes after seconds
        stream.cancel()
        with pytest.raises(RemoteError, match="UNAVAILABLE: gone"):
            ended.result(20)
    assert len(begun) == 2


async def test_so_for_asyncio():
    begun = []

    async def plan():
        return encoding(24_000, 1, {})

    stream = AsyncStream(lambda _: LostCall(begun), plan, [], Resume(backoff_s=0.5))
    ended = asyncio.create_task(anext(stream))
    while len(begun) < 2:
        await asyncio.sleep(0.001)
    stream.cancel()
    with pytest.raises(RemoteError, match="UNAVAILABLE: gone"):
        await ended
    assert len(begun) == 2


def test_what_the_callers_items_raise_is_not_taken_for_their_end():
    def items():
        yield np.zeros(10, np.float32)
        raise OSError("the file is gone")

    stream = Stream(lambda _: LostCall([]), encoding(24_000, 1, {}), items(), Resume())
    assert stream._has(0)
    for _ in ("a call that is lost meanwhile", "the one that goes on"):
        with pytest.raises(OSError, match="the file is gone"):
            stream._has(1)


def test_the_journal_keeps_what_no_token_covers():
    journal = Journal(Resume(every_s=1.0), units_per_s=100)
    sent = [np.zeros(60), Rate(num_codebooks=1), np.zeros(60), Rate(num_codebooks=2), np.zeros(60)]
    asked = []
    for number, item in enumerate(sent):
        assert not journal.has(number)
        journal.add(item)
        assert journal.has(number)
        asked.append(journal.item(number)[1])
    assert asked == [False, False, True, False, False]
    journal.covered(b"token", 120)
    assert journal.begin() == (b"token", 3)
    assert journal.item(3) == (Rate(num_codebooks=2), False)
    assert journal.has(4)
    assert not journal.has(5)
    assert journal.item(2) is None  # a lost call asks for what is gone


def test_results_come_once():
    once = Once()
    assert once.fresh(np.arange(4), 0).tolist() == [0, 1, 2, 3]
    assert once.fresh(np.arange(1, 4), 1) is None
    assert once.fresh(np.arange(2, 7), 2).tolist() == [4, 5, 6]


def test_long_chunks_are_cut():
    assert [p.shape for p in pieces(np.zeros((2, 250)), 100)] == [(2, 100), (2, 100), (2, 50)]
    assert list(pieces(Rate(bitrate=1.0), 100)) == [Rate(bitrate=1.0)]
