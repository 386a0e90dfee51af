from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.segmentation import MeanIoU

from shapeft_tune.config import SweepConfig
from shapeft_tune.errors import TrackingError
from shapeft_tune.report import CellSummary, Run, compare
from shapeft_tune.scores import Counts, Scores

Make = Callable[..., Run]


def summary(sweep: SweepConfig, *runs: Run, strategy: str = "utae", dates: int = 6) -> CellSummary:
    return compare(sweep, runs).cell(strategy, 0.1, dates)


def test_cells_come_in_the_order_of_the_sweep(sweep: SweepConfig) -> None:
    cells = compare(sweep, []).cells
    assert [(cell.strategy, cell.temporal_length) for cell in cells] == [
        (cell.strategy, cell.temporal_length) for cell in sweep.cells
    ]


def test_a_cell_without_trials_has_counts_and_no_numbers(sweep: SweepConfig) -> None:
    assert summary(sweep) == CellSummary(
        *("utae", 0.1, 6, 0, 0, 0, 0),
        *[None] * 8,
        missing_search_trials=3,
        missing_confirmations=2,
    )


def test_the_numbers_of_a_finished_cell_are_those_of_its_seeds(sweep: SweepConfig, run: Make) -> None:
    cell = summary(
        sweep,
        run(1e-3, best__val_miou=0.5),
        run(2e-3, best__val_miou=0.2, state="pruned"),
        run(3e-3, state="failed"),
        run(1e-3, 1, test__miou=0.40, test__miou_seed20=0.38, test__overall_accuracy=0.7),
        run(1e-3, 2, test__miou=0.46, test__miou_seed20=0.44, test__overall_accuracy=0.8),
    )
    low, high = stats.t.interval(0.95, 1, 0.43, stats.sem([0.40, 0.46]))
    assert (cell.search_trials, cell.pruned_trials, cell.failed_trials) == (3, 1, 1)
    assert cell.confirmation_trials == 2
    assert cell.val_miou_best == 0.5
    assert cell.test_miou_mean == pytest.approx(0.43)
    assert (cell.test_miou_low, cell.test_miou_high) == pytest.approx((low, high))  # no patches: over seeds
    assert cell.interval_over == "seeds"
    assert cell.miou_by_seed == {1: 0.40, 2: 0.46}
    assert cell.test_miou_seed20_mean == pytest.approx(0.41)
    assert cell.test_overall_accuracy_mean == pytest.approx(0.75)
    assert cell.best_config == {"training.optimiser.lr": 1e-3}
    assert cell.best_trial is not None
    assert cell.best_trial["training"]["optimiser"]["lr"] == 1e-3
    assert (cell.missing_search_trials, cell.missing_confirmations) == (0, 0)


def test_the_interval_stays_between_nothing_and_all(sweep: SweepConfig, run: Make) -> None:
    seeds = [run(1e-3, seed, test__miou=miou) for seed, miou in ((1, 0.01), (2, 0.99))]
    cell = summary(sweep, run(1e-3, best__val_miou=0.5), *seeds)
    assert (cell.test_miou_low, cell.test_miou_high) == (0.0, 1.0)


def test_one_seed_has_no_interval(sweep: SweepConfig, run: Make) -> None:
    cell = summary(sweep, run(1e-3, best__val_miou=0.5), run(1e-3, 1, test__miou=0.4))
    assert (cell.test_miou_mean, cell.test_miou_low, cell.test_miou_high) == (0.4, None, None)
    assert cell.interval_over == ""
    assert cell.missing_confirmations == 1


def test_a_running_trial_is_not_counted_and_not_chosen(sweep: SweepConfig, run: Make) -> None:
    cell = summary(sweep, run(1e-3, best__val_miou=0.5), run(2e-3, best__val_miou=0.9, state="running"))
    assert (cell.search_trials, cell.val_miou_best) == (1, 0.5)


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_a_trial_that_did_not_reach_its_end_is_never_the_best(
    sweep: SweepConfig, run: Make, state: str
) -> None:
    cell = summary(sweep, run(1e-3, best__val_miou=0.5), run(2e-3, best__val_miou=0.9, state=state))
    assert cell.val_miou_best == 0.5


