"""Two real processes against one, by Gloo on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import Interrupted, UserError
from shapeft_tune.models import ltae
from shapeft_tune.train import Progress, run_trial
from shapeft_tune.train.checkpoint import load_tensors
from shapeft_tune.train.evaluate import Evaluation, evaluate_split
from shapeft_tune.train.loop import BEST, _batches, train_step
from shapeft_tune.train.parallel import Team, TeammateLost
from shapeft_tune.train.setup import set_up
from shapeft_tune.train.shared_norm import SharedBatchNorm, share_statistics
from tests.train.tiny import TINY, tiny

PROCESSES = 2
ODD: dict[str, Any] = {
    "data__dataset": {"name": "sample", "patches": 25, "patch_size": 16, "dates": 6},
    "training__batch_size": 3,
    "training__precision": "fp32",
    "model": TINY["model"] | {"dropout": 0.0},
}
"""Batches of 3 for two processes; five patches in each fold, so that the last batch has two."""


def together(work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """Return what ``work(team, *arguments)`` returns in each of two processes that know of each other."""
    folder.mkdir(parents=True, exist_ok=True)
    mp.spawn(_process, (work, folder, arguments), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]


def _process(rank: int, work: Callable[..., Any], folder: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    meeting = dist.FileStore(str(folder / "meeting"), PROCESSES)
    dist.init_process_group("gloo", store=meeting, rank=rank, world_size=PROCESSES)
    torch.save(work(Team.joined(), *arguments), folder / f"{rank}.pt")
    dist.barrier()  # the other one may still listen
    os._exit(0)  # gloo's threads abort a process, now and then, that clears up as it ends


@contextmanager
def no_dropout() -> Iterator[None]:
    """Attention has a fixed one, which processes cannot draw alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ltae, "ATTENTION_DROPOUT", 0.0)
        yield


@dataclass(frozen=True)
class Trained:
    """What a few steps leave."""

    losses: list[float]
    state: dict[str, torch.Tensor]
    evaluation: Evaluation


def train_a_little(team: Team, config: TrialConfig, places: Places) -> Trained:
    with no_dropout():
        setup = set_up(config, places, Role.SEARCH, "cpu", team)
        setup.model.train()
        losses = []
        for batch in _batches(setup, None, 0, 3):  # type: ignore[arg-type]
            assert len(batch) == (3 if team.size == 1 else team.rank + 1)
            losses.append(train_step(setup, batch, lr=0.01).item())
        evaluation = evaluate_split(setup, setup.splits.validation)
    return Trained(
        losses, {name: each.clone() for name, each in setup.model.state_dict().items()}, evaluation
    )


