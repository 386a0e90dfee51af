"""One trial from its config to its result: the only place that does so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shapeft_tune.atomic import write_atomically
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.config.tuning import FinetuneTuning
from shapeft_tune.data import problems_with
from shapeft_tune.errors import DataError, UserError, WeightsError
from shapeft_tune.train.checkpoint import load_tensors, restore
from shapeft_tune.train.environment import note_environment
from shapeft_tune.train.evaluate import Evaluation, evaluate_split
from shapeft_tune.train.halving import explained
from shapeft_tune.train.loop import BEST, LAST, train
from shapeft_tune.train.memory import peak_bytes, reset_peaks
from shapeft_tune.train.parallel import ALONE, Team
from shapeft_tune.train.results import LABELS_FILE, Cost, Progress, TrialResult, save_confusions
from shapeft_tune.train.setup import Setup, set_up

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "weights.json"


def run_trial(
    config: TrialConfig,
    places: Places,
    folder: Path,
    *,
    role: Role = Role.SEARCH,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    team: Team = ALONE,
) -> TrialResult:
    """Train, select on the validation folds and, in a confirmation trial, score on the test folds.

    Whatever the folder already holds is used: a finished trial returns its result at once, an interrupted one
    goes on from its last checkpoint and ends with the same weights as an undisturbed one.

    Args:
        config: everything that can change the result.
        places: where data and weights lie.
        folder: this trial's own; created where missing.
        role: decides whether the test folds may be opened.
        on_progress: called after each validation, when the checkpoint is written.
        should_stop: asked every few steps; when it says yes the checkpoint is written and the trial ends.
        device: ``cpu``, ``cuda`` or ``cuda:1``; by default the GPU where there is one.
        team: the processes that share the trial's batches; each makes this call with the same arguments. The
            first one alone writes, tells of progress and is asked to stop. All return the same result, within
            rounding that of one process.

    Raises:
        TeammateLost: another process of the team is gone.
        UserError: data or weights do not serve.
        NonFiniteLoss: the loss is NaN or infinite.
        OutOfMemory: the trial does not fit into the device's memory, whatever is done in pieces.
        Interrupted: ``should_stop`` said so.
    """
    done = team.told(lambda: TrialResult.load(folder))
    if done and (done.test or role is Role.SEARCH):
        return done
    team.told(lambda: _note(folder / CONFIG_FILE, config.canonical()))
    reset_peaks()
    with explained(config, "outside of what can be done in pieces"):
        setup = set_up(config, places, role, device, team)
        _require_same_weights(folder, setup.weights)
        team.told(lambda: _note_beginning(setup, folder))
        if done:  # trained as a search trial, to be scored on the test folds now
            setup.model.set_pieces(done.pieces)
            return _concluded(setup, folder, role, done.cost)
        position = train(
            setup,
            folder,
            lambda progress: team.told(lambda: on_progress(progress)),
            lambda: team.told(should_stop),
        )
        peak = peak_bytes(setup.compute.device)
        cost = Cost(position.seconds, position.train_seconds, setup.model.pieces, peak)
        return _concluded(setup, folder, role, cost)


def evaluate_trial(folder: Path, places: Places, fold: str, device: str | None = None) -> Evaluation:
    """Score the best weights of a stored trial again, from its config alone.

    Args:
        folder: the trial's.
        places: where data and weights lie.
        fold: ``validation`` or ``test``.
        device: as in :func:`run_trial`.

    Raises:
        UserError: no trial there, the test folds of a search trial, or data or weights do not serve.
    """
    if not (folder / BEST).exists():
        raise UserError(
            f"{folder}: expected a trial with {CONFIG_FILE} and {BEST}; there is none "
            "(a sweep keeps the weights of confirmations and of each cell's best search trial)"
        )
    result = TrialResult.load(folder)
    role = result.role if result else Role.SEARCH
    if fold == "test" and role is Role.SEARCH:
        raise UserError(
            f"{folder}: the test folds stay closed to a search trial, or they would be selected on; "
            "evaluate a confirmation trial, or train with --test"
        )
    config = TrialConfig.model_validate_json((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    setup = set_up(_without_what_was_trained(config), places, role, device)
    if problems := problems_with(config, setup.splits.train.folder):
        raise DataError("\n  ".join(["the data set does not serve this trial:", *map(str, problems)]))
    _require_same_weights(folder, setup.weights)
    restore(setup.model, load_tensors(folder / BEST)["model"])
    setup.model.set_pieces(result.pieces if result else 1)
    return evaluate_split(setup, setup.splits.test if fold == "test" else setup.splits.validation)


def _note_beginning(setup: Setup, folder: Path) -> None:
    if setup.weights:
        _note(folder / WEIGHTS_FILE, dict(setup.weights))
    splits = setup.splits
    patches = {"validation": len(splits.validation)}
    if splits.role is Role.CONFIRMATION:
        patches["test"] = len(splits.test)
    labelled = [patch.id for patch in splits.train.patches]
    labels = {"labelled_patches": labelled, "patches": patches}
    write_atomically(folder / LABELS_FILE, json.dumps(labels).encode())
    note_environment(setup.compute, folder)


def _note(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=1).encode())


def _without_what_was_trained(config: TrialConfig) -> TrialConfig:
    """Return the config without pretrained weights that the trial's own have replaced, all of them."""
    if not isinstance(config.model.tuning, FinetuneTuning):
        return config
    tuning = config.model.tuning.model_copy(update={"weights": "none"})
    return config.model_copy(update={"model": config.model.model_copy(update={"tuning": tuning})})


def _require_same_weights(folder: Path, weights: Mapping[str, str]) -> None:
    """Refuse other pretrained weights than the trial began with: checkpoints leave out what was frozen."""
    record = folder / WEIGHTS_FILE
    before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else weights
    if changed := [name for name in weights if before.get(name) != weights[name]]:
        raise WeightsError(
            f"{folder}: begun with other pretrained weights than are there now; put these files back: "
            + ", ".join(f"{name} (SHA-256 {before.get(name)}, now {weights[name]})" for name in changed)
        )


def _concluded(setup: Setup, folder: Path, role: Role, cost: Cost) -> TrialResult:
    best = load_tensors(folder / BEST)
    names = setup.splits.train.folder.class_names
    validation = Evaluation(names, tuple(best["patch_ids"]), np.asarray(best["counts_NKK"]), best["loss"])
    test = None
    if role is Role.CONFIRMATION:
        restore(setup.model, best["model"])
        test = evaluate_split(setup, setup.splits.test)
    result = TrialResult(
        fingerprint=setup.config.fingerprint(),
        role=role,
        config=setup.config.canonical(),
        steps=setup.steps,
        best_step=best["step"],
        validation=validation.scores,
        test=test.scores if test else None,
        labelled_patches=tuple(patch.id for patch in setup.splits.train.patches),
        class_names=names,
        trainable_parameters=setup.model.trainable_parameters,
        seconds=cost.seconds,
        train_seconds=cost.train_seconds,
        pieces=cost.pieces,
        peak_memory_bytes=cost.peak_memory_bytes,
        device=str(setup.compute.device),
        precision=setup.compute.precision,
    )
    return setup.team.told(lambda: _kept(result, folder, validation, test))


def _kept(result: TrialResult, folder: Path, validation: Evaluation, test: Evaluation | None) -> TrialResult:
    save_confusions(folder, validation, test)
    result.save(folder)
    (folder / LAST).unlink(missing_ok=True)  # nothing resumes from here any more
    return result