def test_confirmations_of_an_earlier_best_configuration_do_not_count(sweep: SweepConfig, run: Make) -> None:
    earlier = [run(1e-3, best__val_miou=0.5), run(1e-3, 1, test__miou=0.4), run(1e-3, 2, test__miou=0.4)]
    later = [run(2e-3, best__val_miou=0.6), run(2e-3, 1, test__miou=0.7)]
    cell = summary(sweep, *earlier, *later)
    assert (cell.confirmation_trials, cell.test_miou_mean) == (1, 0.7)
    assert cell.missing_confirmations == 1


def test_of_equal_search_trials_the_cheapest_is_the_best_and_of_equal_cost_the_oldest(
    sweep: SweepConfig, run: Make
) -> None:
    equal = [
        run(lr, best__val_miou=0.5, cost__device_seconds=cost)
        for lr, cost in ((1e-3, 30.0), (2e-3, 20.0), (3e-3, 20.0))
    ]
    assert summary(sweep, *equal).best_config == {"training.optimiser.lr": 2e-3}
    older = [run(lr, best__val_miou=0.5) for lr in (1e-3, 2e-3)]  # recorded before cost was
    assert summary(sweep, *older).best_config == {"training.optimiser.lr": 1e-3}


def test_retries_of_search_and_confirmation_are_counted_beside_failures(
    sweep: SweepConfig, run: Make
) -> None:
    runs = [
        run(1e-3, best__val_miou=0.5, cost__retries=2.0),
        run(2e-3, state="failed", cost__retries=1.0),
        run(1e-3, 1, test__miou=0.4, cost__retries=1.0),
        run(1e-3, dates=1, best__val_miou=0.5, cost__retries=5.0),
    ]
    cell = summary(sweep, *runs)
    assert (cell.retries, cell.failed_trials) == (4, 1)


def test_trials_that_a_budget_left_out_are_not_missing(sweep: SweepConfig, run: Make) -> None:
    searched = run(1e-3, best__val_miou=0.5, cost__device_seconds=90.0, cost__steps=300.0)
    confirmed = run(1e-3, 1, test__miou=0.4)

    def counts(*runs: Run, **limits: float) -> tuple[int, int]:
        budget = {"trials": 3, "confirmation_seeds": 2} | limits
        cell = summary(changed(sweep, budget=budget), *runs)
        return cell.missing_search_trials, cell.left_out_trials

    assert counts(searched, confirmed) == (2, 0)  # no limit: somebody raised the number of trials
    assert counts(searched, wall_hours=1) == (2, 0)
    assert counts(searched, confirmed, wall_hours=1) == (0, 2)  # confirmations wait for the search's end
    assert counts(searched, device_hours=0.025) == (0, 2)
    assert counts(searched, device_hours=0.026) == (2, 0)
    assert counts(searched, steps=300) == (0, 2)
    assert counts(searched, steps=301) == (2, 0)
    hour = run(2e-3, best__val_miou=0.4, cost__cell_wall_seconds=3600.0)
    assert counts(searched, hour, wall_hours=1, confirmation_seeds=0) == (0, 1)
    assert counts(searched, hour, wall_hours=1.01, confirmation_seeds=0) == (1, 0)


def changed(sweep: SweepConfig, **sections: object) -> SweepConfig:
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    return SweepConfig.model_validate(fields | sections)


def test_a_failed_confirmation_does_not_count(sweep: SweepConfig, run: Make) -> None:
    runs = [run(1e-3, best__val_miou=0.5), run(1e-3, 1, test__miou=0.7), run(1e-3, 2, state="failed")]
    assert summary(sweep, *runs).confirmation_trials == 1


