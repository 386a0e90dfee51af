"""Baseline, differences, recommendations and ranks of simulated sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from shapeft_tune.config import SweepConfig
from shapeft_tune.errors import UserError
from shapeft_tune.report import CellSummary, Comparison, Run, compare
from shapeft_tune.report.comparison import Difference, Verdict
from shapeft_tune.report.comparison.comparison import with_conclusions
from shapeft_tune.report.findings import setting_findings
from shapeft_tune.report.tables.compared import differences_table, recommendations_table
from tests.report.synthetic import CLASSES, matrices_of, synthetic_runs, synthetic_sweep, with_matrices

Make = Callable[..., Run]


@pytest.fixture(scope="module")
def simulated() -> SweepConfig:
    return synthetic_sweep()


@pytest.fixture(scope="module")
def runs(simulated: SweepConfig) -> tuple[Run, ...]:
    return synthetic_runs(simulated)


@pytest.fixture(scope="module")
def comparison(simulated: SweepConfig, runs: tuple[Run, ...]) -> Comparison:
    return compare(simulated, runs)


def changed(sweep: SweepConfig, **sections: Any) -> SweepConfig:
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    return SweepConfig.model_validate(fields | sections)


def of_models(sweep: SweepConfig, **models: Any) -> SweepConfig:
    return changed(sweep, strategies={name: {"config": {"model": model}} for name, model in models.items()})


CROMA = {"name": "croma_optical", "size": "small", "tuning": {"mode": "frozen", "weights": "none"}}
TUNED_UTAE = {"name": "utae", "tuning": {"mode": "finetune", "weights": "u.pt", "encoder_lr_ratio": 0.1}}


def test_the_baseline_is_utae_from_scratch_or_else_utae_or_else_the_first(simulated: SweepConfig) -> None:
    chosen = [
        compare(of_models(simulated, **models), []).baseline
        for models in (
            {"croma": CROMA, "tuned": TUNED_UTAE, "small": "utae"},
            {"croma": CROMA, "tuned": TUNED_UTAE},
            {"croma": CROMA, "other": CROMA | {"size": "base"}},
            {"alone": "utae"},
        )
    ]
    assert chosen == ["small", "tuned", "croma", None]


def test_another_baseline_can_be_chosen_and_an_unknown_one_is_refused_with_the_names(
    simulated: SweepConfig, runs: tuple[Run, ...], comparison: Comparison
) -> None:
    other = compare(simulated, runs, baseline="croma_frozen")
    assert {each.baseline for each in other.differences} == {"croma_frozen"}
    there, back = other.difference("utae", 0.1, 6), comparison.difference("croma_frozen", 0.1, 6)
    assert there is not None
    assert back is not None
    assert there.mean == pytest.approx(-back.mean)
    with pytest.raises(UserError, match=r"'utae', 'croma_frozen', 'croma_finetune'.*got 'unet'"):
        compare(simulated, runs, baseline="unet")


def told(comparison: Comparison) -> list[Difference]:
    """Return every difference of a comparison: those to the baseline, and those to the best."""
    return [
        *comparison.differences,
        *(difference for each in comparison.recommendations for difference in each.differences),
    ]


def test_every_other_strategy_is_compared_in_every_setting(comparison: Comparison) -> None:
    assert comparison.baseline == "utae"
    assert len(comparison.differences) == 2 * 9
    pairs = {frozenset((each.strategy, each.baseline, each.setting)) for each in told(comparison)}
    assert {each.comparisons for each in told(comparison)} == {len(pairs)}
    assert len(pairs) == 3 * 9  # utae is the best nowhere: all against all
    assert all(each.interval_over == "seeds and patches" for each in comparison.differences)
    assert comparison.difference("utae", 0.1, 6) is None


def test_the_verdict_is_what_the_interval_says(comparison: Comparison) -> None:
    for each in comparison.differences:
        assert each.low is not None
        assert each.high is not None
        assert each.low <= each.mean <= each.high
        verdict = {
            (True, False): Verdict.BETTER,
            (False, True): Verdict.WORSE,
            (False, False): Verdict.NOT_TOLD_APART,
        }[each.low > 0, each.high < 0]
        assert each.verdict is verdict
        assert each.p_value is not None
        assert (each.p_value <= 0.05) == (verdict is not Verdict.NOT_TOLD_APART)
    assert len({each.verdict for each in comparison.differences}) > 1


def simulated_at_random(chance: np.random.Generator, whole: Comparison) -> Comparison:
    """Return a comparison of random scores over one seed to four in each of some cells."""

    def cell(strategy: str, setting: tuple[float, int], at: int) -> CellSummary:
        kept = chance.random(4) < 0.9
        drawn = 0.5 + 0.01 * at + chance.normal(0, 0.01, 4)
        scores = {
            seed: float(score) for seed, (score, there) in enumerate(zip(drawn, kept, strict=True)) if there
        }
        return replace(
            whole.cell(strategy, *setting),
            miou_by_seed=scores,
            test_miou_mean=float(np.mean(list(scores.values()))) if scores else None,
            confirmation_trials=len(scores),
            training_device_hours=float(chance.uniform(1, 9)),
            scored=None,
        )

    cells = [
        cell(strategy, setting, at)
        for setting in whole.settings[: chance.integers(1, 4)]
        for at, strategy in enumerate(whole.strategies)
    ]
    return with_conclusions(replace(whole, cells=tuple(cells), baseline=whole.strategies[chance.integers(3)]))


def test_words_tables_and_the_cheapest_never_disagree_on_a_pair(comparison: Comparison) -> None:
    chance = np.random.default_rng(0)
    cheaper = 0
    for found in (simulated_at_random(chance, comparison) for _ in range(400)):
        verdicts = {(each.strategy, each.baseline, each.setting): each.verdict for each in told(found)}
        for (one, other, setting), verdict in verdicts.items():
            assert verdicts.get((other, one, setting), verdict.mirrored) is verdict.mirrored
        words = {(each.label_fraction, each.temporal_length): each for each in setting_findings(found)}
        for advice in found.recommendations:
            headline, details = words[advice.setting].headline, " ".join(words[advice.setting].details)
            for each in advice.differences:
                assert verdict_in(headline, each.strategy) is each.verdict
            for each in (each for each in told(found) if each.setting == advice.setting):
                for one, other, verdict in both_ways(each):
                    assert all(sentence(one, other, kind) not in details for kind in set(Verdict) - {verdict})
            if advice.cheapest != advice.best:
                cheaper += 1
                assert verdicts[advice.cheapest, advice.best, advice.setting] is Verdict.NOT_TOLD_APART
        check_tables(found)
    assert cheaper > 50


def both_ways(each: Difference) -> tuple[tuple[str, str, Verdict], ...]:
    one, other = each.strategy, each.baseline
    return (one, other, each.verdict), (other, one, each.verdict.mirrored)


def sentence(one: str, other: str, verdict: Verdict) -> str:
    """Return how a sentence begins that tells of this verdict."""
    return {
        Verdict.BETTER: f"{one} is better than {other}",
        Verdict.WORSE: f"{one} is worse than {other}",
        Verdict.NOT_TOLD_APART: f"{one} is not told apart from {other}",
        Verdict.TOO_FEW_SEEDS: f"{one} to {other}:",
    }[verdict]


def verdict_in(headline: str, strategy: str) -> Verdict:
    """Return what a headline says of a strategy against the best."""
    (clause,) = (part for part in headline.rstrip(".").split("; ") if f"{strategy} (" in part)
    endings = {
        "worse": Verdict.WORSE,
        "better": Verdict.BETTER,
        "not told apart from it": Verdict.NOT_TOLD_APART,
    }
    return next((each for end, each in endings.items() if clause.endswith(end)), Verdict.TOO_FEW_SEEDS)


def check_tables(found: Comparison) -> None:
    """Hold the tables of differences and recommendations against each other's numbers."""
    differences, advice = differences_table(found), recommendations_table(found)
    assert advice is not None
    verdicts = {
        tuple(entry.value for entry in row[:3]): row[-1].text
        for row in (differences.rows if differences else ())
    }
    for row in advice.rows:
        setting, best, cheapest = (row[0].value, row[1].value), row[2].text, row[6].text
        if found.baseline in (best, cheapest) and cheapest != "the same":
            (other,) = {best, cheapest} - {found.baseline}
            assert verdicts[(other, *setting)] == Verdict.NOT_TOLD_APART