LOSSES = {
    "cross_entropy": {"name": "cross_entropy"},
    "lovasz and dice": {
        "name": "sum",
        "terms": [{"loss": {"name": "lovasz"}}, {"loss": {"name": "dice"}, "weight": 0.5}],
    },
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_two_processes_find_what_one_finds(places: Places, tmp_path: Path, loss: dict[str, Any]) -> None:
    """Losses, weights, running statistics and the evaluation; SGD, as AdamW would blow up any rounding."""
    config = tiny(**ODD, training__loss=loss, training__optimiser={"name": "sgd"})
    alone = train_a_little(Team(), config, places)
    both = together(train_a_little, tmp_path, config, places)
    assert all(torch.equal(both[0].state[name], both[1].state[name]) for name in alone.state)
    for ours in both:
        assert ours.losses == pytest.approx(alone.losses, rel=1e-5)
        assert ours.state.keys() == alone.state.keys()
        for name, tensor in alone.state.items():
            torch.testing.assert_close(ours.state[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
        assert ours.evaluation.patch_ids == alone.evaluation.patch_ids
        assert (ours.evaluation.counts_NKK == alone.evaluation.counts_NKK).mean() > 0.999
        assert ours.evaluation.loss == pytest.approx(alone.evaluation.loss, rel=1e-5)
    assert both[0].evaluation.counts_NKK.tolist() == both[1].evaluation.counts_NKK.tolist()


def normalised(team: Team) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Return outputs, gradients and running statistics of this process's rows; the mean is large."""
    torch.manual_seed(0)
    maps = (torch.randn(5, 4, 3, 3) + 1000).requires_grad_()
    slopes = torch.randn(5, 4, 3, 3)
    model = nn.Sequential(nn.BatchNorm2d(4))
    nn.init.normal_(model[0].weight)
    share_statistics(model, team)
    rows = team.rows(5)
    out = model(maps[rows])
    out.backward(slopes[rows])
    assert maps.grad is not None
    team.sum_gradients(model.parameters()) if team.size > 1 else None
    return out.detach(), maps.grad[rows], model[0].weight.grad, model.state_dict()


def test_batch_norm_over_uneven_parts_is_that_of_the_whole(tmp_path: Path) -> None:
    alone = normalised(Team())
    both = together(normalised, tmp_path)
    assert [len(each[0]) for each in both] == [2, 3]
    for number in (0, 1):
        rows = torch.cat([each[number] for each in both])
        torch.testing.assert_close(rows, alone[number], rtol=1e-3, atol=1e-3)
    for each in both:
        torch.testing.assert_close(each[2], alone[2], rtol=1e-3, atol=1e-3)
        assert each[3].keys() == alone[3].keys()
        for name, tensor in alone[3].items():
            torch.testing.assert_close(each[3][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_batch_norm_with_an_activation_inside_keeps_it_and_its_names() -> None:
    from timm.layers import BatchNormAct2d

    model = nn.Sequential(BatchNormAct2d(4)).eval()
    maps, names = torch.randn(2, 4, 3, 3), model.state_dict().keys()
    expected = model(maps)
    share_statistics(model, Team(0, 2))
    assert isinstance(model[0], SharedBatchNorm)
    assert torch.equal(model(maps), expected)
    assert (expected >= 0).all()
    assert model.state_dict().keys() == names


def whole_trial(
    team: Team, config: TrialConfig, places: Places, folder: Path, looks: int | None
) -> list[tuple[int, float, float]]:
    """Run a trial, stopped at a look where ``looks`` are given; return what the first process was told."""
    told: list[Progress] = []
    asked: list[None] = []

    def should_stop() -> bool:
        asked.append(None)
        return looks is not None and len(asked) > looks

    with no_dropout():
        try:
            run_trial(
                config,
                places,
                folder,
                role=Role.CONFIRMATION,
                on_progress=told.append,
                should_stop=should_stop,
                device="cpu",
                team=team,
            )
            assert looks is None
        except Interrupted:
            assert looks is not None
    assert bool(told or asked) == (team.rank == 0)
    return [(each.step, each.train_loss, each.validation.miou) for each in told]


def test_a_trial_of_two_that_was_stopped_and_resumed_ends_as_one_alone(
    places: Places, tmp_path: Path
) -> None:
    config = tiny(
        **ODD,
        training__optimiser={"name": "sgd", "lr": 1e-4},  # with 1e-2, noise of 1e-7 is 1e-2 in ten steps
        training__steps=26,
        validation__every=13,
    )
    alone = whole_trial(Team(), config, places, tmp_path / "alone", None)
    arguments = (config, places, tmp_path / "both")
    first, _ = together(whole_trial, tmp_path / "first", *arguments, 2)
    assert (tmp_path / "both" / "last.pt").exists()
    rest, _ = together(whole_trial, tmp_path / "rest", *arguments, None)
    assert [each[0] for each in (*first, *rest)] == [13, 26]
    np.testing.assert_allclose([*first, *rest], alone, rtol=0.02)
    ours, theirs = (load_tensors(tmp_path / name / BEST)["model"] for name in ("both", "alone"))
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-2, atol=1e-3) for name in theirs)
    assert not (tmp_path / "both" / "last.pt").exists()
    assert {path.name for path in (tmp_path / "both").iterdir()} == {
        path.name for path in (tmp_path / "alone").iterdir()
    }
    counts = [np.load(tmp_path / name / "confusion.npz") for name in ("both", "alone")]
    assert counts[0]["test_ids"].tolist() == counts[1]["test_ids"].tolist()


def deaths(team: Team) -> str:
    """One process dies; return what the other meets."""
    if not team.leads:
        os._exit(0)
    try:
        return str(team.gathered(torch.ones(1), PROCESSES))
    except TeammateLost as met:
        return str(met)


def test_the_loss_of_a_teammate_is_told_from_a_fault_of_the_trial(tmp_path: Path) -> None:
    mp.spawn(_lost, (tmp_path,), nprocs=PROCESSES)
    assert "exchange with the other processes failed" in torch.load(tmp_path / "0.pt")


def _lost(rank: int, folder: Path) -> None:
    meeting = dist.FileStore(str(folder / "meeting"), PROCESSES)
    dist.init_process_group("gloo", store=meeting, rank=rank, world_size=PROCESSES)
    torch.save(deaths(Team.joined()), folder / f"{rank}.pt")
    os._exit(0)  # as above


def decisions(team: Team) -> list[str]:
    """Return what is met where the first process decides, is interrupted, and fails."""
    met = [str(team.told(lambda: f"said by {team.rank}"))]

    def interrupt() -> None:
        raise Interrupted("enough")

    def fail() -> None:
        raise OSError("disk full")

    for act in (interrupt, fail):
        try:
            team.told(act)
        except (Interrupted, OSError, TeammateLost) as error:
            met.append(f"{type(error).__name__} {error}")
    return met


def test_what_the_first_process_says_or_raises_reaches_all(tmp_path: Path) -> None:
    first, second = together(decisions, tmp_path)
    assert first == ["said by 0", "Interrupted enough", "OSError disk full"]
    assert second[0] == "said by 0"
    assert second[1] == "Interrupted Interrupted: enough"
    assert second[2].startswith("TeammateLost")
    assert "disk full" in second[2]


def test_a_batch_smaller_than_the_team_is_refused(places: Places) -> None:
    with pytest.raises(UserError, match=r"got batches of 2; raise training\.batch_size"):
        set_up(tiny(), places, Role.SEARCH, "cpu", Team(0, 3))


@pytest.mark.parametrize("count", [2, 3, 7, 8])
def test_every_row_is_in_one_part_and_no_part_is_empty(count: int) -> None:
    parts = [list(range(count))[Team(rank, 2).rows(count)] for rank in range(2)]
    assert [row for part in parts for row in part] == list(range(count))
    assert all(parts)
