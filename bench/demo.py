"""The first thing to run: a clip through a server, in small chunks, into tokens, wav and a picture."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sotto.codec.audio import read_audio, write_audio
from sotto.codec.bitstream import Header, create
from sotto.codec.info import ModelInfo
from sotto.codec.packing import Codes
from sotto.codec.rates import rescale
from sotto.export.runtime import DEFAULT_MODEL, find_bundle
from sotto.service.client import SottoClient

from .clips import Audio
from .sample import sample_clip
from .server import running_server

CHUNK_MS = 80


@dataclass(frozen=True)
class Streamed:
    """What one pass through the server gave.

    Attributes:
        codes: int64 [K, T].
        decoded: float32 [S], as long as the input.
        info: The model that did it.
        work_s: Seconds that the server worked on encode and decode.
        response_ms: Median time from sending a chunk to having its codes.
    """

    codes: Codes
    decoded: Audio
    info: ModelInfo
    work_s: float
    response_ms: float


def stream_through(address: str, audio: Audio, sample_rate: int, bitrate: float) -> Streamed:
    """Encode audio [S] live, a chunk every 80 ms, then decode the packets one by one."""
    sent: list[float] = []
    delays: list[float] = []
    step = sample_rate * CHUNK_MS // 1000

    def speak() -> Iterator[Audio]:
        started = time.perf_counter()
        for number, start in enumerate(range(0, len(audio), step)):
            time.sleep(max(started + number * CHUNK_MS / 1000 - time.perf_counter(), 0))
            sent.append(time.perf_counter())
            yield audio[start : start + step]

    packets = []
    with SottoClient(address) as client:
        with client.stream_encode(speak(), sample_rate, bitrate=bitrate) as stream:
            for packet in stream:
                delays.append(time.perf_counter() - sent[-1])
                packets.append(packet)
        info, encoded = stream.info.model, stream.totals
        with client.stream_decode(
            packets, sample_rate=sample_rate, num_samples=len(audio), identity=info.identity
        ) as heard:
            decoded = np.concatenate([piece[0] for piece in heard])
    assert encoded is not None  # both streams ended well, so they came with their totals
    assert heard.totals is not None
    codes = np.concatenate([packet.codes[0] for packet in packets], axis=1)
    seconds = len(audio) / sample_rate
    work_s = seconds * (encoded.real_time_factor + heard.totals.real_time_factor)
    return Streamed(codes, decoded, info, work_s, 1000 * float(np.median(delays)))


def save_picture(path: Path, original: Audio, decoded: Audio, sample_rate: int) -> None:
    """Spectrograms of both, one above the other, as PNG."""
    figure = Figure(figsize=(10, 6))
    canvas = FigureCanvasAgg(figure)
    for axis, name, audio in zip(
        figure.subplots(2, 1, sharex=True),
        ("original", "decoded"),
        (original, decoded),
        strict=True,
    ):
        axis.specgram(audio + 1e-7, NFFT=960, noverlap=720, Fs=sample_rate, vmin=-140, vmax=-40)
        axis.set(ylabel=f"{name}, Hz")
    axis.set(xlabel="s")
    figure.tight_layout()
    canvas.print_png(str(path))  # type: ignore[no-untyped-call]


def main(
    clip: Annotated[Path | None, typer.Argument(help="Audio; default: the packaged clip.")] = None,
    bitrate: Annotated[float, typer.Option(help="Bits per second.")] = 6000,
    model: Annotated[
        str, typer.Option(help="A shipped model, or a bundle folder.")
    ] = DEFAULT_MODEL,
    output: Annotated[Path, typer.Option(help="Folder for what comes out.")] = Path("demo-output"),
) -> None:
    """Start a server, stream a clip through it, and keep tokens, wav and a spectrogram."""
    audio, sample_rate = sample_clip() if clip is None else read_audio(clip)
    mono = audio.mean(axis=1) if audio.ndim == 2 else audio
    with running_server(find_bundle(model)) as server:
        result = stream_through(server.address, mono, sample_rate, bitrate)
        memory_mb = server.peak_mb()
    output.mkdir(parents=True, exist_ok=True)
    header = Header.for_model(
        result.info, num_codebooks=len(result.codes), source_sample_rate=sample_rate
    )
    with create(output / "codes.sotto", header) as writer:
        writer.write(result.codes[None])
        num_samples = rescale(len(mono), sample_rate, result.info.sample_rate)
        writer.finish(num_samples, len(mono))
    write_audio(output / "original.wav", mono, sample_rate)
    write_audio(output / "decoded.wav", result.decoded, sample_rate)
    save_picture(output / "spectrogram.png", mono, result.decoded, sample_rate)
    seconds = len(mono) / sample_rate
    for name, value in {
        "clip": f"{seconds:.2f} s at {sample_rate} Hz, sent live in chunks of {CHUNK_MS} ms",
        "codes": f"{result.codes.shape[0]} books x {result.codes.shape[1]} frames",
        "bitrate": f"{result.info.bitrate(len(result.codes)):.0f} bit/s",
        "latency": f"{result.info.latency_ms:.0f} ms by design, and codes come back "
        f"{result.response_ms:.1f} ms after their chunk was sent",
        "real time": f"{seconds / result.work_s:.0f} x, encode and decode inside the server",
        "server": f"{memory_mb:.0f} MB at most",
        "listen to": f"{output}/original.wav, {output}/decoded.wav",
        "look at": f"{output}/spectrogram.png, sotto info {output}/codes.sotto",
    }.items():
        typer.echo(f"{name:>10}  {value}")


if __name__ == "__main__":
    typer.run(main)
