"""Crops: decided by seed and index alone, joined, levelled, and resumed exactly."""

import numpy as np
import pytest
import soundfile
import torch

from sotto.codec.config import build
from sotto.codec.errors import AudioError
from sotto.train.cache import AudioCache
from sotto.train.config_data import DataConfig
from sotto.train.data import CropDataset, batches, crop_samples
from sotto.train.manifest import Clip, find_clips


def dataset(clips, cache, num_samples=2_400, seed=0, **options):
    config = build(DataConfig, {"batch_size": 3, "workers": 0} | options)
    return CropDataset(clips, AudioCache(cache, 24_000), config, num_samples, seed)


@pytest.fixture
def tones(clips):
    return [clip for clip in find_clips(clips) if clip.split == "train"]


def make_clip(folder, name, audio, speaker="a", bandwidth_hz=None, source="s"):
    soundfile.write(folder / name, audio, 24_000)
    return Clip(folder / name, "train", source, speaker, bandwidth_hz)


def test_a_crop_depends_only_on_the_seed_and_its_index(tones, tmp_path):
    one, two = dataset(tones, tmp_path), dataset(tones, tmp_path)
    forward = [one[i] for i in range(8)]
    np.random.default_rng(0)
    torch.rand(3)
    for i in reversed(range(8)):
        audio, bandwidth, _ = two[i]
        assert torch.equal(audio, forward[i][0])
        assert bandwidth == forward[i][1]
    assert not torch.equal(dataset(tones, tmp_path, seed=1)[0][0], forward[0][0])
    assert not torch.equal(forward[0][0], forward[1][0])


def test_crops_have_the_asked_shape_and_stay_within_full_scale(tones, tmp_path):
    crops = dataset(tones, tmp_path, 5_000, min_gain_db=-3.0, max_gain_db=60.0)
    peaks = []
    for i in range(40):
        audio, bandwidth, _ = crops[i]
        assert audio.shape == (1, 5_000)
        assert audio.dtype == torch.float32
        assert 0 < bandwidth <= 12_000
        peaks.append(audio.abs().max().item())
    assert max(peaks) <= 1 + 1e-6
    assert max(peaks) > 0.99


def test_levels_vary_within_their_range(tmp_path):
    clip = make_clip(tmp_path, "a.wav", np.full(4_800, 0.1))
    crops = dataset([clip], tmp_path / "c", 480, min_gain_db=-6.0, max_gain_db=0.0)
    levels = np.array([crops[i][0].max().item() for i in range(50)])
    gains = 20 * np.log10(levels / 0.1)
    assert gains.min() > -6.1
    assert gains.max() < 0.1
    assert gains.std() > 1


def test_silence_stays_silent(tmp_path):
    crops = dataset([make_clip(tmp_path, "a.wav", np.zeros(4_800))], tmp_path / "c")
    assert not crops[0][0].any()


def test_short_clips_are_joined_and_the_narrowest_decides_the_bandwidth(tmp_path):
    clips = [
        make_clip(tmp_path, "wide.wav", np.full(1_000, 0.25), bandwidth_hz=12_000.0),
        make_clip(tmp_path, "narrow.wav", np.full(1_000, 0.5), bandwidth_hz=4_000.0),
    ]
    crops = dataset(clips, tmp_path / "c", min_gain_db=0.0, max_gain_db=0.0)
    seen = set()
    for i in range(30):
        audio, bandwidth, _ = crops[i]
        assert audio.shape == (1, 2_400)
        narrow = bool((audio > 0.4).any())
        assert bandwidth == (4_000 if narrow else 12_000)
        seen.add(narrow)
    assert seen == {True, False}


def test_unknown_bandwidth_is_all_of_it(tmp_path):
    crops = dataset([make_clip(tmp_path, "a.wav", np.ones(9_000) / 2)], tmp_path / "c")
    assert crops[0][1] == 12_000


