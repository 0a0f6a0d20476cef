"""A microphone as chunks for a streaming call; needs the extra ``mic``."""

import queue
from collections.abc import Iterator
from typing import Any, Final

from sotto.codec.errors import AudioError, BackendError

from .client_types import Audio

_MAX_WAITING_S: Final = 10.0  # of speech that nobody fetched: more would be delay, not audio


def microphone(
    sample_rate: int = 24_000,
    *,
    channels: int = 1,
    chunk_ms: int = 20,
    device: int | str | None = None,
) -> Iterator[Audio]:
    """Listen until the caller stops iterating.

    Args:
        sample_rate: Hz.
        channels: Channels to record.
        chunk_ms: Length of a chunk.
        device: Number or name as in ``python -m sounddevice``; the system's default otherwise.

    Yields:
        float32 [channels, S] for `stream_encode` and `stream_transcode`.

    Raises:
        BackendError: sounddevice or PortAudio is not there.
        AudioError: No such device, or the caller fell 10 s behind.
    """
    sounddevice = _sounddevice()
    size = sample_rate * chunk_ms // 1000
    waiting: queue.Queue[Audio] = queue.Queue(int(_MAX_WAITING_S * 1000 / chunk_ms))
    overrun = False

    def arrived(recorded: Audio, _frames: int, _time: Any, _status: Any) -> None:
        nonlocal overrun
        try:
            waiting.put_nowait(recorded.T.copy())  # PortAudio uses its own again
        except queue.Full:
            overrun = True

    try:
        stream = sounddevice.InputStream(
            samplerate=sample_rate,
            channels=channels,
            blocksize=size,
            device=device,
            dtype="float32",
            callback=arrived,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"the microphone cannot be opened: {error}") from error
    with stream:
        while not overrun:
            yield waiting.get()
    raise AudioError(f"{_MAX_WAITING_S:g} s of the microphone wait unread; read it faster")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        raise BackendError(
            f"no microphone: install sotto-codec[mic] and the PortAudio library ({error})"
        ) from error
    return sounddevice
