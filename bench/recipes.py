"""Every recipe at full size, trained a little, streamed and exported: ``make recipes``."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from torch import Tensor

from sotto.codec.errors import CodecError, ConfigError
from sotto.codec.model import CodecModel
from sotto.export.onnx import describe
from sotto.train.bundle import export_run, load_run
from sotto.train.config import load_config
from sotto.train.dry_run import cost, count

from .machine import peak_memory_mb, reset_peak_memory
from .speed import load_clip
from .trial import Trial, run_trial, shortened

CONFIGS = Path(__file__).parent.parent / "train" / "configs"
MAX_DIFFERENCE = 1e-4  # of a stream from the whole, in samples
CHECK_S = 2.0  # of speech for the check of the stream


@dataclass(frozen=True)
class Setting:
    """What was asked for: a result under another setting is another result.

    Attributes:
        recipe: sha256 of the recipe's YAML file.
        steps: Of training.
        batch_size: Crops per step.
        seconds: Of a crop.
    """

    recipe: str
    steps: int
    batch_size: int
    seconds: float

    @classmethod
    def of(cls, path: Path, steps: int, batch_size: int, seconds: float) -> "Setting":
        """The setting of a recipe as its file is now."""
        return cls(hashlib.sha256(path.read_bytes()).hexdigest(), steps, batch_size, seconds)


@dataclass(frozen=True)
class RecipeReport:
    """One recipe, measured.

    Attributes:
        name: Of the recipe.
        setting: What was asked for.
        parameters: Of the codec, its books included.
        encode_macs: Multiply-accumulates per second of audio.
        decode_macs: The same of the decoder.
        lowest_bitrate: Bits per second of one book.
        highest_bitrate: Bits per second of all books.
        latency_ms: A frame to fill, and what the decoder overlaps.
        trial: The steps, with the recipe's own losses and discriminators.
        memory_mb: Most memory while training, Python and its libraries included; nan where not
            known.
        stream_difference: Largest difference of a stream, frame by frame, from the whole signal.
        equal_codes: Share of codes that onnxruntime and torch agree on.
        onnx_difference: Largest difference of decoded samples between them.
    """

    name: str
    setting: Setting
    parameters: int
    encode_macs: int
    decode_macs: int
    lowest_bitrate: float
    highest_bitrate: float
    latency_ms: float
    trial: Trial
    memory_mb: float
    stream_difference: float
    equal_codes: float
    onnx_difference: float


def recipes(names: Sequence[str] = ()) -> list[Path]:
    """YAML files of the recipes that ship, or of those that are named.

    Raises:
        ConfigError: No such recipe; the message lists what exists.
    """
    known = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
    for name in names:
        if name not in known:
            raise ConfigError(f"no recipe '{name}' (known: {', '.join(known)})")
    return [known[name] for name in names or known]


def measure_recipe(
    path: Path,
    data: Path,
    *,
    overrides: Sequence[str] = (),
    steps: int = 20,
    batch_size: int = 2,
    seconds: float = 0.5,
    cache: Path | None = None,
) -> RecipeReport:
    """Train, stream and export one recipe.

    Args:
        path: Its YAML file.
        data: What to train on.
        overrides: Of the recipe, ``key=value``.
        steps: Of its last stage, which has the discriminators, if there are any.
        batch_size: Crops per step.
        seconds: Of a crop; at least four frames.
        cache: Folder for decoded audio; a temporary one if None.

    Raises:
        CodecError: The recipe cannot be built, trained or exported, or does not stream exactly.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = shortened(
            load_config(path, [f"data={data}", *overrides]),
            folder,
            steps=steps,
            batch_size=batch_size,
            seconds=seconds,
            cache=cache,
        )
        reset_peak_memory()
        trial = run_trial(config)
        memory_mb = peak_memory_mb()
        parity = export_run(config.output, folder / "bundle", weights=False)
        model = load_run(config.output)[0].eval().requires_grad_(False)
    info, work = describe(model), cost(model)
    samples = round(CHECK_S * info.frame_rate) * info.frame_size
    speech = torch.from_numpy(load_clip(None, info.sample_rate)[:samples])[None]
    difference = stream_difference(model, speech)
    if not difference <= MAX_DIFFERENCE:
        raise CodecError(f"{path.stem}: a stream differs from the whole by {difference:.1e}")
    return RecipeReport(
        name=path.stem,
        setting=Setting.of(path, steps, batch_size, seconds),
        parameters=count(model),
        encode_macs=work.encode_macs,
        decode_macs=work.decode_macs,
        lowest_bitrate=info.bitrate(1),
        highest_bitrate=info.bitrate(info.num_codebooks),
        latency_ms=info.latency_ms,
        trial=trial,
        memory_mb=memory_mb,
        stream_difference=difference,
        equal_codes=parity.equal_codes,
        onnx_difference=parity.audio_difference,
    )


