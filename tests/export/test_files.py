"""Whole files go through the codec: lengths, rates, channels, damage and memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from sotto.codec.bitstream import Header, SottoReader, create, cut, rerate
from sotto.codec.errors import AudioError, BitstreamError, CodesError, IdentityError
from sotto.export.files import decode_file, encode_file


@pytest.fixture
def speechlike():
    def make(num_samples, sample_rate, channels=1):
        rng = np.random.default_rng(num_samples)
        time = np.arange(num_samples)[:, None] / sample_rate
        voice = np.sin(2 * np.pi * 150 * (1 + np.arange(channels)) * time)
        return (0.4 * voice + 0.02 * rng.standard_normal((num_samples, channels))).astype("float32")

    return make


def stored_codes(path, errors="raise"):
    with SottoReader(path, errors) as reader:
        return np.concatenate(list(reader.codes()), axis=2)


@pytest.mark.parametrize("num_samples", [0, 1, 479, 480, 481, 30_000])
@pytest.mark.parametrize("sample_rate", [8000, 24000, 44100, 384000])
def test_decoding_gives_back_the_rate_and_the_length_to_the_sample(
    tmp_path, tiny_codec, speechlike, num_samples, sample_rate
):
    soundfile.write(tmp_path / "a.wav", speechlike(num_samples, sample_rate), sample_rate)
    encoded = encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    decoded = decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav")
    info = soundfile.info(tmp_path / "b.wav")
    assert (info.frames, info.samplerate, info.channels) == (num_samples, sample_rate, 1)
    assert encoded.seconds == decoded.seconds == num_samples / sample_rate
    assert encoded.num_frames == decoded.num_frames
    assert encoded.sample_rate == decoded.sample_rate == sample_rate


def test_codes_and_audio_are_those_of_the_codec(tmp_path, tiny_codec):
    rate, size = tiny_codec.info.sample_rate, tiny_codec.info.frame_size
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 230 * size + 17).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, rate, subtype="FLOAT")
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto", num_codebooks=2)
    codes = tiny_codec.encode(audio[None, None], num_codebooks=2)
    assert np.array_equal(stored_codes(tmp_path / "a.sotto"), codes)
    decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav")
    expected = np.clip(tiny_codec.decode(codes, len(audio))[0, 0], -1, 1)
    got = soundfile.read(tmp_path / "b.wav")[0]
    assert np.abs(got - expected).max() <= 1.5 / 32768


def test_stereo_is_two_mono_streams(tmp_path, tiny_codec, speechlike):
    audio = speechlike(48_000, 48_000, channels=2)
    soundfile.write(tmp_path / "a.wav", audio, 48_000, subtype="FLOAT")
    report = encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    assert report.channels == 2
    codes = stored_codes(tmp_path / "a.sotto")
    for channel in range(2):
        soundfile.write(tmp_path / "m.wav", audio[:, channel], 48_000, subtype="FLOAT")
        encode_file(tiny_codec, tmp_path / "m.wav", tmp_path / "m.sotto")
        assert np.array_equal(stored_codes(tmp_path / "m.sotto")[0], codes[channel])
    decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav")
    assert soundfile.read(tmp_path / "b.wav")[0].shape == (48_000, 2)


def test_stereo_mixes_down_by_request(tmp_path, tiny_codec, speechlike):
    audio = speechlike(24_000, 24_000, channels=2)
    soundfile.write(tmp_path / "a.wav", audio, 24_000, subtype="FLOAT")
    soundfile.write(tmp_path / "m.wav", audio.mean(axis=1), 24_000, subtype="FLOAT")
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto", mix_down=True)
    encode_file(tiny_codec, tmp_path / "m.wav", tmp_path / "m.sotto")
    assert (tmp_path / "a.sotto").read_bytes() == (tmp_path / "m.sotto").read_bytes()


def test_more_than_two_channels_need_a_mix_down(tmp_path, tiny_codec, speechlike):
    soundfile.write(tmp_path / "a.wav", speechlike(1_000, 24_000, channels=6), 24_000)
    with pytest.raises(AudioError, match=r"6 channels; set mix_down=True"):
        encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    assert not (tmp_path / "a.sotto").exists()
    assert (
        encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto", mix_down=True).channels
        == 1
    )


@pytest.mark.parametrize("kind", ["silence", "square"])
def test_silence_and_a_full_scale_square_wave_work(tmp_path, tiny_codec, kind):
    square = np.sign(np.sin(np.arange(24_000) * 0.1) + 1e-9)
    soundfile.write(tmp_path / "a.wav", square if kind == "square" else 0 * square, 24_000)
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav")
    assert soundfile.info(tmp_path / "b.wav").frames == 24_000


def test_nan_is_refused_with_its_place_and_leaves_nothing(tmp_path, tiny_codec, speechlike):
    audio = speechlike(100_000, 24_000)
    audio[70_000] = np.nan
    soundfile.write(tmp_path / "a.wav", audio, 24_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: sample 70000"):
        encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_the_bitrate_chooses_the_books_and_the_report_measures_it(tmp_path, tiny_codec, speechlike):
    soundfile.write(tmp_path / "a.wav", speechlike(240_000, 24_000), 24_000)
    one_book = tiny_codec.info.bitrate(1)
    report = encode_file(
        tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto", bitrate=1.5 * one_book
    )
    assert report.num_codebooks == 1
    assert report.num_bytes == (tmp_path / "a.sotto").stat().st_size
    assert report.bitrate == 8 * report.num_bytes / 10
    assert one_book < report.bitrate < one_book + 128 + 8 * 200 / 10
    assert report.times_real_time > 0
    with pytest.raises(CodesError, match="outside"):
        encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "b.sotto", bitrate=1)


@pytest.mark.parametrize("sample_rate", [8000, 48000])
def test_another_rate_can_be_asked_for(tmp_path, tiny_codec, speechlike, sample_rate):
    soundfile.write(tmp_path / "a.wav", speechlike(22_050, 22_050), 22_050)
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav", sample_rate=sample_rate)
    info = soundfile.info(tmp_path / "b.wav")
    assert (info.samplerate, info.frames) == (sample_rate, sample_rate)
    with pytest.raises(AudioError, match="4000 to 384000"):
        decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "c.wav", sample_rate=0)


def test_codes_of_another_model_are_refused(tmp_path, tiny_codec):
    header = replace(Header.for_model(tiny_codec.info), model="other", identity="0" * 64)
    with create(tmp_path / "a.sotto", header) as writer:
        writer.finish(0)
    with pytest.raises(IdentityError, match="other"):
        decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav")
    assert not (tmp_path / "b.wav").exists()


def test_fewer_books_decode_to_the_same_length(tmp_path, tiny_codec, speechlike):
    soundfile.write(tmp_path / "a.wav", speechlike(44_100, 44_100), 44_100)
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    rerate(tmp_path / "a.sotto", tmp_path / "b.sotto", 1)
    assert decode_file(tiny_codec, tmp_path / "b.sotto", tmp_path / "b.wav").num_codebooks == 1
    assert soundfile.info(tmp_path / "b.wav").frames == 44_100


def test_a_cut_decodes_to_its_length(tmp_path, tiny_codec, speechlike):
    soundfile.write(tmp_path / "a.wav", speechlike(88_200, 44_100), 44_100)
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    cut(tmp_path / "a.sotto", tmp_path / "b.sotto", 0.5, 1.25)
    decode_file(tiny_codec, tmp_path / "b.sotto", tmp_path / "b.wav")
    assert soundfile.info(tmp_path / "b.wav").frames == 33_075


def test_a_damaged_block_is_refused_or_concealed_in_its_place(tmp_path, tiny_codec, speechlike):
    size = tiny_codec.info.frame_size
    soundfile.write(tmp_path / "a.wav", speechlike(200 * size, 24_000), 24_000)
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    with SottoReader(tmp_path / "a.sotto") as reader:
        frames, begin = reader.header.block_frames, reader.header.size
        step = 16 + reader.header.payload_bytes(frames)
    data = bytearray((tmp_path / "a.sotto").read_bytes())
    data[begin + step + 20] ^= 1
    (tmp_path / "d.sotto").write_bytes(data)
    with pytest.raises(BitstreamError, match="block 1"):
        decode_file(tiny_codec, tmp_path / "d.sotto", tmp_path / "d.wav")
    assert not (tmp_path / "d.wav").exists()
    whole = decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "a2.wav")
    report = decode_file(tiny_codec, tmp_path / "d.sotto", tmp_path / "d.wav", errors="conceal")
    assert (whole.lost_frames, report.lost_frames) == (0, frames)
    clean, concealed = (soundfile.read(tmp_path / name)[0] for name in ("a2.wav", "d.wav"))
    before = frames * size - tiny_codec.info.delay_samples
    assert len(clean) == len(concealed)
    assert np.array_equal(clean[:before], concealed[:before])
    assert not np.array_equal(clean, concealed)


def test_a_truncated_file_is_refused_or_decoded_as_far_as_it_goes(tmp_path, tiny_codec, speechlike):
    soundfile.write(tmp_path / "a.wav", speechlike(144_000, 48_000), 48_000)
    encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
    data = (tmp_path / "a.sotto").read_bytes()
    (tmp_path / "a.sotto").write_bytes(data[: int(len(data) * 0.9)])
    with pytest.raises(BitstreamError, match="truncated"):
        decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav")
    report = decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav", errors="conceal")
    assert 1.5 < report.seconds < 3
    assert soundfile.info(tmp_path / "b.wav").frames == round(report.seconds * 48_000)


def test_memory_does_not_grow_with_the_length(tmp_path, tiny_codec):
    def peak(seconds):
        soundfile.write(tmp_path / "a.wav", np.zeros(24_000 * seconds, np.int16), 24_000)
        tracemalloc.start()
        encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.sotto")
        decode_file(tiny_codec, tmp_path / "a.sotto", tmp_path / "b.wav")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(60) < 1.2 * peak(10) + 100_000
