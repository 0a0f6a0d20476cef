"""Options that several commands have, and what they share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sotto.codec.errors import BackendError, ConfigError

Model = Annotated[str, typer.Option(help="A shipped model, or a bundle folder.")]
Bitrate = Annotated[float | None, typer.Option(help="Bits per second of one channel.")]
Beam = Annotated[
    int | None, typer.Option("--beam", min=1, help="Code paths that the search keeps; 1 is greedy.")
]
Books = Annotated[int | None, typer.Option(help="Codebooks, instead of a bitrate.")]
MixDown = Annotated[bool, typer.Option(help="Average all channels into one.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one step of the model.")]
Address = Annotated[str, typer.Option(help="HOST:PORT of the server.")]
Tls = Annotated[bool, typer.Option("--tls", help="TLS with the usual authorities.")]
TlsCa = Annotated[Path | None, typer.Option(help="PEM: TLS with these authorities.")]
TlsCert = Annotated[Path | None, typer.Option(help="PEM certificate of the client.")]
TlsKey = Annotated[Path | None, typer.Option(help="PEM key of that certificate.")]
TokenFile = Annotated[Path | None, typer.Option(help="Holds the token; or SOTTO_TOKEN.")]


def bitrates_of(option: str, text: str) -> list[float]:
    """Numbers by commas.

    Raises:
        ConfigError: `text`, the value of `option`, holds something else.
    """
    try:
        return [float(rate) for rate in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} {text}: expected numbers such as 1500,3000") from error


def make_folder(path: Path) -> None:
    """Make a folder for results before the work begins.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {path}: {error.strerror}") from error


def say(text: str) -> None:
    """Print a line."""
    typer.echo(text)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turns a missing package into the name of the extra that has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise BackendError(
            f"this command needs {error.name}; install sotto-codec[{name}]"
        ) from error