def test_a_seed_that_failed_for_good_is_not_missing(sweep: SweepConfig, run: Make) -> None:
    searched = run(1e-3, best__val_miou=0.5)
    first, failed = run(1e-3, 1, test__miou=0.7), run(1e-3, 2, state="failed")
    cell = summary(sweep, searched, first, failed)
    assert (cell.missing_confirmations, cell.failed_confirmations) == (0, 1)
    again = summary(sweep, searched, first, run(1e-3, 2, state="running"))
    assert (again.missing_confirmations, again.failed_confirmations) == (1, 0)
    earlier_best = summary(sweep, searched, first, run(2e-3, 2, state="failed"))
    assert (earlier_best.missing_confirmations, earlier_best.failed_confirmations) == (1, 0)


def test_scores_that_are_no_numbers_are_no_scores(sweep: SweepConfig, run: Make) -> None:
    runs = [run(1e-3, best__val_miou=float("nan")), run(2e-3, best__val_miou=float("inf"))]
    cell = summary(sweep, *runs)
    assert (cell.search_trials, cell.val_miou_best) == (2, None)


def test_trials_of_other_cells_are_not_mixed_in(sweep: SweepConfig, run: Make) -> None:
    runs = [
        run(1e-3, best__val_miou=0.5),
        run(1e-3, best__val_miou=0.7, dates=1),
        run(1e-3, best__val_miou=0.8, strategy="croma"),
    ]
    assert summary(sweep, *runs).val_miou_best == 0.5
    assert summary(sweep, *runs, dates=1).val_miou_best == 0.7
    assert summary(sweep, *runs, strategy="croma").val_miou_best == 0.8


def test_trials_of_a_strategy_that_left_the_sweep_are_left_out(sweep: SweepConfig, run: Make) -> None:
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    smaller = SweepConfig.model_validate(fields | {"strategies": {"utae": sweep.strategies["utae"]}})
    comparison = compare(smaller, [run(1e-3, best__val_miou=0.8, strategy="croma", metric=("miou", 9))])
    assert comparison.strategies == ("utae",)
    assert comparison.metric is None


def test_two_conventions_are_never_compared(sweep: SweepConfig, run: Make) -> None:
    with pytest.raises(TrackingError, match="miou version 1 and miou version 2"):
        compare(sweep, [run(1e-3), run(2e-3, metric=("miou", 2))])


CLASSES = 19


def confusion(seed: int, rotation: int) -> Counts:
    """Return a matrix in which each fold has classes of its own that are rare in it, or do not occur."""
    draw = np.random.default_rng(10 * seed + rotation)
    counts_KK = draw.integers(0, 9, (CLASSES, CLASSES))
    np.fill_diagonal(counts_KK, draw.integers(0, 200 * (rotation + 1), CLASSES))
    absent = draw.choice(CLASSES, rotation, replace=False)
    counts_KK[absent], counts_KK[:, absent] = 0, 0
    return counts_KK


def five_folds(run: Make, seed: int, without: tuple[int, ...] = (), **options: float) -> list[Run]:
    return [
        run(
            1e-3,
            seed,
            rotation=rotation,
            counts_KK=confusion(seed, rotation),
            test__miou=Scores.of(confusion(seed, rotation)).miou,
            **options,
        )
        for rotation in range(5)
        if rotation not in without
    ]


def by_torchmetrics(counts_KK: Counts) -> tuple[float, float, float]:
    """Return mIoU, mean over 20 and accuracy of the pixels that a matrix counts."""
    target, prediction = np.indices(counts_KK.shape).reshape(2, -1).repeat(counts_KK.ravel(), axis=1)
    pixels = torch.tensor(prediction), torch.tensor(target)
    iou = MeanIoU(num_classes=CLASSES, per_class=True, input_format="index")(*(each[None] for each in pixels))
    accuracy = MulticlassAccuracy(CLASSES, average="micro")(*pixels)
    return iou.mean().item(), iou.sum().item() / 20, accuracy.item()


