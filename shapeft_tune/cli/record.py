"""``record ...``: what MLflow has of a sweep, sent or made anew from the home."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapeft_tune.cli.options import (
    HOME,
    Generation,
    Home,
    LedgerUrl,
    SweepFile,
    TrackingUri,
    open_console,
    places_at,
    print_aside,
    tracking_at,
)
from shapeft_tune.errors import LedgerError, UserError

if TYPE_CHECKING:
    from shapeft_tune.config import SweepConfig

app = typer.Typer(no_args_is_help=True, help="Send facts that wait for MLflow, or make a whole record anew.")


@app.callback()
def about() -> None:
    """Make this a group of commands, though there is only one."""


@app.command()
def sync(
    file: SweepFile,
    home: Home = HOME,
    tracking_uri: TrackingUri = None,
    generation: Generation = None,
    ledger: LedgerUrl = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Compare everything with the store, and write whatever it lacks."),
    ] = False,
) -> None:
    """Write into MLflow what the home holds of a sweep and the store does not.

    After an outage these are the facts that wait; in a store that never heard of the sweep it is the whole
    record. Each fact is written once, however often this is called. Refused while the sweep runs.
    """
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tracking.connection import without_password
    from shapeft_tune.tracking.spooling.sync import sync_record
    from shapeft_tune.tune.ledger.generations import chosen_generation

    places, uri = places_at(home), tracking_at(home, tracking_uri)
    sweep = chosen_generation(load_sweep(file), places, ledger, generation)
    folder = places.sweep_folder(sweep.name)
    with _nobody_else(sweep.name, folder, ledger), _bar() as on_trial:
        if retold := _retold(sweep, folder, ledger):
            print_aside(
                f"record.jsonl had no end of {retold} trials; it has now what ledger and files know of them, "
                "of curves the validation mIoU alone"
            )
        synced = sync_record(
            uri,
            sweep.name,
            folder,
            places.home / "artifacts",
            sweep.question,
            rebuild=rebuild,
            on_trial=on_trial,
        )
    for problem in (*synced.refused, *synced.unreadable):
        print(f"not in the record: {problem}", file=sys.stderr)
    if synced.unreadable:
        print_aside(
            f"{len(synced.unreadable)} lines of the facts cannot be read: all else was sent; a version that "
            f"can read them sends them with --rebuild"
        )
    where = f"experiment {sweep.name!r} at {without_password(uri, uri)}"
    if synced.trials:
        print(f"{synced.facts} facts of {synced.trials} trials sent to {where}")
        print("Its results, charts and winners are written by the command `report`, with the same options")
    else:
        print(f"Nothing waited: {where} has all of it")
    if synced.refused:
        raise typer.Exit(1)


@contextmanager
def _nobody_else(sweep: str, folder: Path, ledger: str | None) -> Iterator[None]:
    """Keep drivers away: two would write the same runs. Raises UserError where one is at work."""
    from shapeft_tune.tune.ledger.lease import Holder, sole_driver_of
    from shapeft_tune.tune.ledger.ledger_storage import open_storage
    from shapeft_tune.tune.ledger.lock import driver_of, sole_driver

    if not folder.is_dir():
        raise UserError(f"{folder}: expected the folder of a sweep; got none - run it first, or give --home")
    if driver := driver_of(folder):
        raise UserError(
            f"record sync: expected a sweep that nobody runs; {driver} runs it and sends its facts itself - "
            f"wait for its end, or end it first"
        )
    with sole_driver(folder):
        if ledger is None:
            yield
            return
        storage = open_storage(ledger, folder)
        with sole_driver_of(storage, sweep, Holder.of(folder), tell=print_aside, url=ledger):
            yield


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show how many trials were sent, on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = open_console(stderr=True)
    columns = (TextColumn("sending trials"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("trials", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _retold(sweep: SweepConfig, folder: Path, ledger: str | None) -> int:
    """Let the spool have what the ledger alone knows; return of how many trials that was."""
    from shapeft_tune.tune.ledger.ledger import Ledger
    from shapeft_tune.tune.retelling import retell

    try:
        return retell(Ledger.look(folder, sweep, ledger), folder)
    except LedgerError as error:
        print_aside(f"what the ledger knows beside record.jsonl is left out: {error}")
        return 0
