"""Stream a file through a server at the pace of speech: audio out, codes back, audio of the codes.

python examples/stream_file.py speech.wav heard.wav --address 127.0.0.1:50551 --bitrate 3000
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import soundfile

from sotto.codec.audio import read_blocks, read_info
from sotto.service.client import SottoClient

CHUNK_MS = 80


def paced(path: str, chunk: int, sample_rate: int) -> Iterator[np.ndarray]:
    """The file in chunks, float32 [C, S], each when a microphone would have it."""
    start = time.monotonic()
    _, blocks = read_blocks(path, chunk)
    sent = 0
    for block in blocks:  # [S, C]
        sent += len(block)
        time.sleep(max(0.0, start + sent / sample_rate - time.monotonic()))
        yield np.ascontiguousarray(block.T)


def main() -> None:
    """Encode the file as it plays, then decode the codes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--address", default="127.0.0.1:50551")
    parser.add_argument("--bitrate", type=float, default=3000)
    args = parser.parse_args()

    source = read_info(args.source)
    rate, channels = source.sample_rate, source.channels
    chunks = paced(args.source, rate * CHUNK_MS // 1000, rate)
    with SottoClient(args.address) as client:
        packets = []
        with client.stream_encode(chunks, rate, channels=channels, bitrate=args.bitrate) as stream:
            for packet in stream:
                packets.append(packet)
                print(f"frame {packet.first_frame}: {packet.codes.shape[2]} more")
        totals = stream.totals
        assert totals is not None  # the stream ended well
        heard = client.stream_decode(
            packets, channels=channels, sample_rate=rate, num_samples=totals.num_samples
        )
        audio = np.concatenate(list(heard), axis=1)
    soundfile.write(args.target, audio.T, rate)
    print(
        f"{totals.audio_seconds:.2f} s at {8 * totals.num_bytes / totals.audio_seconds:.0f} bit/s"
    )


if __name__ == "__main__":
    main()
