"""A report's numbers computed a second time, naively: torchmetrics over pixels, scipy over seeds and patches.

Nothing of ``report/statistics`` is used, but for which patches are drawn. The record of a real sweep is
checked from the files in its home, and not from MLflow:

    python -m tests.report.independent SWEEP_FILE HOME

Legend: B draws, S seeds, N patches, K classes.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from shapeft_tune.report import CellSummary, Comparison
from shapeft_tune.report.comparison import ClassScore, Difference, RankStability, Recommendation
from shapeft_tune.report.statistics.resampling import drawn_weights
from shapeft_tune.scores import Counts
from tests.report.written import best_search, check_files

Place = tuple[str, float, int]


@dataclass(frozen=True)
class Tested:
    """A cell's test patches: matrices ``[N, K, K]`` of each seed, patches in the order of their ids."""

    __test__ = False  # pytest takes it for a test by its name

    counts_by_seed: Mapping[int, Counts]
    class_names: tuple[str, ...]
    drawn: dict[int, np.ndarray] = field(default_factory=dict)

    def drawn_iou(self, seed: int) -> np.ndarray:
        """Return the IoU of each class over the draws of the patches, ``[B, K]``, one matrix at a time."""
        if seed not in self.drawn:
            counts_NKK = self.counts_by_seed[seed]
            weights = np.concatenate(list(drawn_weights(len(counts_NKK))))
            self.drawn[seed] = np.array([iou(np.einsum("n,nij->ij", each, counts_NKK)) for each in weights])
        return self.drawn[seed]


def check(comparison: Comparison, tested: Mapping[Place, Tested]) -> int:
    """Hold every number of a comparison against its own computation; return how many cells were held."""
    for place, cell in tested.items():
        check_cell(comparison.cell(*place), cell)
    check_differences(comparison, tested)
    for recommendation in comparison.recommendations:
        check_recommendation(recommendation, comparison, tested)
    for ranks in comparison.ranks:
        check_ranks(ranks, tested)
    return len(tested)


def check_cell(cell: CellSummary, tested: Tested) -> None:
    """Check a cell's scores, means and intervals."""
    scores = {seed: scores_of(counts.sum(axis=0)) for seed, counts in tested.counts_by_seed.items()}
    assert cell.miou_by_seed == pytest.approx({seed: each["miou"] for seed, each in scores.items()}, abs=1e-6)
    for name in ("miou", "miou_seed20", "macro_f1", "overall_accuracy"):
        mean = np.mean([each[name] for each in scores.values()])
        assert getattr(cell, f"test_{name}_mean") == pytest.approx(mean, abs=1e-6), name
    assert tuple(cell.test_iou) == tested.class_names
    for kind, name in enumerate(tested.class_names):
        iou_by_seed = {seed: each["iou"][kind] for seed, each in scores.items()}
        check_class(cell.test_iou[name], kind, iou_by_seed, tested)
    seeds = sorted(scores)
    low, high = interval(
        [cell.miou_by_seed[seed] for seed in seeds], drawn_of(tested, seeds), patches(tested)
    )
    assert (cell.test_miou_low, cell.test_miou_high) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-5)


def check_class(found: ClassScore, kind: int, iou_by_seed: Mapping[int, float], tested: Tested) -> None:
    """Check a class's mean IoU over the seeds in which it occurs, and its interval over the draws with it."""
    values = [value for value in iou_by_seed.values() if not np.isnan(value)]
    assert found.mean == (pytest.approx(np.mean(values), abs=1e-6) if values else None)
    counts = next(iter(tested.counts_by_seed.values()))
    with_class = int((counts[:, kind].sum(axis=-1) > 0).sum())
    if len(values) < 2 or with_class < 2:
        assert (found.low, found.high) == (None, None)
        return
    drawn_BS = np.stack([tested.drawn_iou(seed)[:, kind] for seed in sorted(iou_by_seed)], axis=1)
    drawn_BS = drawn_BS[~np.isnan(drawn_BS).any(axis=1)]
    if np.ptp(values) == np.ptp(drawn_BS) == 0:  # no seed found any of it
        assert (found.low, found.high) == (None, None)
        return
    low, high = interval(values, drawn_BS, with_class)
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)), rel=1e-3, abs=1e-5)


