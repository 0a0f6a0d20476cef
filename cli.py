"""The `sotto` command: a thin layer over functions that are tested on their own."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sotto.codec.errors import BackendError, CodecError, ConfigError

if TYPE_CHECKING:
    from grpc import ChannelCredentials

    from sotto.service.client import SottoClient
    from sotto.train.manifest import Clip

app = typer.Typer(
    help="A streaming neural speech codec and tokenizer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
client_app = typer.Typer(help="Encode and decode through a server.", no_args_is_help=True)
app.add_typer(client_app, name="client")
bench_app = typer.Typer(help="Measure what is claimed.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

Model = Annotated[str, typer.Option(help="A shipped model, or a bundle folder.")]
Bitrate = Annotated[float | None, typer.Option(help="Bits per second of one channel.")]
Books = Annotated[int | None, typer.Option(help="Codebooks, instead of a bitrate.")]
MixDown = Annotated[bool, typer.Option(help="Average all channels into one.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one step of the model.")]
Address = Annotated[str, typer.Option(help="HOST:PORT of the server.")]
Tls = Annotated[bool, typer.Option("--tls", help="TLS with the usual authorities.")]
TlsCa = Annotated[Path | None, typer.Option(help="PEM: TLS with these authorities.")]
TlsCert = Annotated[Path | None, typer.Option(help="PEM certificate of the client.")]
TlsKey = Annotated[Path | None, typer.Option(help="PEM key of that certificate.")]
TokenFile = Annotated[Path | None, typer.Option(help="Holds the token; or SOTTO_TOKEN.")]


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(help="wav, flac, ogg, opus or mp3.")],
    target: Annotated[Path, typer.Argument(help="The .sotto file to write.")],
    bitrate: Bitrate = None,
    num_codebooks: Books = None,
    mix_down: MixDown = False,
    model: Model = "speech-24khz",
    threads: Threads = 1,
) -> None:
    """Turn an audio file into codes."""
    from sotto.export.files import encode_file
    from sotto.export.runtime import load

    report = encode_file(
        load(model, threads=threads),
        source,
        target,
        num_codebooks=num_codebooks,
        bitrate=bitrate,
        mix_down=mix_down,
    )
    _say(
        f"{target}: {report.seconds:.2f} s, {report.num_codebooks} books, {report.num_bytes} bytes, "
        f"{report.bitrate:.0f} bit/s, {report.times_real_time:.0f} x real time"
    )


@app.command()
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
    _say(
        f"{target}: {report.seconds:.2f} s at {report.sample_rate} Hz, "
        f"{report.times_real_time:.0f} x real time{lost}"
    )


@app.command()
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
    _say(json.dumps(described, indent=2))


@app.command()
def serve(
    address: Annotated[str | None, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of one step.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Steps at the same time.")] = None,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Live callers at the same time.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate and its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM: clients need this CA.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="File of those who may call.")] = None,
    allow_insecure: Annotated[
        bool | None, typer.Option(help="Leave this machine with neither TLS nor tokens.")
    ] = None,
    reflection: Annotated[bool | None, typer.Option(help="Describe the calls to clients.")] = None,
    health_address: Annotated[str | None, typer.Option(help="Plain port for probes.")] = None,
    metrics_address: Annotated[str | None, typer.Option(help="HTTP port for Prometheus.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; or SOTTO_CONFIG.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show, then stop.")] = False,
) -> None:
    """Serve encode and decode over gRPC until SIGTERM.

    Every setting is a flag here or at least a SOTTO_* variable and a line of the settings file;
    flags go before variables, and those before the file.
    """
    from sotto.service.logs import Logging
    from sotto.service.print_config import describe
    from sotto.service.server import run
    from sotto.service.settings import load_settings

    flags = {
        "address": address,
        "models": tuple(model) if model else None,
        "threads": threads,
        "workers": workers,
        "max_sessions": max_sessions,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "tokens": tokens,
        "allow_insecure": allow_insecure,
        "reflection": reflection,
        "health_address": health_address,
        "metrics_address": metrics_address,
        "log_format": log_format,
    }
    chosen = load_settings(config=config, **flags)
    if print_config:
        _say(describe(chosen, [name for name, value in flags.items() if value is not None], config))
        return
    host = chosen.address.rpartition(":")[0]
    with Logging(chosen.log_format, chosen.log_level) as log:
        run(chosen, lambda port: _say(f"listening on {host}:{port}"), log.writer)


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Whose it is; the log shows it.")],
    file: Annotated[Path | None, typer.Option(help="The server's tokens: add it there.")] = None,
) -> None:
    """Make a bearer token: the first line is the token, and only its hash goes to the server."""
    from sotto.service.tokens import add_line, new_token

    try:
        made, line = new_token(name)
        if file is not None:
            add_line(file, line)
    except (ValueError, OSError) as error:
        raise ConfigError(f"token: {error}") from error
    _say(made if file is not None else f"{made}\n{line}")


@client_app.command("encode")
def client_encode(
    source: Annotated[Path, typer.Argument(help="wav, flac, ogg, opus or mp3.")],
    target: Annotated[Path, typer.Argument(help="The .sotto file to write.")],
    address: Address = "127.0.0.1:50551",
    bitrate: Bitrate = None,
    num_codebooks: Books = None,
    mix_down: MixDown = False,
    model: Annotated[str, typer.Option(help="Model of the server.")] = "",
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Stream an audio file to a server and keep the codes."""
    from sotto.service.client_types import EncodeOptions
    from sotto.service.remote_files import encode_remote

    options: EncodeOptions = {"model": model, "mix_down": mix_down}
    if bitrate is not None:
        options["bitrate"] = bitrate
    if num_codebooks is not None:
        options["num_codebooks"] = num_codebooks
    with _client(address, _credentials(tls, tls_ca, tls_cert, tls_key), token_file) as client:
        totals = encode_remote(client, source, target, **options)
    _say(f"{target}: {totals.audio_seconds:.2f} s, {totals.num_frames} frames")