@torch.no_grad()
def stream_difference(model: CodecModel, audio: Tensor) -> float:
    """Largest difference, in latents and decoded samples, of single frames from the whole.

    Args:
        model: In evaluation mode.
        audio: [1, S], S a multiple of the frame.
    """
    latents, _ = model.encoder(audio, model.encoder.init_state(1))
    codes = model.quantizer.encode(latents)
    decoded, _ = model.decode(codes, model.decoder.init_state(1))
    pieces = zip(_encoded(model, audio), _decoded(model, codes), strict=True)
    found = [torch.cat(parts, dim=-1) for parts in zip(*pieces, strict=True)]
    wholes = (latents.transpose(1, 2), decoded)
    return max(float((a - b).abs().max()) for a, b in zip(found, wholes, strict=True))


def _encoded(model: CodecModel, audio: Tensor) -> Iterator[Tensor]:
    state = model.encoder.init_state(1)
    for frame in torch.split(audio, model.config.frame_size, dim=1):
        latents, state = model.encoder(frame, state)
        yield latents.transpose(1, 2)


def _decoded(model: CodecModel, codes: Tensor) -> Iterator[Tensor]:
    state = model.decoder.init_state(1)
    for frame in torch.split(codes, 1, dim=2):
        audio, state = model.decode(frame, state)
        yield audio


def earlier(target: Path) -> dict[str, RecipeReport]:
    """What an earlier run measured, by name; nothing if there was none.

    Args:
        target: Its ``recipes.json``.

    Raises:
        ConfigError: The file holds something else.
    """
    if not target.exists():
        return {}
    try:
        reports = TypeAdapter(list[RecipeReport]).validate_json(target.read_bytes())
    except ValidationError as error:
        raise ConfigError(
            f"'{target}' does not hold results of this version; move it away or give --out "
            f"another folder ({error.error_count()} problems, first: {error.errors()[0]['msg']})"
        ) from error
    return {report.name: report for report in reports}


def recipe_table(reports: Sequence[RecipeReport]) -> Table:
    """One row per recipe."""
    table = Table(title="Recipes")
    for i, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if i else "left")
    for report in reports:
        table.add_row(*_cells(report))
    return table


def markdown(reports: Sequence[RecipeReport]) -> str:
    """The same table for a page."""
    rows = [_HEADINGS, ["---", *["--:"] * (len(_HEADINGS) - 1)], *map(_cells, reports)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


_HEADINGS = [
    "recipe",
    "kbit/s",
    "latency, ms",
    "parameters, M",
    "encode, GMAC/s",
    "decode, GMAC/s",
    "steps/s",
    "CPU s/step",
    "memory, GB",
    "stream",
    "equal codes",
    "ONNX",
]


def _cells(report: RecipeReport) -> list[str]:
    low, high = report.lowest_bitrate / 1000, report.highest_bitrate / 1000
    return [
        report.name,
        f"{low:.3g}" if low == high else f"{low:.3g}-{high:.3g}",
        f"{report.latency_ms:.1f}",
        f"{report.parameters / 1e6:.1f}",
        f"{report.encode_macs / 1e9:.2f}",
        f"{report.decode_macs / 1e9:.2f}",
        f"{report.trial.steps_per_s:.3g}",
        f"{report.trial.cpu_s_per_step:.3g}",
        f"{report.memory_mb / 1000:.1f}",
        f"{report.stream_difference:.0e}",
        f"{report.equal_codes:.2%}",
        f"{report.onnx_difference:.0e}",
    ]


def main(
    data: Annotated[Path, typer.Argument(help="Folder or manifest of speech.")],
    recipe: Annotated[list[str] | None, typer.Option(help="Only these; all by default.")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Training steps of each.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 2,
    seconds: Annotated[float, typer.Option(min=0, help="Of a crop; at least 4 frames.")] = 0.5,
    cache: Annotated[Path, typer.Option(help="As dataset.cache.")] = Path(".cache/audio"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench-output"),
    again: Annotated[bool, typer.Option(help="Measure what is there already.")] = False,
) -> None:
    """Train every recipe a little on real speech, stream and export it; print a table.

    Results are saved one by one; a run that was stopped goes on with those that are missing.
    """
    console, failed = Console(), 0
    out.mkdir(parents=True, exist_ok=True)
    target = out / "recipes.json"
    try:
        found, paths = earlier(target), recipes(recipe or ())
    except ConfigError as error:
        message = f"error: {error}"
        Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    for path in paths:
        known, setting = found.get(path.stem), Setting.of(path, steps, batch_size, seconds)
        try:
            if again or known is None or known.setting != setting:
                found[path.stem] = measure_recipe(
                    path, data, steps=steps, batch_size=batch_size, seconds=seconds, cache=cache
                )
                save(found, target)
            console.print(" ".join(_cells(found[path.stem])), markup=False, highlight=False)
        except CodecError as error:
            failed += 1
            console.print(f"{path.stem}: {error}", markup=False, highlight=False)
    console.print(recipe_table(list(found.values())))
    if failed:
        raise typer.Exit(1)


def save(reports: Mapping[str, RecipeReport], target: Path) -> None:
    """Write ``recipes.json``, and a table for a page beside it, sorted by name."""
    ordered = [reports[name] for name in sorted(reports)]
    text = json.dumps([asdict(report) for report in ordered], indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(markdown(ordered), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