def check_differences(comparison: Comparison, tested: Mapping[Place, Tested]) -> None:
    """Check paired differences, Holm's adjustment over all pairs, intervals at its levels, verdicts.

    The pairs are every tested strategy with the baseline and with the best of its setting, each pair once.
    """
    pairs = {
        (frozenset((name, reference)), (share, dates))
        for name, share, dates in tested
        for reference in (comparison.baseline, best_in((share, dates), tested))
        if reference and name != reference
    }
    raw = [apart(*sorted(names), setting, tested) for names, setting in pairs]
    tests = zip(*adjusted_by_holm([p_value(*each) for each in raw]), strict=True)
    adjusted = dict(zip(pairs, tests, strict=True))
    told = list(comparison.differences)
    for found in comparison.recommendations:
        told += found.differences
    assert {pair_of(each) for each in told} == pairs
    for each in told:
        check_difference(each, *adjusted[pair_of(each)], tested)
        assert each.comparisons == len(pairs)


def pair_of(each: Difference) -> tuple[frozenset[str], tuple[float, int]]:
    """Return which cells a difference is of, whichever of them comes first."""
    return frozenset((each.strategy, each.baseline)), each.setting


def check_difference(each: Difference, p: float, level: float, tested: Mapping[Place, Tested]) -> None:
    """Check one, with its adjusted p-value and the level at which it was tested."""
    own = apart(each.strategy, each.baseline, each.setting, tested)
    one, other = (tested[(name, *each.setting)].counts_by_seed for name in (each.strategy, each.baseline))
    assert each.seeds == tuple(sorted(one.keys() & other.keys()))
    assert each.mean == pytest.approx(np.mean(own[0]), abs=1e-9)
    assert each.p_value == pytest.approx(p, rel=1e-3, abs=1e-7)
    ends = interval(*own, confidence=1 - level)
    assert (each.low, each.high) == pytest.approx((max(ends[0], -1), min(ends[1], 1)), rel=1e-3, abs=1e-5)
    assert each.verdict == ("not told apart" if p > 0.05 else "better" if each.mean > 0 else "worse")


def apart(
    strategy: str, reference: str, setting: tuple[float, int], tested: Mapping[Place, Tested]
) -> tuple[list[float], np.ndarray, int]:
    """Return one strategy less another: by seed, over the draws ``[B, S]``, and the number of patches."""
    one, other = (tested[(name, *setting)] for name in (strategy, reference))
    seeds = sorted(one.counts_by_seed.keys() & other.counts_by_seed.keys())
    by_seed = [
        miou(one.counts_by_seed[seed].sum(axis=0)) - miou(other.counts_by_seed[seed].sum(axis=0))
        for seed in seeds
    ]
    return by_seed, drawn_of(one, seeds) - drawn_of(other, seeds), patches(one)


def best_in(setting: tuple[float, int], tested: Mapping[Place, Tested]) -> str:
    """Return the strategy with the best mean in a setting."""
    means = {
        name: np.mean([miou(counts.sum(axis=0)) for counts in cell.counts_by_seed.values()])
        for (name, *of), cell in tested.items()
        if tuple(of) == setting
    }
    return max(means, key=lambda name: means[name])


def check_recommendation(
    found: Recommendation, comparison: Comparison, tested: Mapping[Place, Tested]
) -> None:
    """Check the best strategy of a setting, who is compared with it, and the cheapest that is left."""
    names = {name for name, *setting in tested if tuple(setting) == found.setting}
    assert found.best == best_in(found.setting, tested)
    assert [each.baseline for each in found.differences] == [found.best] * (len(names) - 1)
    assert {each.strategy for each in found.differences} == names - {found.best}
    left = [found.best, *(each.strategy for each in found.differences if each.verdict == "not told apart")]
    hours = {name: comparison.cell(name, *found.setting).training_device_hours or np.inf for name in left}
    assert found.cheapest == min(hours, key=lambda name: hours[name])


