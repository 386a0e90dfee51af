"""Several processes that train one network together: each has its rows of every batch.

What they find together is what one process finds alone, within rounding. The loss is computed on the logits
of all rows, as Dice and Lovász are no means over pixels; a batch norm takes the statistics of all rows
(``shared_norm.py``); a batch of evaluation is scored by one process, whole. Only dropout differs: each
process draws from its own generator, and processes but the first begin it anew where a trial is resumed.

Every process makes the same calls in the same order. One that fails leaves the others waiting in theirs, so
whoever starts a team ends all of it when one process has failed.

Legend: B patches of a batch, b of them in one process, K classes, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from shapeft_tune.errors import Interrupted, UserError
from shapeft_tune.train.losses import LossFunction

Item = TypeVar("Item")

BUCKET = 2**23
"""Numbers of gradients that are summed in one exchange: 32 MiB."""


class TeammateLost(ConnectionError):
    """An exchange failed: another process of the team is gone. No fault of the trial: it may be repeated."""


@dataclass(frozen=True)
class Team:
    """The processes of one trial. Alone, which is the default, there is nothing to exchange."""

    rank: int = 0
    """Of this process. The first one, 0, writes the files and takes the decisions."""
    size: int = 1

    @classmethod
    def joined(cls) -> Team:
        """Return the team that this process is in, as ``torch.distributed`` was told of it."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def leads(self) -> bool:
        """Whether this process writes the trial's files."""
        return self.rank == 0

    @property
    def turn(self) -> slice:
        """Which of a list of jobs this process does, where each is done by one process."""
        return slice(self.rank, None, self.size)

    def rows(self, count: int, rank: int | None = None) -> slice:
        """Return which of ``count`` rows are a process's own; parts differ in size by one at most."""
        rank = self.rank if rank is None else rank
        return slice(rank * count // self.size, (rank + 1) * count // self.size)

    def require_rows(self, batch_size: int) -> None:
        """Refuse a batch with fewer patches than there are processes. Raises UserError."""
        if batch_size < self.size:
            raise UserError(
                f"expected a patch of each batch for each of {self.size} processes; got batches of"
                f" {batch_size}; raise training.batch_size or lower `resources.workers` (or `resources.gpu`)"
            )

    def seed_apart(self, *numbers: int) -> None:
        """Let every process but the first, which draws as it would alone, draw other random numbers."""
        if not self.leads:
            words = np.random.SeedSequence([*numbers, self.rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(words[0]))

    # Decisions

    def told(self, decide: Callable[[], Item]) -> Item:
        """Return what ``decide`` returns in the first process, the only one that calls it.

        What it raises there is raised by all: the others raise Interrupted for that, else TeammateLost.
        """
        if self.size == 1:
            return decide()
        fault: BaseException | None = None
        said: list[Any] = [None, "", False]
        if self.leads:
            try:
                said[0] = decide()
            except BaseException as error:
                fault, said = error, [None, f"{type(error).__name__}: {error}", type(error) is Interrupted]
        with exchanging():
            dist.broadcast_object_list(said)
        if fault is not None:
            raise fault
        if said[1]:
            raise Interrupted(said[1]) if said[2] else TeammateLost(f"the first process ended by {said[1]}")
        return said[0]  # type: ignore[no-any-return]

    def require_same(self, step: int, state: dict[str, Tensor]) -> None:
        """Make sure that every process goes on from the same step with the same weights.

        They build them from the same seed and files; this finds out when that was not so.
        """
        if self.size == 1:
            return
        first = self.told(lambda: (step, [(name, tensor.shape) for name, tensor in state.items()]))
        same = first == (step, [(name, tensor.shape) for name, tensor in state.items()])
        if not same:
            raise TeammateLost(
                f"expected to go on from step {first[0]} like the first process; got step {step}"
            )
        others = [name for name, tensor in state.items() if not torch.equal(self._of_first(tensor), tensor)]
        assert not others, f"process {self.rank} has other weights than the first: {others}"

    def _of_first(self, tensor: Tensor) -> Tensor:
        theirs = tensor.detach().clone(memory_format=torch.contiguous_format)
        with exchanging():
            dist.broadcast(theirs, src=0)
        return theirs

    # Tensors

    def gathered(self, own_b: Tensor, count: int) -> Tensor:
        """Return all ``count`` rows, of which each process has its part, in order; without a gradient."""
        parts = [self.rows(count, rank) for rank in range(self.size)]
        sizes = [part.stop - part.start for part in parts]
        padded_b = own_b.new_zeros(max(sizes), *own_b.shape[1:])  # all send as much: NCCL wants it so
        padded_b[: len(own_b)] = own_b.detach()
        received_b = padded_b.new_empty(self.size * len(padded_b), *padded_b.shape[1:])
        with exchanging():
            dist.all_gather_into_tensor(received_b, padded_b)
        starts = range(0, len(received_b), len(padded_b))
        return torch.cat(
            [received_b[start : start + size] for start, size in zip(starts, sizes, strict=True)]
        )

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the sum of all processes' gradients, many in one exchange."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        for bucket in _buckets(gradients):
            flat = torch.cat([each.flatten() for each in bucket])
            with exchanging():
                dist.all_reduce(flat)
            sums = torch.split(flat, [each.numel() for each in bucket])
            for each, summed in zip(bucket, sums, strict=True):
                each.copy_(summed.view(each.shape))

    def in_turn(self, done: Sequence[Item]) -> list[Item]:
        """Return the results of all jobs in their order, of which each process did its :attr:`turn`.

        Tensors in them come back on the CPU.
        """
        if self.size == 1:
            return list(done)
        everyone: list[Any] = [None] * self.size
        with exchanging():
            dist.all_gather_object(everyone, [_on_cpu(each) for each in done])
        jobs = sum(map(len, everyone))
        return [everyone[job % self.size][job // self.size] for job in range(jobs)]


ALONE = Team()


def shared_backward(
    team: Team,
    loss: LossFunction,
    logits_bKHW: Tensor,
    target_bHW: Tensor,
    count: int,
    parameters: Iterable[nn.Parameter],
) -> Tensor:
    """Give every parameter the gradient of the loss of the whole batch, and return that loss, detached.

    Args:
        team: whose processes have the batch.
        loss: of whole batches.
        logits_bKHW: of this process's rows, with the way back to the parameters.
        target_bHW: class numbers of the same rows.
        count: rows of the whole batch.
        parameters: all that are trained.
    """
    if team.size == 1:
        alone = loss(logits_bKHW, target_bHW)
        alone.backward()  # type: ignore[no-untyped-call]
        return alone.detach()
    logits_BKHW = team.gathered(logits_bKHW, count).requires_grad_()
    whole = loss(logits_BKHW, team.gathered(target_bHW, count))
    (slope_BKHW,) = torch.autograd.grad(whole, logits_BKHW)
    logits_bKHW.backward(slope_BKHW[team.rows(count)])  # type: ignore[no-untyped-call]
    team.sum_gradients(parameters)
    return whole.detach()


@contextmanager
def exchanging() -> Iterator[None]:
    """Turn what a failed exchange raises into TeammateLost."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # all that Gloo raises
        raise TeammateLost(f"an exchange with the other processes failed: {error}") from error


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.numel() for each in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _on_cpu(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(_on_cpu(each) for each in result)
    return result.cpu() if isinstance(result, Tensor) else result