@pytest.mark.parametrize("other", [(0.500001, 0.500001, 0.500001), (0.6, 0.6, 0.6), (0.5, 0.5, 0.5)])
def test_seeds_that_differ_by_the_same_do_not_tell_two_apart(
    comparison: Comparison, other: tuple[float, ...]
) -> None:
    scores = {"utae": (0.5, 0.5, 0.5), "croma_frozen": other}
    cells = tuple(
        replace(
            comparison.cell(name, 0.1, 6),
            miou_by_seed=dict(enumerate(values)),
            test_miou_mean=values[0],
            scored=None,
        )
        for name, values in scores.items()
    )
    (found,) = with_conclusions(replace(comparison, cells=cells)).differences
    assert found.mean == pytest.approx(other[0] - 0.5)
    assert (found.verdict, found.comparisons) == (Verdict.NOT_TOLD_APART, 0)
    assert (found.low, found.high, found.p_value) == (None, None, None)


def test_without_patches_differences_and_intervals_are_over_the_seeds(
    simulated: SweepConfig, runs: tuple[Run, ...]
) -> None:
    found = compare(simulated, [replace(run, test_patches=None) for run in runs])
    assert all(cell.scored is None and cell.interval_over == "seeds" for cell in found.cells)
    difference = found.difference("croma_frozen", 1.0, 24)
    assert difference is not None
    cells = [found.cell(name, 1.0, 24) for name in ("croma_frozen", "utae")]
    seeds = [list(cell.miou_by_seed.values()) for cell in cells]
    assert difference.interval_over == "seeds"
    assert difference.confidence is not None
    ends = stats.ttest_rel(*seeds).confidence_interval(difference.confidence)
    assert (difference.low, difference.high) == pytest.approx((max(ends.low, -1), min(ends.high, 1)))


