"""Hear yourself through the codec: microphone to server to loudspeaker (use headphones).

Needs `pip install 'sotto-codec[mic]'` and PortAudio.

    python examples/microphone.py --address 127.0.0.1:50551 --bitrate 3000
"""

import argparse
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from sotto.service.client import SottoClient
from sotto.service.microphone import microphone

SAMPLE_RATE = 24_000
CHUNK_MS = 40


class Loudspeaker:
    """Keeps what was heard until the sound card asks for it; silence where nothing came in time."""

    def __init__(self) -> None:
        self._heard: SimpleQueue[np.ndarray] = SimpleQueue()
        self._rest = np.zeros(0, np.float32)

    def play(self, audio: np.ndarray) -> None:
        """Take audio float32 [1, S]."""
        self._heard.put(audio[0])

    def take(self, count: int) -> np.ndarray:
        """Give `count` samples."""
        while len(self._rest) < count:
            try:
                self._rest = np.concatenate([self._rest, self._heard.get_nowait()])
            except Empty:
                break
        audio, self._rest = self._rest[:count], self._rest[count:]
        return np.pad(audio, (0, count - len(audio)))


def main() -> None:
    """Run until Ctrl-C."""
    import sounddevice

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:50551")
    parser.add_argument("--bitrate", type=float, default=3000)
    args = parser.parse_args()

    loudspeaker = Loudspeaker()

    def refill(played: Any, count: int, *_: Any) -> None:
        played[:, 0] = loudspeaker.take(count)

    device = sounddevice.OutputStream(SAMPLE_RATE, channels=1, dtype="float32", callback=refill)
    with SottoClient(args.address) as client, device:
        print("speak; Ctrl-C ends")
        speech = microphone(SAMPLE_RATE, chunk_ms=CHUNK_MS)
        with suppress(KeyboardInterrupt):
            for audio in client.stream_transcode(speech, SAMPLE_RATE, bitrate=args.bitrate):
                loudspeaker.play(audio)


if __name__ == "__main__":
    main()
