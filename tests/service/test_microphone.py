"""The microphone, with a sound card that is played by the test."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from sotto.codec.errors import AudioError, BackendError
from sotto.service import microphone as module
from sotto.service.microphone import async_microphone, microphone


class Stream:
    def __init__(self, callback, blocksize, channels, device, samplerate, dtype):
        assert (samplerate, dtype) == (8000, "float32")
        if device == "none":
            raise ValueError("no device 'none'")
        self.callback, self.block = callback, np.zeros((blocksize, channels), np.float32)
        self.blocks = 3 if device is None else 600

    def __enter__(self):
        for i in range(self.blocks):
            self.block[:] = i
            self.callback(self.block, len(self.block), None, None)

    def __exit__(self, *_):
        self.block = None


@pytest.fixture
def card(monkeypatch):
    module = SimpleNamespace(InputStream=Stream, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)


@pytest.mark.usefixtures("card")
def test_chunks_come_in_order_and_are_copies():
    chunks = microphone(8000, channels=2)
    found = [next(chunks) for _ in range(3)]
    assert [c.shape for c in found] == [(2, 160)] * 3
    assert [float(c[1, 0]) for c in found] == [0, 1, 2]
    chunks.close()


@pytest.mark.usefixtures("card")
def test_a_missing_device_and_a_reader_that_sleeps_are_clear_errors():
    with pytest.raises(AudioError, match="cannot be opened: no device 'none'"):
        next(microphone(8000, device="none"))
    with pytest.raises(AudioError, match="10 s of the microphone wait unread"):
        list(microphone(8000, device="busy"))


@pytest.mark.usefixtures("card")
def test_a_device_that_goes_away_is_noticed(monkeypatch):
    monkeypatch.setattr(module, "_SILENT_S", 0.05)
    chunks = microphone(8000)
    assert len([next(chunks) for _ in range(3)]) == 3
    with pytest.raises(AudioError, match=r"gave nothing for 0\.05 s"):
        next(chunks)


async def listen(found, **options):
    async for chunk in async_microphone(8000, **options):
        found.append(chunk)


@pytest.mark.usefixtures("card")
async def test_so_it_is_for_asyncio(monkeypatch):
    monkeypatch.setattr(module, "_SILENT_S", 0.05)
    found = []
    with pytest.raises(AudioError, match=r"gave nothing for 0\.05 s"):
        await listen(found, channels=2)
    assert [float(c[1, 0]) for c in found] == [0, 1, 2]
    assert found[0].shape == (2, 160)
    with pytest.raises(AudioError, match="10 s of the microphone wait unread"):
        await listen(found, device="busy")


def test_without_sounddevice_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(BackendError, match=r"sotto-codec\[mic\]"):
        next(microphone(8000))
