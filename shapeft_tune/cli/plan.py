"""``plan``: what a sweep would run and take, and what its file says otherwise than its ledger."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shapeft_tune.cli.options import (
    CACHE_GB,
    HOME,
    Cache,
    CacheGb,
    Data,
    Home,
    Json,
    LedgerUrl,
    OptionalSweepFile,
    WeightsFolder,
    open_console,
    places_at,
    print_aside,
    print_json,
)
from shapeft_tune.errors import UserError

if TYPE_CHECKING:
    from shapeft_tune.config import SweepConfig
    from shapeft_tune.config.places import Places
    from shapeft_tune.tune.planning.labels import LabelledSubset
    from shapeft_tune.tune.planning.plan import Plan
    from shapeft_tune.tune.planning.work import Machine
    from shapeft_tune.tune.preflight import Contents

REFUSED = 2
"""Exit code where the file could not go on with its ledger."""


def plan(
    file: OptionalSweepFile = None,
    home: Home = HOME,
    data: Data = None,
    weights: WeightsFolder = None,
    labels: Annotated[
        bool,
        typer.Option("--labels", help="Which patches are labelled, and their classes; may make the sample."),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Train a few steps of what was not measured yet; Ctrl-C ends that."),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Only what FILE says otherwise than the sweep's ledger.")
    ] = False,
    cpus: Annotated[int | None, typer.Option(min=1, help="To plan for; by default this machine's.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="To plan for; by default this machine's.")] = None,
    generation: Annotated[
        int | None, typer.Option(min=1, help="Of the sweep; by default the newest.", show_default=False)
    ] = None,
    ledger: LedgerUrl = None,
    cache: Cache = None,
    cache_gb: CacheGb = CACHE_GB,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON schema of sweep files, for editors; needs no FILE."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what `sweep` would run and take, without running it.

    With --data, the data and weights are checked too. Hours are from the sweep's own past or a calibration.
    """
    if schema:
        from shapeft_tune.config.schema import sweep_schema

        print_json(sweep_schema())
        return
    if file is None:
        raise UserError("plan: expected a sweep FILE or --schema; got neither - see search_spaces/")
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.ledger.generations import chosen_generation
    from shapeft_tune.tune.planning.plan import this_machine

    places = places_at(home, data, weights, cache, cache_gb)
    declared = chosen_generation(load_sweep(file), places, ledger, generation)
    contents = _checked(declared, places)
    if diff:
        _show_diff(declared, places, ledger, contents, as_json)
        return
    machine = this_machine(cpus, gpus)
    drawn = _drawn_up(declared, places, ledger, machine, calibrated=calibrate, counted=calibrate or labels)
    subsets: tuple[LabelledSubset, ...] = ()
    if labels:
        from shapeft_tune.tune.planning.labels import labelled_subsets  # needs the data

        subsets = labelled_subsets(declared, places)
    _show(drawn, declared, subsets if labels else None, as_json)


def _checked(declared: SweepConfig, places: Places) -> Contents | None:
    """Check data and weights where the data is named; the weights alone where the file generates its data."""
    if places.data:
        from shapeft_tune.tune.preflight import check_sweep  # PyTorch: only where it is asked for

        return check_sweep(declared, places, print_aside)
    from shapeft_tune.tune.planning.demand import corner_trials

    first = {cell.strategy: cell for cell in declared.cells}.values()
    trials = [trial for cell in first for trial in corner_trials(cell)]
    if all(trial.data.dataset.name == "sample" for trial in trials) and any(
        trial.model.tuning.weights != "none" for trial in trials
    ):
        from shapeft_tune.tune.preflight import check_weights

        check_weights(declared, places)
    return None


def _drawn_up(
    declared: SweepConfig,
    places: Places,
    ledger: str | None,
    machine: Machine,
    *,
    calibrated: bool,
    counted: bool,
) -> Plan:
    """Draw up the plan, measuring and counting patches first where that was asked for."""
    from shapeft_tune.tune.planning.plan import draw_up, labelled_patches_of

    drawn = draw_up(declared, places, machine, ledger)
    labelled = {}
    if drawn.in_epochs and (counted or places.data):
        labelled = labelled_patches_of(declared, places)
        drawn = draw_up(declared, places, machine, ledger, labelled)
    if calibrated and (cells := drawn.to_measure()):
        from shapeft_tune.tune.planning.calibrate import calibrate

        folder = places.sweep_folder(declared.name)
        try:
            for measured in calibrate(cells, places, folder, print_aside):
                print_aside(f"  {measured.steps_per_second:.3g} steps/s on {measured.device}")
        except KeyboardInterrupt:
            print_aside("stopped; what was measured is kept")
        drawn = draw_up(declared, places, machine, ledger, labelled)
    return drawn


def _show(
    drawn: Plan, declared: SweepConfig, subsets: tuple[LabelledSubset, ...] | None, as_json: bool
) -> None:
    from shapeft_tune.cli.plan_tables import plan_sentences, plan_table
    from shapeft_tune.tune.planning.plan import plan_json

    labels: dict[str, Any] = {}
    tables = []
    if subsets is not None:
        from shapeft_tune.tune.planning.labels import labels_json, labels_tables

        labels, tables = {"labels": labels_json(subsets)}, labels_tables(subsets, declared)
    if as_json:
        print_json(plan_json(drawn) | labels)
        return
    console = open_console()
    for table in tables:
        console.print(table)
        print()
    console.print(plan_table(drawn.estimate.cells))
    for sentence in plan_sentences(drawn):
        print(sentence)


def _show_diff(
    declared: SweepConfig, places: Places, ledger: str | None, contents: Contents | None, as_json: bool
) -> None:
    from shapeft_tune.cli.plan_tables import diff_sentences
    from shapeft_tune.tune.planning.ledger_diff import compare, diff_json

    found = compare(declared, places.sweep_folder(declared.name), ledger, contents)
    if as_json:
        print_json({"sweep": declared.name} | diff_json(found))
    else:
        for sentence in diff_sentences(found):
            print(sentence)
    if found.refused:
        sys.exit(REFUSED)