def test_patches_of_some_seeds_are_used_for_all(simulated: SweepConfig, runs: tuple[Run, ...]) -> None:
    lost = [replace(run, test_patches=None) if run.facts.seed == 2 else run for run in runs]
    cell, whole = (compare(simulated, each).cell("utae", 0.1, 6) for each in (lost, runs))
    assert cell.scored is not None
    assert cell.scored.seeds == (1, 3)
    assert (cell.test_miou_mean, cell.confirmation_trials) == (whole.test_miou_mean, 3)
    assert cell.interval_over == "seeds and patches"
    assert whole.test_miou_low is not None
    assert cell.test_miou_low == pytest.approx(whole.test_miou_low, abs=0.005)
    assert cell.test_iou["Corn"].mean == pytest.approx(whole.test_iou["Corn"].mean)


def test_rotated_folds_are_one_test_set_of_all_their_patches() -> None:
    sweep = changed(
        synthetic_sweep(("utae", "croma_frozen"), folds="rotate"),
        settings={"label_fractions": [0.1], "temporal_lengths": [6]},
    )
    found = compare(sweep, synthetic_runs(sweep))
    scored = found.cell("utae", 0.1, 6).scored
    assert scored is not None
    assert (len(scored.patches), scored.seeds) == (5 * 60, (1, 2, 3))
    assert [each.interval_over for each in found.differences] == ["seeds and patches"]


