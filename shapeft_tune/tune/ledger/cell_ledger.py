"""The part of the ledger that belongs to one cell.

What the storage holds is read once; from then on this is the only writer, and answers from memory: a driver
asks every cell what there is to do again and again, while trials become thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import ValidationError

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.ledger.asking import ORIGIN, VOID, Asker, void
from shapeft_tune.tune.ledger.meaning import differences, meaning_of, not_in_file
from shapeft_tune.tune.ledger.samplers import SLOW, pruner_of
from shapeft_tune.tune.ledger.space import Space
from shapeft_tune.tune.ledger.trials import OPTUNA_STATES, SAMPLER, STATES, LedgerTrial, Spent, State

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPENT, RETRIED, MESSAGE = "spent", "retried", "message"
"""What is noted beside a trial in Optuna's own storage."""
MEANING, WALL_SECONDS, STRUCK = "meaning", "wall_seconds", "struck"
"""What is noted beside a study; the last are numbers of failed trials that were made room for."""

Repeats = Mapping[str, tuple[int, int]]
"""Seed and rotation of the folds by fingerprint: the confirmations of one configuration, in their order."""


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
        self._sweep = sweep
        self._storage = storage
        self._thinker = thinker
        self._asker = Asker(self._space, sweep.optimisation, cell.key, cell.trials)
        self._asking: Future[FrozenTrial | None] | None = None
        self._exhausted = False
        """Whether the ranges hold no configuration that was not tried."""
        self._names = {role: f"{sweep.name}:{cell.key}:{role}" for role in Role}
        self._studies: dict[Role, Study] = {}
        self._trials: dict[Role, dict[int, LedgerTrial]] = {role: {} for role in Role}
        self._running: dict[Role, set[int]] = {role: set() for role in Role}
        self._spent = {role: Spent() for role in Role}
        self._struck: dict[Role, set[int]] = {role: set() for role in Role}
        """Numbers of the trials that were struck out and whose time is counted."""
        self._best: LedgerTrial | None = None
        self._repeats: tuple[int, Repeats] = (-1, {})
        self._wall_seconds = 0.0
        self.refresh(existing)

    def refresh(self, existing: set[str]) -> None:
        """Read what another process wrote since the last time; trials that had ended are not read again."""
        for role, name in self._names.items():
            if name in existing and role not in self._studies:
                self._studies[role] = self._loaded(name)
        if self.changed_meaning():
            return  # trials of another meaning may not fit the file's ranges, and nothing goes on with them
        for role in Role:
            for trial in list(self._unknown(role)):
                self._put(trial)
        self._wall_seconds = float(self._attribute(WALL_SECONDS) or 0.0)

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
        wanted = self._wanted_confirmations()
        return tuple(trial for trial in self.confirmation_trials() if trial.fingerprint in wanted)

    def best(self) -> LedgerTrial | None:
        """Return the complete search trial with the best validation mIoU; the cheaper one of equals."""
        return self._best

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
        budget, spent = self._sweep.budget, self.spent(Role.SEARCH)
        limits = (
            ("steps", budget.steps, spent.steps),
            ("device_hours", budget.device_hours, spent.device_seconds / 3600),
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
            return self._sweep.budget.confirmation_seeds * self.cell.rotations
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
        frozen = self._storage.get_trial(trial.storage_id)
        if step not in frozen.intermediate_values:  # a resumed trial may repeat its last step
            self._storage.set_trial_intermediate_value(trial.storage_id, step, miou)
        if trial.role is not Role.SEARCH or self._sweep.optimisation.objective != "miou":
            return False
        study = self._studies[trial.role]
        return study.pruner.prune(study, self._storage.get_trial(trial.storage_id))

    def spend(self, trial: LedgerTrial, spent: Spent, *, write: bool = True) -> None:
        """Note what a trial took so far, in memory or for good."""
        if write:
            self._storage.set_trial_user_attr(trial.storage_id, SPENT, asdict(spent))
        self._put(replace(self._trials[trial.role][trial.storage_id], spent=spent))

    def note_wall_seconds(self, seconds: float, *, write: bool = True) -> None:
        """Note in how many seconds, all together, the cell had search trials at work."""
        self._wall_seconds = seconds
        if write:
            self._study(Role.SEARCH).set_user_attr(WALL_SECONDS, seconds)

    def retry(self, trial: LedgerTrial, message: str) -> LedgerTrial:
        """Note a fault after which the trial stays open, and return the trial to be handed out again."""
        current = self._trials[trial.role][trial.storage_id]
        retried = (*current.retried, message)
        self._storage.set_trial_user_attr(trial.storage_id, RETRIED, list(retried))
        return self._put(replace(current, retried=retried))

    def end(
        self, trial: LedgerTrial, state: State, score: float | None = None, message: str = ""
    ) -> LedgerTrial:
        """Note how a trial ended and return it as it is now; the first word counts."""
        current = self._trials[trial.role][trial.storage_id]
        if current.state is not State.RUNNING:
            return current
        if message:
            self._storage.set_trial_user_attr(trial.storage_id, MESSAGE, message)
        told = self._told(current, state, score)
        self._study(trial.role).tell(trial.number, told, state=OPTUNA_STATES[state])
        kept = score if state is State.COMPLETE else None
        ended = self._storage.get_trial(trial.storage_id).datetime_complete
        return self._put(replace(current, state=state, message=message, score=kept, ended=ended))

    def reopen_failed(self) -> int:
        """Strike out the failed trials, so that others take their places; return how many there were."""
        failed = [trial for trial in self.trials() if trial.state is State.FAILED]
        for role in {trial.role for trial in failed}:
            struck = [trial.number for trial in failed if trial.role is role]
            study = self._study(role)
            study.set_user_attr(STRUCK, sorted({*study.user_attrs.get(STRUCK, ()), *struck}))
        for trial in failed:
            self._forget(trial)
            if trial.role is Role.SEARCH:
                self._asker.repeat(trial)
        return len(failed)

    def settle_meaning(self, protocol: Mapping[str, str]) -> list[str]:
        """Note what the cell's trials mean, or return a line for each difference to what was noted."""
        if self._noted_meaning() is None:
            self._study(Role.SEARCH).set_user_attr(MEANING, {**self._meaning, **protocol})
        return self.changed_meaning(protocol)

    def changed_meaning(self, protocol: Mapping[str, str] | None = None) -> list[str]:
        """Return a line for each difference to what was noted; none where no trial has begun.

        Args:
            protocol: what the meaning holds beside the file; without it, as far as the file alone can tell.
        """
        noted = self._noted_meaning()
        if noted is None:
            return []
        beside = not_in_file(noted) if protocol is None else protocol
        return differences(noted, {**self._meaning, **beside})

    def void_half_asked(self) -> None:
        """Strike out what a driver was asking for when it died."""
        if study := self._studies.get(Role.SEARCH):
            for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if not self._is_whole(Role.SEARCH, frozen):
                    void(study, frozen)

    # Inner workings

    def _loaded(self, name: str) -> Study:
        study = optuna.load_study(study_name=name, storage=self._storage, sampler=RandomSampler(0))
        study.pruner = pruner_of(self._sweep.optimisation)
        return study

    def _study(self, role: Role) -> Study:
        """Return a study, made on first use: whoever only looks leaves no trace."""
        if role not in self._studies:
            two = role is Role.SEARCH and self._sweep.optimisation.objective == "miou_and_cost"
            optuna.create_study(
                study_name=self._names[role],
                storage=self._storage,
                directions=["maximize", "minimize"] if two else ["maximize"],
            )
            self._studies[role] = self._loaded(self._names[role])
        return self._studies[role]

    def _attribute(self, name: str) -> Any:
        study = self._studies.get(Role.SEARCH)
        return study.user_attrs.get(name) if study else None

    def _unknown(self, role: Role) -> Iterator[LedgerTrial]:
        """Yield the trials that count and whose end is not known here yet; forget those struck out since."""
        known = self._trials[role]
        if study := self._studies.get(role):
            struck = set(study.user_attrs.get(STRUCK, ()))
            for trial in [each for each in known.values() if each.number in struck]:
                self._forget(trial)
            for frozen in study.get_trials(deepcopy=False):
                before = known.get(frozen._trial_id)
                if before is not None and before.state is not State.RUNNING:
                    continue
                if frozen.number in struck:
                    if frozen.number not in self._struck[role]:  # its time is gone all the same
                        self._spent[role] += _spent(frozen)
                        self._struck[role].add(frozen.number)
                elif VOID not in frozen.user_attrs and self._is_whole(role, frozen):
                    yield self._read(role, frozen)

    def _forget(self, trial: LedgerTrial) -> None:
        """Let a trial that was struck out count no more; what it took still does."""
        del self._trials[trial.role][trial.storage_id]
        self._struck[trial.role].add(trial.number)

    def _is_whole(self, role: Role, trial: FrozenTrial) -> bool:
        """Whether the trial was handed out: it is not only enqueued, and has all its parameters."""
        asked = role is Role.CONFIRMATION or self._space.is_whole(trial.params)
        return asked and trial.state is not TrialState.WAITING

    def _search_open(self) -> bool:
        return self.search_todo() > 0 or bool(self._running[Role.SEARCH])

    def _next_search(self) -> LedgerTrial | None:
        if self._asking is None:
            if proposed := self._proposed():
                return self._begun(proposed)
            if self._thinker is None or not isinstance(self._sweep.optimisation.sampler, SLOW):
                return self._begun(self._ask())
            self._asking = self._thinker.submit(self._ask)
        if not self._asking.done():
            return None
        asked, self._asking = self._asking.result(), None
        return self._begun(asked)

    def _begun(self, asked: FrozenTrial | None) -> LedgerTrial | None:
        self._exhausted = asked is None
        return self._put(self._read(Role.SEARCH, asked)) if asked else None

    def _proposed(self) -> FrozenTrial | None:
        ended = (near.best() for near in self.neighbours if near.search_trials() and not near._search_open())
        study, known = self._study(Role.SEARCH), self.search_trials()
        return self._asker.propose(study, self._fingerprint, known, filter(None, ended))

    def _ask(self) -> FrozenTrial | None:
        return self._asker.ask(self._study(Role.SEARCH), self._fingerprint, self.search_trials())

    def _fingerprint(self, parameters: Mapping[str, Any]) -> str | None:
        """Return the fingerprint of a configuration, None where values between the corners contradict."""
        try:
            return self.cell.trial(self._space.values(parameters)).fingerprint()
        except ValidationError:
            return None

    def _told(self, trial: LedgerTrial, state: State, score: float | None) -> float | list[float] | None:
        if state is not State.COMPLETE or score is None:
            return None  # a pruned trial keeps its last report
        if len(self._study(trial.role).directions) > 1:
            return [score, trial.spent.device_seconds]
        return score

    def _wanted_confirmations(self) -> Repeats:
        """Return the confirmations of the best configuration: one seed with all rotations, then the next."""
        best = self.best()
        if best is None:
            return {}
        if self._repeats[0] != best.storage_id:
            first = best.config.seed + 1  # the search's own seed has been selected on
            seeds = range(first, first + self._sweep.budget.confirmation_seeds)
            wanted = {
                self.cell.trial(best.sampled, seed, rotation).fingerprint(): (seed, rotation)
                for seed in seeds
                for rotation in range(self.cell.rotations)
            }
            self._repeats = (best.storage_id, wanted)
        return self._repeats[1]

    def _missing_confirmations(self) -> list[tuple[int, int]]:
        there = {trial.fingerprint for trial in self.confirmation_trials()}
        return [repeat for name, repeat in self._wanted_confirmations().items() if name not in there]

    def _start_confirmation(self, seed: int, rotation: int) -> LedgerTrial:
        best = self.best()
        assert best is not None, "only the best configuration is confirmed"
        attributes = {"seed": seed, "rotation": rotation, "sampled": dict(best.sampled)}
        study = self._study(Role.CONFIRMATION)
        template = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
        frozen = self._storage.get_trial(self._storage.create_new_trial(study._study_id, template))
        return self._put(self._read(Role.CONFIRMATION, frozen))

    def _put(self, trial: LedgerTrial) -> LedgerTrial:
        """Remember a trial as it is now, and what follows from it for the cell."""
        before = self._trials[trial.role].get(trial.storage_id)
        self._trials[trial.role][trial.storage_id] = trial
        running = self._running[trial.role]
        (running.add if trial.state is State.RUNNING else running.discard)(trial.storage_id)
        self._spent[trial.role] += trial.spent - (before.spent if before else Spent())
        if trial.role is Role.SEARCH and trial.state is State.COMPLETE:
            self._best = max(filter(None, (self._best, trial)), key=_merit)
        return trial

    def _read(self, role: Role, frozen: FrozenTrial) -> LedgerTrial:
        sampled, seed, rotation = self._space.values(frozen.params), None, 0
        attributes = frozen.user_attrs
        if role is Role.CONFIRMATION:
            sampled, seed = attributes["sampled"], attributes["seed"]
            rotation = attributes.get("rotation", 0)  # older ledgers know no other
        config = self.cell.trial(sampled, seed, rotation)
        return LedgerTrial(
            cell=self.cell,
            role=role,
            storage_id=frozen._trial_id,
            number=frozen.number,
            state=STATES[frozen.state],
            config=config,
            fingerprint=config.fingerprint(),
            sampled=sampled,
            score=frozen.values[0] if frozen.state is TrialState.COMPLETE else None,
            message=attributes.get(MESSAGE, ""),
            origin=attributes.get(ORIGIN, SAMPLER),
            retried=tuple(attributes.get(RETRIED, ())),
            spent=_spent(frozen),
            began=frozen.datetime_start,
            ended=frozen.datetime_complete,
        )

    def _noted_meaning(self) -> dict[str, Any] | None:
        study = self._studies.get(Role.SEARCH)
        if study is None:
            return None
        # Not only the counted ones: a trial with other searched fields than now has a meaning to lose, too.
        trials = [trial for trial in study.get_trials(deepcopy=False) if VOID not in trial.user_attrs]
        begun = any(trial.params or trial.state.is_finished() for trial in trials)
        return study.user_attrs.get(MEANING) if begun else None

    @cached_property
    def _meaning(self) -> dict[str, Any]:
        meaning = meaning_of(self.cell, tuple(self._space.distributions))
        objective = self._sweep.optimisation.objective  # older ledgers know one objective
        return meaning if objective == "miou" else meaning | {"objective": objective}


def _spent(frozen: FrozenTrial) -> Spent:
    return Spent(**frozen.user_attrs.get(SPENT, {}))


def _merit(trial: LedgerTrial) -> tuple[float, float, int]:
    return trial.score or 0.0, -trial.spent.device_seconds, -trial.number


def short_reason(message: str) -> str:
    """Return the line of a failure's message that says most: the last, also of a traceback."""
    return (message.strip().splitlines() or ["no reason known"])[-1]
