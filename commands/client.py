"""Commands that go through a server."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sotto.codec.errors import ConfigError

from .options import (
    Address,
    Beam,
    Bitrate,
    Books,
    MixDown,
    Tls,
    TlsCa,
    TlsCert,
    TlsKey,
    TokenFile,
    say,
)

if TYPE_CHECKING:
    from grpc import ChannelCredentials

    from sotto.service.client import SottoClient


def client_encode(
    source: Annotated[Path, typer.Argument(help="wav, flac, ogg, opus or mp3.")],
    target: Annotated[Path, typer.Argument(help="The .sotto file to write.")],
    address: Address = "127.0.0.1:50551",
    bitrate: Bitrate = None,
    num_codebooks: Books = None,
    mix_down: MixDown = False,
    beam: Beam = None,
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
    if beam is not None:
        options["beam_size"] = beam
    with _client(address, _credentials(tls, tls_ca, tls_cert, tls_key), token_file) as client:
        totals = encode_remote(client, source, target, **options)
    say(f"{target}: {totals.audio_seconds:.2f} s, {totals.num_frames} frames")


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
    say(f"{target}: {totals.audio_seconds:.2f} s, {totals.num_frames} frames")


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
    say(status)
    if status != "SERVING":
        raise typer.Exit(1)


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
