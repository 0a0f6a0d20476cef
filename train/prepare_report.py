"""What `sotto prepare` found, as a table and a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from .measure import Measures
from .prepare import Prepared, counts, kept_measures

PICTURE = "report.png"


def table(prepared: Sequence[Prepared]) -> Table:
    """One row per source and split of what is kept; what was dropped, and why, below."""
    view = Table(title="kept", caption=counts(prepared))
    for name in ("source", "split", "clips", "speakers", "hours", "bandwidth, kHz", "LUFS"):
        view.add_column(name, justify="left" if name in ("source", "split") else "right")
    groups: dict[tuple[str, str], list[tuple[str, Measures]]] = {}
    for clip, found in kept_measures(prepared):
        groups.setdefault((clip.source, clip.split), []).append((clip.speaker, found))
    for (source, split), rows in sorted(groups.items()):
        measures = [found for _, found in rows]
        loudness = [m.loudness_lufs for m in measures if m.loudness_lufs is not None]
        view.add_row(
            source,
            split,
            str(len(rows)),
            str(len({speaker for speaker, _ in rows})),
            f"{sum(m.seconds for m in measures) / 3600:.2f}",
            f"{np.median([m.bandwidth_hz for m in measures]) / 1000:.1f}",
            f"{np.median(loudness):.1f}" if loudness else "-",
        )
    return view


def draw(prepared: Sequence[Prepared], folder: Path) -> None:
    """Write ``report.png``: how each measure is spread over the clips that could be read."""
    found = [item.measures for item in prepared if item.measures is not None]
    panels = {
        "duration, s": [m.seconds for m in found],
        "bandwidth, kHz": [m.bandwidth_hz / 1000 for m in found],
        "loudness, LUFS": [m.loudness_lufs for m in found if m.loudness_lufs is not None],
        "clipped, % of samples": [100 * m.clipped_share for m in found],
        "silent, % of frames": [100 * m.silent_share for m in found],
    }
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).flat
    for axis, (name, values) in zip(axes, panels.items(), strict=False):
        axis.hist(values, bins=40)
        axis.set(xlabel=name, ylabel="clips")
    axes[5].axis("off")
    axes[5].text(0, 0.5, counts(prepared).replace(", ", "\n"), va="center")
    figure.savefig(folder / PICTURE, dpi=120)
