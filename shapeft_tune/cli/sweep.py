"""``sweep``: what a file declares is run, and then its strategies are compared."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from shapeft_tune.cli.machine import print_comparisons
from shapeft_tune.cli.options import (
    CACHE_GB,
    HOME,
    Cache,
    CacheGb,
    Data,
    Generation,
    Home,
    LedgerUrl,
    SweepFile,
    TrackingUri,
    WeightsFolder,
    open_console,
    places_at,
    print_aside,
    tracking_at,
)
from shapeft_tune.cli.report import print_report
from shapeft_tune.errors import TrackingError, UserError

if TYPE_CHECKING:
    from shapeft_tune.tune.run import SweepRun


def sweep(
    file: SweepFile,
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    tracking_uri: TrackingUri = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster that this machine is a node of: auto or HOST:6379.")
    ] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU slots, for a cluster of this machine.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs, for a cluster of this machine.")] = None,
    ledger: LedgerUrl = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where nodes keep trials that do not share the home: s3://BUCKET/PREFIX, file:///..."
        ),
    ] = None,
    disk_gb: Annotated[
        float | None, typer.Option(help="The most that all trials take together, in 10^9 bytes.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run trials again that failed for good before.")
    ] = False,
    new: Annotated[
        bool,
        typer.Option(
            "--new", help="Begin a new generation where file, data or weights contradict the newest one."
        ),
    ] = False,
    generation: Generation = None,
    cache: Cache = None,
    cache_gb: CacheGb = CACHE_GB,
) -> None:
    """Run every trial that FILE declares and that has not run yet; then report.

    Start, resume after a crash, and extend are this same command. On a finished sweep it starts nothing. A
    change that would alter what finished trials mean is refused; with --new they stay, and others begin.
    """
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.cluster.cluster import ClusterOptions
    from shapeft_tune.tune.ledger.generations import chosen_generation
    from shapeft_tune.tune.preflight import require_writable
    from shapeft_tune.tune.run import RunOptions, run_sweep
    from shapeft_tune.tune.status.display import watching

    if new and generation is not None:
        raise UserError("sweep: expected --new or --generation; got both - leave one out")
    declared = load_sweep(file)
    places = places_at(home, data, weights, cache, cache_gb)
    if not new:
        declared = chosen_generation(declared, places, ledger, generation)
    uri = tracking_at(home, tracking_uri)
    if places.cache:
        require_writable(places.cache)
    console = open_console()
    options = RunOptions(
        uri,
        ClusterOptions(address, cpus, gpus),
        ledger_url=ledger,
        storage_uri=storage,
        disk_bytes=_ceiling(disk_gb),
        retry_failed=retry_failed,
        new_generation=new,
    )
    with watching(console) as on_event:
        run = run_sweep(declared, places, options, on_event, print_aside)
    asked = {"--home": home, "--tracking-uri": tracking_uri, "--generation": generation, "--ledger": ledger}
    for problem in run.record_problems:
        print(f"not in the record: {problem}", file=sys.stderr)
    if run.record_problems:
        send = command_with(["record", "sync", str(file)], asked)
        print(f"The home has all of it. Once MLflow can take it: {send}", file=sys.stderr)
    if run.stopped and not run.done:
        _tell_why_stopped(run)
    try:
        print_report(run.sweep, uri, places, console)
    except TrackingError as error:
        if not run.record_problems:
            raise
        print(f"No report now: {error}", file=sys.stderr)
        print(f"After the command above: {command_with(['report', str(file)], asked)}", file=sys.stderr)
        raise typer.Exit(1) from None
    if tracking_uri and tracking_uri.startswith("http"):
        print(f"Look closer at {tracking_uri}")
        print_comparisons(tracking_uri, tracking_uri, run.sweep.name)
    else:
        print(f"Look closer with: python -m shapeft_tune ui --home {home}")
    if failed := sum(count.failed + count.confirmations_failed for count in run.counts):
        older = "" if generation is None else f" --generation {generation}"
        print(f"{failed} trials failed; see: python -m shapeft_tune status {file} --home {home}{older}")
        if not any(count.complete for count in run.counts):
            raise typer.Exit(1)


def command_with(words: list[str], options: Mapping[str, object]) -> str:
    """Return a command on the same sweep; a password in an address is for its user to put in."""
    from shapeft_tune.tracking.connection import without_password

    given = [(name, str(value)) for name, value in options.items() if value is not None]
    told = [part for name, value in given for part in (name, without_password(value, value))]
    return shlex.join(["python", "-m", "shapeft_tune", *words, *told])


def _ceiling(gigabytes: float | None) -> int | None:
    """Return the bytes of ``--disk-gb``. Raises UserError where no trial could ever fit under them."""
    if gigabytes is None:
        return None
    if not (math.isfinite(gigabytes) and gigabytes * 1e9 >= 1):
        raise UserError(f"--disk-gb: expected more than 0, in 10^9 bytes; got {gigabytes:g} - give more")
    return int(gigabytes * 1e9)


def _tell_why_stopped(run: SweepRun) -> None:
    """Say why a sweep has ended early, and exit: 1 for an obstacle, 130 for somebody's wish.

    One that has used up its budget did what its file says: that is an end like another, and a report follows.
    """
    if run.limit:
        print(f"Stopped, because the budget is used up: {run.limit}; raise it to go on", file=sys.stderr)
    if run.obstacle:
        print(f"Stopped, because no trial could go on: {run.obstacle}", file=sys.stderr)
    if run.limit and not run.obstacle:
        return
    again = shlex.join(["python", "-m", "shapeft_tune", *again_asked(sys.argv[1:])])
    print(f"Stopped in good order: checkpoints are written. Go on with: {again}")
    raise typer.Exit(1 if run.obstacle else 130)


def again_asked(words: list[str]) -> list[str]:
    """Return the words of the command that goes on; a generation that was new has become the newest."""
    return [word for word in words if word != "--new"]
