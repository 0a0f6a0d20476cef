"""Recordings with a header."""

import gc
import io
import tracemalloc

import numpy as np
import pytest
import soundfile

from sotto.codec.errors import AudioError
from sotto.service.containers import Container, Recording, RecordingWriter
from sotto.service.errors import LimitError


def written(container, audio, sample_rate=24_000, max_bytes=1 << 20):
    writer = RecordingWriter(container, sample_rate, audio.shape[1], max_bytes)
    writer.write(audio)
    return writer.close()


@pytest.mark.parametrize("container", list(Container))
def test_what_is_written_reads_back_with_its_rate_channels_and_length(container, speech):
    recording = Recording(written(container, speech.T), container)
    assert (recording.sample_rate, recording.channels) == (24_000, 2)
    audio = np.concatenate(list(recording.blocks(1000)))
    assert audio.shape == speech.T.shape
    if container is not Container.OGG_OPUS:
        np.testing.assert_allclose(audio, speech.T, atol=1 / 32768)


@pytest.mark.parametrize("container", list(Container))
@pytest.mark.parametrize(
    "payload", [b"", b"RIFF", b"fLaC" + bytes(50), b"OggS" + bytes(500), b"x" * 99]
)
def test_what_is_no_recording_is_rejected(container, payload):
    with pytest.raises(AudioError):
        list(Recording(payload, container).blocks(1000))


def test_a_format_is_not_taken_for_another(speech):
    flac = written(Container.FLAC, speech.T)
    with pytest.raises(AudioError, match="WAV"):
        Recording(flac, Container.WAV)
    vorbis = io.BytesIO()
    soundfile.write(vorbis, speech.T, 24_000, format="OGG", subtype="VORBIS")
    with pytest.raises(AudioError, match="VORBIS"):
        Recording(vorbis.getvalue(), Container.OGG_OPUS)


def test_damage_gives_an_error_or_audio_but_never_a_crash(speech):
    rng = np.random.default_rng(1)
    for container in Container:
        intact = written(container, speech.T[:9600])
        for _ in range(20):
            damaged = bytearray(intact)
            for place in rng.integers(4, len(intact), 5):
                damaged[place] = rng.integers(256)
            try:
                total = sum(map(len, Recording(bytes(damaged), container).blocks(4800)))
            except AudioError:
                continue
            assert total < 10_000_000


def test_a_small_file_that_unfolds_into_hours_is_decoded_block_by_block():
    silence = np.zeros((8000 * 1200, 1), np.int16)
    bomb = io.BytesIO()
    soundfile.write(bomb, silence, 8000, format="FLAC")
    tracemalloc.start()
    blocks = Recording(bomb.getvalue(), Container.FLAC).blocks(8000)
    for _ in range(3):
        assert next(blocks).shape == (8000, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20 < silence.nbytes


@pytest.mark.parametrize("container", list(Container))
def test_a_recording_that_outgrows_its_limit_is_stopped(container, speech):
    writer = RecordingWriter(container, 24_000, 2, 4096)
    with pytest.raises(LimitError, match="4096"):
        all(writer.write(speech.T) is None for _ in range(10))


def test_opus_rates_are_named_when_another_is_asked_for():
    with pytest.raises(AudioError, match="8000, 12000, 16000, 24000, 48000"):
        RecordingWriter(Container.OGG_OPUS, 22_050, 1, 1 << 20)


def test_impossible_files_are_rejected():
    with pytest.raises(AudioError, match="FLAC"):
        RecordingWriter(Container.FLAC, 24_000, 100, 1 << 20)


def test_abandoned_recordings_are_collected_without_noise(speech):
    intact = written(Container.FLAC, speech.T)
    for container in Container:
        RecordingWriter(container, 24_000, 2, 1 << 20).write(speech.T)
        next(Recording(intact, Container.FLAC).blocks(100))
    gc.collect()  # an exception in a finalizer would fail the test