@client_app.command("decode")
def client_decode(
    source: Annotated[Path, typer.Argument(help="A .sotto file.")],
    target: Annotated[Path, typer.Argument(help="The wav or flac file to write.")],
    address: Address = "127.0.0.1:50551",
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Stream codes to a server and keep the audio."""
    from sotto.service.remote_files import decode_remote

    with _client(address, _credentials(tls, tls_ca, tls_cert, tls_key), token_file) as client:
        totals = decode_remote(client, source, target)
    _say(f"{target}: {totals.audio_seconds:.2f} s, {totals.num_frames} frames")


@client_app.command("health")
def client_health(
    address: Address = "127.0.0.1:50551",
    service: Annotated[str, typer.Option(help="Empty asks for the server.")] = "",
    timeout_s: Annotated[float, typer.Option(min=0.001, help="Seconds to wait.")] = 5.0,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Ask a server for its health; exit code 0 only if it serves."""
    from sotto.service.channel import open_channel
    from sotto.service.health_port import check

    credentials = _credentials(tls, tls_ca, tls_cert, tls_key)
    with open_channel(address, (), credentials, None) as channel:
        status = check(channel, service, timeout_s)
    _say(status)
    if status != "SERVING":
        raise typer.Exit(1)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file, such as those in train/configs.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    dry_run: Annotated[bool, typer.Option(help="Describe the model, take two steps.")] = False,
) -> None:
    """Train a codec; the same command again goes on where it stopped.

    Several GPUs: torchrun --nproc_per_node 8 -m sotto train CONFIG.yaml ...
    """
    with _extra("train"):
        from sotto.train.config import load_config
        from sotto.train.dry_run import dry_run as describe
        from sotto.train.loop import Trainer
        from sotto.train.processes import joined

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    run = load_config(config, overrides or [])
    with joined(run.device) as first:
        logging.getLogger("sotto").setLevel(logging.INFO if first else logging.WARNING)
        if dry_run:
            describe(run, Console(quiet=not first))
        else:
            Trainer(run).run()


@app.command()
def prepare(
    data: Annotated[str, typer.Argument(help="Folder, manifest, root of LibriTTS, or shards.")],
    target: Annotated[Path, typer.Argument(help="Where manifest and report go.")],
    sample_rate: Annotated[int, typer.Option(help="Hz of the model.")] = 24_000,
    cache: Annotated[Path, typer.Option(help="As dataset.cache.")] = Path(".cache/audio"),
    subset: Annotated[list[str] | None, typer.Option(help="Of LibriTTS; may be repeated.")] = None,
    download: Annotated[bool, typer.Option(help="Get missing subsets of LibriTTS.")] = False,
    min_seconds: Annotated[float, typer.Option(help="Shorter clips are dropped.")] = 0.3,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Pipeline of torchaudio, or folder of a Hugging Face model; repeatable."),
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Of the teacher; default: all, averaged.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the teacher runs.")] = "auto",
) -> None:
    """Scan a corpus, resample it once, measure every clip, and report what is kept and dropped.

    With a teacher, its features of every clip are kept, too, for distillation.
    """
    with _extra("train"):
        from sotto.train.cache import AudioCache
        from sotto.train.config_data import SourceConfig
        from sotto.train.corpus import source_clips
        from sotto.train.prepare import Limits, kept_measures, write_manifest
        from sotto.train.prepare import prepare as look
        from sotto.train.prepare_report import draw, table

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    source = SourceConfig(path=data, subsets=tuple(subset or ()), download=download)
    limits = Limits(min_seconds=min_seconds)
    clips = source_clips(source, cache / "shards")
    prepared = look(clips, AudioCache(cache, sample_rate), limits, jobs=jobs)
    Console().print(table(prepared))
    write_manifest(prepared, target)
    draw(prepared, target)
    _say(f"train on it: sotto train CONFIG.yaml data={target / 'manifest.csv'}")
    kept = [clip for clip, _ in kept_measures(prepared)]
    for name in teacher or ():
        _teach(name, layer, device, kept, target, cache)


