"""Which configuration of a cell is tried next.

First the configuration that the file writes; then, as they become known, the best ones of neighbouring cells;
between them and afterwards what the sampler says. A configuration that was tried already, that makes no valid
trial or that breaks a constraint is asked for again. What a sampler says is in the storage before anybody can
judge it: a trial counts as handed out only when it is marked so.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from shapeft_tune.config.optimisation import Grid, Search
from shapeft_tune.tune.ledger.samplers import sampler_of
from shapeft_tune.tune.ledger.space import Space
from shapeft_tune.tune.ledger.trials import DEFAULT, NEIGHBOUR, LedgerTrial

ORIGIN = "origin"
VOID = "void"
"""Mark on a trial that was asked for but never handed out; it counts for nothing."""
HANDED_OUT = "handed_out"
"""Mark on a search trial that was found good. A running one without it is being judged, or left behind."""
FingerprintOf = Callable[[Mapping[str, Any]], str | None]
MOST_REPEATS = 10
"""Asks that may come to nothing before untried configurations are listed or drawn instead."""
DRAWS_A_TURN = 100
"""Draws with the same values of a fixed grid, before the next ones have their turn."""


@dataclass(frozen=True)
class Proposal:
    """A configuration that does not come from the sampler."""

    parameters: Mapping[str, Any]
    origin: str


@dataclass(frozen=True)
class Tried:
    """What was tried in a cell so far."""

    trials: Sequence[LedgerTrial]
    """Its search trials that count."""
    known: Collection[str]
    """Their fingerprints."""
    struck: Collection[LedgerTrial]
    """Failed ones that were struck out, to be run again."""


class Asker:
    """Asks for the search trials of one cell; the study is its only memory."""

    def __init__(self, space: Space, search: Search, cell_key: str, wanted: int) -> None:
        self._space = space
        self._search = search
        self._cell_key = cell_key
        self._wanted = wanted
        self._grid_by_name: dict[str | None, Mapping[str, Any]] | None = None

    def propose(
        self,
        study: Study,
        fingerprint_of: FingerprintOf,
        tried: Tried,
        neighbours: Iterable[LedgerTrial],
    ) -> FrozenTrial | None:
        """Return a new running trial that needs no sampler; None where it is the sampler's turn.

        Args:
            study: of the cell's search trials.
            fingerprint_of: names the configuration that parameters stand for; None where they make none.
            tried: what was tried so far.
            neighbours: the best trials of neighbouring cells.
        """
        for proposal in self._proposals(tried, neighbours):
            name = fingerprint_of(proposal.parameters)
            if name and name not in tried.known and self._may_be_tried(proposal.parameters):
                return self._started(study, proposal.parameters, proposal.origin)
        return None

    def ask(self, study: Study, fingerprint_of: FingerprintOf, tried: Tried) -> FrozenTrial | None:
        """Return a new running trial with what the sampler says; None where everything was tried.

        Args:
            study: as in :meth:`propose`, like all others.
            fingerprint_of: its names of configurations.
            tried: what was tried so far.
        """
        turns = self._grid_turns(tried)
        if not isinstance(self._search.sampler, Grid):
            for _ in range(MOST_REPEATS):
                trial = self._sampled(study, turns[0])
                if self.is_new(trial.params, fingerprint_of, tried.known):
                    hand_out(study, trial)
                    return trial
                void(study, trial)
        untried = self._untried(fingerprint_of, tried.known, turns)
        return None if untried is None else self._started(study, untried)

    def is_new(
        self, parameters: Mapping[str, Any], fingerprint_of: FingerprintOf, known: Collection[str]
    ) -> bool:
        """Return whether parameters make a valid trial that keeps the constraints and was not tried."""
        if not self._space.is_whole(parameters):
            return False
        name = fingerprint_of(parameters)
        return bool(name) and name not in known and self._space.allows(parameters)

    def _proposals(self, tried: Tried, neighbours: Iterable[LedgerTrial]) -> Iterator[Proposal]:
        for trial in tried.struck:
            parameters = None if trial.fingerprint in tried.known else self._space.parameters(trial.sampled)
            if parameters is not None:
                yield Proposal(parameters, trial.origin)
        if not tried.trials and (default := self._space.default()) is not None:
            yield Proposal(default, DEFAULT)
        taken = sum(trial.origin.startswith(NEIGHBOUR) for trial in tried.trials)
        if not self._search.neighbours or 2 * (taken + 1) > self._wanted:  # at least half are the cell's own
            return
        for best in neighbours:
            if (parameters := self._space.parameters(best.sampled)) is not None:
                yield Proposal(parameters, f"{NEIGHBOUR} {best.cell.key}")

    def _may_be_tried(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a proposal is allowed; a full grid holds its own combinations and no others."""
        if isinstance(self._search.sampler, Grid) and parameters not in self._grid:
            return False
        return self._space.allows(parameters)

    def _grid_turns(self, tried: Tried) -> list[dict[str, Any]]:
        """Return the values of a fixed grid in the order of their turns."""
        seen = tried.trials if self._space.grid_names else ()
        return self._space.grid_turns([self._space.parameters(each.sampled) or {} for each in seen])

    def _sampled(self, study: Study, turn: Mapping[str, Any]) -> FrozenTrial:
        number = len(study.get_trials(deepcopy=False))
        study.sampler = self._sampler(number, turn)
        if not self._space.conditional:
            return _frozen(study, study.ask(self._space.distributions))
        trial = study.ask()
        for name, distribution in self._space.distributions.items():
            if self._space.is_active(name, trial.params):
                trial._suggest(name, distribution)  # what Study.ask does with a fixed set of distributions
        return _frozen(study, trial)

    def _sampler(self, number: int, fixed: Mapping[str, Any]) -> BaseSampler:
        sampler = sampler_of(self._search, self._cell_key, number, conditional=self._space.conditional)
        return PartialFixedSampler(dict(fixed), sampler) if fixed else sampler

    def _untried(
        self, fingerprint_of: FingerprintOf, known: Collection[str], turns: Iterable[Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        """Return a configuration without a sampler: of a grid, of all of a finite space, or a random one."""
        if isinstance(self._search.sampler, Grid):
            if self._grid_by_name is None:
                self._grid_by_name = {fingerprint_of(each): each for each in self._grid}
            return next((each for name, each in self._grid_by_name.items() if name not in known), None)
        listed = self._listed(turns, seed=len(known))
        return next((each for each in listed if fingerprint_of(each) not in known), None)

    def _listed(self, turns: Iterable[Mapping[str, Any]], seed: int) -> Iterator[Mapping[str, Any]]:
        """Yield configurations, those of a fixed grid in the order of their turns."""
        for turn in turns:
            if self._space.finite:
                yield from self._space.combinations(turn)
            else:
                yield from itertools.islice(self._space.draws(seed, turn), DRAWS_A_TURN)
        if not self._space.finite:
            yield from self._space.draws(seed)

    @cached_property
    def _grid(self) -> list[dict[str, Any]]:
        """Every combination of a full grid, in an order of the cell's own."""
        grid = list(self._space.combinations())
        random.Random(f"{self._search.seed}:{self._cell_key}").shuffle(grid)
        return grid

    def _started(self, study: Study, parameters: Mapping[str, Any], origin: str = "") -> FrozenTrial:
        """Start a trial with these parameters in one write: a driver's death cannot leave half of it."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(parameters),
            distributions={name: self._space.distributions[name] for name in parameters},
            user_attrs={HANDED_OUT: True} | ({ORIGIN: origin} if origin else {}),
        )
        template.datetime_start = datetime.now()
        storage = study._storage
        return storage.get_trial(storage.create_new_trial(study._study_id, template))


def hand_out(study: Study, trial: FrozenTrial) -> None:
    """Let a trial count that was asked for and found good."""
    study._storage.set_trial_user_attr(trial._trial_id, HANDED_OUT, True)


def void(study: Study, trial: FrozenTrial) -> None:
    """Strike out a trial that was never handed out."""
    study._storage.set_trial_user_attr(trial._trial_id, VOID, True)
    study.tell(trial.number, state=TrialState.FAIL)


def _frozen(study: Study, trial: Trial) -> FrozenTrial:
    return study._storage.get_trial(trial._trial_id)
