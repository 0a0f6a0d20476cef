"""How fast the default recipe trains beside one of waveform convolutions of the same size."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from sotto.codec.config import CodecConfig, ComponentConfig
from sotto.codec.errors import CodecError
from sotto.codec.model import CodecModel
from sotto.train.config import RunConfig, load_config
from sotto.train.dry_run import count

from .machine import this_machine
from .recipes import recipes
from .trial import Trial, run_trial, shortened

DEFAULT, PEER = "speech-24khz", "encodec-24khz"


def at_size(model: CodecConfig, parameters: int) -> CodecConfig:
    """The model of waveform convolutions with channels for about so many parameters.

    Args:
        model: Its encoder and decoder have an option ``channels``.
        parameters: Wanted; the widest model that has no more is taken, or the narrowest of all.
    """
    low, high = 1, 256  # the answer is from low to high - 1
    while high - low > 1:
        middle = (low + high) // 2
        if size(with_channels(model, middle)) <= parameters:
            low = middle
        else:
            high = middle
    return with_channels(model, low)


def size(model: CodecConfig) -> int:
    """Parameters of a model, which is laid out but not filled."""
    with torch.device("meta"):
        return count(CodecModel(model))


def with_channels(model: CodecConfig, channels: int) -> CodecConfig:
    """The same model of another width."""

    def of(part: ComponentConfig) -> ComponentConfig:
        return replace(part, options={**part.options, "channels": channels})

    return replace(model, encoder=of(model.encoder), decoder=of(model.decoder))


def rivals(data: Path, overrides: Sequence[str] = ()) -> dict[str, RunConfig]:
    """The longest stage of the default recipe, and the same with a model in EnCodec's style.

    Both have the same books, losses, crops and parameters, so that only the architecture differs;
    and the optimizer, which is that of the recipe each comes from.

    Args:
        data: Folder or manifest of speech.
        overrides: ``key=value`` for both but for the optimizer, such as ``precision=bf16``.

    Raises:
        ConfigError: A recipe cannot be read, or an override does not fit.
    """
    first, second = recipes((DEFAULT, PEER))
    ours = load_config(first, [f"data={data}", *overrides])
    theirs = load_config(second, [f"data={data}"])  # its model and optimizer are used
    name, stage = max(ours.stages.items(), key=lambda item: item[1].steps)
    ours = replace(ours, stages={name: stage})
    model = replace(
        theirs.model,
        num_codebooks=ours.model.num_codebooks,
        codebook_size=ours.model.codebook_size,
    )
    model = at_size(model, size(ours.model))
    return {
        DEFAULT: ours,
        f"{PEER} at this size": replace(ours, model=model, optimizer=theirs.optimizer),
    }


def measure_training(
    configs: Mapping[str, RunConfig], *, steps: int, batch_size: int, seconds: float, cache: Path
) -> dict[str, tuple[int, Trial]]:
    """Parameters and steps of each run; all runs read the same decoded audio.

    Raises:
        CodecError: A run cannot be started.
    """
    found = {}
    for name, config in configs.items():
        with tempfile.TemporaryDirectory() as folder:
            short = shortened(
                config,
                Path(folder),
                steps=steps,
                batch_size=batch_size,
                seconds=seconds,
                cache=cache,
            )
            found[name] = (size(short.model), run_trial(short))
    return found


def throughput_table(
    found: Mapping[str, tuple[int, Trial]], overrides: Sequence[str] = ()
) -> Table:
    """One row per run; the overrides they ran with stand in the title."""
    table = Table(title=" ".join(("Training", *overrides)))
    for i, heading in enumerate(
        ("", "parameters, M", "audio s per s", "steps/s", "waits for data")
    ):
        table.add_column(heading, justify="right" if i else "left")
    for name, (parameters, trial) in found.items():
        table.add_row(
            name,
            f"{parameters / 1e6:.2f}",
            f"{trial.audio_per_s:.2f}",
            f"{trial.steps_per_s:.3f}",
            f"{trial.data_share:.1%}",
        )
    return table


def main(
    data: Annotated[Path, typer.Argument(help="Folder or manifest of speech.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value ..., such as precision=bf16 compile=true")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps of each run.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 10,
    seconds: Annotated[float, typer.Option(min=0, help="Of a crop.")] = 1.0,
    cache: Annotated[Path, typer.Option(help="As dataset.cache.")] = Path(".cache/audio"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench-output"),
) -> None:
    """Train both for some steps, print a table, and save the numbers as JSON."""
    machine = this_machine()
    try:
        found = measure_training(
            rivals(data, overrides or []),
            steps=steps,
            batch_size=batch_size,
            seconds=seconds,
            cache=cache,
        )
    except CodecError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        raise typer.Exit(1) from error
    rows = {name: {"parameters": size, **asdict(trial)} for name, (size, trial) in found.items()}
    out.mkdir(parents=True, exist_ok=True)
    target = out / "training.json"
    told = {"machine": asdict(machine), "overrides": overrides or [], "runs": rows}
    target.write_text(json.dumps(told, indent=2) + "\n")
    console = Console()
    console.print(throughput_table(found, overrides or []))
    line = f"{machine.cpu}, {machine.cores} cores, load {machine.load:.1f} at the start; {target}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
