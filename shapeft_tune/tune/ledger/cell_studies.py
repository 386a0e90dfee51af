"""What Optuna's storage holds of one cell: a study for each role, its trials, what is noted beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import cached_property
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.ledger.asking import HANDED_OUT, ORIGIN, VOID, hand_out, void
from shapeft_tune.tune.ledger.meaning import differences, meaning_of, not_in_file
from shapeft_tune.tune.ledger.samplers import pruner_of
from shapeft_tune.tune.ledger.space import Space
from shapeft_tune.tune.ledger.trials import OPTUNA_STATES, SAMPLER, STATES, LedgerTrial, Spent, State

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPENT, RETRIED, MESSAGE = "spent", "retried", "message"
"""What is noted beside a trial in Optuna's own storage."""
MEANING, WALL_SECONDS, STRUCK = "meaning", "wall_seconds", "struck"
"""What is noted beside a study; the last are numbers of failed trials that were made room for."""


class CellStudies:
    """Reads and writes the studies of a cell; remembers nothing of their trials."""

    def __init__(self, cell: Cell, sweep: SweepConfig, storage: BaseStorage, space: Space) -> None:
        self._cell = cell
        self._sweep = sweep
        self._storage = storage
        self._space = space
        self._names = {role: f"{sweep.name}:{cell.key}:{role}" for role in Role}
        self._studies: dict[Role, Study] = {}

    def open(self, existing: set[str]) -> None:
        """Find those of the studies that the storage holds by now."""
        for role, name in self._names.items():
            if name in existing and role not in self._studies:
                self._studies[role] = self._loaded(name)

    def study(self, role: Role) -> Study:
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

    # Trials

    def handed_out(self, role: Role) -> Iterator[FrozenTrial]:
        """Yield every trial that was ever handed out, in the order of their birth."""
        if study := self._studies.get(role):
            for frozen in study.get_trials(deepcopy=False):
                if self._was_handed_out(role, frozen):
                    yield frozen

    def read(self, role: Role, frozen: FrozenTrial) -> LedgerTrial:
        """Return a trial as the ledger knows it."""
        sampled, seed, rotation = self._space.values(frozen.params), None, 0
        attributes = frozen.user_attrs
        if role is Role.CONFIRMATION:
            sampled, seed = attributes["sampled"], attributes["seed"]
            rotation = attributes.get("rotation", 0)  # older ledgers know no other
        config = self._cell.trial(sampled, seed, rotation)
        return LedgerTrial(
            cell=self._cell,
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
            spent=spent_of(frozen),
            began=frozen.datetime_start,
            ended=frozen.datetime_complete,
        )

    def begin_confirmation(self, sampled: Mapping[str, Any], seed: int, rotation: int) -> FrozenTrial:
        """Note that a configuration is confirmed with a seed, the folds so many places on."""
        attributes = {"seed": seed, "rotation": rotation, "sampled": dict(sampled)}
        template = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
        study = self.study(Role.CONFIRMATION)
        return self._storage.get_trial(self._storage.create_new_trial(study._study_id, template))

    def report(self, trial: LedgerTrial, step: int, miou: float) -> bool:
        """Note a validation and return whether the pruner would stop the trial."""
        frozen = self._storage.get_trial(trial.storage_id)
        if step not in frozen.intermediate_values:  # a resumed trial may repeat its last step
            self._storage.set_trial_intermediate_value(trial.storage_id, step, miou)
        if self._sweep.optimisation.objective != "miou":
            return False
        study = self.study(trial.role)
        return study.pruner.prune(study, self._storage.get_trial(trial.storage_id))

    def curve(self, trial: LedgerTrial) -> Mapping[int, float]:
        """Return the validation mIoU of a trial by step."""
        return self._storage.get_trial(trial.storage_id).intermediate_values

    def note_spent(self, trial: LedgerTrial, spent: Spent) -> None:
        """Note what a trial took so far."""
        self._storage.set_trial_user_attr(trial.storage_id, SPENT, asdict(spent))

    def note_faults(self, trial: LedgerTrial, messages: tuple[str, ...]) -> None:
        """Note the faults after which a trial was tried again."""
        self._storage.set_trial_user_attr(trial.storage_id, RETRIED, list(messages))

    def end(self, trial: LedgerTrial, state: State, score: float | None, message: str) -> datetime | None:
        """Note how a trial ended, and return when."""
        if message:
            self._storage.set_trial_user_attr(trial.storage_id, MESSAGE, message)
        self.study(trial.role).tell(trial.number, self._told(trial, state, score), state=OPTUNA_STATES[state])
        return self._storage.get_trial(trial.storage_id).datetime_complete

    def half_asked(self) -> list[FrozenTrial]:
        """Return the search trials that run and were not handed out: a driver died while it asked for them.

        Older ledgers mark nothing as handed out: what ran when they were last used is among them, too.
        """
        study = self._studies.get(Role.SEARCH)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if study else []
        return [frozen for frozen in running if not self._was_handed_out(Role.SEARCH, frozen)]

    def hand_out(self, frozen: FrozenTrial) -> None:
        """Let a search trial count that was asked for."""
        hand_out(self.study(Role.SEARCH), frozen)

    def void(self, frozen: FrozenTrial) -> None:
        """Strike out a search trial that was never handed out."""
        void(self.study(Role.SEARCH), frozen)

    # Beside the trials

    def struck(self, role: Role) -> set[int]:
        """Return the numbers of the trials that count no more, as others take their places."""
        study = self._studies.get(role)
        return set(study.user_attrs.get(STRUCK, ())) if study else set()

    def strike(self, role: Role, numbers: set[int]) -> None:
        """Let trials count no more."""
        self.study(role).set_user_attr(STRUCK, sorted(self.struck(role) | numbers))

    @property
    def wall_seconds(self) -> float:
        """Seconds in which the cell had search trials at work, as last noted."""
        study = self._studies.get(Role.SEARCH)
        return float(study.user_attrs.get(WALL_SECONDS, 0.0)) if study else 0.0

    def note_wall_seconds(self, seconds: float) -> None:
        """Note in how many seconds the cell had search trials at work."""
        self.study(Role.SEARCH).set_user_attr(WALL_SECONDS, seconds)

    # What the trials mean

    def settle_meaning(self, protocol: Mapping[str, str]) -> list[str]:
        """Note what the cell's trials mean, or return a line for each difference to what was noted."""
        if self._noted_meaning() is None:
            self.study(Role.SEARCH).set_user_attr(MEANING, {**self._meaning, **protocol})
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

    # Inner workings

    def _loaded(self, name: str) -> Study:
        study = optuna.load_study(study_name=name, storage=self._storage, sampler=RandomSampler(0))
        study.pruner = pruner_of(self._sweep.optimisation)
        return study

    def _was_handed_out(self, role: Role, trial: FrozenTrial) -> bool:
        """Whether the trial counts: it is not only enqueued, was judged, and has all its parameters."""
        if VOID in trial.user_attrs or trial.state is TrialState.WAITING:
            return False
        if role is Role.CONFIRMATION:  # written at once
            return True
        judged = trial.state.is_finished() or HANDED_OUT in trial.user_attrs
        return judged and self._space.is_whole(trial.params)

    def _told(self, trial: LedgerTrial, state: State, score: float | None) -> float | list[float] | None:
        if state is not State.COMPLETE or score is None:
            return None  # a pruned trial keeps its last report
        if len(self.study(trial.role).directions) > 1:
            return [score, trial.spent.device_seconds]
        return score

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
        meaning = meaning_of(self._cell, tuple(self._space.distributions))
        objective = self._sweep.optimisation.objective  # older ledgers know one objective
        return meaning if objective == "miou" else meaning | {"objective": objective}


def spent_of(frozen: FrozenTrial) -> Spent:
    """Return what a trial took, as last noted."""
    return Spent(**frozen.user_attrs.get(SPENT, {}))
