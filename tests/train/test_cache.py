"""The cache: any rate and channels, resampled once, and honest about damage."""

import numpy as np
import pytest
import soundfile

from sotto.codec.errors import AudioError, CodecError
from sotto.train import cache as module
from sotto.train.cache import AudioCache


def tone(rate, seconds=0.5, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.fixture
def cache(tmp_path):
    return AudioCache(tmp_path / "cache", 24_000)


def write(folder, audio, rate, name="a.wav"):
    path = folder / name
    soundfile.write(path, audio, rate)
    return path


@pytest.mark.parametrize("rate", [8_000, 11_025, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_any_rate_becomes_the_models(tmp_path, cache, rate, name):
    audio = cache.get(write(tmp_path, tone(rate), rate, name))
    assert audio.dtype == np.int16
    assert abs(len(audio) - 12_000) <= 1
    middle = slice(2_000, 10_000)
    expected = 32767 * tone(24_000)[middle]
    np.testing.assert_allclose(audio[middle], expected, atol=40)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.mp3"])
def test_lossy_files_are_read(tmp_path, cache, name):
    path = tmp_path / name
    if name == "a.opus":
        soundfile.write(path, tone(24_000), 24_000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, tone(24_000), 24_000)
    assert abs(len(cache.get(path)) - 12_000) < 2_500


def test_stereo_is_averaged(tmp_path, cache):
    left = tone(24_000)
    audio = cache.get(write(tmp_path, np.stack([left, -0.5 * left], axis=1), 24_000))
    np.testing.assert_allclose(audio, 32767 * 0.25 * left, atol=3)


def test_what_is_over_full_scale_is_clipped_not_wrapped(tmp_path, cache):
    path = tmp_path / "loud.wav"
    soundfile.write(path, 3 * tone(24_000), 24_000, subtype="FLOAT")
    audio = cache.get(path)
    assert audio.max() == 32767
    assert audio.min() == -32768
    assert np.array_equal(np.sign(audio[10:100]), np.sign(tone(24_000)[10:100]))


def test_a_clip_is_decoded_once(tmp_path, cache, monkeypatch):
    path = write(tmp_path, tone(48_000), 48_000)
    first = np.array(cache.get(path))
    monkeypatch.setattr(module.soundfile, "read", lambda *_, **__: pytest.fail("read again"))
    assert np.array_equal(cache.get(path), first)
    assert np.array_equal(AudioCache(tmp_path / "cache", 24_000).get(path), first)


def test_a_clip_that_changed_is_decoded_again(tmp_path, cache):
    path = write(tmp_path, tone(24_000), 24_000)
    cache.get(path)
    write(tmp_path, tone(24_000, seconds=0.25), 24_000)
    assert len(cache.get(path)) == 6_000


def test_rates_do_not_mix(tmp_path, cache):
    path = write(tmp_path, tone(24_000), 24_000)
    assert len(cache.get(path)) == 12_000
    assert len(AudioCache(tmp_path / "cache", 16_000).get(path)) == 8_000


def test_a_damaged_entry_is_made_again(tmp_path, cache):
    path = write(tmp_path, tone(24_000), 24_000)
    expected = np.array(cache.get(path))
    (entry,) = cache.folder.iterdir()
    for damage in (b"", entry.read_bytes()[:500], b"x" * 500):
        entry.write_bytes(damage)
        assert np.array_equal(cache.get(path), expected)
    assert [file.suffix for file in cache.folder.iterdir()] == [".npy"]


def test_an_empty_clip_has_no_samples(tmp_path, cache):
    assert len(cache.get(write(tmp_path, np.zeros(0), 24_000))) == 0


@pytest.mark.parametrize("content", [b"", b"no audio at all", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_a_damaged_file_is_named(tmp_path, cache, content):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"cannot decode '.*bad\.wav'"):
        cache.get(path)
    assert list(cache.folder.iterdir()) == []


def test_a_missing_file_is_named(tmp_path, cache):
    with pytest.raises(AudioError, match=r"cannot read '.*gone\.wav': No such file"):
        cache.get(tmp_path / "gone.wav")


def test_audio_that_is_not_finite_is_named(tmp_path, cache):
    audio = tone(24_000)
    audio[24] = np.nan
    path = tmp_path / "nan.wav"
    soundfile.write(path, audio, 24_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav': sample 24 \(0\.001 s\) is nan"):
        cache.get(path)


def test_a_full_disk_is_no_fault_of_the_clip(tmp_path, cache, monkeypatch):
    path = write(tmp_path, tone(24_000), 24_000)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(CodecError, match="No space left on device; make room") as caught:
        cache.get(path)
    assert not isinstance(caught.value, AudioError)  # those are left out, and the run goes on
    assert list(cache.folder.iterdir()) == []
