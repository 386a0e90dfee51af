"""The part of the ledger that belongs to one cell.

What the storage holds is read once; from then on this is the only writer, and answers from memory: a driver
asks every cell what there is to do again and again, while trials become thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from pydantic import ValidationError

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.ledger.asking import Asker, Tried
from shapeft_tune.tune.ledger.cell_studies import CellStudies
from shapeft_tune.tune.ledger.confirmations import Confirmations
from shapeft_tune.tune.ledger.samplers import SLOW
from shapeft_tune.tune.ledger.space import Space
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent, State

ENOUGH = 3
"""Complete trials after which a cell's best is worth a try in its neighbours, though its search goes on."""


class CellLedger:
    """Asks for, reports on and ends the trials of one cell."""

    def __init__(
        self,
        cell: Cell,
        sweep: SweepConfig,
        storage: BaseStorage,
        existing: set[str],
        thinker: Executor | None = None,
    ) -> None:
        """Read what the storage holds of the cell.

        Args:
            cell: the cell.
            sweep: its sweep.
            storage: Optuna's.
            existing: names of the studies that the storage holds.
            thinker: runs samplers that take seconds; without one, they are waited for.
        """
        self.cell = cell
        self.neighbours: tuple[CellLedger, ...] = ()
        self._space = Space(cell)
        self._budget = sweep.budget
        self._studies = CellStudies(cell, sweep, storage, self._space)
        self._sampler_is_slow = isinstance(sweep.optimisation.sampler, SLOW)
        self._thinker = thinker
        self._asker = Asker(self._space, sweep.optimisation, cell.key, cell.trials)
        self._asking: Future[FrozenTrial | None] | None = None
        self._exhausted = False
        """Whether the ranges hold no configuration that was not tried."""
        self._trials: dict[Role, dict[int, LedgerTrial]] = {role: {} for role in Role}
        self._running: dict[Role, set[int]] = {role: set() for role in Role}
        self._spent = {role: Spent() for role in Role}
        self._struck: dict[Role, dict[int, LedgerTrial]] = {role: {} for role in Role}
        """The trials that were struck out and whose time is counted, by number."""
        self._known: set[str] = set()
        """Fingerprints of the search trials."""
        self._best: LedgerTrial | None = None
        self._confirmations = Confirmations(cell, sweep.budget.confirmation_seeds)
        self._wall_seconds = 0.0
        self.refresh(existing)

    def refresh(self, existing: set[str]) -> None:
        """Read what another process wrote since the last time; trials that had ended are not read again."""
        self._studies.open(existing)
        if self.changed_meaning():
            return  # trials of another meaning may not fit the file's ranges, and nothing goes on with them
        for role in Role:
            for trial in list(self._unknown(role)):
                self._put(trial)
        self._wall_seconds = self._studies.wall_seconds

    # What there is

    def trials(self) -> tuple[LedgerTrial, ...]:
        """Return all trials, search trials first, each kind in the order of its birth."""
        return self.search_trials() + self.confirmation_trials()

    def search_trials(self) -> tuple[LedgerTrial, ...]:
        """Return the search trials."""
        return tuple(self._trials[Role.SEARCH].values())

    def confirmation_trials(self) -> tuple[LedgerTrial, ...]:
        """Return the confirmation trials, also those of a configuration that is no longer the best."""
        return tuple(self._trials[Role.CONFIRMATION].values())

    def current_confirmations(self) -> tuple[LedgerTrial, ...]:
        """Return the confirmation trials of the configuration that is the best now."""
        wanted = self._confirmations.wanted(self._best)
        return tuple(trial for trial in self.confirmation_trials() if trial.fingerprint in wanted)

    def best(self) -> LedgerTrial | None:
        """Return the complete search trial with the best validation mIoU; the cheaper one of equals."""
        return self._best

    def advice(self) -> LedgerTrial | None:
        """Return the best trial for neighbours to try: after a few complete ones, or the whole search."""
        complete = sum(trial.state is State.COMPLETE for trial in self._trials[Role.SEARCH].values())
        return self._best if complete >= ENOUGH or not self._search_open() else None

    def unfinished(self) -> tuple[LedgerTrial, ...]:
        """Return the trials that were handed out and have not ended."""
        return tuple(self._trials[role][id_] for role in Role for id_ in sorted(self._running[role]))

    def spent(self, role: Role | None = None) -> Spent:
        """Return what the cell's trials took so far, of one role or of both."""
        return sum((self._spent[each] for each in Role if role in (None, each)), Spent())

    @property
    def wall_seconds(self) -> float:
        """Seconds in which the cell had search trials at work."""
        return self._wall_seconds

    # What is to do

    @property
    def budget_reached(self) -> str:
        """Which limit beside the number of trials ended the search; empty for none."""
        budget, spent = self._budget, self.spent(Role.SEARCH)
        limits = (
            ("steps", budget.steps, spent.steps),
            ("device_hours", budget.device_hours, spent.charged_device_seconds / 3600),
            ("wall_hours", budget.wall_hours, self._wall_seconds / 3600),
        )
        return next((name for name, limit, reached in limits if limit is not None and reached >= limit), "")

    def search_todo(self) -> int:
        """Return how many search trials are still to be handed out."""
        missing = max(self.cell.trials - len(self._trials[Role.SEARCH]), 0)
        if missing and (self._exhausted or self.budget_reached):
            return int(self._asking is not None)  # what is being thought of is in the storage already
        return missing

    def confirmations_to_come(self) -> int:
        """Return how many confirmation trials are still to be handed out, now or after the search."""
        if self._search_open():
            return self._budget.confirmation_seeds * self.cell.rotations
        return len(self._missing_confirmations())

    def has_work(self) -> bool:
        """Whether a trial can be handed out now, or is being thought of."""
        return self.search_todo() > 0 or (not self._search_open() and bool(self._missing_confirmations()))

    def next(self) -> LedgerTrial | None:
        """Hand out the next trial: search trials first, then, when all have ended, confirmations.

        None where there is none now, also while a slow sampler thinks.
        """
        if self.search_todo() and (trial := self._next_search()):
            return trial
        if not self._search_open() and (missing := self._missing_confirmations()):
            return self._start_confirmation(*missing[0])
        return None

    # What comes of it

    def report(self, trial: LedgerTrial, step: int, miou: float) -> bool:
        """Note a validation and return whether the trial should stop. Confirmations are never stopped."""
        stop = self._studies.report(trial, step, miou)
        return stop and trial.role is Role.SEARCH

    def curve(self, trial: LedgerTrial) -> Mapping[int, float]:
        """Return the validation mIoU of a trial by step."""
        return self._studies.curve(trial)

    def spend(self, trial: LedgerTrial, spent: Spent, *, write: bool = True) -> None:
        """Note what a trial took so far, in memory or for good."""
        if write:
            self._studies.note_spent(trial, spent)
        self._put(replace(self._trials[trial.role][trial.storage_id], spent=spent))

    def note_wall_seconds(self, seconds: float, *, write: bool = True) -> None:
        """Note in how many seconds, all together, the cell had search trials at work."""
        self._wall_seconds = seconds
        if write:
            self._studies.note_wall_seconds(seconds)

    def retry(self, trial: LedgerTrial, message: str) -> LedgerTrial:
        """Note a fault after which the trial stays open, and return the trial to be handed out again."""
        current = self._trials[trial.role][trial.storage_id]
        retried = (*current.retried, message)
        self._studies.note_faults(trial, retried)
        return self._put(replace(current, retried=retried))

    def end(
        self, trial: LedgerTrial, state: State, score: float | None = None, message: str = ""
    ) -> LedgerTrial:
        """Note how a trial ended and return it as it is now; the first word counts."""
        current = self._trials[trial.role][trial.storage_id]
        if current.state is not State.RUNNING:
            return current
        ended = self._studies.end(current, state, score, message)
        kept = score if state is State.COMPLETE else None
        return self._put(replace(current, state=state, message=message, score=kept, ended=ended))

    def reopen_failed(self) -> int:
        """Strike out the failed trials that can be run again; return how many these are.

        One for which the budget leaves no room, or a confirmation of what is the best no more, stays failed.
        """
        failed = self._failed_with_room()
        for role in {trial.role for trial in failed}:
            self._studies.strike(role, {trial.number for trial in failed if trial.role is role})
        for trial in failed:
            self._forget(trial)
        self._exhausted = self._exhausted and not failed
        return len(failed)

    def settle_meaning(self, protocol: Mapping[str, str]) -> list[str]:
        """Note what the cell's trials mean, or return a line for each difference to what was noted."""
        return self._studies.settle_meaning(protocol)

    def changed_meaning(self, protocol: Mapping[str, str] | None = None) -> list[str]:
        """Return a line for each difference to what was noted; none where no trial has begun.

        Args:
            protocol: what the meaning holds beside the file; without it, as far as the file alone can tell.
        """
        return self._studies.changed_meaning(protocol)

    def settle_half_asked(self) -> None:
        """Hand out what a driver was asking for when it died, if it is whole and new; else strike it out."""
        for frozen in self._studies.half_asked():
            if self._asker.is_new(frozen.params, self._fingerprint, self._known):
                self._studies.hand_out(frozen)
                self._put(self._studies.read(Role.SEARCH, frozen))
            else:
                self._studies.void(frozen)

    # Inner workings

    def _unknown(self, role: Role) -> Iterator[LedgerTrial]:
        """Yield the trials that count and whose end is not known here yet; forget those struck out since."""
        known, struck = self._trials[role], self._studies.struck(role)
        for trial in [each for each in known.values() if each.number in struck]:
            self._forget(trial)
        for frozen in self._studies.handed_out(role):
            before = known.get(frozen._trial_id)
            if before is not None and before.state is not State.RUNNING:
                continue
            if frozen.number not in struck:
                yield self._studies.read(role, frozen)
            elif frozen.number not in self._struck[role]:  # its time is gone all the same
                self._struck[role][frozen.number] = self._studies.read(role, frozen)
                self._spent[role] += self._struck[role][frozen.number].spent

    def _forget(self, trial: LedgerTrial) -> None:
        """Let a trial that was struck out count no more; what it took still does."""
        del self._trials[trial.role][trial.storage_id]
        self._struck[trial.role][trial.number] = trial
        self._known = {each.fingerprint for each in self.search_trials()}

    def _failed_with_room(self) -> list[LedgerTrial]:
        search = self.search_trials()
        failed = [trial for trial in search if trial.state is State.FAILED]
        room = 0 if self.budget_reached else max(self.cell.trials - len(search) + len(failed), 0)
        confirmations = self.current_confirmations()
        return failed[:room] + [trial for trial in confirmations if trial.state is State.FAILED]

    def _search_open(self) -> bool:
        return self.search_todo() > 0 or bool(self._running[Role.SEARCH])

    def _next_search(self) -> LedgerTrial | None:
        if self._asking is None:
            if proposed := self._proposed():
                return self._begun(proposed)
            if self._thinker is None or not self._sampler_is_slow:
                return self._begun(self._ask())
            self._asking = self._thinker.submit(self._ask)
        if not self._asking.done():
            return None
        asked, self._asking = self._asking.result(), None
        return self._begun(asked)

    def _begun(self, asked: FrozenTrial | None) -> LedgerTrial | None:
        self._exhausted = asked is None
        return self._put(self._studies.read(Role.SEARCH, asked)) if asked else None

    def _proposed(self) -> FrozenTrial | None:
        advice = filter(None, (near.advice() for near in self.neighbours))
        study = self._studies.study(Role.SEARCH)
        return self._asker.propose(study, self._fingerprint, self._tried(), advice)

    def _ask(self) -> FrozenTrial | None:
        return self._asker.ask(self._studies.study(Role.SEARCH), self._fingerprint, self._tried())

    def _tried(self) -> Tried:
        return Tried(self.search_trials(), self._known, tuple(self._struck[Role.SEARCH].values()))

    def _fingerprint(self, parameters: Mapping[str, Any]) -> str | None:
        """Return the fingerprint of a configuration, None where values between the corners contradict."""
        try:
            return self.cell.trial(self._space.values(parameters)).fingerprint()
        except ValidationError:
            return None

    def _missing_confirmations(self) -> list[tuple[int, int]]:
        return self._confirmations.missing(self._best, self.confirmation_trials())

    def _start_confirmation(self, seed: int, rotation: int) -> LedgerTrial:
        best = self.best()
        assert best is not None, "only the best configuration is confirmed"
        frozen = self._studies.begin_confirmation(best.sampled, seed, rotation)
        return self._put(self._studies.read(Role.CONFIRMATION, frozen))

    def _put(self, trial: LedgerTrial) -> LedgerTrial:
        """Remember a trial as it is now, and what follows from it for the cell."""
        before = self._trials[trial.role].get(trial.storage_id)
        self._trials[trial.role][trial.storage_id] = trial
        running = self._running[trial.role]
        (running.add if trial.state is State.RUNNING else running.discard)(trial.storage_id)
        self._spent[trial.role] += trial.spent - (before.spent if before else Spent())
        if trial.role is Role.SEARCH:
            self._known.add(trial.fingerprint)
        if trial.role is Role.SEARCH and trial.state is State.COMPLETE:
            self._best = max(filter(None, (self._best, trial)), key=_merit)
        return trial


def _merit(trial: LedgerTrial) -> tuple[float, float, int]:
    return trial.score or 0.0, -trial.spent.device_seconds, -trial.number
