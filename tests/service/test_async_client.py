"""The asyncio client does what the plain one does."""

import asyncio

import numpy as np
import pytest

from sotto.service.client import AsyncSottoClient, RemoteError, SottoClient


@pytest.fixture
async def client(address):
    async with AsyncSottoClient(address) as client:
        yield client


async def chunks_of(audio, size=700):
    for start in range(0, audio.shape[1], size):
        yield audio[:, start : start + size]
        await asyncio.sleep(0)


async def test_unary_calls_equal_those_of_the_plain_client(client, address, speech, tiny_codec):
    with SottoClient(address) as plain:
        expected = plain.encode(speech, 16_000)
    encoded = await client.encode(speech, 16_000)
    np.testing.assert_array_equal(encoded.codes, expected.codes)
    decoded = await client.decode(encoded.codes, sample_rate=16_000, num_samples=48_000)
    assert decoded.audio.shape == speech.shape
    assert await client.list_models() == [tiny_codec.info]


async def test_a_stream_goes_through_encode_and_decode_at_once(client, speech):
    async with client.stream_encode(chunks_of(speech), 24_000, channels=2) as codes:
        audio = client.stream_decode(codes, channels=2, num_samples=48_000)
        heard = [chunk async for chunk in audio]
    assert np.concatenate(heard, axis=1).shape == speech.shape
    assert codes.totals.num_samples == audio.totals.num_samples == 48_000
    assert codes.totals.num_frames == audio.totals.num_frames


async def test_streams_take_plain_iterables_too(client, speech):
    expected = (await client.encode(speech[0], 24_000)).codes
    packets = [packet.codes async for packet in client.stream_encode(speech[:1, None], 24_000)]
    np.testing.assert_array_equal(np.concatenate(packets, axis=2), expected)


async def test_transcoding_hands_out_codes_on_the_side(client, speech):
    packets = []
    stream = client.stream_transcode(chunks_of(speech[:1]), 24_000, on_codes=packets.append)
    heard = [chunk async for chunk in stream]
    assert sum(chunk.shape[1] for chunk in heard) == 48_000
    assert sum(packet.codes.shape[2] for packet in packets) == stream.totals.num_frames


async def test_its_configuration_may_be_asked_for_while_results_come(address, speech):
    async with AsyncSottoClient(address) as client:
        codes = await client.encode(speech, 24_000)

    async def listen(stream):
        return np.concatenate([chunk async for chunk in stream], axis=1)

    async def decode(ask):
        async with (
            AsyncSottoClient(address) as fresh,  # it knows no model yet
            fresh.stream_decode([codes.codes], channels=2, num_samples=48_000) as stream,
        ):
            if not ask:
                return await listen(stream)
            info, heard = await asyncio.gather(stream.info(), listen(stream))
            assert info == await stream.info()
            return heard

    np.testing.assert_array_equal(await decode(True), await decode(False))


async def test_many_streams_at_once_do_not_mix(client, speech):
    async def codes(gain):
        audio = speech[:1] * np.float32(gain)
        packets = [p.codes async for p in client.stream_encode(chunks_of(audio, 480), 24_000)]
        return np.concatenate(packets, axis=2)

    gains = np.linspace(0.1, 1, 12)
    together = await asyncio.gather(*map(codes, gains))
    for gain, got in zip(gains, together, strict=True):
        np.testing.assert_array_equal(got, await codes(gain))


async def test_errors_carry_status_and_request_id(client):
    with pytest.raises(RemoteError, match="NOT_FOUND") as caught:
        await client.get_model("nobody")
    assert len(caught.value.request_id) == 16
    with pytest.raises(RemoteError, match="INVALID_ARGUMENT"):
        await client.stream_encode([], 5).info()


async def test_what_the_callers_iterable_raises_reaches_the_caller(client):
    async def chunks():
        yield np.zeros((1, 100), np.float32)
        raise OSError("microphone unplugged")

    with pytest.raises(OSError, match="unplugged"):
        async for _ in client.stream_encode(chunks(), 24_000):
            pass


async def test_leaving_the_block_ends_the_call(client, server):
    async def forever():
        while True:
            yield np.zeros((1, 480), np.float32)
            await asyncio.sleep(0.01)

    async with client.stream_encode(forever(), 24_000) as stream:
        assert (await anext(stream)).first_frame == 0
    while server.sessions:
        await asyncio.sleep(0.01)
