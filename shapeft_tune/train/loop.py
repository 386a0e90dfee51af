"""The training step and the loop around it.

Order of things in the loop: train up to a multiple of ``validation.every``, validate, keep the weights if
they are the best so far, write the checkpoint, then tell. So whoever is told of a step can rely on being able
to resume from it, and a trial that is stopped while telling has lost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from shapeft_tune.config.data import Augmentation
from shapeft_tune.config.inputs import Windows
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.config.tuning import FinetuneTuning, LoraTuning
from shapeft_tune.data import Batch, Samples, prefetched, samples_on, training_batches
from shapeft_tune.errors import Interrupted, NonFiniteLoss
from shapeft_tune.models.tuning import rests
from shapeft_tune.train.checkpoint import (
    Checkpoint,
    load_tensors,
    random_state,
    restore,
    save_atomically,
    set_random_state,
    trained_state,
)
from shapeft_tune.train.evaluate import Evaluation, evaluate_split
from shapeft_tune.train.halving import cut_smaller, explained, halving
from shapeft_tune.train.memory import free, ran_out
from shapeft_tune.train.monitor import Monitor, monitoring
from shapeft_tune.train.optimiser import schedule_factor, set_learning_rate
from shapeft_tune.train.parallel import shared_backward
from shapeft_tune.train.results import Progress
from shapeft_tune.train.setup import Setup

LAST = "last.pt"
BEST = "best.pt"
LOOK_EVERY = 10
"""Steps between looks at the loss (a look waits for the device) and at the wish to stop."""


@dataclass(frozen=True)
class Position:
    """How far a trial is."""

    step: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    """Those of ``seconds`` that steps of training took."""
    best_step: int = 0
    best_miou: float = -1.0


@dataclass(frozen=True)
class Trained:
    """What the steps between two validations amount to."""

    loss: float
    """Mean over them."""
    readings: Mapping[str, float]
    """Speed, and what they took of the machine; see ``monitor.py``."""


def train_step(setup: Setup, batch: Batch, lr: float) -> torch.Tensor:
    """Update the model once and return the loss, still on the device."""
    set_learning_rate(setup.optimiser, lr)
    if setup.team.size == 1:
        loss = halving(setup, lambda: clipped_gradients(setup, batch))
    else:  # tried again by one process, a step's exchanges would meet others of its teammates
        with explained(setup.config, "and a batch that several processes share is not cut into pieces"):
            loss = clipped_gradients(setup, batch)
    with explained(setup.config, "in the optimiser's step, which may have changed some weights already"):
        setup.optimiser.step()
    return loss


def clipped_gradients(setup: Setup, batch: Batch) -> torch.Tensor:
    """Do as :func:`gradients` does, and limit their norm as the trial says."""
    loss = gradients(setup, batch)
    if clip := setup.config.training.gradient_clip:
        parameters = (parameter for group in setup.optimiser.param_groups for parameter in group["params"])
        torch.nn.utils.clip_grad_norm_(parameters, clip)
    return loss


def gradients(setup: Setup, batch: Batch) -> torch.Tensor:
    """Give every parameter its gradient on a batch and return the loss; the weights stay as they are."""
    setup.optimiser.zero_grad(set_to_none=True)
    here = batch.to(setup.compute.device)
    with setup.compute.arithmetic():
        images_BTCHW = setup.normalisation.apply(here.images_BTCHW)
        logits_BKHW = setup.model(images_BTCHW, here.days_BT, here.valid_BT)
    rows, parameters = setup.config.training.batch_size, setup.model.parameters()
    return shared_backward(setup.team, setup.loss, logits_BKHW, here.target_BHW.long(), rows, parameters)


def train(
    setup: Setup, folder: Path, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]
) -> Position:
    """Train to the end of the budget, going on from the folder's last checkpoint where there is one.

    Raises:
        NonFiniteLoss: the loss is NaN or infinite.
        Interrupted: ``should_stop`` said so; the checkpoint is written.
    """
    position = _resumed(setup, folder)
    setup.team.require_same(position.step, trained_state(setup.model))
    device, splits = setup.compute.device, setup.splits
    training, validation = samples_on(device, splits.train), samples_on(device, splits.validation)
    with monitoring(device) as monitor:
        while position.step < setup.steps:
            before, until = position.step, _next_validation(setup, position.step)
            monitor.begin()
            position, losses = _train_until(setup, training, folder, position, until, should_stop, monitor)
            trained = Trained(torch.stack(losses).mean().item(), monitor.readings(until - before))
            position, progress = _validated(setup, validation, folder, position, trained)
            _save(setup, folder, position)
            on_progress(progress)
    return position


def _train_until(
    setup: Setup,
    samples: Samples,
    folder: Path,
    position: Position,
    until: int,
    should_stop: Callable[[], bool],
    monitor: Monitor,
) -> tuple[Position, list[torch.Tensor]]:
    setup.model.train()
    started = time.perf_counter()
    losses: list[torch.Tensor] = []
    with closing(_batches(setup, samples, position.step, until)) as batches:
        for step, batch in zip(range(position.step, until), monitor.waiting_for(batches), strict=True):
            setup.model.set_progress(step / setup.steps)
            losses.append(train_step(setup, batch, learning_rate(setup, step)))
            if (step + 1) % LOOK_EVERY == 0 or step + 1 == until:
                _require_finite(losses, step + 1)
                if should_stop() and step + 1 < until:
                    _save(setup, folder, _trained(position, step + 1, started))
                    raise Interrupted(
                        f"stopped after step {step + 1} of {setup.steps}; the checkpoint is written"
                    )
    return _trained(position, until, started), losses


def _trained(position: Position, step: int, started: float) -> Position:
    """Return the position after training since ``started`` up to a step."""
    spent = time.perf_counter() - started
    return replace(
        position,
        step=step,
        seconds=position.seconds + spent,
        train_seconds=position.train_seconds + spent,
    )


def _batches(setup: Setup, samples: Samples, first: int, last: int) -> Generator[Batch, None, None]:
    """Yield the batches of steps; where the device has no room for one, with smaller pieces from there on.

    Small splits stay on the device, and what is read ahead is put together there, beside a running step.
    """
    while first < last:
        try:
            for batch in _read_ahead(setup, samples, first, last):
                yield batch
                first += 1
        except RuntimeError as error:
            if not ran_out(error):
                raise
            said = str(error)
        else:
            return
        cut_smaller(setup, said)
        free()


def _read_ahead(setup: Setup, samples: Samples, first: int, last: int) -> Iterator[Batch]:
    config = setup.config
    return prefetched(
        training_batches(
            setup.splits.train,
            batch_size=config.training.batch_size,
            seed=config.seed,
            augmentation=_augmentation(config),
            first_step=first,
            last_step=last,
            samples=samples,
            rows=setup.team.rows(config.training.batch_size),
        )
    )


def _augmentation(config: TrialConfig) -> Augmentation:
    """Return what the trial asks for; a network that sees windows is trained on crops of their size."""
    if isinstance(config.model.input, Windows):
        return config.data.augmentation.model_copy(update={"crop": config.model.input.side})
    return config.data.augmentation


def learning_rate(setup: Setup, step: int) -> float:
    """Return the decoder's learning rate at a step (from 0)."""
    training = setup.config.training
    return training.optimiser.lr * schedule_factor(training.schedule, step, setup.steps)


