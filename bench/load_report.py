"""What a load test found: its numbers as JSON, and delay over sessions as a picture."""

import json as jsonlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from .bulk import Bulk
from .load_ramp import LIMIT_MS, Ramp
from .machine import Machine

LOAD_FORMAT: Final = 2
DEFINITIONS: Final = {
    "session": "one StreamingEncode and one StreamingDecode call on a connection of their own: "
    "LINEAR16 speech is sent at the pace of speech, the codes that come back are sent on, the audio "
    "is received",
    "delay": "added delay: from the time at which the last chunk was due that a piece of audio "
    "needs, to its arrival; frame and overlap, which any server needs, are not in it",
    "cpu": "cores in use during the step",
    "server_ms_per_s": "processor milliseconds of the server for a second of audio, both ways",
    "memory_mb": "resident memory of the server at the end of the step",
    "capacity": "most sessions whose p99 was at most the limit and none of which failed",
    "cpu_ratio": "server_ms_per_s one by one / batched, at the same number of sessions: the largest "
    "that both were given",
}


@dataclass(frozen=True)
class LoadReport:
    """Everything one run measured.

    Attributes:
        created: When.
        chunks_ms: Chunk lengths of the sessions, in turn.
        clip: What they said.
        step_s: Seconds of a step.
        batched: The server as it is.
        unbatched: A server of one stream a step; None if it was not measured.
        cpu_ratio: How much more processor time the unbatched one needed.
        bulk: A long recording through `Encode`.
        capacity_ratio: How many more sessions the batched one carried; None if either is unknown.
        definitions: What the words mean.
        versions: Of the packages that matter.
        machine: What it ran on.
    """

    created: str
    chunks_ms: tuple[int, ...]
    clip: str
    step_s: float
    batched: Ramp
    unbatched: Ramp | None
    cpu_ratio: float | None
    capacity_ratio: float | None
    bulk: Bulk
    definitions: dict[str, str]
    versions: dict[str, str]
    machine: Machine


def cpu_ratio(batched: Ramp, unbatched: Ramp) -> float | None:
    """Processor time for a second of audio, one by one / batched; None without a common step."""
    costs = {step.sessions: step.server_ms_per_s for step in batched.steps}
    common = [step for step in unbatched.steps if costs.get(step.sessions)]
    return common[-1].server_ms_per_s / costs[common[-1].sessions] if common else None


def save(report: LoadReport, folder: Path) -> None:
    """Write load.json and load.png."""
    folder.mkdir(parents=True, exist_ok=True)
    content = jsonlib.dumps({"format": LOAD_FORMAT, **asdict(report)}, indent=2) + "\n"
    (folder / "load.json").write_text(content, encoding="utf-8")
    _plot(report, folder / "load.png")


def _plot(report: LoadReport, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    ramps = {"batched": report.batched, "one by one": report.unbatched}
    for (name, found), style in zip(ramps.items(), ("-o", "--s"), strict=True):
        if found is not None:
            counts = [step.sessions for step in found.steps]
            for label in ("p50", "p99"):
                delays = [getattr(step, f"{label}_ms") for step in found.steps]
                axes.plot(counts, delays, style, label=f"{name}, {label}")
    axes.axhline(LIMIT_MS, color="grey", linewidth=0.8)
    axes.set(xlabel="duplex sessions in real time", ylabel="added delay, ms", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)