def test_with_rotated_folds_a_seed_is_scored_by_the_sum_of_its_confusion_matrices(
    rotating: SweepConfig, run: Make
) -> None:
    seeds = [five_folds(run, seed) for seed in (1, 2, 3)]
    cell = summary(rotating, run(1e-3, best__val_miou=0.5), *(each for seed in seeds for each in seed))
    summed = [sum(confusion(seed, rotation) for rotation in range(5)) for seed in (1, 2, 3)]
    miou, miou_seed20, accuracy = zip(*map(by_torchmetrics, summed), strict=True)
    assert cell.test_miou_mean == pytest.approx(np.mean(miou), abs=1e-6)
    assert cell.test_miou_seed20_mean == pytest.approx(np.mean(miou_seed20), abs=1e-6)
    assert cell.test_overall_accuracy_mean == pytest.approx(np.mean(accuracy), abs=1e-6)
    low, high = stats.t.interval(0.95, 2, np.mean(miou), stats.sem(miou))  # over seeds, not over folds
    assert (cell.test_miou_low, cell.test_miou_high) == pytest.approx((low, high), abs=1e-5)
    assert (cell.confirmation_trials, cell.missing_confirmations, cell.incomplete_seeds) == (3, 0, 0)
    mean_of_five = np.mean([each.score("test/miou") for seed in seeds for each in seed])
    assert abs(mean_of_five - np.mean(miou)) > 0.01


@pytest.mark.parametrize("missing", [(4,), (0, 1, 2)])
def test_a_seed_that_lacks_a_fold_is_missing_and_not_scored(
    rotating: SweepConfig, run: Make, missing: tuple[int, ...]
) -> None:
    whole = [run(1e-3, best__val_miou=0.5), *five_folds(run, 1), *five_folds(run, 2)]
    cell = summary(rotating, *whole, *five_folds(run, 3, without=missing))
    assert (cell.confirmation_trials, cell.missing_confirmations, cell.incomplete_seeds) == (2, 1, 1)
    assert cell.test_miou_mean == summary(rotating, *whole).test_miou_mean
    assert summary(rotating, *whole).incomplete_seeds == 0


def test_a_failed_fold_leaves_its_seed_out(rotating: SweepConfig, run: Make) -> None:
    failed = run(1e-3, 1, rotation=2, state="failed")
    runs = [run(1e-3, best__val_miou=0.5), *five_folds(run, 1, without=(2,)), failed]
    cell = summary(rotating, *runs)
    assert (cell.confirmation_trials, cell.test_miou_mean) == (0, None)
    assert (cell.missing_confirmations, cell.failed_confirmations, cell.incomplete_seeds) == (2, 1, 0)


def test_a_fold_whose_matrix_is_lost_leaves_its_seed_out(rotating: SweepConfig, run: Make) -> None:
    lost = run(1e-3, 1, rotation=2, test__miou=0.9)
    cell = summary(rotating, run(1e-3, best__val_miou=0.5), *five_folds(run, 1, without=(2,)), lost)
    assert (cell.confirmation_trials, cell.test_miou_mean, cell.incomplete_seeds) == (0, None, 1)


def test_rotated_confirmations_of_an_earlier_best_configuration_do_not_fill_a_seed(
    rotating: SweepConfig, run: Make
) -> None:
    earlier = run(2e-3, 1, rotation=4, counts_KK=confusion(1, 4), test__miou=0.4)
    searched = [run(2e-3, best__val_miou=0.4), run(1e-3, best__val_miou=0.5)]
    assert summary(rotating, *searched, earlier, *five_folds(run, 1, without=(4,))).confirmation_trials == 0


def test_with_fixed_folds_again_only_confirmations_on_these_count(sweep: SweepConfig, run: Make) -> None:
    cell = summary(sweep, run(1e-3, best__val_miou=0.5), *five_folds(run, 1))
    assert (cell.confirmation_trials, cell.incomplete_seeds) == (1, 0)
    assert cell.test_miou_mean == Scores.of(confusion(1, 0)).miou


def test_a_search_trial_on_other_folds_is_none_of_the_sweep(rotating: SweepConfig, run: Make) -> None:
    runs = [run(1e-3, best__val_miou=0.5), run(2e-3, best__val_miou=0.9, rotation=1)]
    cell = summary(rotating, *runs)
    assert (cell.search_trials, cell.val_miou_best) == (1, 0.5)
