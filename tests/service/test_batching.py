"""Sessions share the model's steps, and no session can tell: codes and audio are the same bits."""

import asyncio
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from sotto.bench.sample import sample_clip
from sotto.export.runtime import Codec
from sotto.export.streams import StreamDecoder, StreamEncoder
from sotto.service.engine import Engine
from sotto.service.formats import RawFormat
from sotto.service.plans import AudioFormat, DecodePlan, EncodePlan
from sotto.service.session import DecodeSession, EncodeSession
from sotto.service.settings import Settings
from sotto.service.worker import Worker

FRAME = 480


@pytest.fixture(scope="module", params=["tiny", "shipped"])
def codec(request):
    return request.getfixturevalue("tiny_codec") if request.param == "tiny" else Codec.load()


class Steps:
    """Counts the batch sizes of all steps."""

    def __init__(self):
        self.sizes = Counter()

    def step(self, graph, batch, frames, seconds, waits):
        self.sizes[batch] += 1
        assert seconds > 0
        assert len(waits) <= batch
        assert frames >= 1


def make_engine(codec, observer=None, **settings):
    chosen = Settings(**({"workers": 2, "max_wait_ms": 2} | settings))
    return Engine([codec], chosen, Worker(1), observer)


def plans(codec, channels=1, books=None, beam_size=None):
    audio = AudioFormat(RawFormat.FLOAT32, codec.info.sample_rate, channels)
    K = books or codec.info.num_codebooks
    encode = EncodePlan(codec, audio, False, K, True, beam_size or codec.beam_size)
    return encode, DecodePlan(codec, audio, K, True, None)


def cut(rng, total):
    """Random chunk lengths: some live, some bulk, some empty."""
    cuts = []
    while sum(cuts) < total:
        cuts.append(int(rng.choice([0, 1, 479, 480, 1920, 1920, 1920, 2500, 24_000])))
    return cuts


async def duplex(engine, codec, audio, lengths, delay_s=0.0):
    """Encode [S, C] in chunks and decode what comes back: codes [C, K, T], audio [S', C]."""
    await asyncio.sleep(delay_s)
    encode, decode = plans(codec, audio.shape[1])
    found, heard = [], []
    with (
        EncodeSession(engine, encode, 1e6) as encoder,
        DecodeSession(engine, decode, 1e6) as decoder,
    ):
        at = 0
        for length in lengths:
            codes = await encoder.push(audio[at : at + length])
            at += length
            found.append(codes)
            heard.append(await decoder.push(codes))
        found.append(await encoder.flush())
        heard += [await decoder.push(found[-1]), await decoder.flush()]
    return np.concatenate(found, axis=2), np.concatenate(heard)


def alone(codec, audio):
    """What the library makes of a mono signal in one piece."""
    encoder, decoder = StreamEncoder(codec), StreamDecoder(codec)
    codes = np.concatenate([encoder.push(audio), encoder.flush()], axis=1)
    return codes, decoder.push(codes)


def clips(count, seconds, rng):
    speech, rate = sample_clip()
    starts = rng.integers(0, len(speech) - int(rate * seconds), count)
    return [speech[s : s + int(rate * seconds)] for s in starts]


async def test_codes_and_audio_are_the_same_bits_whoever_shares_the_batch(codec):
    rng, steps = np.random.default_rng(0), Steps()
    engine = make_engine(codec, steps)
    signals = clips(7, 1.6, rng)
    calls = [
        duplex(engine, codec, s[:, None], cut(rng, len(s)), float(rng.uniform(0, 0.1)))
        for s in signals
    ]
    stereo = np.stack(signals[:2], axis=1)
    results = await asyncio.gather(*calls, duplex(engine, codec, stereo, cut(rng, len(stereo))))
    for signal, (codes, audio) in zip(signals, results[:-1], strict=True):
        expected_codes, expected_audio = alone(codec, signal)
        assert np.array_equal(codes[0], expected_codes)
        assert np.array_equal(audio[: len(expected_audio), 0], expected_audio)
    for channel in range(2):
        assert np.array_equal(results[-1][0][channel], results[channel][0][0])
        assert np.array_equal(results[-1][1][:, channel], results[channel][1][:, 0])
    assert max(steps.sizes) > 2, f"no steps were shared: {steps.sizes}"
    assert set(engine.scheduler.streams.values()) == {0}
    assert set(engine.scheduler.queued.values()) == {0}
    engine.close()