def scored(run: Make, lr: float, strategy: str, *miou: float, hours: float = 1.0, **names: Any) -> list[Run]:
    cost = {"cost__device_seconds": 3600 * hours}
    confirmed = [
        run(lr, seed, strategy, test__miou=each, **cost, **names) for seed, each in enumerate(miou, start=1)
    ]
    return [run(lr, strategy=strategy, best__val_miou=0.5, **cost), *confirmed]


def test_one_common_seed_gives_a_difference_and_no_verdict(sweep: SweepConfig, run: Make) -> None:
    found = compare(sweep, scored(run, 1e-3, "utae", 0.4, 0.5) + scored(run, 1e-3, "croma", 0.6))
    (difference,) = found.differences
    assert (difference.mean, difference.seeds) == (pytest.approx(0.2), (1,))
    assert (difference.low, difference.high, difference.p_value) == (None, None, None)
    assert (difference.verdict, difference.comparisons) == (Verdict.TOO_FEW_SEEDS, 0)


def test_an_untested_strategy_has_no_difference(sweep: SweepConfig, run: Make) -> None:
    found = compare(sweep, scored(run, 1e-3, "utae", 0.4, 0.5) + scored(run, 1e-3, "croma"))
    assert found.differences == ()
    assert found.ranks == ()
    assert [(each.best, each.cheapest) for each in found.recommendations] == [("utae", "utae")]


@pytest.mark.parametrize(
    ("croma", "hours", "cheapest"),
    [
        ((0.50, 0.52), 9.0, "utae"),  # croma leads by nothing to speak of, and costs more
        ((0.50, 0.52), 0.5, "croma"),
        ((0.90, 0.92), 9.0, "croma"),  # told apart: the cheap one is no choice
        ((0.90,), 9.0, "croma"),  # never tested against each other: nothing speaks for the cheap one
    ],
)
def test_the_cheapest_is_one_that_was_not_told_apart_from_the_best(
    sweep: SweepConfig, run: Make, croma: tuple[float, ...], hours: float, cheapest: str
) -> None:
    runs = scored(run, 1e-3, "utae", 0.51, 0.5301) + scored(run, 1e-3, "croma", *croma, hours=hours)
    if croma[0] < 0.9:
        runs = scored(run, 1e-3, "utae", 0.51, 0.50) + scored(run, 1e-3, "croma", *croma, hours=hours)
    (found,) = compare(sweep, runs).recommendations
    assert (found.best, found.cheapest) == ("croma", cheapest)
    assert [each.strategy for each in found.differences] == ["utae"]


def test_a_strategy_whose_cost_is_not_known_is_not_the_cheapest(sweep: SweepConfig, run: Make) -> None:
    unknown = [
        replace(each, metrics={"test/miou": 0.5 + 0.01 * each.facts.seed, "best/val_miou": 0.5})
        for each in scored(run, 1e-3, "utae", 0.5, 0.5)
    ]
    (found,) = compare(sweep, unknown + scored(run, 1e-3, "croma", 0.55, 0.5)).recommendations
    assert (found.best, found.cheapest) == ("croma", "croma")


def test_ranks_are_over_the_seeds_that_all_have(
    comparison: Comparison, sweep: SweepConfig, run: Make
) -> None:
    assert len(comparison.ranks) == 9
    for found in comparison.ranks:
        cells = [comparison.cell(name, *found.setting) for name in found.ranks]
        best = max(cells, key=lambda cell: cell.test_miou_mean or 0).strategy
        assert found.seeds == (1, 2, 3)
        assert found.first_share == np.mean([rank == 1 for rank in found.ranks[best]])
    (two,) = compare(
        sweep, scored(run, 1e-3, "utae", 0.5, 0.4, 0.3) + scored(run, 1e-3, "croma", 0.4, 0.45)
    ).ranks
    assert two.seeds == (1, 2)
    assert two.ranks == {"utae": (1, 2), "croma": (2, 1)}
    assert two.concordance == pytest.approx(0)


