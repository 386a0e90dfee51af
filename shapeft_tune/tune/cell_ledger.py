"""The part of the ledger that belongs to one cell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from pydantic import ValidationError

from shapeft_tune.config.protocol import Role
from shapeft_tune.config.ranges import Choice
from shapeft_tune.config.sweep import (
    Cell,
    Median,
    NoPruner,
    Random,
    Search,
    SuccessiveHalving,
    SweepConfig,
    Tpe,
)
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.tune.space import Space

optuna.logging.set_verbosity(optuna.logging.ERROR)

VOID = "void"
"""Mark on a trial that was asked for but never handed out; it counts for nothing."""
PROTOCOL = ("data", "metric")
"""Parts of a cell's meaning that are not in the file, beside the content of what its strategy reads."""
CONTENT = "content of "
"""What the name of a checkpoint, say, has before it in a cell's meaning."""
MOST_REPEATS = 10
"""Asks that may repeat a known configuration before the untried ones are listed instead."""


class State(StrEnum):
    """Where a trial stands."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


STATES = {
    TrialState.RUNNING: State.RUNNING,
    TrialState.COMPLETE: State.COMPLETE,
    TrialState.PRUNED: State.PRUNED,
    TrialState.FAIL: State.FAILED,
}


Repeats = Mapping[str, tuple[int, int]]
"""Seed and rotation of the folds by fingerprint: the confirmations of one configuration, in their order."""


@dataclass(frozen=True)
class LedgerTrial:
    """One trial as the ledger knows it."""

    cell: Cell
    role: Role
    storage_id: int
    state: State
    config: TrialConfig
    fingerprint: str
    sampled: Mapping[str, Any]
    """Value of each searched field, by dotted path."""
    score: float | None
    """Search: best validation mIoU. Confirmation: test mIoU. None unless complete."""
    message: str
    """Why it failed."""


class CellLedger:
    """Asks for, reports on and ends the trials of one cell."""

    def __init__(self, cell: Cell, sweep: SweepConfig, storage: BaseStorage, existing: set[str]) -> None:
        self.cell = cell
        self._space = Space(cell)
        self._optimisation = sweep.optimisation
        self._seeds = sweep.budget.confirmation_seeds
        self._storage = storage
        self._studies = {role: self._study(f"{sweep.name}:{cell.key}:{role}", existing) for role in Role}
        self._attached: dict[int, Trial] = {}
        self._configs: dict[tuple[Role, int], tuple[TrialConfig, str]] = {}
        self._repeats: dict[int, Repeats] = {}

    # What there is

    def trials(self) -> tuple[LedgerTrial, ...]:
        """Return all trials, search trials first, each kind in the order of its birth."""
        return self.search_trials() + self.confirmation_trials()

    def search_trials(self) -> tuple[LedgerTrial, ...]:
        """Return the search trials."""
        return tuple(self._read(Role.SEARCH, frozen) for frozen in self._counted(Role.SEARCH))

    def confirmation_trials(self) -> tuple[LedgerTrial, ...]:
        """Return the confirmation trials, also those of a configuration that is no longer the best."""
        return tuple(self._read(Role.CONFIRMATION, frozen) for frozen in self._counted(Role.CONFIRMATION))

    def current_confirmations(self) -> tuple[LedgerTrial, ...]:
        """Return the confirmation trials of the configuration that is the best now."""
        wanted = self._wanted_confirmations()
        return tuple(trial for trial in self.confirmation_trials() if trial.fingerprint in wanted)

    def best(self) -> LedgerTrial | None:
        """Return the complete search trial with the best validation mIoU; the earlier one of equals."""
        complete = [trial for trial in self.search_trials() if trial.state is State.COMPLETE]
        return max(complete, key=lambda trial: trial.score or 0.0, default=None)

    def unfinished(self) -> tuple[LedgerTrial, ...]:
        """Return the trials that were handed out and have not ended."""
        return tuple(trial for trial in self.trials() if trial.state is State.RUNNING)

    # What is to do

    def search_todo(self) -> int:
        """Return how many search trials are still to be handed out."""
        return max(self.cell.trials - len(self._counted(Role.SEARCH)), 0)

    def confirmations_to_come(self) -> int:
        """Return how many confirmation trials are still to be handed out, now or after the search."""
        if self._search_open():
            return self._seeds * self.cell.rotations
        return len(self._missing_confirmations())

    def has_work(self) -> bool:
        """Whether a trial can be handed out now."""
        return self.search_todo() > 0 or (not self._search_open() and bool(self._missing_confirmations()))

    def next(self) -> LedgerTrial | None:
        """Hand out the next trial: search trials first, then, when all have ended, confirmations."""
        if self.search_todo():
            return self._next_search()
        if not self._search_open() and (missing := self._missing_confirmations()):
            return self._start_confirmation(*missing[0])
        return None

    # What comes of it

    def report(self, trial: LedgerTrial, step: int, miou: float) -> bool:
        """Note a validation and return whether the trial should stop. Confirmations are never stopped."""
        attached = self._attach(trial)
        if step not in self._frozen(trial).intermediate_values:  # a resumed trial may repeat its last step
            attached.report(miou, step)
        return trial.role is Role.SEARCH and attached.should_prune()

    def end(self, trial: LedgerTrial, state: State, score: float | None = None, message: str = "") -> None:
        """Note how a trial ended; the first word counts."""
        if self._frozen(trial).state.is_finished():
            return
        if message:
            self._storage.set_trial_user_attr(trial.storage_id, "message", message)
        optuna_state = next(key for key, value in STATES.items() if value is state)
        value = score if state is State.COMPLETE else None  # a pruned trial keeps its last report
        self._studies[trial.role].tell(self._frozen(trial).number, value, state=optuna_state)
        self._attached.pop(trial.storage_id, None)

    def settle_meaning(self, protocol: Mapping[str, str]) -> list[str]:
        """Note what the cell's trials mean, or return a line for each difference to what was noted."""
        noted = self._noted_meaning()
        meaning = {**self._meaning(), **protocol}
        if noted is None:
            self._studies[Role.SEARCH].set_user_attr("meaning", meaning)
            return []
        return _differences(noted, meaning)

    def changed_meaning(self) -> list[str]:
        """Return a line for each difference to what was noted, as far as the file alone can tell."""
        noted, meaning = self._noted_meaning(), self._meaning()
        if noted is None:
            return []
        protocol = {key: value for key, value in noted.items() if key in PROTOCOL or key.startswith(CONTENT)}
        return _differences(noted, {**meaning, **protocol})

    def _noted_meaning(self) -> dict[str, Any] | None:
        study = self._studies[Role.SEARCH]
        # Not only the counted ones: a trial with other searched fields than now has a meaning to lose, too.
        trials = [trial for trial in study.get_trials(deepcopy=False) if VOID not in trial.user_attrs]
        begun = any(trial.params or trial.state.is_finished() for trial in trials)
        return study.user_attrs.get("meaning") if begun else None

    def void_half_asked(self) -> None:
        """Strike out what a driver was asking for when it died."""
        for frozen in self._studies[Role.SEARCH].get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._is_whole(Role.SEARCH, frozen):
                self._void(frozen)

    # Inner workings

    def _study(self, name: str, existing: set[str]) -> Study:
        if name in existing:
            study = optuna.load_study(study_name=name, storage=self._storage, sampler=RandomSampler(seed=0))
        else:
            study = optuna.create_study(study_name=name, storage=self._storage, direction="maximize")
        study.pruner = _pruner(self._optimisation)
        return study

    def _counted(self, role: Role) -> list[FrozenTrial]:
        trials = self._studies[role].get_trials(deepcopy=False)
        return [trial for trial in trials if VOID not in trial.user_attrs and self._is_whole(role, trial)]

    def _is_whole(self, role: Role, trial: FrozenTrial) -> bool:
        """Whether the trial was handed out: it is not only enqueued, and has all its parameters."""
        asked = role is Role.CONFIRMATION or trial.params.keys() == self._space.distributions.keys()
        return asked and trial.state is not TrialState.WAITING

    def _search_open(self) -> bool:
        trials = self._counted(Role.SEARCH)
        return len(trials) < self.cell.trials or any(not trial.state.is_finished() for trial in trials)

    def _next_search(self) -> LedgerTrial:
        study = self._studies[Role.SEARCH]
        known = {trial.fingerprint for trial in self.search_trials()}
        if not known and (default := self._space.default()):
            study.enqueue_trial(default, skip_if_exists=True)
        for _ in range(MOST_REPEATS):
            study.sampler = self._sampler(len(study.get_trials(deepcopy=False)))
            asked = study.ask(self._space.distributions)
            trial = self._valid(self._storage.get_trial(asked._trial_id))
            if trial and trial.fingerprint not in known:
                self._attached[asked._trial_id] = asked
                return trial
            self._void(self._storage.get_trial(asked._trial_id))
        study.enqueue_trial(next(self._untried(known)))  # only a small finite space repeats itself so often
        asked = study.ask(self._space.distributions)
        return self._read(Role.SEARCH, self._storage.get_trial(asked._trial_id))

    def _valid(self, frozen: FrozenTrial) -> LedgerTrial | None:
        """Return the trial, or None where two values between the corners contradict each other."""
        try:
            return self._read(Role.SEARCH, frozen)
        except ValidationError:
            return None

    def _untried(self, known: set[str]) -> Iterator[dict[str, Any]]:
        for parameters in self._space.combinations():
            if self.cell.trial(self._space.values(parameters)).fingerprint() not in known:
                yield parameters

    def _void(self, frozen: FrozenTrial) -> None:
        self._storage.set_trial_user_attr(frozen._trial_id, VOID, True)
        self._studies[Role.SEARCH].tell(frozen.number, state=TrialState.FAIL)

    def _sampler(self, number: int) -> BaseSampler:
        """Return a sampler whose draws depend on the trial's number, not on what this driver drew before.

        So a sweep that was interrupted draws what an undisturbed one would have drawn.
        """
        text = f"{self._optimisation.seed}:{self.cell.key}:{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        match self._optimisation.sampler:
            case Random():
                return RandomSampler(seed=seed)
            case Tpe(startup_trials=startup):
                return TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)

    def _wanted_confirmations(self) -> Repeats:
        """Return the confirmations of the best configuration: one seed with all rotations, then the next."""
        best = self.best()
        if best is None:
            return {}
        if best.storage_id not in self._repeats:
            first = best.config.seed + 1  # the search's own seed has been selected on
            self._repeats[best.storage_id] = {
                self.cell.trial(best.sampled, seed, rotation).fingerprint(): (seed, rotation)
                for seed in range(first, first + self._seeds)
                for rotation in range(self.cell.rotations)
            }
        return self._repeats[best.storage_id]

    def _missing_confirmations(self) -> list[tuple[int, int]]:
        there = {trial.fingerprint for trial in self.confirmation_trials()}
        return [repeat for name, repeat in self._wanted_confirmations().items() if name not in there]

    def _start_confirmation(self, seed: int, rotation: int) -> LedgerTrial:
        best = self.best()
        assert best is not None, "only the best configuration is confirmed"
        study = self._studies[Role.CONFIRMATION]
        attributes = {"seed": seed, "rotation": rotation, "sampled": dict(best.sampled)}
        study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attributes))
        return self.confirmation_trials()[-1]

    def _read(self, role: Role, frozen: FrozenTrial) -> LedgerTrial:
        sampled, seed, rotation = self._space.values(frozen.params), None, 0
        if role is Role.CONFIRMATION:
            sampled, seed = frozen.user_attrs["sampled"], frozen.user_attrs["seed"]
            rotation = frozen.user_attrs.get("rotation", 0)  # older ledgers know no other
        key = (role, frozen._trial_id)
        if key not in self._configs:  # building a config costs more than all the rest, and never changes
            config = self.cell.trial(sampled, seed, rotation)
            self._configs[key] = config, config.fingerprint()
        config, fingerprint = self._configs[key]
        return LedgerTrial(
            cell=self.cell,
            role=role,
            storage_id=frozen._trial_id,
            state=STATES[frozen.state],
            config=config,
            fingerprint=fingerprint,
            sampled=sampled,
            score=frozen.value if frozen.state is TrialState.COMPLETE else None,
            message=frozen.user_attrs.get("message", ""),
        )

    def _frozen(self, trial: LedgerTrial) -> FrozenTrial:
        return self._storage.get_trial(trial.storage_id)

    def _attach(self, trial: LedgerTrial) -> Trial:
        if trial.storage_id not in self._attached:
            self._attached[trial.storage_id] = Trial(self._studies[trial.role], trial.storage_id)
        return self._attached[trial.storage_id]

    def _meaning(self) -> dict[str, Any]:
        """Return everything that all trials of the cell share, flat, and the options of its choices."""
        flat = dict(_flat(self.cell.trial(self.cell.first_corners).canonical()))
        searched = tuple(self._space.distributions)
        fixed = {
            path: value
            for path, value in flat.items()
            if not any(path == name or path.startswith(f"{name}.") for name in searched)
        }
        choices = {
            f"search {path}": list(range_.options) if isinstance(range_, Choice) else type(range_).__name__
            for path, range_ in self.cell.ranges.items()
            if range_.count > 1
        }
        return fixed | choices


def short_reason(message: str) -> str:
    """Return the line of a failure's message that says most: the last, also of a traceback."""
    return (message.strip().splitlines() or ["no reason known"])[-1]


def _pruner(search: Search) -> BasePruner:
    match search.pruner:
        case NoPruner():
            return NopPruner()
        case Median(startup_trials=startup, warmup_steps=warmup):
            return MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
        case SuccessiveHalving(min_steps=least, reduction=reduction):
            return SuccessiveHalvingPruner(min_resource=least, reduction_factor=reduction)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {before.get(key, 'not set')!r}, is now {after.get(key, 'not set')!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
