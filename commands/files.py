"""Commands on files: encode, decode, export, and what a file or a model holds."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sotto.codec.errors import BundleError

from .options import Beam, Bitrate, Books, MixDown, Model, Threads, extra, say


def encode(
    source: Annotated[Path, typer.Argument(help="wav, flac, ogg, opus or mp3.")],
    target: Annotated[Path, typer.Argument(help="The .sotto file to write.")],
    bitrate: Bitrate = None,
    num_codebooks: Books = None,
    mix_down: MixDown = False,
    beam: Beam = None,
    model: Model = "speech-24khz",
    threads: Threads = 1,
) -> None:
    """Turn an audio file into codes, with the widest beam that the model has."""
    from sotto.export.files import encode_file
    from sotto.export.runtime import load

    report = encode_file(
        load(model, threads=threads, beam_size=beam),
        source,
        target,
        num_codebooks=num_codebooks,
        bitrate=bitrate,
        mix_down=mix_down,
    )
    say(
        f"{target}: {report.seconds:.2f} s, {report.num_codebooks} books, {report.num_bytes} bytes, "
        f"{report.bitrate:.0f} bit/s, {report.times_real_time:.0f} x real time"
    )


def decode(
    source: Annotated[Path, typer.Argument(help="A .sotto file.")],
    target: Annotated[Path, typer.Argument(help="The wav or flac file to write.")],
    sample_rate: Annotated[int | None, typer.Option(help="Hz; as it was by default.")] = None,
    conceal: Annotated[bool, typer.Option(help="Play over damaged blocks.")] = False,
    model: Model = "",
    threads: Threads = 1,
) -> None:
    """Turn codes back into audio; the model is the one that the file names unless given."""
    from sotto.codec.bitstream import SottoReader
    from sotto.export.files import decode_file
    from sotto.export.runtime import load

    if not model:
        with SottoReader(source, "conceal") as reader:
            model = reader.header.model
    report = decode_file(
        load(model, threads=threads),
        source,
        target,
        sample_rate=sample_rate,
        errors="conceal" if conceal else "raise",
    )
    lost = f", {report.lost_frames} frames lost" if report.lost_frames else ""
    say(
        f"{target}: {report.seconds:.2f} s at {report.sample_rate} Hz, "
        f"{report.times_real_time:.0f} x real time{lost}"
    )


def info(
    target: Annotated[str, typer.Argument(help="A shipped model, a bundle folder, a .sotto file.")],
) -> None:
    """Say what a model or a file holds, as JSON."""
    path = Path(target)
    if path.is_file():
        from sotto.codec.bitstream import SottoReader

        with SottoReader(path, "conceal") as reader:
            described = {
                **asdict(reader.header),
                "num_samples": reader.num_samples,
                "source_num_samples": reader.source_num_samples,
                "num_frames": reader.num_frames,
                "num_blocks": reader.num_blocks,
                "num_bytes": reader.num_bytes,
            }
    else:
        from sotto.export.runtime import find_bundle, read_info

        found = read_info(find_bundle(target))
        described = {
            **asdict(found),
            "frame_rate": found.frame_rate,
            "latency_ms": found.latency_ms,
            "bitrates": [found.bitrate(k + 1) for k in range(found.num_codebooks)],
        }
    say(json.dumps(described, indent=2))


def export(
    source: Annotated[str, typer.Argument(help="Training run; with --speech a model, again.")],
    target: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    speech: Annotated[
        list[Path] | None, typer.Option(help="Clips to check a model on; may be repeated.")
    ] = None,
    weights: Annotated[bool, typer.Option(help="Keep model.safetensors too.")] = True,
    beam: Annotated[int, typer.Option(min=1, help="Code paths of the better search.")] = 1,
    best: Annotated[bool, typer.Option(help="The best checkpoint, not the last.")] = False,
) -> None:
    """Make a serving bundle of a training run, or of a model's weights, checked against torch.

    A model is a shipped one or a bundle folder with model.safetensors: its tokens stay the same.
    """
    with extra("train"):
        from sotto.export.clips import join_clips
        from sotto.train.bundle import export_again, export_run
    from sotto.export.runtime import find_bundle

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages not needed
    if speech:
        if best:
            raise typer.BadParameter("--best is for a training run; a model has no checkpoints")
        folder = find_bundle(source)
        audio = join_clips(speech, folder)
        parity = export_again(folder, target, audio, weights=weights, beam_size=beam)
    elif not (Path(source) / "run.json").is_file():
        raise BundleError(
            f"'{source}' is not the folder of a training run; to export a model again, "
            "give --speech CLIP"
        )
    else:
        parity = export_run(Path(source), target, weights=weights, beam_size=beam, best=best)
    say(
        f"{target}: {parity.equal_codes:.3%} of codes equal to torch, audio within "
        f"{parity.audio_difference:.1e}, over {parity.frames} frames"
    )


def int8(
    source: Annotated[str, typer.Argument(help="A shipped model, or a bundle folder.")],
    target: Annotated[Path, typer.Argument(help="Folder of the new bundle.")],
    speech: Annotated[list[Path], typer.Option(help="Clips to calibrate on; may be repeated.")],
) -> None:
    """Make a bundle whose decoder calculates with 8-bit integers; tokens stay the same."""
    with extra("train"):
        from sotto.export.clips import join_clips
        from sotto.export.int8 import quantize_bundle
    from sotto.export.runtime import find_bundle

    folder = find_bundle(source)
    quantize_bundle(folder, target, join_clips(speech, folder))
    say(f"{target}: same tokens as {folder}, decoder in int8; check it with sotto eval --model")
