"""The one who knows both sides: Ray asks it for work and tells it results; it keeps ledger and record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import TrialError
from shapeft_tune.scores import CONFUSION_FILE, Counts, pooled_test_counts
from shapeft_tune.tracking import Ending, Recorder, TrialEnd, TrialFacts
from shapeft_tune.tune.cell_ledger import LedgerTrial, State
from shapeft_tune.tune.ledger import Ledger
from shapeft_tune.tune.trainable import INTERRUPTED, OBSTRUCTED, STOP_FILE, Order, Outcome, trial_folder

logger = logging.getLogger(__name__)

ARTIFACTS = ("labels.json", "result.json", CONFUSION_FILE)
CHECKPOINTS = ("last.pt", "best.pt")


@dataclass(frozen=True)
class Event:
    """Something a person watching wants to know."""

    kind: str
    """``started``, ``continued``, ``validated``, or the state in which the trial ended."""
    trial: LedgerTrial
    step: int = 0
    miou: float | None = None
    message: str = ""


class Driver:
    """Decides the order of work over all cells and notes everything that happens to a trial."""

    def __init__(
        self,
        sweep_name: str,
        ledger: Ledger,
        recorder: Recorder,
        folder: Path,
        on_event: Callable[[Event], None],
    ) -> None:
        self._sweep = sweep_name
        self._ledger = ledger
        self._recorder = recorder
        self._folder = folder
        self._on_event = on_event
        self._left_over = [trial for cell in ledger.cells.values() for trial in cell.unfinished()]
        self._running: dict[str, LedgerTrial] = {}
        self._pruned: set[str] = set()
        self.obstacle = ""
        """What no trial could go on with, such as a full disk; empty for none."""

    # Asked by Ray

    @property
    def stopping(self) -> bool:
        """Whether the sweep is to end early."""
        return bool(self.obstacle) or (self._folder / STOP_FILE).exists()

    @property
    def done(self) -> bool:
        """Whether nothing runs and nothing is left to hand out."""
        return not self._running and (self.stopping or not self._has_work())

    @property
    def handed_out(self) -> Iterable[str]:
        """Ray's names of the trials that have not ended, the oldest first."""
        return self._running

    def next_order(self, ray_id: str) -> Order | None:
        """Hand out a trial: what a dead driver left, then from the cell with the fewest running."""
        trial = None if self.stopping else self._next_trial()
        if trial is None:
            return None
        self._running[ray_id] = trial
        self._recorder.trial_started(self._facts(trial))
        resources = trial.cell.resources
        return Order(
            strategy=trial.cell.strategy,
            fingerprint=trial.fingerprint,
            role=trial.role,
            config=trial.config.canonical(),
            cpu=resources.cpu,
            gpu=resources.gpu,
        )

    # Told by Ray

    def progressed(self, ray_id: str, step: int, steps: int, metrics: Mapping[str, float]) -> bool:
        """Note a validation after ``step`` of ``steps`` and return whether the trial should stop."""
        trial = self._running[ray_id]
        self._recorder.trial_progress(self._facts(trial), step, metrics)
        stop = self._ledger.cells[trial.cell.key].report(trial, step, metrics["val/miou"])
        self._tell(Event("validated", trial, step, metrics["val/miou"]))
        stop = stop and step < steps  # at its last validation a trial is paid for
        if stop:
            self._pruned.add(ray_id)
        return stop

    def ended(self, ray_id: str, told: Mapping[str, Any]) -> None:
        """Note how a trial ended. ``told`` is its worker's :class:`Outcome`, empty if it had no last word."""
        trial = self._running.pop(ray_id)
        outcome = Outcome(**told) if told else self._silent_end(ray_id)
        if outcome.state == OBSTRUCTED:
            self.obstacle = outcome.message
        if outcome.state in (INTERRUPTED, OBSTRUCTED):
            self._tell(Event(INTERRUPTED, trial, message=outcome.message))
            return
        state = State(outcome.state)
        self._ledger.cells[trial.cell.key].end(trial, state, outcome.score, outcome.message)
        self._recorder.trial_ended(self._facts(trial), self._end(trial, state, outcome.message))
        self._remove_checkpoints(trial)
        self._tell(Event(outcome.state, trial, miou=outcome.score, message=outcome.message))

    def complete_record(self) -> None:
        """Tell the record of trials whose end it missed, because a driver died between ledger and record."""
        for trial in self._ledger.trials():
            facts = self._facts(trial)
            if trial.state is not State.RUNNING and not self._recorder.has_ended(facts):
                self._recorder.trial_ended(facts, self._end(trial, trial.state, trial.message))

    # Inner workings

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except (Exception, SystemExit):  # a closed terminal must not end the trials
            logger.exception("cannot show %s", event.kind)

    def _remove_checkpoints(self, trial: LedgerTrial) -> None:
        """Keep the weights of confirmations and of the cell's best search trial; of others, the results."""
        best = self._ledger.cells[trial.cell.key].best()
        kept = {best.fingerprint} if best else set()
        for other in self._ledger.cells[trial.cell.key].search_trials():
            if other.state is not State.RUNNING and other.fingerprint not in kept:
                folder = trial_folder(self._folder, other.cell.strategy, other.fingerprint)
                for name in CHECKPOINTS:
                    (folder / name).unlink(missing_ok=True)

    def _has_work(self) -> bool:
        return bool(self._left_over) or any(cell.has_work() for cell in self._ledger.cells.values())

    def _next_trial(self) -> LedgerTrial | None:
        if self._left_over:
            left_over = self._left_over.pop(0)
            self._tell(Event("continued", left_over))
            return left_over
        busy = [trial.cell.key for trial in self._running.values()]
        for key in sorted(self._ledger.cells, key=busy.count):  # stable: cheap cells come first
            if trial := self._ledger.cells[key].next():
                self._tell(Event("started", trial))
                return trial
        return None

    def _silent_end(self, ray_id: str) -> Outcome:
        if ray_id in self._pruned:
            return Outcome(State.PRUNED)
        if self.stopping:
            return Outcome(INTERRUPTED, message="stopped before it could write a checkpoint")
        return Outcome(State.FAILED, message="its worker died again and again; Ray's log says more")

    def _facts(self, trial: LedgerTrial) -> TrialFacts:
        return TrialFacts(
            sweep=self._sweep,
            strategy=trial.cell.strategy,
            label_fraction=trial.cell.label_fraction,
            temporal_length=trial.cell.temporal_length,
            role=trial.role,
            seed=trial.config.seed,
            fingerprint=trial.fingerprint,
            config=trial.config.canonical(),
            sampled=trial.sampled,
        )

    def _end(self, trial: LedgerTrial, state: State, message: str) -> TrialEnd:
        from shapeft_tune.train import TrialResult  # torch: not needed to look at a ledger

        folder = trial_folder(self._folder, trial.cell.strategy, trial.fingerprint)
        try:
            result = TrialResult.load(folder)
        except TrialError:
            logger.exception("no scores for the record")
            result = None
        files = {name: folder / name for name in ARTIFACTS if (folder / name).exists()}
        metrics = result.metrics() if result else {}
        return TrialEnd(Ending(state), metrics, message, files, _test_counts(trial, files))


def _test_counts(trial: LedgerTrial, files: Mapping[str, Path]) -> Counts | None:
    """Return a confirmation's confusion matrix, which a report sums over the test folds."""
    if trial.role is not Role.CONFIRMATION or CONFUSION_FILE not in files:
        return None
    try:
        return pooled_test_counts(files[CONFUSION_FILE])
    except (OSError, ValueError, BadZipFile):
        logger.exception("no confusion matrix for the record")
        return None
