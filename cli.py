"""The `sotto` command: which commands there are, and how they fail."""

import typer
from rich.console import Console

from sotto.codec.errors import CodecError
from sotto.commands import client, files, measuring, serving, training

app = typer.Typer(
    help="A streaming neural speech codec and tokenizer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(files.encode)
app.command()(files.decode)
app.command()(files.info)
app.command()(serving.serve)
app.command()(serving.token)

client_app = typer.Typer(help="Encode and decode through a server.", no_args_is_help=True)
app.add_typer(client_app, name="client")
client_app.command("encode")(client.client_encode)
client_app.command("decode")(client.client_decode)
client_app.command("health")(client.client_health)

app.command()(training.train)
app.command()(training.prepare)
app.command()(files.export)
app.command()(files.int8)
app.command("eval")(measuring.evaluate)

bench_app = typer.Typer(help="Measure what is claimed.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
bench_app.command("quantizers")(measuring.bench_quantizers)


def main() -> None:
    """Run the command; what went wrong is one line on stderr and exit code 1."""
    try:
        app()
    except CodecError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        raise SystemExit(1) from error
