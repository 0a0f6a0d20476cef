"""Raw sample formats."""

import io

import numpy as np
import pytest
import soundfile

from sotto.codec.errors import AudioError
from sotto.service.formats import RawFormat, decode_samples, encode_samples, num_samples

EVERY_INT16 = np.arange(-32768, 32768, dtype=np.int16)
G711 = [(RawFormat.MULAW, "ULAW"), (RawFormat.ALAW, "ALAW")]


def test_every_linear16_value_survives_the_round_trip():
    audio = decode_samples(EVERY_INT16.tobytes(), RawFormat.LINEAR16, 1)
    assert audio.min() == -1.0
    assert encode_samples(audio, RawFormat.LINEAR16) == EVERY_INT16.tobytes()


def test_float32_survives_to_the_bit_even_beyond_full_scale():
    audio = np.random.default_rng(0).normal(0, 2, (50, 2)).astype(np.float32)
    wire = encode_samples(audio, RawFormat.FLOAT32)
    np.testing.assert_array_equal(decode_samples(wire, RawFormat.FLOAT32, 2), audio)


@pytest.mark.parametrize("raw", [RawFormat.LINEAR16, RawFormat.MULAW, RawFormat.ALAW])
def test_integers_clip_at_full_scale_instead_of_wrapping(raw):
    loud = np.array([[3.0], [-3.0], [1.0], [-1.0]], np.float32)
    heard = decode_samples(encode_samples(loud, raw), raw, 1)
    assert (np.sign(heard) == np.sign(loud)).all()
    assert abs(heard).min() > 0.95


@pytest.mark.parametrize(("raw", "subtype"), G711)
def test_g711_bytes_decode_as_libsndfile_decodes_them(raw, subtype):
    every_byte = bytes(range(256))
    expected, _ = soundfile.read(
        io.BytesIO(every_byte),
        dtype="int16",
        format="RAW",
        subtype=subtype,
        samplerate=8000,
        channels=1,
    )
    audio = decode_samples(every_byte, raw, 1)
    np.testing.assert_array_equal(audio[:, 0] * 32768, expected)


@pytest.mark.parametrize(("raw", "subtype"), G711)
def test_every_g711_byte_survives_the_round_trip(raw, subtype):
    values = decode_samples(bytes(range(256)), raw, 1)
    again = decode_samples(encode_samples(values, raw), raw, 1)
    np.testing.assert_array_equal(again, values)


@pytest.mark.parametrize(("raw", "subtype"), G711)
def test_g711_encodes_every_sample_as_libsndfile_encodes_it(raw, subtype):
    file = io.BytesIO()
    soundfile.write(file, EVERY_INT16, 8000, format="RAW", subtype=subtype)
    expected = np.frombuffer(file.getvalue(), np.uint8)
    wire = encode_samples(EVERY_INT16.astype(np.float32)[:, np.newaxis] / 32768, raw)
    different = EVERY_INT16[np.frombuffer(wire, np.uint8) != expected]
    # On the edge between two A-law levels libsndfile takes the other one for negative samples.
    assert (different < 0).all()
    assert (different % 16 == 0).all()
    assert len(different) <= (127 if raw is RawFormat.ALAW else 0)


@pytest.mark.parametrize("raw", list(RawFormat))
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_channels_are_interleaved(raw, channels):
    audio = np.linspace(-0.5, 0.5, 4 * channels, dtype=np.float32).reshape(4, channels)
    wire = encode_samples(audio, raw)
    assert num_samples(wire, raw, channels) == 4
    first = decode_samples(wire[: raw.bytes_per_sample * channels], raw, channels)
    np.testing.assert_allclose(first, audio[:1], atol=0.02)


@pytest.mark.parametrize(
    ("size", "raw", "channels"),
    [
        (3, RawFormat.LINEAR16, 1),
        (6, RawFormat.FLOAT32, 1),
        (6, RawFormat.LINEAR16, 2),
        (5, RawFormat.ALAW, 2),
    ],
)
def test_broken_samples_are_rejected(size, raw, channels):
    with pytest.raises(AudioError, match="whole samples"):
        num_samples(bytes(size), raw, channels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float32_that_is_not_finite_is_rejected(bad):
    with pytest.raises(AudioError, match="NaN or infinity"):
        decode_samples(np.array([0, bad], "<f4").tobytes(), RawFormat.FLOAT32, 1)


@pytest.mark.parametrize("raw", list(RawFormat))
def test_no_samples_are_no_bytes(raw):
    assert decode_samples(b"", raw, 2).shape == (0, 2)
    assert encode_samples(np.zeros((0, 2), np.float32), raw) == b""
