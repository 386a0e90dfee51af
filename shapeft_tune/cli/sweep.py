"""``sweep``, ``plan``, ``status``, ``report``: what is done with a sweep file."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from shapeft_tune.cli.options import (
    CACHE_GB,
    HOME,
    Cache,
    CacheGb,
    Data,
    Home,
    Json,
    SweepFile,
    TrackingUri,
    WeightsFolder,
    open_console,
    places_at,
    print_aside,
    print_json,
    tracking_at,
)

if TYPE_CHECKING:
    from rich.console import Console

    from shapeft_tune.config import SweepConfig
    from shapeft_tune.config.places import Places
    from shapeft_tune.tune.labels import LabelledSubset


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
    cache: Cache = None,
    cache_gb: CacheGb = CACHE_GB,
) -> None:
    """Run every trial that FILE declares and that has not run yet; then report.

    Start, resume after a crash, and extend are this same command. On a finished sweep it starts nothing.
    """
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.cluster import ClusterOptions
    from shapeft_tune.tune.display import watching
    from shapeft_tune.tune.preflight import require_writable
    from shapeft_tune.tune.run import run_sweep

    declared = load_sweep(file)
    places = places_at(home, data, weights, cache, cache_gb)
    uri = tracking_at(home, tracking_uri)
    if places.cache:
        require_writable(places.cache)
    console = open_console()
    with watching(console) as on_event:
        run = run_sweep(declared, places, uri, ClusterOptions(address, cpus, gpus), on_event, print_aside)
    for problem in run.record_problems:
        print(f"not in the record: {problem}", file=sys.stderr)
    if run.stopped and not run.done:
        again = shlex.join(["python", "-m", "shapeft_tune", *sys.argv[1:]])
        if run.obstacle:
            print(f"Stopped, because no trial could go on: {run.obstacle}", file=sys.stderr)
        print(f"Stopped in good order: checkpoints are written. Go on with: {again}")
        if run.obstacle:
            raise typer.Exit(1)
        raise typer.Exit(130)
    _report(declared, uri, places, console)
    served = tracking_uri and tracking_uri.startswith("http")
    print(
        f"Look closer {f'at {tracking_uri}' if served else f'with: python -m shapeft_tune ui --home {home}'}"
    )
    if failed := sum(count.failed + count.confirmations_failed for count in run.counts):
        print(f"{failed} trials failed; see: python -m shapeft_tune status {file} --home {home}")
        if not any(count.complete for count in run.counts):
            raise typer.Exit(1)


def plan(
    file: SweepFile,
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    labels: Annotated[
        bool,
        typer.Option("--labels", help="Which patches are labelled, and their classes; may make the sample."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what `sweep` would run, without running it. With --data, the data and weights are checked too."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.display import cells_table
    from shapeft_tune.tune.standing import look_at, plan_json

    declared = load_sweep(file)
    places = places_at(home, data, weights)
    if data:
        from shapeft_tune.tune.preflight import check_sweep  # torch: only where it is asked for

        check_sweep(declared, places, print_aside)
    counts = look_at(declared, places)
    subsets: tuple[LabelledSubset, ...] = ()
    if labels:
        from shapeft_tune.tune.labels import labelled_subsets, labels_json, labels_tables  # needs the data

        subsets = labelled_subsets(declared, places)
    if as_json:
        drawn = {"labels": labels_json(subsets)} if labels else {}
        print_json(plan_json(declared.name, counts) | drawn)
        return
    console = open_console()
    for table in labels_tables(subsets, declared) if labels else ():
        console.print(table)
        print()
    console.print(cells_table(counts))
    todo, done = sum(c.trials_todo for c in counts), sum(c.trials_done for c in counts)
    print(f"{len(counts)} cells, {todo} trials to do, {done} done.")


def status(file: SweepFile, home: Home = HOME, as_json: Json = False) -> None:
    """Show where a sweep stands, also while it runs elsewhere."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.display import cells_table
    from shapeft_tune.tune.lock import driver_of
    from shapeft_tune.tune.standing import failures, look_at, status_json

    declared = load_sweep(file)
    places = places_at(home)
    counts, driver = look_at(declared, places), driver_of(places.sweep_folder(declared.name))
    if as_json:
        print_json(status_json(declared.name, driver, counts))
        return
    console = open_console()
    console.print(cells_table(counts))
    for line in failures(declared, places):
        console.print(line, style="red", markup=False, soft_wrap=True)
    todo = sum(count.trials_todo for count in counts)
    if driver:
        print(f"{todo} trials to do; at work: {driver}")
    else:
        print(f"{todo} trials to do; run them with: python -m shapeft_tune sweep {file}" if todo else "done")


def report(
    file: SweepFile, home: Home = HOME, tracking_uri: TrackingUri = None, as_json: Json = False
) -> None:
    """Compare the strategies of a sweep: table, heat maps, curves. Works on an unfinished sweep too."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.report import write_report

    declared = load_sweep(file)
    places, uri = places_at(home), tracking_at(home, tracking_uri)
    if as_json:
        files = write_report(declared, uri, places.sweep_folder(declared.name) / "report")
        sys.stdout.write(files.json.read_text(encoding="utf-8"))
        return
    _report(declared, uri, places, open_console())


def _report(declared: SweepConfig, uri: str, places: Places, console: Console) -> None:
    from shapeft_tune.report import as_terminal, findings, write_report

    files = write_report(declared, uri, places.sweep_folder(declared.name) / "report")
    console.print(as_terminal(files.comparison))
    for sentence in findings(files.comparison):
        console.print(sentence, highlight=False, soft_wrap=True)
    print(f"Report: {files.markdown}")
