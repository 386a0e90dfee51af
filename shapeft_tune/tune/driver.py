"""The one who knows both sides: Ray asks it for work and tells it results; it keeps ledger and record."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapeft_tune.config.protocol import Role
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tracking import Place, Recorder, TrialFacts
from shapeft_tune.tracking.facts import CELL_WALL_SECONDS
from shapeft_tune.tune.cluster.room import Capacity, Room
from shapeft_tune.tune.cluster.slots import Slot, slots_of
from shapeft_tune.tune.faults import MACHINE, worth_another_try
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent, State
from shapeft_tune.tune.orders import INTERRUPTED, OBSTRUCTED, STOP_FILE, Order, Outcome
from shapeft_tune.tune.recording import end_of, facts_of
from shapeft_tune.tune.spending import Spending
from shapeft_tune.tune.status.whereabouts import Whereabouts
from shapeft_tune.tune.storage.trial_files import TrialFiles

if TYPE_CHECKING:
    from shapeft_tune.tune.preflight import Contents

logger = logging.getLogger(__name__)

RETRIED = "retried"


@dataclass(frozen=True)
class Event:
    """Something a person watching wants to know."""

    kind: str
    """``started``, ``continued``, ``began`` (it has its slot), ``validated``, ``retried``, ``interrupted``,
    or the state in which the trial ended."""
    trial: LedgerTrial
    step: int = 0
    miou: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Running:
    """A trial that was handed out, and how far it is."""

    trial: LedgerTrial
    facts: TrialFacts
    """What the record is told of it, again and again."""
    slot: Slot
    spent: Spent
    pruned: bool = False
    came_further: bool = False
    """It was validated since it was handed out."""
    kept_bytes: int | None = None
    """What its folder took after its last validation; None before the first."""


class Driver:
    """Decides the order of work over all cells and notes everything that happens to a trial."""

    def __init__(
        self,
        sweep: SweepConfig,
        ledger: Ledger,
        recorder: Recorder,
        folder: Path,
        on_event: Callable[[Event], None],
        files: TrialFiles | None = None,
        shares: Mapping[str, float] | None = None,
        lost: Callable[[], str] = lambda: "",
        capacity: Callable[[], Capacity] = lambda: Capacity(math.inf, math.inf),
        contents: Contents | None = None,
    ) -> None:
        """Take over what a dead driver left.

        Args:
            sweep: the checked file.
            ledger: opened for running.
            recorder: of the record.
            folder: the sweep's.
            on_event: told of everything that happens to a trial.
            files: of the trials, where they are not in the folder alone.
            shares: of a GPU, by the key of each cell that leaves it to a measurement.
            lost: tells why the ledger is no longer this driver's; empty while it is.
            capacity: tells what the cluster has; asked where trials are shared by processes.
            contents: what data and weights amount to, for the record.
        """
        self._sweep = sweep
        self._ledger = ledger
        self._recorder = recorder
        self._folder = folder
        self._on_event = on_event
        self._lost = lost
        self._contents = contents
        self.share(shares or {})
        self._left_over = [trial for cell in ledger.cells.values() for trial in cell.unfinished()]
        self._open = dict(ledger.cells)
        """Cells that may still have something to hand out."""
        self._running: dict[str, Running] = {}
        self._busy: Counter[str] = Counter()
        self._fruitless: Counter[str] = Counter()
        """Faults of a trial since it last came further."""
        self._room = Room(self._slots.values(), capacity)
        self._spending = Spending(ledger, sweep.budget.total)
        self._files = files or TrialFiles(folder)
        self._whereabouts = Whereabouts(folder)
        self.obstacle = ""
        """What no trial could go on with, such as a full disk; empty for none."""
        self.limit = ""
        """Which limit of the whole sweep was reached; empty for none."""
        if self._has_work():
            self._watch_budget()  # by an earlier run, perhaps: then no cluster is needed to know it

    def share(self, shares: Mapping[str, float]) -> None:
        """Take over shares that were measured, by cell; before the first trial is handed out."""
        self._slots = slots_of({key: cell.cell for key, cell in self._ledger.cells.items()}, shares)

    def obstructed(self, obstacle: str) -> None:
        """Hand out nothing more: no trial could go on. Trials that end without a word stay open."""
        self.obstacle = self.obstacle or obstacle

    # Asked by Ray

    @property
    def stopping(self) -> bool:
        """Whether the sweep is to end early."""
        return bool(self.obstacle or self.limit) or (self._folder / STOP_FILE).exists()

    @property
    def done(self) -> bool:
        """Whether nothing runs and nothing is left to hand out."""
        return not self._running and (self.stopping or not self._has_work())

    @property
    def handed_out(self) -> Collection[str]:
        """Ray's names of the trials that have not ended, the oldest first."""
        return self._running

    def next_order(self, ray_id: str) -> Order | None:
        """Hand out a trial: what a dead driver left, then from the cell with the fewest running."""
        self._watch_budget()
        trial = None if self.stopping else self._next_trial()
        if trial is None:
            return None
        slot = self._slots[trial.cell.key]
        facts = facts_of(self._sweep.name, trial, self._contents)
        self._running[ray_id] = Running(trial, facts, slot, trial.spent)
        self._busy[trial.cell.key] += 1
        self._spending.started(trial)
        self._files.began(trial)
        self._whereabouts.handed_out(ray_id, trial)
        self._recorder.trial_started(facts)
        return Order(
            strategy=trial.cell.strategy,
            fingerprint=trial.fingerprint,
            role=trial.role,
            config=facts.config,
            cpu=slot.cpu,
            gpu=slot.gpu,
            workers=slot.workers,
        )

    # Told by Ray

    def began(self, ray_id: str, host: str, process: int, device: str) -> None:
        """Note that a trial got its slot."""
        self._whereabouts.began(ray_id, host, process, device)
        running = self._running[ray_id]
        self._spending.began(running.trial)
        self._recorder.trial_began(running.facts, Place(host, device))
        self._tell(Event("began", running.trial))

    def progressed(
        self,
        ray_id: str,
        step: int,
        steps: int,
        seconds: float,
        metrics: Mapping[str, float],
        disk_bytes: int = 0,
        kept_bytes: int = 0,
    ) -> bool:
        """Note a validation and return whether the trial should stop.

        Args:
            ray_id: Ray's name of the trial.
            step: after how many optimiser steps it was.
            steps: of the whole trial.
            seconds: that the trial took so far, over all its pieces.
            metrics: what was found.
            disk_bytes: that its folder takes at most, while one checkpoint replaces another.
            kept_bytes: that its folder takes now.
        """
        running = self._running[ray_id]
        trial = running.trial
        spent = _spent(running, step, seconds)
        self._spending.took(trial, spent, ended=False)
        self._files.grew(trial, disk_bytes)
        self._whereabouts.reached(ray_id, step, steps, seconds)
        self._recorder.trial_progress(running.facts, step, metrics)
        stop = self._ledger.cells[trial.cell.key].report(trial, step, metrics["val/miou"])
        stop = stop and step < steps  # at its last validation a trial is paid for
        self._running[ray_id] = replace(
            running, spent=spent, pruned=stop, came_further=True, kept_bytes=kept_bytes
        )
        self._tell(Event("validated", trial, step, metrics["val/miou"]))
        self._watch_budget()
        return stop or (self.stopping and step < steps)  # its checkpoint is written: it can go on from here

    def ended(self, ray_id: str, told: Mapping[str, Any]) -> None:
        """Note how a trial ended. ``told`` is its worker's :class:`Outcome`, empty if it had no last word."""
        running = self._running.pop(ray_id)
        trial = running.trial
        self._busy[trial.cell.key] -= 1
        self._whereabouts.left(ray_id)
        outcome = Outcome(**told) if told else self._silent_end(running)
        spent = self._spent_in_the_end(running, outcome)
        self._spending.took(trial, spent, ended=True)
        self._files.ended(trial, outcome.disk_bytes or running.kept_bytes)
        if outcome.state == OBSTRUCTED:
            self.obstacle = outcome.message
        if outcome.state in (INTERRUPTED, OBSTRUCTED):
            self._tell(Event(INTERRUPTED, trial, message=outcome.message))
        elif outcome.state == State.FAILED and self._tries_again(running, outcome):
            again = self._ledger.cells[trial.cell.key].retry(trial, outcome.message)
            self._left_over.append(again)
            self._tell(Event(RETRIED, again, message=outcome.message))
        else:
            self._conclude(trial, State(outcome.state), outcome)

    def complete_record(self) -> None:
        """Make up for what a driver left that died right after it had written an end to the ledger.

        The record is told of it, and weights that nobody wants any more are removed.
        """
        for trial in self._ledger.trials():
            told = self._recorder.has_ended(trial.cell.strategy, trial.role, trial.fingerprint)
            if trial.state is not State.RUNNING and not told:
                self._record_end(trial)
        for cell in self._ledger.cells.values():
            best = cell.best()
            wanted = {trial.fingerprint for trial in (*cell.confirmation_trials(), *cell.unfinished())}
            wanted |= {best.fingerprint} if best else set()
            ended = (trial for trial in cell.search_trials() if trial.state is not State.RUNNING)
            self._files.drop_left_over(trial for trial in ended if trial.fingerprint not in wanted)

    def close(self) -> None:
        """Write down what was kept in memory; nothing runs any more."""
        self._spending.close()
        self._whereabouts.close()

    # Inner workings

    def _watch_budget(self) -> None:
        self.obstacle = self.obstacle or self._lost()
        if not self.limit and (limit := self._spending.reached):
            self.limit = limit
        if self.stopping:
            self._files.spread_stop()

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except (Exception, SystemExit):  # a closed terminal must not end the trials
            logger.exception("cannot show %s", event.kind)

    def _conclude(self, trial: LedgerTrial, state: State, outcome: Outcome) -> None:
        cell = self._ledger.cells[trial.cell.key]
        best_before = cell.best()
        ended = cell.end(trial, state, outcome.score, outcome.message)
        self._record_end(ended)
        self._drop_weights(ended, best_before)
        self._tell(Event(outcome.state, ended, miou=outcome.score, message=outcome.message))

    def _record_end(self, trial: LedgerTrial) -> None:
        end = end_of(trial, trial.state, trial.message, self._files.results(trial))
        if trial.role is Role.SEARCH:
            wall = {CELL_WALL_SECONDS: self._ledger.cells[trial.cell.key].wall_seconds}
            end = replace(end, metrics={**end.metrics, **wall})
        self._recorder.trial_ended(facts_of(self._sweep.name, trial, self._contents), end)

    def _tries_again(self, running: Running, outcome: Outcome) -> bool:
        name = f"{running.trial.role}:{running.trial.storage_id}"
        if running.came_further:
            self._fruitless[name] = 0
        again = worth_another_try(
            outcome.fault,
            outcome.message,
            running.trial.retried,
            self._fruitless[name],
            self._sweep.budget.max_retries,
        )
        self._fruitless[name] += 1
        return again

    def _drop_weights(self, trial: LedgerTrial, best_before: LedgerTrial | None) -> None:
        """Keep the weights of confirmations and of the cell's best search trial; of others, the results."""
        if trial.role is not Role.SEARCH:
            return
        best = self._ledger.cells[trial.cell.key].best()
        is_best = best is not None and best.storage_id == trial.storage_id
        beaten = best_before if is_best else trial
        if beaten and not (best and best.fingerprint == beaten.fingerprint):
            self._files.drop_checkpoints(beaten)

    def _has_work(self) -> bool:
        if self._left_over:
            return True
        for key in [key for key, cell in self._open.items() if not cell.unfinished() and not cell.has_work()]:
            del self._open[key]
        return any(cell.has_work() for cell in self._open.values())

    def _next_trial(self) -> LedgerTrial | None:
        if self._left_over:
            if not self._has_room(self._left_over[0].cell.key, self._left_over[0]):
                return None
            left_over = self._left_over.pop(0)
            self._tell(Event("continued", left_over))
            return left_over
        # The dictionary keeps the sweep's order and sorting is stable: among equals cheap cells come first.
        for key in sorted(self._open, key=lambda each: self._busy[each]):
            cell = self._open[key]
            if cell.has_work() and not self._has_room(key):
                return None  # it is its turn: nothing that would fit better may overtake it for ever
            if trial := cell.next():
                self._tell(Event("started", trial))
                return trial
        return None

    def _has_room(self, cell_key: str, trial: LedgerTrial | None = None) -> bool:
        """Whether the cluster and the disk have room for a trial of a cell."""
        refusal = self._files.refusal(self._ledger.cells[cell_key].cell.strategy, trial)
        if refusal and not self._running:  # nothing will end and make room
            self.obstacle = refusal
        taken = (running.slot for running in self._running.values())
        return not refusal and self._room.has(self._slots[cell_key], taken)

    def _spent_in_the_end(self, running: Running, outcome: Outcome) -> Spent:
        """Return what a trial took, with the time since it was last heard of.

        Of one that was interrupted the checkpoint has that time, and tells of it when the trial goes on. Of
        one that failed it is lost, so it is kept apart.
        """
        if outcome.seconds:
            return _spent(running, outcome.steps, outcome.seconds)
        silence = self._spending.silence(running.trial)
        spent = running.spent
        if outcome.state in (State.FAILED, OBSTRUCTED):
            lost = spent.lost_device_seconds + silence * running.slot.devices
            return replace(spent, lost_device_seconds=lost)
        if outcome.state == INTERRUPTED:
            return _spent(running, spent.steps, spent.seconds + silence)
        return spent

    def _silent_end(self, running: Running) -> Outcome:
        if running.pruned:
            return Outcome(State.PRUNED)
        if self.stopping:
            return Outcome(INTERRUPTED, message="stopped before it could write a checkpoint")
        return Outcome(State.FAILED, message="its worker died; Ray's log says more", fault=MACHINE)


def _spent(running: Running, steps: int, seconds: float) -> Spent:
    """Return what a trial took over all its pieces, beside what it had lost before."""
    return Spent(steps, seconds, seconds * running.slot.devices, running.spent.lost_device_seconds)
