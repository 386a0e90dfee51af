"""The commands. Each parses, calls one function, prints. Imports happen inside: ``--help`` is instant."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from shapeft_tune import __version__
from shapeft_tune.cli import data, machine, plan, record, report, status, sweep, trial
from shapeft_tune.errors import ShapeftError, UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Which geospatial foundation model, fine-tuned how, gives the best crop map with your labels and "
    "dates? Declare strategies and settings in one YAML file; `sweep` tunes every one of them fairly.",
    epilog="Begin with: python -m shapeft_tune sweep search_spaces/quickstart.yaml",
)
app.command()(sweep.sweep)
app.command()(plan.plan)
app.command()(status.status)
app.command()(report.report)
app.command()(trial.train)
app.command()(trial.evaluate)
app.add_typer(data.app, name="data")
app.add_typer(record.app, name="record")
app.command()(machine.ui)
app.command()(machine.doctor)


def main() -> None:
    """Run a command: exit code 2 and one message for a user's mistake, 1 for a failure, never a traceback."""
    try:
        app()
    except UserError as error:
        _fail(error, 2)
    except ShapeftError as error:
        _fail(error, 1)
    except OSError as error:  # a folder that may not be entered, a name that is too long, a full disk
        _fail(f"{error.filename or 'this machine'}: {error.strerror or error}", 2)


@app.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Handle options that stand before a command."""
    if version:
        print(f"shapeft_tune {__version__}")
        raise typer.Exit


def _fail(message: object, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
