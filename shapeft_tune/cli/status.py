"""``status``: where a sweep stands."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from shapeft_tune.cli.options import (
    HOME,
    Generation,
    Home,
    Json,
    LedgerUrl,
    SweepFile,
    open_console,
    places_at,
    print_json,
)
from shapeft_tune.errors import UserError


def status(
    file: SweepFile,
    home: Home = HOME,
    ledger: LedgerUrl = None,
    generation: Generation = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until the sweep has ended.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Show where a sweep stands, also while it runs elsewhere."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.ledger.generations import chosen_generation
    from shapeft_tune.tune.status.onlooking import watch as watch_sweep
    from shapeft_tune.tune.status.standing import Onlooker
    from shapeft_tune.tune.status.status_view import status_json, whole_view

    if watch and as_json:
        raise UserError("status: expected --watch or --json; got both - ask for --json again and again")
    places = places_at(home)
    sweep = chosen_generation(load_sweep(file), places, ledger, generation)
    onlooker = Onlooker(sweep, places, ledger)
    if as_json:
        print_json(status_json(onlooker.look()))
        return
    console = open_console()
    try:
        standing = watch_sweep(onlooker, console, every) if watch else onlooker.look()
    except KeyboardInterrupt:
        return
    console.print(whole_view(standing), soft_wrap=True, highlight=False)
    if standing.done:
        print("done")
    elif standing.driver is None:
        again = shlex.join(["python", "-m", "shapeft_tune", "sweep", *_same_place(sys.argv)])
        print(f"Nobody is at work; run the rest with: {again}")


def _same_place(arguments: list[str]) -> list[str]:
    """Return what follows the command's name, without what only `status` knows."""
    kept: list[str] = []
    words = iter(arguments[2:])
    for word in words:
        if word == "--every":
            next(words, None)
        elif word != "--watch" and not word.startswith("--every="):
            kept.append(word)
    return kept