def check_ranks(found: RankStability, tested: Mapping[Place, Tested]) -> None:
    """Check ranks, and Kendall's W from the mean of Spearman's correlations of all pairs of seeds."""
    cells = {name: cell for (name, *setting), cell in tested.items() if tuple(setting) == found.setting}
    scores = np.array(
        [[miou(cell.counts_by_seed[seed].sum(axis=0)) for cell in cells.values()] for seed in found.seeds]
    )
    for row, score in enumerate(scores):
        order = [name for _, name in sorted(zip(-score, cells, strict=True))]
        assert [found.ranks[name][row] for name in order] == list(range(1, len(cells) + 1))
    pairs = itertools.combinations(scores, 2)
    correlation = np.mean([stats.spearmanr(*pair).statistic for pair in pairs])
    seeds = len(found.seeds)
    assert found.concordance == pytest.approx((correlation * (seeds - 1) + 1) / seeds)
    best = int(np.argmax(scores.mean(axis=0)))
    assert found.first_share == pytest.approx(np.mean(scores.argmax(axis=1) == best))


def scores_of(counts_KK: Counts) -> dict[str, Any]:
    """Return the scores of the pixels that a matrix counts, by torchmetrics."""
    kinds = len(counts_KK)
    target, prediction = np.indices(counts_KK.shape).reshape(2, -1).repeat(counts_KK.ravel(), axis=1)
    pixels = torch.tensor(prediction), torch.tensor(target)
    occurs = np.isin(np.arange(kinds), np.concatenate([target, prediction]))
    iou = MulticlassJaccardIndex(kinds, average=None)(*pixels).double().numpy()
    f1 = MulticlassF1Score(kinds, average=None)(*pixels).double().numpy()
    return {
        "miou": iou[occurs].mean(),
        "miou_seed20": iou[occurs].sum() / (kinds + 1),
        "macro_f1": f1[occurs].mean(),
        "overall_accuracy": MulticlassAccuracy(kinds, average="micro")(*pixels).item(),
        "iou": np.where(occurs, iou, np.nan),
    }


def iou(counts_KK: np.ndarray) -> list[float]:
    """Return the IoU of each class, NaN where it does not occur."""
    found = []
    for kind in range(len(counts_KK)):
        hit = counts_KK[kind, kind]
        union = counts_KK[kind].sum() + counts_KK[:, kind].sum() - hit
        found.append(hit / union if union > 0 else np.nan)
    return found


def miou(counts_KK: np.ndarray) -> float:
    """Return the mean IoU over the classes that occur."""
    return float(np.nanmean(iou(counts_KK)))


def deviations(values_S: Sequence[float], drawn_BS: np.ndarray) -> tuple[float, float]:
    """Return a mean's standard error over seeds, and over the land less what seed and patch do together."""
    off_BS = drawn_BS - drawn_BS.mean(axis=0)
    together = np.mean(np.var(off_BS, axis=1, ddof=1)) / len(values_S)
    return float(stats.sem(values_S)), float(np.sqrt(max(0, stats.tvar(drawn_BS.mean(axis=1)) - together)))


def beyond(error: float, over_seeds: float, over_land: float, seeds: int, patches: int) -> float:
    """Return the probability that two Students, each times its deviation, sum up to an error as large."""
    steps = np.linspace(-14, 14, 8001)
    deviates = np.sinh(steps)  # far out too: with two patches there is a Cauchy's tail
    upper = stats.t.sf((error - over_land * deviates) / over_seeds, seeds - 1)
    lower = stats.t.cdf((-error - over_land * deviates) / over_seeds, seeds - 1)
    density = stats.t.pdf(deviates, patches - 1) * np.cosh(steps)
    return float(integrate.simpson(density * (upper + lower), x=steps))


