"""A microphone as chunks for a streaming call, plain or for asyncio; needs the extra ``mic``."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from sotto.codec.errors import AudioError, BackendError

from .client_types import Audio

_MAX_WAITING_S: Final = 10.0  # of speech that nobody fetched: more would be delay, not audio
_SILENT_S: Final = 5.0  # without a chunk: a device that was unplugged says nothing at all


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
        AudioError: No such device, it went away, or the caller fell 10 s behind.
    """
    waiting: queue.Queue[Audio] = queue.Queue(_most(chunk_ms))
    overrun = False

    def arrived(audio: Audio) -> None:
        nonlocal overrun
        try:
            waiting.put_nowait(audio)
        except queue.Full:
            overrun = True

    with _listening(sample_rate, channels, chunk_ms, device, arrived):
        while not overrun:
            try:
                audio = waiting.get(timeout=_SILENT_S)
            except queue.Empty:
                raise _gone() from None
            yield audio
    raise _overrun()


async def async_microphone(
    sample_rate: int = 24_000,
    *,
    channels: int = 1,
    chunk_ms: int = 20,
    device: int | str | None = None,
) -> AsyncIterator[Audio]:
    """`microphone` for `AsyncSottoClient`, whose event loop the plain one would hold up."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[Audio] = asyncio.Queue(_most(chunk_ms))
    overrun = False

    def take(audio: Audio) -> None:
        nonlocal overrun
        try:
            waiting.put_nowait(audio)
        except asyncio.QueueFull:
            overrun = True

    def arrived(audio: Audio) -> None:
        loop.call_soon_threadsafe(take, audio)

    with _listening(sample_rate, channels, chunk_ms, device, arrived):
        while not overrun:
            try:
                audio = await asyncio.wait_for(waiting.get(), _SILENT_S)
            except TimeoutError:
                raise _gone() from None
            yield audio
    raise _overrun()


def _listening(
    sample_rate: int,
    channels: int,
    chunk_ms: int,
    device: int | str | None,
    arrived: Callable[[Audio], None],
) -> Any:
    """A stream of the sound card; `arrived` gets each chunk in a thread of PortAudio."""
    sounddevice = _sounddevice()

    def callback(recorded: Audio, _frames: int, _time: Any, _status: Any) -> None:
        arrived(recorded.T.copy())  # PortAudio uses its own again

    try:
        return sounddevice.InputStream(
            samplerate=sample_rate,
            channels=channels,
            blocksize=sample_rate * chunk_ms // 1000,
            device=device,
            dtype="float32",
            callback=callback,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"the microphone cannot be opened: {error}") from error


def _most(chunk_ms: int) -> int:
    return int(_MAX_WAITING_S * 1000 / chunk_ms)


def _gone() -> AudioError:
    return AudioError(f"the microphone gave nothing for {_SILENT_S:g} s; is it still there?")


def _overrun() -> AudioError:
    return AudioError(f"{_MAX_WAITING_S:g} s of the microphone wait unread; read it faster")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        raise BackendError(
            f"no microphone: install sotto-codec[mic] and the PortAudio library ({error})"
        ) from error
    return sounddevice
