"""A training step that runs out of memory is tried again, its batch encoded in twice as many pieces.

The same patches, weights and random numbers: the trial ends as if there had been room, within rounding. See
``models/pieces.py`` for what is cut and what cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.errors import OutOfMemory
from shapeft_tune.models import Segmenter
from shapeft_tune.train.checkpoint import random_state, set_random_state
from shapeft_tune.train.memory import ran_out, until_it_fits
from shapeft_tune.train.setup import Setup

MOST_HALVINGS = 5
"""Over the whole trial: what does not fit in 32 pieces will not in more, and each try costs a step's time."""


def halving(setup: Setup, attempt: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Return the loss that ``attempt`` returns; where memory runs out, it is tried again in more pieces.

    ``attempt`` may draw random numbers, set gradients and move running statistics, but changes no weight.

    Raises:
        OutOfMemory: the pieces cannot be any smaller.
    """
    go_back = _way_back(setup.model)

    def make_room(said: str) -> None:
        setup.optimiser.zero_grad(set_to_none=True)
        go_back()
        cut_smaller(setup, said)

    return until_it_fits(attempt, make_room)


def cut_smaller(setup: Setup, said: str) -> None:
    """Encode batches in twice as many pieces from now on. Raises OutOfMemory where they are small enough.

    ``said``: the words of the error, to be told with it.
    """
    model, config = setup.model, setup.config
    most = model.most_pieces(config.training.batch_size, config.data.temporal_length)
    most = min(most, 2**MOST_HALVINGS)
    if model.pieces >= most:
        raise OutOfMemory(advice(config, _tried(model.pieces, most), said))
    model.set_pieces(min(2 * model.pieces, most))


@contextmanager
def explained(config: TrialConfig, where: str) -> Iterator[None]:
    """Turn running out of memory where nothing can be cut into an OutOfMemory that says what to change."""
    try:
        yield
    except RuntimeError as error:
        if not ran_out(error):
            raise
        raise OutOfMemory(advice(config, where, str(error))) from error


def advice(config: TrialConfig, tried: str, said: str) -> str:
    """Return an error's text: what was tried, and which fields make a trial smaller."""
    return (
        f"out of memory, {tried}; lower training.batch_size ({config.training.batch_size}),"
        f" data.temporal_length ({config.data.temporal_length}) or data.augmentation.crop"
        f" ({config.data.augmentation.crop or 'none'}), let the encoder rest (model.tuning), or give the"
        f" trial a larger share of a GPU (resources.gpu of the sweep). {'. '.join(said.split('. ')[:3])}"
    )


def _tried(pieces: int, most: int) -> str:
    if most == 1:
        return "and the batches of this network, tuned in this way, cannot be encoded in pieces"
    return f"even with each batch encoded in {pieces} pieces"


def _way_back(model: Segmenter) -> Callable[[], None]:
    """Return a function that undoes all that a step without an update changes, gradients aside."""
    random = random_state()
    training = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    statistics = [(buffer, buffer.clone()) for module in training for buffer in module.buffers()]

    def go_back() -> None:
        set_random_state(random)
        for buffer, before in statistics:
            buffer.copy_(before)

    return go_back
