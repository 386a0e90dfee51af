"""How a plan, and its difference from the ledger, look to a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from shapeft_tune.tune.planning.estimate import NOT_MEASURED, OTHER_DEVICE, Basis, CellEstimate, Estimate
from shapeft_tune.tune.planning.leave_out import hours_in_words

if TYPE_CHECKING:
    from rich.table import Table

    from shapeft_tune.tune.planning.ledger_diff import Change, LedgerDiff
    from shapeft_tune.tune.planning.plan import Plan

NUMBERS = ("labels", "dates", "search", "confirmations", "steps", "steps/s", "device h", "disk")
SHOWN = 12
"""Cells of one kind of difference that are named; of more, how many there are."""


def plan_table(cells: Iterable[CellEstimate]) -> Table:
    """Return a row for each cell: trials done and to do, speed, hours and disk; ``?`` for what is unknown."""
    from rich.table import Table

    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column("strategy")
    for name in NUMBERS:
        table.add_column(name, justify="right")
    for cell in cells:
        work = cell.work
        table.add_row(
            work.cell.strategy,
            f"{100 * work.cell.label_fraction:g} %",
            str(work.cell.temporal_length),
            _done_and_todo(work.search_done, work.search_todo),
            _done_and_todo(work.confirmations_done, work.confirmations_todo),
            _steps(cell),
            _speed(cell),
            _hours(cell),
            _bytes(cell.kept_bytes),
            style=None if work.trials_todo else "dim",
        )
    return table


def plan_sentences(plan: Plan) -> Iterator[str]:
    """Yield what follows the table: totals, what they rest on, and what takes most."""
    estimate = plan.estimate
    if not plan.begun:
        yield f"Nothing was run under the name {plan.sweep!r} in this home or ledger yet."
    yield f"{len(estimate.cells)} cells, {estimate.trials_todo} trials to do, {estimate.trials_done} done."
    if estimate.trials_todo:
        yield from _totals(estimate)
        yield from _unknowns(plan)
        if plan.savings:
            yield "What takes much, and what would save some:"
            yield from (f"  {saving.words}" for saving in plan.savings)


def _totals(estimate: Estimate) -> Iterator[str]:
    machine = estimate.machine
    where = f"{machine.cpus} CPUs and {machine.gpus} GPUs"
    if estimate.device_hours is not None and len(estimate.unknown) < len(estimate.cells):
        words = f"{_words(estimate)}{hours_in_words(estimate.device_hours)} of device time"
        if estimate.unknown:
            words += f" in the {len(estimate.cells) - len(estimate.unknown)} cells of which it is known"
        if estimate.wall_hours is None:
            words += f"; {where} cannot run all of it (see --cpus, --gpus)"
        else:
            words += f", {hours_in_words(estimate.wall_hours)} on {where} if no slot is idle"
        yield f"{words}." + (f" The budget ends it: {estimate.limit}." if estimate.limit else "")
    if limits := sorted({cell.limit for cell in estimate.cells if cell.limit}):
        yield f"In some cells the budget ends the search before its last trial: {', '.join(limits)}."
    if estimate.kept_bytes is not None:
        peak = f", {_bytes(estimate.peak_bytes)} at most meanwhile" if estimate.peak_bytes else ""
        yield f"Checkpoints that are kept: {_bytes(estimate.kept_bytes)}{peak}."
    if memory := estimate.largest_memory:
        at = f"{memory.strategy} with {memory.temporal_length} dates"
        scaled = "" if memory.scaled_from is None else f", in proportion to {memory.scaled_from} dates"
        yield f"Largest memory of a trial: {_bytes(memory.peak_memory_bytes)} ({at}{scaled})."


def _words(estimate: Estimate) -> str:
    """Return how sure a sum is: at most, where a pruner that no formula foretells may end trials earlier."""
    todo = [cell for cell in estimate.cells if cell.work.trials_todo]
    varies = (cell.share.words == "at most" or cell.work.demand.steps_vary for cell in todo)
    upper = (*varies, *map(_was_one_process, todo))
    return "At most about " if any(upper) else "About "


def _was_one_process(cell: CellEstimate) -> bool:
    """Whether a trial shares its batches among processes and was measured without that."""
    slot, measured = cell.work.slot, cell.measured
    return bool(slot and slot.workers > 1 and measured and measured.source == "calibration")


def _unknowns(plan: Plan) -> Iterator[str]:
    estimate = plan.estimate
    todo = [cell for cell in estimate.cells if cell.work.trials_todo]
    sources = sorted({cell.measured.source for cell in todo if cell.measured})
    scaled = sum(cell.basis is Basis.SCALED for cell in todo)
    if sources:
        where = {"calibration": "a calibration", "ledger": "the sweep's own trials"}
        words = f"Measured in {' and '.join(where[source] for source in sources)}"
        if scaled:
            words += f"; of {scaled} cells (~), in proportion to another number of dates"
        if "calibration" in sources:
            words += "; that trials slow each other down on one machine is not in it"
        if any(_was_one_process(cell) for cell in todo):
            words += "; trials of several processes were measured with one, and take less"
        yield words + "."
    if count := sum(cell.unknown == NOT_MEASURED for cell in estimate.unknown):
        yield f"Hours of {count} cells are unknown: nothing of them was measured; see --calibrate."
    if count := sum(cell.unknown == OTHER_DEVICE for cell in estimate.unknown):
        words = "trials were measured on a GPU and get none, or the other way round"
        yield f"Hours of {count} cells are unknown: their {words}; see --calibrate."
    if any(cell.seconds is not None for cell in estimate.unknown):
        yield "Hours of cells with `gpu: auto` are unknown until their share of a GPU is measured."
    if plan.in_epochs and any(cell.work.demand.steps is None for cell in todo):
        yield "Budgets in epochs depend on the number of labelled patches: give --data to know the steps."


def diff_sentences(diff: LedgerDiff) -> Iterator[str]:
    """Yield what a file says otherwise than its ledger."""
    if diff.refused:
        yield "Refused, because finished trials would mean something else (see `sweep --new`):"
        yield from (f"  {line} (in {count} cells)" for line, count in diff.refused.items())
    yield from _listed("New cells (trials there -> wanted):", diff.new)
    yield from _listed("Cells in the middle of their search:", diff.unfinished)
    yield from _listed("Cells whose search had ended and would go on:", diff.reopened)
    yield from _listed("Cells whose search a limit of the budget has ended:", diff.ended)
    yield from _listed("Cells that need confirmations (there -> wanted):", diff.seeds)
    yield from _listed("Cells that the file has no more; kept, not in reports:", diff.gone)
    if diff.empty:
        yield "File and ledger agree on cells, trials and what these mean, and nothing is to be done."
    yield (
        "Not compared, as a ledger does not note them: bounds (but for log_normal), constraints, sampler, "
        "pruner, resources. Finished trials that new bounds or constraints exclude still count."
    )


def _listed(title: str, changes: tuple[Change, ...]) -> Iterator[str]:
    if not changes:
        return
    yield title
    for change in changes[:SHOWN]:
        yield f"  {change}" + (f" ({change.limit})" if change.limit else "")
    if len(changes) > SHOWN:
        yield f"  and {len(changes) - SHOWN} more"


def _done_and_todo(done: int, todo: int) -> str:
    return f"{done}/{done + todo}"


def _steps(cell: CellEstimate) -> str:
    demand = cell.work.demand
    if demand.steps is None:
        return "?"
    return f"<= {demand.steps}" if demand.steps_vary else str(demand.steps)


def _speed(cell: CellEstimate) -> str:
    if cell.measured is None:
        return "?"
    speed = cell.measured.steps_per_second
    return f"{'~' if cell.basis is Basis.SCALED else ''}{speed:.3g}"


def _hours(cell: CellEstimate) -> str:
    if cell.device_hours is None:
        return "?"
    if not cell.work.trials_todo:
        return ""
    hours = f"{cell.device_hours:.2g}" if cell.device_hours < 10 else f"{cell.device_hours:,.0f}"
    return f"~{hours}" if cell.basis is Basis.SCALED else hours


def _bytes(size: int | None) -> str:
    if size is None:
        return "?"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