def test_classes_are_in_the_data_sets_order_and_their_means_that_of_the_seeds(
    comparison: Comparison, runs: tuple[Run, ...]
) -> None:
    cell = comparison.cell("utae", 0.1, 6)
    assert tuple(cell.test_iou) == CLASSES
    confirmed = [
        run
        for run in runs
        if run.facts.seed
        and (run.facts.strategy, run.facts.label_fraction, run.facts.temporal_length) == ("utae", 0.1, 6)
    ]
    for name, score in cell.test_iou.items():
        assert score.mean == pytest.approx(np.mean([run.metrics[f"test/iou/{name}"] for run in confirmed]))
        assert score.low is not None
        assert score.high is not None
        assert 0 <= score.low < score.mean < score.high <= 1  # type: ignore[operator]


def test_a_class_that_nobody_ever_finds_has_an_iou_and_no_interval(
    simulated: SweepConfig, runs: tuple[Run, ...]
) -> None:
    def without_corn(run: Run) -> Run:
        found_NKK = matrices_of(run)
        if found_NKK is None:
            return run
        counts_NKK = found_NKK.copy()
        counts_NKK[:, 2, 0] += counts_NKK[:, 2, 2]
        counts_NKK[:, 2, 2] = 0
        return with_matrices(run, counts_NKK)

    corn = compare(simulated, map(without_corn, runs)).cell("utae", 0.1, 6).test_iou["Corn"]
    assert (corn.mean, corn.low, corn.high) == (0, None, None)


def test_a_class_on_one_patch_alone_has_an_iou_and_no_interval(
    simulated: SweepConfig, runs: tuple[Run, ...]
) -> None:
    def corn_on(run: Run, patches: int) -> Run:
        if run.test_patches is None:
            return run
        target_NK = run.test_patches.target_NK.copy()
        hit_NK = run.test_patches.hit_NK.copy()
        target_NK[patches:, 2] = hit_NK[patches:, 2] = 0
        return replace(run, test_patches=replace(run.test_patches, target_NK=target_NK, hit_NK=hit_NK))

    one, two = (
        compare(simulated, [corn_on(run, patches) for run in runs]).cell("utae", 0.1, 6).test_iou["Corn"]
        for patches in (1, 2)
    )
    assert one.mean is not None
    assert (one.low, one.high) == (None, None)
    assert two.low is not None


def test_classes_without_patches_are_those_of_the_record(sweep: SweepConfig, run: Make) -> None:
    named: dict[str, Any] = {"test__iou__meadow": 0.25}
    cell = compare(sweep, scored(run, 1e-3, "utae", 0.4, 0.5, **named)).cell("utae", 0.1, 6)
    assert cell.test_iou["meadow"].mean == 0.25


def test_hours_count_every_trial_and_what_was_lost(sweep: SweepConfig, run: Make) -> None:
    cell = compare(
        sweep,
        [
            run(1e-3, best__val_miou=0.5, cost__device_seconds=3600.0, cost__lost_device_seconds=1800.0),
            run(2e-3, state="failed", cost__device_seconds=3600.0),
            run(1e-3, 1, test__miou=0.4, cost__device_seconds=7200.0),
        ],
    ).cell("utae", 0.1, 6)
    assert (cell.device_hours, cell.training_device_hours) == (4.5, 2.0)
    assert cell.steps == 1000


def test_before_a_confirmation_a_training_costs_what_the_search_trial_did(
    sweep: SweepConfig, run: Make
) -> None:
    def cell(*runs: Run) -> CellSummary:
        return compare(sweep, runs).cell("utae", 0.1, 6)

    assert cell(run(1e-3, best__val_miou=0.5, cost__device_seconds=3600.0)).training_device_hours == 1
    assert cell(run(1e-3, best__val_miou=0.5)).training_device_hours is None
    assert cell().training_device_hours is None
    assert (cell().device_hours, cell().steps, cell().best_fingerprint) == (0, None, "")
