"""Speed and memory of a model in one run: ``python -m sotto.bench.speed``, or ``make bench``."""

import math
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soxr
import typer
from rich.console import Console
from rich.table import Table

from sotto.codec.audio import read_audio
from sotto.codec.errors import BundleError, CodecError
from sotto.commands.options import Beam
from sotto.export.runtime import Codec, find_bundle

from .clips import Audio
from .machine import Machine, package_versions, this_machine
from .report import to_json
from .sample import sample_clip
from .server import CHUNK_MS, SESSIONS, ServerUse, measure_server
from .timing import Offline, Spread, Streaming, spread, time_call, time_offline, time_streaming

SPEED_FORMAT = 1
STEPS_MS = (20.0, 80.0)
PACKAGES = ("sotto-codec", "numpy", "onnxruntime", "onnxruntime-gpu", "grpcio")
DEFINITIONS = {
    "offline": "seconds of audio / seconds of Codec.encode (all books), Codec.decode, and both",
    "streaming": "the same for StreamEncoder.push and StreamDecoder.push in steps of step_ms, with "
    "the first step and the flush at the end counted",
    "step": "milliseconds one step takes: median, 95th percentile and maximum within each repeat",
    "load_s": "Codec.load in a process that has loaded it before",
    "cold_start_s": "a new Python process that imports sotto and loads the model",
    "server": "VmHWM (peak resident memory) of a server process that has loaded the model, before "
    f"the first call and after {SESSIONS} clients at once had the clip transcoded in {CHUNK_MS} ms "
    "messages; x real time counts the audio of all of them, clients on the same machine",
    "spread": "median of the repeats [smallest, largest]",
}


@dataclass(frozen=True)
class SpeedReport:
    """Everything one run measured.

    Attributes:
        model: The model's sizes and identity.
        beam_size: Code paths that the search of its encoder kept.
        created: UTC time, ISO 8601.
        clip: Name of the clip.
        clip_s: Its length in seconds.
        threads: Threads the codec used.
        repeats: How often each timing was made.
        offline: The whole clip at once.
        streaming: One entry per step length.
        load_s: Seconds to load the model.
        cold_start_s: Seconds until a new process has loaded it.
        server: Memory and speed of a server process; None if not measured.
        definitions: What each number means.
        versions: Packages that were used.
        machine: Where it ran.
    """

    model: dict[str, Any]
    beam_size: int
    created: str
    clip: str
    clip_s: float
    threads: int
    repeats: int
    offline: Offline
    streaming: tuple[Streaming, ...]
    load_s: Spread
    cold_start_s: Spread
    server: ServerUse | None
    definitions: dict[str, str]
    versions: dict[str, str]
    machine: Machine

    def to_json(self) -> str:
        """The report as JSON; nan becomes null."""
        return to_json({"format": SPEED_FORMAT, **asdict(self)})


def measure_speed(
    model: str | Path,
    *,
    clip: str | Path | None = None,
    threads: int = 1,
    repeats: int = 5,
    with_server: bool = True,
    beam_size: int | None = None,
) -> SpeedReport:
    """Time a model and weigh its server.

    Args:
        model: A shipped model's name, or a bundle folder.
        clip: Audio file with some seconds of speech; None for the packaged clip.
        threads: Threads of the runtime, here and in the server.
        repeats: How often each timing is made.
        with_server: Also start a server and stream through it.
        beam_size: Code paths that the search keeps, as for `Codec`; the server's is greedy.

    Raises:
        CodecError: The model cannot be loaded, the clip not be read, or the server not be run.
    """
    machine = this_machine()  # the load before this run adds to it
    bundle = find_bundle(model)
    codec = Codec.load(bundle, threads=threads, beam_size=beam_size)
    audio = load_clip(clip, codec.info.sample_rate)
    return SpeedReport(
        model={**asdict(codec.info), "latency_ms": codec.info.latency_ms},
        beam_size=codec.beam_size,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        clip="packaged sample" if clip is None else Path(clip).name,
        clip_s=audio.size / codec.info.sample_rate,
        threads=threads,
        repeats=repeats,
        offline=time_offline(codec, audio, repeats),
        streaming=tuple(time_streaming(codec, audio, ms, repeats) for ms in STEPS_MS),
        load_s=spread([time_call(lambda: Codec.load(bundle, threads=threads)) for _ in range(3)]),
        cold_start_s=spread([_cold_start_s(bundle) for _ in range(3)]),
        server=measure_server(bundle, codec.info.sample_rate, audio, threads)
        if with_server
        else None,
        definitions=DEFINITIONS,
        versions=package_versions(*PACKAGES),
        machine=machine,
    )