def _teach(
    name: str, layer: int | None, device: str, clips: "list[Clip]", target: Path, cache: Path
) -> None:
    """Keep the features of one teacher below `target`."""
    from sotto.train.cache import AudioCache
    from sotto.train.features import FeatureStore
    from sotto.train.processes import choose_device
    from sotto.train.teachers import load_teacher, write_features

    teacher = load_teacher(name, layer=layer, device=str(choose_device(device)))
    folder = target / f"teacher-{teacher.info.name}"
    store = FeatureStore.create(folder, teacher.info)
    silent = write_features(clips, teacher, store, AudioCache(cache, teacher.sample_rate))
    if silent:
        _say(f"{teacher.info.name} has nothing to say of {silent} of {len(clips)} clips")
    _say(f"distill from it: distill.features=[{folder}]")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    target: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    weights: Annotated[bool, typer.Option(help="Keep model.safetensors too.")] = True,
    beam: Annotated[int, typer.Option(min=1, help="Code paths that encoding keeps.")] = 1,
    best: Annotated[bool, typer.Option(help="The best checkpoint, not the last.")] = False,
) -> None:
    """Make a serving bundle of a training run, checked against torch."""
    with _extra("train"):
        from sotto.train.bundle import export_run

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages not needed
    parity = export_run(run, target, weights=weights, beam_size=beam, best=best)
    _say(
        f"{target}: {parity.equal_codes:.3%} of codes equal to torch, audio within "
        f"{parity.audio_difference:.1e}, over {parity.frames} frames"
    )


@app.command()
def int8(
    source: Annotated[str, typer.Argument(help="A shipped model, or a bundle folder.")],
    target: Annotated[Path, typer.Argument(help="Folder of the new bundle.")],
    speech: Annotated[list[Path], typer.Option(help="Clips to calibrate on; may be repeated.")],
) -> None:
    """Make a bundle whose decoder calculates with 8-bit integers; tokens stay the same."""
    with _extra("train"):
        from sotto.export.int8 import calibration_speech, quantize_bundle
    from sotto.export.runtime import find_bundle

    folder = find_bundle(source)
    quantize_bundle(folder, target, calibration_speech(speech, folder))
    _say(f"{target}: same tokens as {folder}, decoder in int8; check it with sotto eval --model")


@app.command("eval")
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
    model: Model = "speech-24khz",
    threads: Threads = 1,
) -> None:
    """Encode and decode every clip of a folder at several bitrates, and measure."""
    with _extra("eval"):
        from sotto.bench.evaluate import evaluate as measure
        from sotto.bench.evaluate import evaluate_coder
        from sotto.bench.peers import make_peer
        from sotto.bench.pictures import draw_clips
        from sotto.bench.stress import stress, stress_table
        from sotto.bench.tables import comparison_table, print_report
    from sotto.export.runtime import load

    rates, peer_rates = _rates("--bitrates", bitrates), _rates("--peer-bitrates", peer_bitrates)
    beside = [make_peer(name.strip(), peer_rates) for name in peers.split(",") if name.strip()]
    slow = [name for name, wanted in (("visqol", visqol), ("dnsmos", dnsmos)) if wanted]
    codec = load(model, threads=threads)
    report = measure(codec, folder, rates, slow=slow, jobs=jobs)
    print_report(report)
    reports = [report]
    for peer in beside:
        reports.append(evaluate_coder(peer, folder, peer_rates, slow=slow, jobs=jobs, seed=0))
        print_report(reports[-1])
    if beside:
        Console().print(comparison_table(reports))
    if stress_bitrate is not None:
        rows = stress(codec, folder, stress_bitrate)
        Console().print(stress_table(rows, stress_bitrate))
    if pictures is not None:
        _say(f"drew {len(draw_clips(codec, folder, rates, pictures))} clips in {pictures}")
    target = json_file or Path("bench-output/eval.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    for one in reports:
        name = target if one is report else target.with_stem(f"{target.stem}-{one.model['name']}")
        one.save(name)
        _say(f"saved {name}")


@bench_app.command("quantizers")
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
    with _extra("train,eval"):
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


def main() -> None:
    """Run the command; what went wrong is one line on stderr and exit code 1."""
    try:
        app()
    except CodecError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        raise SystemExit(1) from error


def _rates(option: str, text: str) -> list[float]:
    try:
        return [float(rate) for rate in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} {text}: expected numbers such as 1500,3000") from error


def _say(text: str) -> None:
    typer.echo(text)


def _credentials(
    tls: bool, ca: Path | None, cert: Path | None, key: Path | None
) -> "ChannelCredentials | None":
    """TLS if any of it was asked for."""
    from sotto.service.channel import tls as from_files

    return from_files(ca, cert, key) if tls or ca or cert or key else None


def _client(
    address: str, credentials: "ChannelCredentials | None", token_file: Path | None
) -> "SottoClient":
    """A client with the token of the file or of SOTTO_TOKEN; a flag would show it to everyone."""
    from sotto.service.client import SottoClient

    token = os.environ.get("SOTTO_TOKEN")
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file {token_file}: {error}") from error
    return SottoClient(address, credentials=credentials, token=token or None)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Turns a missing package into the name of the extra that has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise BackendError(
            f"this command needs {error.name}; install sotto-codec[{name}]"
        ) from error


if __name__ == "__main__":
    main()