def p_value(values_S: Sequence[float], drawn_BS: np.ndarray, patches: int) -> float:
    """Return how probable a mean this far from 0 would be without a difference."""
    own = deviations(values_S, drawn_BS)
    return beyond(abs(float(np.mean(values_S))), *own, len(values_S), patches)


def interval(
    values_S: Sequence[float], drawn_BS: np.ndarray, patches: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the ends between which the mean lies with this probability."""
    own = deviations(values_S, drawn_BS)
    reach = optimize.brentq(
        lambda error: beyond(error, *own, len(values_S), patches) - (1 - confidence), 0, 1000 * sum(own)
    )
    return float(np.mean(values_S)) - reach, float(np.mean(values_S)) + reach


def adjusted_by_holm(p_values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return adjusted p-values, and the level at which each test was decided."""
    count = len(p_values)
    adjusted, levels = [0.0] * count, [0.0] * count
    highest, stopped = 0.0, None
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, (count - step) * p_values[index])
        adjusted[index] = min(1.0, highest)
        levels[index] = stopped if stopped is not None else 0.05 / (count - step)
        if stopped is None and p_values[index] > levels[index]:
            stopped = levels[index]
    return adjusted, levels


def drawn_of(tested: Tested, seeds: Sequence[int]) -> np.ndarray:
    """Return the mIoU of the draws, ``[B, S]``."""
    return np.stack([np.nanmean(tested.drawn_iou(seed), axis=1) for seed in seeds], axis=1)


def patches(tested: Tested) -> int:
    """Return how many patches were tested."""
    return len(next(iter(tested.counts_by_seed.values())))


def tested_in(trials: Path) -> dict[Place, Tested]:
    """Read what a sweep's home holds of the best configuration of each cell: ``HOME/<sweep>/trials``."""
    results = [
        json.loads(file.read_text()) | {"folder": file.parent} for file in trials.glob("*/*/result.json")
    ]
    found: dict[Place, Tested] = {}
    for place in sorted({_place(result) for result in results}):
        here = [result for result in results if _place(result) == place]
        best = best_search(here)
        repeats = [
            each for each in here if each["role"] == "confirmation" and _but_seed(each) == _but_seed(best)
        ]
        names = tuple(best["class_names"])
        found[place] = Tested({each["config"]["seed"]: _counts(each["folder"]) for each in repeats}, names)
    return found


def _place(result: Mapping[str, Any]) -> Place:
    data = result["config"]["data"]
    return result["folder"].parent.name, data["label_fraction"], data["temporal_length"]


def _but_seed(result: Mapping[str, Any]) -> str:
    return json.dumps(
        {key: value for key, value in result["config"].items() if key != "seed"}, sort_keys=True
    )


def _counts(folder: Path) -> Counts:
    with np.load(folder / "confusion.npz") as arrays:
        order = np.argsort(arrays["test_ids"].astype(str))
        return arrays["test_counts"][order].astype(np.int64)


def check_home(file: Path, home: Path) -> Comparison:
    """Check the report of a finished sweep with fixed folds, its files included; return what is right."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.report import compare, read_runs

    sweep = load_sweep(file)
    runs = read_runs(f"sqlite:///{home / 'mlflow.db'}", sweep.name, with_patches=True)
    comparison = compare(sweep, runs)
    folder = home / sweep.name
    assert check(comparison, tested_in(folder / "trials")) == len(comparison.cells)
    check_files(folder / "report", comparison, folder / "trials")
    return comparison


def main() -> None:
    """Check the report on a finished sweep with fixed folds."""
    comparison = check_home(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
    print(
        f"{len(comparison.cells)} cells, {len(comparison.differences)} differences, "
        f"{len(comparison.recommendations)} recommendations, {len(comparison.ranks)} rankings: "
        "every number is confirmed"
    )


if __name__ == "__main__":
    main()