async def test_sessions_that_leave_in_the_middle_disturb_nobody_and_leave_nothing(tiny_codec):
    rng = np.random.default_rng(1)
    engine = make_engine(tiny_codec)
    signals = clips(6, 1.5, rng)
    calls = [
        asyncio.create_task(duplex(engine, tiny_codec, s[:, None], [480] * 75)) for s in signals
    ]
    for leaver in calls[3:]:
        await asyncio.sleep(0.01)
        leaver.cancel()
    late = await duplex(engine, tiny_codec, signals[3][:, None], [960] * 38)
    assert np.array_equal(late[0][0], alone(tiny_codec, signals[3])[0])
    for call, signal in zip(calls[:3], signals, strict=False):
        assert np.array_equal((await call)[0][0], alone(tiny_codec, signal)[0])
    await asyncio.gather(*calls, return_exceptions=True)
    while engine.scheduler.streams != {"tiny/encoder": 0, "tiny/decoder": 0}:
        await asyncio.sleep(0.01)  # a step that a leaver was in may still run
    engine.close()


async def test_more_streams_than_the_first_slots_keep_their_states(tiny_codec):
    engine = make_engine(tiny_codec, max_batch=5)
    signals = clips(40, 0.3, np.random.default_rng(2))
    results = await asyncio.gather(
        *(duplex(engine, tiny_codec, s[:, None], [1440] * 5) for s in signals)
    )
    for signal, (codes, _) in zip(signals, results, strict=True):
        assert np.array_equal(codes[0], alone(tiny_codec, signal)[0])
    engine.close()


async def test_a_failing_step_fails_its_jobs_and_nothing_else(tiny_codec):
    def step(audio, state, books, beam_size):
        if broken.now:
            raise RuntimeError("out of memory")
        return tiny_codec.encode_step(audio, state, books, beam_size)

    broken = SimpleNamespace(now=False)
    codec = SimpleNamespace(
        info=tiny_codec.info,
        beam_size=1,
        beam_sizes=(1,),
        encode_step=step,
        decode_step=tiny_codec.decode_step,
        encoder_state=tiny_codec.encoder_state,
        decoder_state=tiny_codec.decoder_state,
    )
    engine = make_engine(codec)
    signal = clips(1, 0.5, np.random.default_rng(3))[0]
    with EncodeSession(engine, plans(codec)[0], 1e6) as session:
        first = await session.push(signal[:4800, None])
        broken.now = True
        with pytest.raises(RuntimeError, match="out of memory"):
            await session.push(signal[4800:9600, None])
        broken.now = False
    with EncodeSession(engine, plans(codec)[0], 1e6) as session:
        again = await session.push(signal[:4800, None])
    assert np.array_equal(first, again)
    engine.close()


async def test_live_streams_go_before_bulk_and_bulk_is_not_starved(tiny_codec):
    order = []

    class Order:
        def step(self, graph, batch, frames, seconds, waits):
            order.append(frames)

    engine = make_engine(tiny_codec, Order(), workers=1, max_wait_ms=0)
    lane = engine.encoder(tiny_codec, 1, 1, bulk=True)
    lives = [engine.encoder(tiny_codec, 1, 1) for _ in range(3)]
    bulk = asyncio.create_task(lane.run(np.zeros((1, 1, 300 * FRAME), np.float32), 300, 4))
    await asyncio.sleep(0)
    live = [
        asyncio.create_task(x.run(np.zeros((1, 1, 4 * FRAME), np.float32), 4, 4)) for x in lives
    ]
    await asyncio.gather(bulk, *live)
    assert order.count(100) == 3
    assert order.index(4) == 1, "a live job waits for one block of a bulk call at most"
    assert len(await bulk) == 3
    engine.close()


async def test_with_beam_search_every_stream_gets_the_best_path_of_its_own_depth(beam_bundle):
    codec = Codec(beam_bundle)
    engine = make_engine(codec, max_wait_ms=20)
    audio = clips(1, 1.0, np.random.default_rng(3))[0][:, None]

    async def encode(books):
        plan, _ = plans(codec, books=books)
        with EncodeSession(engine, plan, 1e6) as session:
            return np.concatenate([await session.push(audio), await session.flush()], axis=2)

    found = await asyncio.gather(*(encode(books) for books in (1, 2, 3, 4)))
    for books, codes in enumerate(found, 1):
        expected = codec.encode(audio.T[None], num_codebooks=books)
        assert np.array_equal(codes, expected)
    engine.close()


async def test_streams_with_and_without_a_beam_run_side_by_side(beam_bundle):
    codec = Codec(beam_bundle)
    engine = make_engine(codec, max_wait_ms=20)
    audio = clips(1, 1.0, np.random.default_rng(3))[0][:, None]

    async def encode(beam_size):
        with EncodeSession(engine, plans(codec, beam_size=beam_size)[0], 1e6) as session:
            return np.concatenate([await session.push(audio), await session.flush()], axis=2)

    found = await asyncio.gather(*(encode(beam_size) for beam_size in (1, 3, 1)))
    for beam_size, codes in zip((1, 3, 1), found, strict=True):
        expected = Codec(beam_bundle, beam_size=beam_size).encode(audio.T[None])
        assert np.array_equal(codes, expected)
    assert not np.array_equal(found[0], found[1])
    engine.close()
