"""Commands of the server."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from sotto.codec.errors import ConfigError

from .options import say


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
    others: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; or SOTTO_CONFIG.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show, then stop.")] = False,
) -> None:
    """Serve encode and decode over gRPC until SIGTERM.

    Every setting is a flag here, --set NAME=VALUE, a SOTTO_* variable and a line of the settings
    file; flags go before variables, and those before the file.
    """
    from sotto.service.logs import Logging
    from sotto.service.print_config import describe
    from sotto.service.server import run
    from sotto.service.settings import load_settings

    flags: dict[str, Any] = {
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
        **_assignments(others or []),
    }
    chosen = load_settings(config=config, **flags)
    if print_config:
        say(describe(chosen, [name for name, value in flags.items() if value is not None], config))
        return
    host = chosen.address.rpartition(":")[0]
    with Logging(chosen.log_format, chosen.log_level) as log:
        run(chosen, lambda port: say(f"listening on {host}:{port}"), log.writer)


def _assignments(pairs: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE as settings that `load_settings` checks.

    Raises:
        ConfigError: One is not written so.
    """
    chosen = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: expected NAME=VALUE, such as max_batch=32")
        chosen[name.strip()] = value.strip()
    return chosen


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
    say(made if file is not None else f"{made}\n{line}")