def load_clip(clip: str | Path | None, sample_rate: int) -> Audio:
    """A clip, by default the packaged one, as mono float32 [S] at `sample_rate`.

    Raises:
        AudioError: Not readable.
    """
    audio, clip_rate = sample_clip() if clip is None else read_audio(clip)
    mono = audio if audio.ndim == 1 else audio.mean(axis=1)
    if clip_rate != sample_rate:
        mono = soxr.resample(mono, clip_rate, sample_rate)
    return np.ascontiguousarray(mono, np.float32)


def print_speed(report: SpeedReport, console: Console | None = None) -> None:
    """Print a report as tables, with what each number means."""
    console = console or Console()
    model, machine = report.model, report.machine
    search = f"beam of {report.beam_size}" if report.beam_size > 1 else "greedy search"
    lines = [
        f"{model['name']} {model['version']} ({model['identity'][:12]}), {search}, "
        f"{report.threads} thread(s), "
        f"{report.clip} of {report.clip_s:.1f} s, {report.repeats} repeats",
        f"{machine.cpu}, {machine.cores} cores, load {machine.load:.1f} at the start",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(_throughput_table(report))
    console.print(_step_table(report))
    console.print(_process_table(report))
    for name, meaning in report.definitions.items():
        console.print(f"{name}: {meaning}", highlight=False, markup=False, soft_wrap=True)


def _throughput_table(report: SpeedReport) -> Table:
    table = Table(title="x real time")
    for heading in ("", "encode", "decode", "both"):
        table.add_column(heading, justify="right" if heading else "left")
    rows: list[tuple[str, Offline | Streaming]] = [("offline", report.offline)]
    rows += [(f"stream, {s.step_ms:g} ms steps", s) for s in report.streaming]
    for name, row in rows:
        table.add_row(name, *(_text(part, ".0f") for part in (row.encode, row.decode, row.both)))
    return table


def _step_table(report: SpeedReport) -> Table:
    table = Table(title="Milliseconds per step")
    for heading in ("", "p50", "p95", "max"):
        table.add_column(heading, justify="right" if heading else "left")
    for stream in report.streaming:
        parts = {"encode": stream.encode_step, "decode": stream.decode_step}
        for name, times in (parts | {"both": stream.both_step}).items():
            table.add_row(
                f"{stream.step_ms:g} ms: {name}",
                *(_text(part, ".2f") for part in (times.p50_ms, times.p95_ms, times.max_ms)),
            )
    return table


def _process_table(report: SpeedReport) -> Table:
    table = Table(title="Processes", show_header=False)
    table.add_row("load the model", f"{_text(report.load_s, '.2f')} s")
    table.add_row("new process to loaded model", f"{_text(report.cold_start_s, '.2f')} s")
    if report.server is not None:
        use = report.server
        table.add_row("server memory after its start", _megabytes(use.start_mb))
        table.add_row(f"server memory, {use.sessions} streams", _megabytes(use.peak_mb))
        table.add_row(f"server, {use.sessions} streams", f"{use.times_real_time:.0f} x real time")
    return table


def _text(value: Spread, form: str) -> str:
    return f"{value.median:{form}} [{value.low:{form}}, {value.high:{form}}]"


def _megabytes(value: float) -> str:
    return "unknown on this system" if math.isnan(value) else f"{value:.0f} MB"


def _cold_start_s(bundle: Path) -> float:
    """Seconds in which a new Python process imports sotto and loads a bundle."""
    command = [sys.executable, "-c", "import sys, sotto; sotto.load(sys.argv[1])", str(bundle)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise BundleError(f"a new process could not load {bundle}: {done.stderr.strip()}")
    return time.perf_counter() - start


def main(
    model: Annotated[str, typer.Option(help="Shipped model, or bundle folder.")] = "speech-24khz",
    clip: Annotated[Path | None, typer.Option(help="Speech; default: the packaged clip.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="How often each timing is made.")] = 5,
    server: Annotated[bool, typer.Option(help="Also measure a server process.")] = True,
    beam: Beam = None,
    json: Annotated[Path, typer.Option(help="Where the numbers go.")] = Path(
        "bench-output/speed.json"
    ),
) -> None:
    """Measure speed and memory of a model, print them, and save every repeat as JSON."""
    try:
        report = measure_speed(
            model,
            clip=clip,
            threads=threads,
            repeats=repeats,
            with_server=server,
            beam_size=beam,
        )
    except CodecError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        raise typer.Exit(1) from error
    json.parent.mkdir(parents=True, exist_ok=True)
    json.write_text(report.to_json(), encoding="utf-8")
    print_speed(report)
    Console().print(f"saved {json}", markup=False, highlight=False)


if __name__ == "__main__":
    typer.run(main)
