"""Audio files are read and written in blocks, and a stream changes its rate without a seam."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.audio import (
    StreamResampler,
    check_finite,
    create_audio,
    read_audio,
    read_blocks,
    read_info,
    write_audio,
)
from sotto.codec.errors import AudioError, ShapeError, StreamClosedError

RATES = [4000, 8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000, 384000]


def tone(num_samples, sample_rate=24000, hz=440.0, channels=1):
    time = np.arange(num_samples)[:, None] / sample_rate
    return (0.5 * np.sin(2 * np.pi * hz * (1 + np.arange(channels)) * time)).astype(np.float32)


def resample(audio, in_rate, out_rate, cuts=(), **options):
    resampler = StreamResampler(in_rate, out_rate, **options)
    pieces = np.split(audio, sorted(cut % (len(audio) + 1) for cut in cuts))
    return np.concatenate([*(resampler.push(piece) for piece in pieces), resampler.flush()])


# Reading


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_are_read_in_blocks_of_the_asked_size(tmp_path, name, channels):
    audio = tone(10_000, 24000, channels=channels)
    soundfile.write(tmp_path / name, audio, 24000)
    info, blocks = read_blocks(tmp_path / name, 3_000)
    blocks = list(blocks)
    assert (info.sample_rate, info.channels, info.num_samples) == (24000, channels, 10_000)
    assert [len(block) for block in blocks] == [3_000, 3_000, 3_000, 1_000]
    assert all(block.dtype == np.float32 for block in blocks)
    assert np.abs(np.concatenate(blocks) - audio).max() < 0.1


def test_a_file_without_samples_has_no_blocks(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 2)), 8000)
    info, blocks = read_blocks(tmp_path / "a.wav", 100)
    assert (info.num_samples, list(blocks)) == (0, [])
    assert read_audio(tmp_path / "a.wav")[0].shape == (0, 2)


@pytest.mark.parametrize("content", [b"", b"not audio", b"RIFF\xff\xff\xff\xffWAVE"])
@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a"])
def test_files_that_are_not_audio_are_a_clear_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match="cannot read"):
        read_info(tmp_path / name)


def test_a_missing_file_and_a_folder_are_a_clear_error(tmp_path):
    for path in (tmp_path, tmp_path / "none.wav"):
        with pytest.raises(AudioError, match="no audio file"):
            read_blocks(path, 100)


def test_a_damaged_file_is_an_error_with_its_place(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(50_000), 24000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    _, blocks = read_blocks(tmp_path / "a.flac", 1_000)
    with pytest.raises(AudioError, match=r"damaged after sample \d+000"):
        list(blocks)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_named_by_place(tmp_path, value):
    audio = tone(10_000, channels=2)
    audio[7_200, 1] = value
    soundfile.write(tmp_path / "a.wav", audio, 24000, subtype="FLOAT")
    _, blocks = read_blocks(tmp_path / "a.wav", 3_000)
    with pytest.raises(
        AudioError, match=r"a\.wav: sample 7200 \(0\.300 s\) of channel 1 is -?[ni]"
    ):
        list(blocks)
    with pytest.raises(AudioError, match="sample 3 is nan"):
        check_finite(np.array([0, 0, 0, np.nan], np.float32))


@pytest.mark.parametrize("sample_rate", [1000, 400_000])
def test_rates_beyond_the_limits_are_refused(tmp_path, sample_rate):
    soundfile.write(tmp_path / "a.wav", tone(10), sample_rate)
    with pytest.raises(AudioError, match="4000 to 384000"):
        read_info(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="4000 to 384000"):
        StreamResampler(sample_rate, 24000)
    with pytest.raises(AudioError, match="4000 to 384000"):
        write_audio(tmp_path / "b.wav", tone(10), sample_rate)


def test_blocks_need_a_size():
    with pytest.raises(AudioError, match="block_samples=0"):
        read_blocks("a.wav", 0)


# Writing


@pytest.mark.parametrize("name", ["a.wav", "A.FLAC"])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_is_read_back_to_sixteen_bits(tmp_path, name, channels):
    audio = tone(10_000, channels=channels)
    with create_audio(tmp_path / name, 24000, channels) as writer:
        for piece in np.split(audio, [0, 1, 5_000]):
            writer.write(piece)
    got, sample_rate = read_audio(tmp_path / name)
    assert sample_rate == 24000
    assert got.shape == audio.shape
    assert np.abs(got - audio).max() <= 1 / 32768


def test_mono_may_come_without_a_channel_axis(tmp_path):
    write_audio(tmp_path / "a.wav", tone(100)[:, 0], 24000)
    assert read_audio(tmp_path / "a.wav")[0].shape == (100, 1)


def test_loud_samples_are_clipped_and_do_not_wrap(tmp_path):
    write_audio(tmp_path / "a.wav", np.array([2, -3, 1, -1], np.float32), 24000)
    got = read_audio(tmp_path / "a.wav")[0][:, 0]
    assert np.abs(got - [1, -1, 1, -1]).max() <= 1 / 32768


def test_nothing_half_written_stays(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"old")
    with (
        pytest.raises(AudioError, match="sample 5 is nan"),
        create_audio(tmp_path / "a.wav", 24000) as writer,
    ):
        writer.write(np.append(tone(5), np.nan).astype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a.mp3", "a", "none/a.wav"])
def test_a_name_that_cannot_be_written_is_a_clear_error(tmp_path, name):
    with pytest.raises(AudioError, match="cannot write"):
        write_audio(tmp_path / name, tone(10), 24000)
    assert not list(tmp_path.iterdir())


def test_a_file_without_samples_is_a_wav_file(tmp_path):
    write_audio(tmp_path / "a.wav", tone(0), 24000)
    assert read_info(tmp_path / "a.wav").num_samples == 0
    with pytest.raises(AudioError, match=r"needs the ending \.wav"):
        write_audio(tmp_path / "a.flac", tone(0), 24000)
    assert not (tmp_path / "a.flac").exists()


def test_what_a_format_cannot_hold_is_a_clear_error(tmp_path):
    with pytest.raises(AudioError, match="9 channels"):
        write_audio(tmp_path / "a.flac", np.zeros((10, 9), np.float32), 24000)
    with (
        pytest.raises(ShapeError, match="expected"),
        create_audio(tmp_path / "a.wav", 24000, 2) as writer,
    ):
        writer.write(tone(10))


def test_long_wav_files_are_written_as_rf64(tmp_path):
    with create_audio(tmp_path / "a.wav", 48000, 2, num_samples=1 << 31) as writer:
        writer.write(tone(10, channels=2))
    assert read_info(tmp_path / "a.wav").format == "RF64 PCM_16"
    assert len(read_audio(tmp_path / "a.wav")[0]) == 10


# Resampling


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.integers(0, 3_000),
    st.lists(st.integers(0, 3_000), max_size=6),
    st.sampled_from([(), (1,), (2,)]),
    st.integers(0, 1 << 30),
)
def test_the_output_does_not_depend_on_the_cuts_and_has_the_exact_length(
    in_rate, out_rate, num_samples, cuts, channels, seed
):
    audio = np.random.default_rng(seed).uniform(-1, 1, (num_samples, *channels))
    audio = audio.astype(np.float32)
    whole = resample(audio, in_rate, out_rate)
    assert whole.shape == (int(num_samples * out_rate / in_rate + 0.5), *channels)
    assert np.allclose(resample(audio, in_rate, out_rate, cuts), whole, atol=1e-6)


@pytest.mark.parametrize("quality", ["LQ", "HQ"])
@pytest.mark.parametrize(("in_rate", "out_rate"), [(8000, 24000), (44100, 24000), (24000, 48000)])
def test_a_tone_stays_the_same_tone_at_the_same_time(in_rate, out_rate, quality):
    got = resample(
        tone(in_rate, in_rate), in_rate, out_rate, range(0, in_rate, 700), quality=quality
    )
    middle = slice(out_rate // 10, -out_rate // 10)
    assert np.abs(got - tone(out_rate, out_rate))[middle].max() < 2e-3


def test_channels_do_not_mix():
    audio = np.random.default_rng(0).uniform(-1, 1, (5_000, 2)).astype(np.float32)
    both = resample(audio, 16000, 24000)
    for channel in range(2):
        assert np.allclose(both[:, channel], resample(audio[:, channel], 16000, 24000), atol=1e-6)


def test_equal_rates_pass_at_once_and_unchanged():
    resampler = StreamResampler(24000, 24000)
    audio = tone(100)
    assert np.array_equal(resampler.push(audio), audio)
    assert resampler.flush().shape == (0, 1)


@pytest.mark.parametrize("rates", [(44100, 24000), (24000, 44100), (24000, 24000)])
def test_a_given_total_is_met(rates):
    resampler = StreamResampler(*rates)
    got = len(resampler.push(tone(10_000)))
    rule = int(10_000 * rates[1] / rates[0] + 0.5)
    assert got + len(resampler.flush(rule + 7)) == rule + 7 == resampler.samples_out


def test_a_stream_is_closed_by_flush():
    resampler = StreamResampler(8000, 24000)
    assert resampler.flush().shape == (0,)
    with pytest.raises(StreamClosedError):
        resampler.push(tone(10))
    with pytest.raises(StreamClosedError):
        resampler.flush()


def test_other_axes_than_the_first_time_and_nan_are_refused():
    resampler = StreamResampler(8000, 24000)
    resampler.push(tone(10))
    for audio in (tone(10)[:, 0], tone(10, channels=2)):
        with pytest.raises(ShapeError, match="began with"):
            resampler.push(audio)
    with pytest.raises(AudioError, match=r"sample 12 \(0\.002 s\) is nan"):
        resampler.push(np.array([[0], [0], [np.nan]], np.float32))
    for shape in ((), (5, 0), (1, 1, 5)):
        with pytest.raises(ShapeError, match="expected"):
            StreamResampler(8000, 24000).push(np.zeros(shape, np.float32))
