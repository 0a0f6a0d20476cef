"""Features of a teacher on disk: means over any stretch, in place in a crop, clear errors."""

import numpy as np
import pytest
import torch

from sotto.codec.errors import AudioError
from sotto.train.features import FeatureStore, Place, TeacherInfo, crop_features


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "features", TeacherInfo("t", 3, 50.0))


@pytest.fixture
def clip(tmp_path, store):
    path = tmp_path / "a.wav"
    path.write_bytes(b"a")
    store.put(path, np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32))
    return path


def fine(store, clip, begin, end):
    """The mean by ten thousand looks a second."""
    stored = np.load(next(store.folder.glob("*.npy"))).astype(np.float64)
    at = np.arange(begin + 0.5e-4, end, 1e-4)
    return stored[np.minimum((at * 50).astype(int), len(stored) - 1)].mean(axis=0)


@pytest.mark.parametrize("length", [0.08, 0.02, 0.0133, 0.005])
def test_a_stretch_has_the_mean_of_what_lies_in_it(store, clip, length):
    begin = np.array([0.0, 0.0037, 0.1, 0.3])
    found = store.mean(clip, begin, begin + length)
    assert found.shape == (4, 3)
    assert found.dtype == np.float32
    for row, start in zip(found, begin, strict=True):
        np.testing.assert_allclose(row, fine(store, clip, start, start + length), atol=2e-2)


def test_frames_of_the_teacher_come_back_as_they_are(store, clip):
    edges = np.arange(20) / 50
    stored = np.load(next(store.folder.glob("*.npy")))
    np.testing.assert_allclose(store.mean(clip, edges, edges + 0.02), stored, atol=1e-3)


def test_past_its_end_a_clip_keeps_its_last_features(store, clip):
    stored = np.load(next(store.folder.glob("*.npy")))
    found = store.mean(clip, np.array([0.41, 0.39]), np.array([0.43, 0.43]))
    np.testing.assert_allclose(found, np.stack([stored[-1]] * 2), atol=1e-3)


def test_a_recording_that_changed_has_no_features(store, clip):
    assert store.has(clip)
    clip.write_bytes(b"another")
    assert not store.has(clip)
    with pytest.raises(
        AudioError, match=r"no features of .*a\.wav.*sotto prepare DATA OUT --teach"
    ):
        store.mean(clip, np.zeros(1), np.ones(1))


def test_a_folder_belongs_to_one_teacher(store, tmp_path):
    assert FeatureStore.create(store.folder, store.info).info == store.info
    with pytest.raises(AudioError, match="holds features of"):
        FeatureStore.create(store.folder, TeacherInfo("other", 3, 50.0))
    with pytest.raises(AudioError, match="has no features of a teacher"):
        FeatureStore(tmp_path)


@pytest.mark.parametrize("lengths", [[400], [130, 270], [37, 200, 163], [5, 5, 390]], ids=str)
def test_a_frame_of_a_crop_has_the_features_of_the_clip_that_holds_its_middle(
    store, tmp_path, lengths
):
    places = []
    for number, length in enumerate(lengths):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(b"x")
        store.put(path, np.full((50, 3), number, np.float32))
        places.append(Place(path, 100 * number, length))
    found = crop_features([store, store], places, 40, 1_000)
    assert found.shape == (10, 6)
    middles = 40 * np.arange(10) + 20
    owner = np.searchsorted(np.cumsum(lengths), middles, side="right")
    torch.testing.assert_close(found[:, 0], torch.tensor(owner, dtype=torch.float32))


def test_a_crop_has_the_features_of_its_own_time(store, clip):
    found = crop_features([store], [Place(clip, 160, 80)], 20, 1_000)
    stored = np.load(next(store.folder.glob("*.npy")))
    np.testing.assert_allclose(found.numpy(), stored[8:12], atol=1e-3)