def test_empty_clips_are_never_drawn(tmp_path):
    clips = [
        make_clip(tmp_path, "empty.wav", np.zeros(0)),
        make_clip(tmp_path, "full.wav", np.full(2_000, 0.5)),
        make_clip(tmp_path, "none.wav", np.zeros(0)),
    ]
    crops = dataset(clips, tmp_path / "c")
    assert all(crops[i][0].all() for i in range(20))


def test_nothing_but_empty_clips_is_an_error_not_an_endless_loop(tmp_path):
    with pytest.raises(AudioError, match="all training clips are empty"):
        dataset([make_clip(tmp_path, "empty.wav", np.zeros(0))], tmp_path / "c")
    with pytest.raises(AudioError, match="no training clips"):
        dataset([], tmp_path / "c")


@pytest.mark.parametrize(("balance", "expected"), [(0.0, 1 / 9), (1.0, 0.5)])
def test_speakers_are_drawn_by_duration_or_equally(tmp_path, balance, expected):
    clips = [make_clip(tmp_path, "a.wav", np.full(1_000, 0.25), "rare")]
    clips += [make_clip(tmp_path, f"{i}.wav", np.full(2_000, 0.5), "often") for i in range(4)]
    crops = dataset(
        clips, tmp_path / "c", 10, speaker_balance=balance, min_gain_db=0.0, max_gain_db=0.0
    )
    rare = np.mean([crops[i][0].max().item() < 0.4 for i in range(600)])
    assert rare == pytest.approx(expected, abs=0.06)


def of_sources(tmp_path, **options):
    """One clip of a small source, and four clips of two speakers of a large one."""
    clips = [make_clip(tmp_path, "a.wav", np.full(1_000, 0.25), "x", source="small")]
    clips += [
        make_clip(tmp_path, f"{i}.wav", np.full(2_000, 0.5), f"y{i // 3}", source="large")
        for i in range(4)
    ]
    return dataset(clips, tmp_path / "c", 10, **options)


@pytest.mark.parametrize(("balance", "expected"), [(0.0, 1 / 9), (0.5, 1 / 3.83), (1.0, 1 / 2)])
def test_sources_are_drawn_by_duration_or_equally(tmp_path, balance, expected):
    crops = of_sources(
        tmp_path, source_balance=balance, speaker_balance=0.0, min_gain_db=0.0, max_gain_db=0.0
    )
    small = np.mean([crops[i][0].max().item() < 0.4 for i in range(600)])
    assert small == pytest.approx(expected, abs=0.06)


def test_balance_of_speakers_holds_inside_balanced_sources(tmp_path):
    crops = of_sources(tmp_path, source_balance=1.0, speaker_balance=1.0)
    chances = np.diff(crops.cumulative, prepend=0) / crops.cumulative[-1]
    assert chances == pytest.approx([1 / 2, 1 / 12, 1 / 12, 1 / 12, 1 / 4])


def test_a_resumed_loader_goes_on_with_the_same_batches(tones, tmp_path):
    crops = dataset(tones, tmp_path)
    whole = [batch for (batch,) in batches(crops, 0, 6)]
    rest = [batch for (batch,) in batches(crops, 4, 6)]
    assert len(whole) == 6
    assert whole[0].audio.shape == (3, 1, 2_400)
    assert whole[0].bandwidth_hz.shape == (3,)
    for expected, found in zip(whole[4:], rest, strict=True):
        assert torch.equal(found.audio, expected.audio)
        assert torch.equal(found.bandwidth_hz, expected.bandwidth_hz)
    assert list(batches(crops, 6, 6)) == []


def test_worker_processes_give_the_same_batches(tones, tmp_path):
    expected = list(batches(dataset(tones, tmp_path), 0, 2))
    found = list(batches(dataset(tones, tmp_path, workers=1), 0, 2))
    assert all(torch.equal(a.audio, b.audio) for (a,), (b,) in zip(expected, found, strict=True))


@pytest.mark.parametrize(("seconds", "frames"), [(1e-4, 2), (0.1, 5), (0.109, 5), (1.0, 50)])
def test_a_crop_is_whole_frames_at_least_two(make_config, seconds, frames):
    config = build(DataConfig, {"crop_seconds": seconds})
    assert crop_samples(config, make_config()) == 480 * frames