def encoder_learning_rate(setup: Setup, step: int) -> float | None:
    """Return the encoder's learning rate at a step, 0 while it rests; None where it has none of its own.

    Where its layers have different ones, that of the last layer, the highest.
    """
    tuning = setup.config.model.tuning
    if not isinstance(tuning, FinetuneTuning | LoraTuning):
        return None
    groups = (group for group in setup.optimiser.param_groups if group["name"].startswith("encoder"))
    highest = max(group["lr_ratio"] for group in groups)
    return 0.0 if rests(tuning, step / setup.steps) else learning_rate(setup, step) * float(highest)


def _validated(
    setup: Setup, samples: Samples, folder: Path, position: Position, trained: Trained
) -> tuple[Position, Progress]:
    started = time.perf_counter()
    evaluation = evaluate_split(setup, setup.splits.validation, samples)
    scores = evaluation.scores
    if scores.miou > position.best_miou:
        position = replace(position, best_step=position.step, best_miou=scores.miou)
        _save_best(setup, folder, position, evaluation)
    position = replace(position, seconds=position.seconds + time.perf_counter() - started)
    progress = Progress(
        step=position.step,
        steps=setup.steps,
        train_loss=trained.loss,
        lr=learning_rate(setup, position.step - 1),
        lr_encoder=encoder_learning_rate(setup, position.step - 1),
        validation=scores,
        validation_loss=evaluation.loss,
        best_miou=position.best_miou,
        seconds=position.seconds,
        readings=trained.readings,
    )
    return position, progress


def _save_best(setup: Setup, folder: Path, position: Position, evaluation: Evaluation) -> None:
    if not setup.team.leads:
        return
    content = {
        "fingerprint": setup.config.fingerprint(),
        "config": setup.config.canonical(),
        "step": position.best_step,
        "miou": position.best_miou,
        "model": trained_state(setup.model),
        "patch_ids": list(evaluation.patch_ids),
        "counts_NKK": torch.from_numpy(evaluation.counts_NKK),
        "loss": evaluation.loss,
    }
    save_atomically(content, folder / BEST)


def _save(setup: Setup, folder: Path, position: Position) -> None:
    if not setup.team.leads:
        return
    Checkpoint(
        fingerprint=setup.config.fingerprint(),
        step=position.step,
        seconds=position.seconds,
        train_seconds=position.train_seconds,
        pieces=setup.model.pieces,
        model=trained_state(setup.model),
        optimiser=setup.optimiser.state_dict(),
        random=random_state(),
    ).save(folder / LAST)


def _resumed(setup: Setup, folder: Path) -> Position:
    if not (folder / LAST).exists():
        return Position()
    checkpoint = Checkpoint.load(folder / LAST, setup.config.fingerprint())
    restore(setup.model, checkpoint.model)
    setup.optimiser.load_state_dict(dict(checkpoint.optimiser))
    set_random_state(checkpoint.random)
    setup.team.seed_apart(setup.config.seed, checkpoint.step)
    setup.model.set_pieces(checkpoint.pieces)
    spent = checkpoint.seconds if checkpoint.train_seconds is None else checkpoint.train_seconds
    position = Position(checkpoint.step, checkpoint.seconds, spent)
    if (folder / BEST).exists():  # what is best is said by the file that holds it, and nowhere else
        best = load_tensors(folder / BEST)
        position = replace(position, best_step=best["step"], best_miou=best["miou"])
    return position


def _next_validation(setup: Setup, step: int) -> int:
    every = setup.config.validation.every
    return min((step // every + 1) * every, setup.steps)


def _require_finite(losses: list[torch.Tensor], step: int) -> None:
    recent = torch.stack(losses[-LOOK_EVERY:])
    if not bool(torch.isfinite(recent).all()):
        raise NonFiniteLoss(
            f"loss is not finite by step {step}; a lower learning rate or a smaller gradient_clip may help"
        )
