"""Commands that measure."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sotto.codec.errors import ConfigError

from .options import Beam, Model, Threads, bitrates_of, extra, make_folder, say


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Searched for audio, with its subfolders.")],
    bitrates: Annotated[str, typer.Option(help="bit/s, by commas.")] = "1500,3000,6000",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the numbers go.")] = None,
    visqol: Annotated[bool, typer.Option(help="Also ViSQOL, which takes longest.")] = False,
    dnsmos: Annotated[bool, typer.Option(help="Also DNSMOS, of the decoded alone.")] = False,
    stress_bitrate: Annotated[
        float | None, typer.Option("--stress", help="Also noise, telephone, …, at so many bit/s.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for spectrograms of a dozen clips.")
    ] = None,
    peers: Annotated[str, typer.Option(help="Codecs to measure beside: opus.")] = "",
    peer_bitrates: Annotated[str, typer.Option(help="bit/s of the peers.")] = "6000,8000,12000",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes for the metrics.")] = None,
    beam: Beam = None,
    model: Model = "speech-24khz",
    threads: Threads = 1,
) -> None:
    """Encode and decode every clip of a folder at several bitrates, and measure."""
    with extra("eval"):
        from sotto.bench.evaluate import evaluate as measure
        from sotto.bench.evaluate import evaluate_coder
        from sotto.bench.peers import make_peer
        from sotto.bench.pictures import draw_clips
        from sotto.bench.stress import stress, stress_table
        from sotto.bench.tables import comparison_table, print_report
    from sotto.export.runtime import load

    rates, peer_rates = (
        bitrates_of("--bitrates", bitrates),
        bitrates_of("--peer-bitrates", peer_bitrates),
    )
    beside = [make_peer(name.strip(), peer_rates) for name in peers.split(",") if name.strip()]
    slow = [name for name, wanted in (("visqol", visqol), ("dnsmos", dnsmos)) if wanted]
    codec = load(model, threads=threads, beam_size=beam)
    for rate in (*rates, *([stress_bitrate] if stress_bitrate is not None else [])):
        codec.info.choose_num_codebooks(bitrate=rate)  # tells at once what cannot be had
    target = json_file or Path("bench-output/eval.json")
    make_folder(target.parent)
    report = measure(codec, folder, rates, slow=slow, jobs=jobs)
    print_report(report)
    reports = [report]
    for peer in beside:
        reports.append(evaluate_coder(peer, folder, peer_rates, slow=slow, jobs=jobs, seed=0))
        print_report(reports[-1])
    if beside:
        Console().print(comparison_table(reports))
    for one in reports:
        name = target if one is report else target.with_stem(f"{target.stem}-{one.model['name']}")
        one.save(name)
        say(f"saved {name}")
    if stress_bitrate is not None:
        rows = stress(codec, folder, stress_bitrate)
        Console().print(stress_table(rows, stress_bitrate))
    if pictures is not None:
        say(f"drew {len(draw_clips(codec, folder, rates, pictures))} clips in {pictures}")


def bench_quantizers(
    data: Annotated[Path, typer.Argument(help="Folder or manifest of speech.")],
    model: Model = "speech-24khz",
    only: Annotated[list[str] | None, typer.Option(help="Of these; may be repeated.")] = None,
    large: Annotated[bool, typer.Option("--large", help="One large book of each method.")] = False,
    size: Annotated[list[int] | None, typer.Option(min=2, help="Entries, with --large.")] = None,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end", help="A small codec with each of the main ones.")
    ] = False,
    beams: Annotated[
        bool, typer.Option("--beams", help="What a beam gains in the model as it is.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Of training.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trials of each.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few steps: does it run?")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    cache: Annotated[Path, typer.Option(help="As dataset.cache.")] = Path(".cache/audio"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench-output"),
    threads: Threads = 1,
) -> None:
    """Train quantizers on the same speech with the same bits and budget, and compare them.

    By default on the latents of the model's encoder, which stays as it is.
    """
    with extra("train,eval"):
        from sotto.bench.quantizer_command import Choice, Comparison, run
    from sotto.export.runtime import find_bundle

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    choice = Choice(
        bundle=find_bundle(model),
        data=data,
        cache=cache,
        out=out,
        only=tuple(only or ()),
        steps=steps,
        seeds=seeds,
        quick=quick,
        resume=resume,
        threads=threads,
    )
    if large + end_to_end + beams > 1:
        raise ConfigError("--large, --end-to-end and --beams are three comparisons; ask for one")
    comparison: Comparison = (
        "large" if large else "codecs" if end_to_end else "beams" if beams else "latents"
    )
    run(choice, comparison, tuple(size or ()))
