"""What goes through server and client is what the library gives."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.audio import StreamResampler
from sotto.codec.errors import ConfigError, ShapeError
from sotto.service.client import Packet, RemoteError, SottoClient
from sotto.service.formats import RawFormat

CHUNKS = st.lists(st.integers(0, 5000), max_size=12)
FEW = settings(max_examples=12, deadline=None)


@pytest.fixture(scope="module")
def client(address):
    with SottoClient(address) as client:
        yield client


def cut(audio, plan):
    """Pieces of audio [C, S] as long as `plan` says, then the rest."""
    return np.split(audio, np.minimum(np.cumsum(plan or [0]), audio.shape[-1]), axis=-1)


def library_codes(codec, audio, sample_rate, **rate):
    """What the library makes of audio [C, S]."""
    resampler = StreamResampler(sample_rate, codec.info.sample_rate)
    rows = np.concatenate([resampler.push(audio.T), resampler.flush()]).T
    return np.stack([codec.encode(row[np.newaxis, np.newaxis], **rate)[0] for row in rows])


def joined(packets):
    packets = list(packets)
    frames = np.cumsum([0, *(packet.codes.shape[2] for packet in packets)])
    assert [packet.first_frame for packet in packets] == frames[:-1].tolist()
    return np.concatenate([packet.codes for packet in packets], axis=2)


def test_models_are_listed_and_found(client, tiny_codec):
    assert client.list_models() == [tiny_codec.info]
    assert client.get_model() == client.get_model(tiny_codec.info.name) == tiny_codec.info


@FEW
@given(CHUNKS, st.sampled_from([8000, 16_000, 24_000, 44_100, 48_000]), st.integers(1, 2))
def test_streamed_codes_equal_the_librarys_for_every_chunking(
    client, tiny_codec, speech, plan, rate, channels
):
    audio = speech[:channels, :20_011]
    stream = client.stream_encode(cut(audio, plan), rate, channels=channels)
    codes = joined(stream)
    np.testing.assert_array_equal(codes, library_codes(tiny_codec, audio, rate))
    assert stream.totals.num_samples == audio.shape[1]
    assert stream.totals.num_frames == codes.shape[2]
    assert stream.info.model == tiny_codec.info
    assert stream.info.channels == channels


@FEW
@given(
    CHUNKS, st.sampled_from([8000, 11_025, 16_000, 24_000, 44_100, 48_000]), st.integers(0, 3000)
)
def test_decoded_length_equals_the_input_length_at_every_rate(client, speech, plan, rate, length):
    audio = speech[:1, :length]
    encoded = client.stream_encode(cut(audio, plan), rate)
    packets = list(encoded)
    stream = client.stream_decode(packets, sample_rate=rate, num_samples=encoded.totals.num_samples)
    heard = sum(chunk.shape[1] for chunk in stream)
    assert heard == stream.totals.num_samples == length


@FEW
@given(CHUNKS, st.sampled_from([8000, 24_000, 44_100]), st.sampled_from([8000, 16_000, 24_000]))
def test_transcoding_equals_encoding_and_decoding(client, speech, plan, rate, heard_rate):
    audio = speech[:, :9001]
    packets: list[Packet] = []
    stream = client.stream_transcode(
        cut(audio, plan),
        rate,
        channels=2,
        output_sample_rate=heard_rate,
        num_codebooks=2,
        on_codes=packets.append,
    )
    heard = np.concatenate(list(stream), axis=1)
    encoded = client.encode(audio, rate, num_codebooks=2)
    np.testing.assert_array_equal(joined(packets), encoded.codes)
    assert heard.shape[1] == round(9001 * heard_rate / rate) == stream.totals.num_samples
    decoded = client.decode(encoded.codes, sample_rate=heard_rate, num_samples=heard.shape[1])
    np.testing.assert_allclose(heard, decoded.audio, atol=1e-6)


@FEW
@given(st.lists(st.integers(1, 30), max_size=8))
def test_streamed_audio_equals_the_librarys_however_the_codes_are_cut(
    client, tiny_codec, speech, plan
):
    audio = speech[:1]
    codes = tiny_codec.encode(audio[np.newaxis])
    packets = np.split(codes, np.cumsum(plan)[np.cumsum(plan) < codes.shape[2]], axis=2)
    heard = np.concatenate(list(client.stream_decode(packets, num_samples=48_000)), axis=1)
    np.testing.assert_allclose(heard, tiny_codec.decode(codes, 48_000)[0], atol=1e-6)


def test_without_a_length_audio_ends_with_its_last_frame(client, tiny_codec):
    info = tiny_codec.info
    codes = np.zeros((1, info.num_codebooks, 5), np.int64)
    expected = 5 * info.frame_size - info.delay_samples
    assert client.decode(codes).audio.shape == (1, expected)
    assert sum(a.shape[1] for a in client.stream_decode([codes])) == expected


def test_unary_codes_and_audio_equal_the_librarys(client, tiny_codec, speech):
    encoded = client.encode(speech, 16_000)
    np.testing.assert_array_equal(encoded.codes, library_codes(tiny_codec, speech, 16_000))
    decoded = client.decode(encoded.codes, sample_rate=16_000, num_samples=speech.shape[1])
    assert decoded.audio.shape == speech.shape
    assert decoded.totals.num_samples == speech.shape[1]
    assert decoded.totals.num_bytes == encoded.totals.num_bytes > 0
    assert decoded.totals.real_time_factor > 0


@pytest.mark.parametrize("rate", [{"num_codebooks": 1}, {"num_codebooks": 3}, {}])
def test_fewer_books_are_a_prefix_of_all_books(client, speech, rate):
    everything = client.encode(speech[0], 24_000).codes
    encoded = client.encode(speech[0], 24_000, **rate)
    books = rate.get("num_codebooks", everything.shape[1])
    assert encoded.info.num_codebooks == books
    np.testing.assert_array_equal(encoded.codes, everything[:, :books])


def test_a_bitrate_takes_the_books_that_fit(client, tiny_codec, speech):
    bitrate = tiny_codec.info.bitrate(2) + 1
    encoded = client.encode(speech[0], 24_000, bitrate=bitrate)
    assert encoded.codes.shape[1] == encoded.info.num_codebooks == 2
    assert encoded.info.bitrate == tiny_codec.info.bitrate(2)


def test_mixing_down_gives_the_codes_of_the_average(client, tiny_codec, speech):
    encoded = client.encode(speech, 24_000, mix_down=True)
    average = speech.mean(axis=0, keepdims=True, dtype=np.float32)
    np.testing.assert_array_equal(encoded.codes, library_codes(tiny_codec, average, 24_000))
    assert encoded.info.channels == 1


def test_packets_of_one_stream_may_differ_in_depth(client, tiny_codec, speech):
    codes = client.encode(speech[0], 24_000).codes
    deep, shallow = codes[:, :, :20], codes[:, :1, 20:]
    heard = np.concatenate(list(client.stream_decode([deep, shallow])), axis=1)
    filled = np.full_like(codes, -1)
    filled[:, :, :20], filled[:, :1, 20:] = deep, shallow
    np.testing.assert_allclose(heard, client.decode(filled, packed=False).audio, atol=1e-6)


def test_lost_codes_are_heard_as_silence_of_their_books_not_as_an_error(client, tiny_codec):
    lost = np.full((1, tiny_codec.info.num_codebooks, 4), -1)
    assert np.isfinite(client.decode(lost, packed=False).audio).all()


@pytest.mark.parametrize("encoding", [*RawFormat, "MULAW"])
def test_every_raw_format_works_both_ways(client, speech, encoding):
    encoded = client.encode(speech[0], 8000, encoding=encoding)
    decoded = client.decode(encoded.codes, sample_rate=8000, encoding=encoding)
    exact = client.decode(encoded.codes, sample_rate=8000)
    np.testing.assert_allclose(decoded.audio, exact.audio.clip(-1, 1), atol=0.04)


@pytest.mark.parametrize("length", [0, 1, 479, 480, 481])
def test_short_recordings_come_back_as_long_as_they_were(client, length):
    audio = np.zeros((1, length), np.float32)
    encoded = client.encode(audio, 24_000)
    assert encoded.codes.shape[2] == encoded.info.model.num_frames(length)
    assert client.decode(encoded.codes, num_samples=length).audio.shape == (1, length)


def test_what_the_callers_iterable_raises_reaches_the_caller(client):
    def chunks():
        yield np.zeros(100, np.float32)
        raise OSError("microphone unplugged")

    with pytest.raises(OSError, match="unplugged"):
        list(client.stream_encode(chunks(), 24_000))


def test_what_cannot_be_sent_is_refused_before_it_is_sent(client):
    with pytest.raises(ShapeError, match=r"\[2, S\]"):
        list(client.stream_encode([np.zeros((3, 5), np.float32)], 24_000, channels=2))
    with pytest.raises(ConfigError, match="LINEAR16"):
        client.encode(np.zeros(5, np.float32), 24_000, encoding="PCM")
    with pytest.raises(ConfigError, match="give one"):
        client.encode(np.zeros(5, np.float32), 24_000, num_codebooks=1, bitrate=1.0)


def test_the_acknowledgement_comes_before_any_audio_is_sent(client, tiny_codec):
    def chunks():
        assert acknowledged.wait(10)
        yield np.zeros(480, np.float32)

    acknowledged = threading.Event()
    with client.stream_encode(chunks(), 48_000, num_codebooks=2) as stream:
        assert stream.info.sample_rate == 48_000
        assert stream.info.num_codebooks == 2
        assert len(stream.info.request_id) == 16
        acknowledged.set()
        assert joined(stream).shape[1] == 2


def test_codes_of_another_model_are_refused(client):
    codes = np.zeros((1, 1, 3), np.int64)
    with pytest.raises(RemoteError, match=r"INVALID_ARGUMENT.*identity") as caught:
        client.decode(codes, identity="f" * 64)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert len(caught.value.request_id) == 16


def test_a_server_that_is_not_there_is_an_error_at_once():
    with SottoClient("127.0.0.1:1") as client, pytest.raises(RemoteError, match="UNAVAILABLE"):
        client.list_models()
