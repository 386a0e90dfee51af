"""What is said of a comparison, built by hand where the numbers matter and by ``compare`` where words do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import CellSummary, Comparison, Run, compare, findings
from shapeft_tune.report.comparison import Difference, RankStability, Recommendation, Verdict
from shapeft_tune.report.comparison.comparison import with_conclusions
from shapeft_tune.report.findings import describe_setting, setting_findings, summary
from shapeft_tune.report.tables.compared import recommendations_table
from shapeft_tune.report.words.device_time import DeviceTime
from shapeft_tune.report.words.phrases import in_settings, listed, signed
from tests.report.synthetic import synthetic_runs, synthetic_sweep

Make = Callable[..., Run]
BETTER, WORSE, EQUAL, FEW = Verdict
UTAE = {"name": "utae", "tuning": {"mode": "scratch"}}
PRETRAINED = {"name": "croma_optical", "tuning": {"mode": "frozen", "weights": "official"}}


def cell(strategy: str, setting: tuple[float, int], miou: float | None, **more: Any) -> CellSummary:
    reach = {"test_miou_low": miou - 0.02, "test_miou_high": miou + 0.02} if miou is not None else {}
    known: dict[str, Any] = {
        "search_trials": 3,
        "pruned_trials": 0,
        "failed_trials": 0,
        "confirmation_trials": 3,
        "val_miou_best": 0.3,
        "test_miou_mean": miou,
        "test_miou_low": None,
        "test_miou_high": None,
        "test_miou_seed20_mean": None if miou is None else 0.95 * miou,
        "test_overall_accuracy_mean": None,
        "best_config": {},
        "best_trial": {"model": UTAE if strategy == "utae" else PRETRAINED},
        "missing_search_trials": 0,
        "missing_confirmations": 0,
        "miou_by_seed": {} if miou is None else {1: 0.98 * miou, 2: miou, 3: 1.02 * miou},
    }
    return CellSummary(strategy, *setting, **(known | reach | more))


def difference(
    strategy: str,
    baseline: str,
    setting: tuple[float, int],
    mean: float,
    verdict: Verdict,
    comparisons: int = 1,
) -> Difference:
    ends = (None, None, None) if verdict is FEW else (mean - 0.02, mean + 0.02, 0.01)
    seeds = (1,) if verdict is FEW else (1, 2, 3)
    return Difference(strategy, baseline, *setting, mean, *ends, comparisons, seeds, verdict)


def comparison(cells: Sequence[CellSummary], **known: Any) -> Comparison:
    return Comparison("demo", "Which one?", ("miou", 1), tuple(cells), **known)


def one_setting(verdict: Verdict, cheapest: str = "croma", **hours: float) -> Comparison:
    setting = (0.1, 6)
    cells = [
        cell("utae", setting, 0.50, training_device_hours=hours.get("utae")),
        cell("croma", setting, 0.53, training_device_hours=hours.get("croma")),
    ]
    opposite = {BETTER: WORSE}.get(verdict, verdict)
    return comparison(
        cells,
        baseline="utae",
        differences=(difference("croma", "utae", setting, 0.03, verdict),),
        recommendations=(
            Recommendation(
                *setting, "croma", cheapest, (difference("utae", "croma", setting, -0.03, opposite),)
            ),
        ),
    )


def grid(verdicts: Mapping[str, Sequence[Verdict]], **known: Any) -> Comparison:
    """Return settings of 1, 2, ... dates, with utae and, for every other strategy, a verdict in each."""
    count = len(next(iter(verdicts.values())))
    settings = [(1.0, dates) for dates in range(1, count + 1)]
    means = {BETTER: 0.04, WORSE: -0.04, EQUAL: 0.01, FEW: 0.02}
    cells, differences = [], []
    for at, setting in enumerate(settings):
        cells.append(cell("utae", setting, 0.5))
        for name, found in verdicts.items():
            cells.append(cell(name, setting, 0.5 + means[found[at]]))
            differences.append(difference(name, "utae", setting, means[found[at]], found[at], 9))
    return comparison(cells, baseline="utae", differences=tuple(differences), **known)


def said(compared: Comparison, *words: str) -> str:
    """Return the only finding with all these words."""
    (sentence,) = [each for each in findings(compared) if all(word in each for word in words)]
    return sentence


def test_a_setting_is_told_with_mean_interval_and_how_the_others_stand() -> None:
    headline = setting_findings(one_setting(BETTER))[0].headline
    assert headline == (
        "croma has the best test mIoU, 0.530 (95 % interval 0.510 to 0.550); utae (−0.030) is worse."
    )
    assert "utae (−0.030) is not told apart from it." in setting_findings(one_setting(EQUAL))[0].headline
    assert "too few seeds to tell it from utae (−0.030)." in setting_findings(one_setting(FEW))[0].headline


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (BETTER, "croma is better than utae by 0.030 (95 % interval +0.010 to +0.050)."),
        (EQUAL, "croma is not told apart from utae: +0.030 (95 % interval +0.010 to +0.050)."),
        (FEW, "croma to utae: +0.030 over 1 common seed, too few to tell them apart."),
    ],
)
def test_the_difference_to_the_baseline_is_told_with_its_interval_and_a_verdict(
    verdict: Verdict, sentence: str
) -> None:
    assert sentence in setting_findings(one_setting(verdict))[0].details


def test_a_worse_strategy_is_behind_by_a_positive_number_and_corrections_are_counted() -> None:
    compared = grid({"croma": [WORSE, EQUAL]})
    assert "croma is worse than utae by 0.040 (−0.060 to −0.020, interval corrected for 9 comparisons)." in (
        setting_findings(compared)[0].details
    )


def test_what_the_cheapest_saves_is_told_where_it_is_not_told_apart_from_the_best() -> None:
    compared = one_setting(EQUAL, cheapest="utae", utae=0.4, croma=3.5)
    assert (
        "The cheapest of those not told apart from croma is utae, which takes 0.4 device hours for a "
        "training; croma takes 3.5."
    ) in findings(compared)
    assert "croma takes 3.5 device hours for a training." in findings(
        one_setting(BETTER, utae=0.4, croma=3.5)
    )
    dearer = one_setting(BETTER, utae=4.0, croma=3.5)
    assert "croma takes 3.5 device hours for a training, the least of all." in findings(dearer)
    assert not any("for a training" in sentence for sentence in findings(one_setting(EQUAL)))


def test_where_the_baseline_is_the_best_the_others_are_told_of_once() -> None:
    setting = (0.1, 6)
    cells = [cell("utae", setting, 0.50), cell("croma", setting, 0.47), cell("galileo", setting, 0.49)]
    differences = (
        difference("croma", "utae", setting, -0.03, WORSE),
        difference("galileo", "utae", setting, -0.01, EQUAL),
    )
    advice = Recommendation(*setting, "utae", "utae", differences)
    (told,) = setting_findings(
        comparison(cells, baseline="utae", differences=differences, recommendations=(advice,))
    )
    assert told.headline == (
        "utae has the best test mIoU, 0.500 (95 % interval 0.480 to 0.520); croma (−0.030) is worse; "
        "galileo (−0.010) is not told apart from it."
    )
    assert [detail for detail in told.details if "than" in detail or "from utae" in detail] == [
        "croma is worse than utae by 0.030 (95 % interval −0.050 to −0.010).",
        "galileo is not told apart from utae: −0.010 (95 % interval −0.030 to +0.010).",
    ]


def test_what_cheaper_strategies_save_is_one_sentence_with_the_most_frequent_pairs_first() -> None:
    names = ("croma", "galileo", "ssl4eo", "prithvi")
    compared = grid({name: [EQUAL] * 6 for name in names})
    hours = dict(zip(("utae", *names), (0.4, 3.5, 1.0, 2.0, 3.0), strict=True))
    cells = [replace(each, training_device_hours=hours[each.strategy]) for each in compared.cells]
    best = ("galileo", "croma", "croma", "ssl4eo", "prithvi", "utae")
    advice = [
        Recommendation(*setting, name, "utae", ())
        for setting, name in zip(compared.settings, best, strict=True)
    ]
    told = replace(compared, cells=tuple(cells), recommendations=tuple(advice))
    assert said(told, "cheaper") == (
        "A cheaper strategy is not told apart from the best in 5 of 6 settings: "
        "utae in 2, with 0.4 device hours for a training where croma takes 3.5; "
        "utae in 1, with 0.4 device hours for a training where galileo takes 1; "
        "utae in 1, with 0.4 device hours for a training where ssl4eo takes 2; others in 1."
    )
    dear = replace(told, recommendations=tuple(replace(each, cheapest=each.best) for each in advice))
    assert not any("cheaper" in sentence for sentence in findings(dear))


def test_verdicts_against_the_baseline_are_counted_over_settings() -> None:
    compared = grid({"croma": [BETTER] * 5 + [WORSE] + [EQUAL] * 3})
    assert said(compared, "against utae") == (
        "croma against utae: better in 5 of 9 settings, worse in 1, not told apart in 3 "
        "(−0.040 to +0.040 of mIoU; verdicts corrected for 9 comparisons)."
    )
    assert said(grid({"croma": [WORSE, WORSE]}), "against utae").startswith(
        "croma against utae: worse in both settings (−0.040 of mIoU"
    )


def test_whether_any_foundation_model_beats_utae_is_told_where_there_are_several() -> None:
    several = {"croma": [BETTER, EQUAL, WORSE], "galileo": [WORSE, BETTER, WORSE]}
    assert said(grid(several), "foundation model") == (
        "Some foundation model is better than utae in 2 of 3 settings; all are worse in 1."
    )
    none = {"croma": [EQUAL, WORSE], "galileo": [WORSE, WORSE]}
    assert said(grid(none), "foundation model") == (
        "No foundation model is told to be better than utae in any setting; all are worse in 1."
    )
    for compared in (grid({"croma": [BETTER]}), replace(grid(several), baseline="croma")):
        assert not any("foundation model" in sentence for sentence in findings(compared))


@pytest.mark.parametrize(
    "tuning",
    [{"mode": "frozen", "weights": "none"}, {"mode": "scratch"}, {"mode": "lora", "weights": "none"}],
)
def test_an_encoder_with_random_weights_is_no_foundation_model(tuning: dict[str, str]) -> None:
    compared = grid({"croma": [BETTER, EQUAL], "galileo": [WORSE] * 2, "random": [BETTER] * 2})
    random = {"model": {"name": "croma_optical", "tuning": tuning}}

    def with_random(*names: str) -> Comparison:
        cells = (
            replace(each, best_trial=random) if each.strategy in names else each for each in compared.cells
        )
        return replace(compared, cells=tuple(cells))

    assert "better than utae in 1 of 2 settings" in said(with_random("random"), "foundation model")
    for names in (("random", "croma"), ("random", "croma", "galileo")):
        assert not any("foundation model" in sentence for sentence in findings(with_random(*names)))


def stability(dates: int, concordance: float | None, first: float) -> RankStability:
    return RankStability(1.0, dates, (1, 2, 3), {"utae": (1, 1, 2), "croma": (2, 2, 1)}, concordance, first)


def test_how_steady_the_order_is_is_told_in_words_with_the_number() -> None:
    compared = grid({"croma": [EQUAL] * 3}, ranks=(stability(1, 1.0, 1), stability(2, 1 / 9, 2 / 3)))
    first, second, third = setting_findings(compared)
    assert "Over 3 seeds the order of the strategies is always the same (Kendall's W 1.00)." in first.details
    assert (
        "Over 3 seeds the order of the strategies changes, little better than by chance (Kendall's W 0.11); "
        "the best one comes first under 2 of them."
    ) in second.details
    assert not any("Kendall" in detail for detail in third.details)
    assert said(compared, "Kendall") == (
        "The order of the strategies changes with the seed in 1 of 2 settings (Kendall's W 0.11; 1 is the "
        "same order, near 0 is chance)."
    )
    steady = replace(compared, ranks=(stability(1, 1.0, 1),))
    assert "the same under every seed" in said(steady, "Kendall")
    unknown = replace(compared, ranks=(stability(1, None, 1),))
    assert not any("Kendall" in sentence for sentence in findings(unknown))


def test_what_more_dates_bring_is_the_mean_over_pairs_of_cells_that_differ_in_nothing_else() -> None:
    cells = [
        cell(name, (fraction, dates), miou)
        for name, fraction, dates, miou in (
            ("utae", 0.1, 1, 0.2),
            ("utae", 0.1, 6, 0.3),
            ("utae", 1.0, 1, 0.3),
            ("utae", 1.0, 6, 0.6),
        )
    ]
    compared = comparison(cells)
    assert said(compared, "From 1 to 6 dates").startswith(
        "From 1 to 6 dates: +0.200 of mIoU on average, better in both pairs (+0.100 to +0.300; verdicts"
    )
    assert said(compared, "From 10 to 100 % of the labels").startswith(
        "From 10 to 100 % of the labels: +0.200 of mIoU on average"
    )
    half = comparison([*cells[:1], replace(cells[1], miou_by_seed={}, test_miou_mean=None), *cells[2:]])
    assert said(half, "From 1 to 6 dates").startswith("From 1 to 6 dates: +0.300 of mIoU, better")


def test_the_other_convention_of_miou_is_told_with_the_strategy_that_it_puts_first() -> None:
    setting = (0.1, 6)
    cells = [cell("utae", setting, 0.50), cell("croma", setting, 0.49)]
    (told,) = setting_findings(comparison(cells))
    assert "By the original study's convention (mIoU/20) utae has 0.475." in told.details
    swapped = [cells[0], replace(cells[1], test_miou_seed20_mean=0.48)]
    (told,) = setting_findings(comparison(swapped))
    assert "utae has 0.475; croma comes first by it, with 0.480." in " ".join(told.details)
    equal = [replace(each, test_miou_seed20_mean=each.test_miou_mean) for each in cells]
    (told,) = setting_findings(comparison(equal))
    assert not any("convention" in detail for detail in told.details)


def test_a_single_strategy_is_the_best_of_nothing() -> None:
    alone = [cell("utae", (1.0, dates), 0.3 + dates / 100) for dates in (1, 6)]
    text = " ".join(
        [*findings(comparison(alone)), *(" ".join(t.details) for t in setting_findings(comparison(alone)))]
    )
    assert "100 % labels, 6 dates: utae has a test mIoU of 0.360 (95 % interval 0.340 to 0.380)." in text
    for word in ("best", "against", "apart", "order of"):
        assert word not in text


def test_one_seed_is_said_to_have_no_interval() -> None:
    lonely = cell(
        "utae",
        (1.0, 1),
        0.3,
        confirmation_trials=1,
        test_miou_low=None,
        test_miou_high=None,
        miou_by_seed={1: 0.3},
    )
    assert (
        setting_findings(comparison([lonely]))[0].headline
        == "utae has a test mIoU of 0.300 (one seed: no interval)."
    )


@cache
def simulated(
    seeds: int = 3, strategies: tuple[str, ...] = ("utae", "croma_frozen", "croma_finetune")
) -> Comparison:
    sweep = synthetic_sweep(strategies, seeds=seeds)
    return compare(sweep, synthetic_runs(sweep))


def test_one_sentence_says_what_a_training_takes_with_each_strategy_and_what_the_sweep_took() -> None:
    cells = [
        cell(name, (0.1, dates), 0.5, training_device_hours=hours, device_hours=2.0)
        for name, costs in (("utae", (0.5, 0.25)), ("croma", (0.1, 0.1)))
        for dates, hours in zip((1, 6), costs, strict=True)
    ]
    sentence = (
        "One training of the best configuration takes 15 to 30 device minutes with utae and 6 with croma; "
        "the whole sweep took 8 device hours"
    )
    for tell in (findings, summary):
        assert tell(comparison(cells, baseline="utae")).count(f"{sentence}.") == 1
    unfinished = comparison([replace(cells[0], missing_confirmations=1), *cells[1:]], baseline="utae")
    assert f"{sentence} so far." in summary(unfinished)
    alone = findings(comparison(cells[:1]))
    told = (
        "One training of the best configuration takes 30 device minutes; the whole sweep took 2 device hours."
    )
    assert told in alone


def test_of_many_strategies_the_cheapest_and_the_dearest_to_train_are_named() -> None:
    known = {f"s{hours}": {"training_device_hours": float(hours)} for hours in (3, 1, 6, 2, 5, 4)}
    cells = [cell(name, (0.1, 6), 0.5, **hours) for name, hours in known.items()]
    assert (
        "One training of the best configuration takes 1 device hour with s1, the cheapest strategy, and 6 "
        "with s6, the dearest."
    ) in summary(comparison(cells))


def test_what_took_an_unknown_time_is_given_none() -> None:
    assert not [said for said in summary(comparison([cell("utae", (0.1, 6), 0.5)])) if "training" in said]


@pytest.mark.parametrize("seeds", [2, 3])
def test_that_two_seeds_say_almost_nothing_is_said_once(seeds: int) -> None:
    told = [said for said in findings(simulated(seeds)) if "two seeds" in said]
    assert len(told) == (seeds == 2)
    assert all(said.startswith("With two seeds, as in all 27 cells, an interval says") for said in told)


def test_a_sweep_of_many_cells_is_told_in_few_sentences_and_setting_by_setting_elsewhere() -> None:
    short = findings(simulated())
    assert len(short) < 20
    assert sum("% labels, " in sentence and "has the best" in sentence for sentence in short) == 0
    long = setting_findings(simulated())
    assert [told.where for told in long] == [describe_setting(*each) for each in simulated().settings]
    assert all(told.headline and told.details for told in long)


@pytest.mark.parametrize(
    ("strategies", "fractions", "lengths"), [(14, 2, 5), (14, 1, 10), (14, 4, 5), (14, 2, 2), (14, 1, 1)]
)
def test_the_short_form_has_fewer_than_20_sentences_for_any_sweep(
    strategies: int, fractions: int, lengths: int
) -> None:
    chance = np.random.default_rng(0)
    cells = [
        replace(
            cell(name, ((1 + share) / fractions, 1 + date), 0.5),
            miou_by_seed=(scores := dict(enumerate(0.5 + chance.normal(0, 0.01, 3), start=1))),
            test_miou_mean=float(np.mean(list(scores.values()))),
            test_miou_seed20_mean=float(chance.random()),
            training_device_hours=float(chance.random()),
            confirmation_trials=2,
            missing_confirmations=1,
            failed_trials=1,
            left_out_trials=1,
        )
        for share in range(fractions)
        for date in range(lengths)
        for name in ("utae", *(f"model_{number}" for number in range(1, strategies)))
    ]
    told = with_conclusions(comparison(cells, baseline="utae"))
    assert 10 <= len(findings(told)) < 20
    assert 10 <= len(summary(told)) < 20
    count = fractions * lengths
    rest = said(told, "other strategies")
    assert rest.startswith("The 10 other strategies against utae: ")
    assert count == 1 or f" of {10 * count} cells" in rest or f"in all {10 * count} cells" in rest


def test_many_steps_of_an_axis_are_told_in_one_sentence() -> None:
    cells = [
        cell("utae", (1.0, dates), miou)
        for dates, miou in enumerate((0.2, 0.3, 0.35, 0.35, 0.34, 0.36, 0.4), 1)
    ]
    assert said(comparison(cells), "dates: ").startswith(
        "From 1 to 2, 2 to 3, 3 to 4, 4 to 5, 5 to 6 and 6 to 7 dates: +0.100, +0.050, 0.000, −0.010, +0.020 "
        "and +0.040 of mIoU on average, better in "
    )


def test_counts_over_settings_are_those_of_the_comparison() -> None:
    compared = simulated()
    for name in ("croma_frozen", "croma_finetune"):
        verdicts = [each.verdict for each in compared.differences if each.strategy == name]
        for kind, words in ((BETTER, "better"), (WORSE, "worse"), (EQUAL, "not told apart")):
            count = verdicts.count(kind)
            assert (words in said(compared, f"{name} against utae")) is (count > 0)
    best = [each.best for each in compared.recommendations]
    for name in set(best):
        assert (
            f"{name} in {'all ' if best.count(name) == 9 else ''}{best.count(name)}" in findings(compared)[0]
        )


def test_no_pair_of_strategies_is_told_of_twice_in_a_setting() -> None:
    for told in setting_findings(simulated()):
        pairs = [
            frozenset(name for name in simulated().strategies if name in detail)
            for detail in told.details
            if "interval" in detail
        ]
        assert len(pairs) == len(set(pairs)) >= 2


def test_gains_from_labels_are_those_of_the_means() -> None:
    compared = simulated(strategies=("utae",))
    gained = [
        (compared.cell("utae", 1.0, dates).test_miou_mean or 0)
        - (compared.cell("utae", 0.1, dates).test_miou_mean or 0)
        for dates in (1, 6, 24)
    ]
    assert f"{np.mean(gained):+.3f} of mIoU on average" in said(compared, "From 10 to 100 % of the labels")


def test_with_one_seed_nothing_is_called_better_or_worse() -> None:
    text = " ".join(findings(simulated(seeds=1)))
    assert "with too few seeds to say in all 9 settings" in text
    for word in (" better", " worse", "not told apart", "interval"):
        assert word not in text


def test_a_sweep_without_tests_goes_by_validation(sweep: SweepConfig, run: Make) -> None:
    runs = [run(1e-3, best__val_miou=0.5), run(1e-3, strategy="croma", best__val_miou=0.75)]
    nothing, sentence, *_ = findings(compare(sweep, runs))
    assert nothing == "10 % labels, 1 date: no result yet."
    assert sentence == (
        "10 % labels, 6 dates: croma has the best validation mIoU, 0.750; 0.250 ahead of utae."
    )


def test_a_tested_strategy_is_not_compared_with_an_untested_one(sweep: SweepConfig, run: Make) -> None:
    runs = [
        run(1e-3, best__val_miou=0.5),
        run(1e-3, 1, test__miou=0.4),
        run(1e-3, strategy="croma", best__val_miou=0.9),
    ]
    _, sentence, *_ = findings(compare(sweep, runs))
    assert sentence == (
        "10 % labels, 6 dates: utae has a test mIoU of 0.400 (one seed: no interval); not tested yet: croma."
    )


def test_what_is_missing_is_said_last_and_only_where_something_is(sweep: SweepConfig, run: Make) -> None:
    assert findings(compare(sweep, [run(1e-3, best__val_miou=0.5)]))[-1] == (
        "The sweep is unfinished: 11 search trials and 8 confirmations are missing, in 4 of 4 cells."
    )
    whole = [
        run(lr, seed, strategy, dates, best__val_miou=1 - lr, test__miou=0.4)
        for strategy in ("utae", "croma")
        for dates in (1, 6)
        for lr, seed in ((1e-3, 0), (2e-3, 0), (3e-3, 0), (1e-3, 1), (1e-3, 2))
    ]
    assert not any("missing" in sentence for sentence in findings(compare(sweep, whole)))
    assert findings(compare(sweep, whole[:-1]))[-1] == (
        "The sweep is unfinished: 1 confirmation is missing, in 1 of 4 cells."
    )


def test_what_failed_for_good_is_told_apart_from_what_is_missing(sweep: SweepConfig, run: Make) -> None:
    runs = [
        run(lr, seed, strategy, dates, best__val_miou=1 - lr, test__miou=0.4)
        for strategy in ("utae", "croma")
        for dates in (1, 6)
        for lr, seed in ((1e-3, 0), (2e-3, 0), (3e-3, 0), (1e-3, 1))
    ]
    runs += [run(1e-3, 2, "utae", dates, test__miou=0.5) for dates in (1, 6)]
    runs += [run(1e-3, 2, "croma", dates, state="failed") for dates in (1, 6)]
    compared = compare(sweep, runs)
    assert findings(compared)[-1] == (
        "2 confirmations failed, in 2 of 4 cells; `status` says why, and `sweep --retry-failed` runs them "
        "once more."
    )
    assert not any("unfinished" in sentence for sentence in findings(compared))
    assert (
        "1 confirmation of croma failed; its score is that of the others."
        in setting_findings(compared)[0].details
    )


def test_a_strategy_whose_search_failed_entirely_is_named(sweep: SweepConfig, run: Make) -> None:
    runs = [run(lr, strategy="croma", state="failed") for lr in (1e-3, 2e-3, 3e-3)]
    told = setting_findings(compare(sweep, [*runs, run(1e-3, best__val_miou=0.5)]))[1]
    assert "croma has no result: 3 search trials failed." in told.details


def test_a_search_that_its_budget_ended_is_not_called_unfinished(sweep: SweepConfig, run: Make) -> None:
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    limited = {"trials": 3, "confirmation_seeds": 0, "wall_hours": 0.01}
    runs = [
        run(1e-3, 0, strategy, dates, best__val_miou=0.5, cost__cell_wall_seconds=40.0)
        for strategy in ("utae", "croma")
        for dates in (1, 6)
    ]
    compared = compare(SweepConfig.model_validate(fields | {"budget": limited}), runs)
    assert findings(compared)[-1] == "The budget ended the search of 4 of 4 cells after 4 of 12 trials."
    assert not any("unfinished" in sentence for sentence in findings(compared))


def test_seeds_that_lack_folds_are_counted(rotating: SweepConfig, run: Make) -> None:
    counts = [np.full((19, 19), 1 + rotation) for rotation in range(2)]
    runs = [run(1e-3, best__val_miou=0.5)]
    runs += [run(1e-3, 1, rotation=at, counts_KK=each, test__miou=0.4) for at, each in enumerate(counts)]
    assert findings(compare(rotating, runs))[-1] == (
        "The sweep is unfinished: 11 search trials and 12 seeds of five folds are missing (1 of the seeds "
        "has some folds, and no score yet), in 4 of 4 cells."
    )


def test_phrases_count_and_round_as_people_do() -> None:
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert [signed(value) for value in (0.0314, -0.0314, 0.0001, -0.0001)] == [
        "+0.031",
        "−0.031",
        "0.000",
        "0.000",
    ]
    assert in_settings(3, 9) == "in 3 of 9 settings"
    assert [in_settings(n, n) for n in (1, 2, 3)] == [
        "in the one setting",
        "in both settings",
        "in all 3 settings",
    ]


@pytest.mark.parametrize(
    ("hours", "phrases"),
    [
        ((0.4, 3.5), ("0.4 device hours", "3.5 device hours")),
        ((1.0, None), ("1 device hour",)),
        ((0.02, 0.5), ("1.2 device minutes", "30 device minutes")),
        ((1 / 60,), ("1 device minute",)),
        ((0.001, 0.0012), ("3.6 device seconds", "4.3 device seconds")),
    ],
)
def test_device_time_is_told_in_the_unit_of_which_the_largest_has_one(
    hours: tuple[float | None, ...], phrases: tuple[str, ...]
) -> None:
    spent = DeviceTime.fitting(hours)
    assert tuple(spent.phrase(each) for each in hours if each is not None) == phrases


def test_words_and_tables_tell_device_time_in_one_unit() -> None:
    compared = one_setting(EQUAL, cheapest="utae", utae=0.02, croma=3.5)
    table = recommendations_table(compared)
    assert table is not None
    (row,) = table.rows
    costs = [
        entry.text
        for column, entry in zip(table.columns, row, strict=True)
        if column.heading == "device hours"
    ]
    assert [float(cost) for cost in costs] == [3.5, 0.02]
    assert "utae, which takes 0.02 device hours for a training; croma takes 3.5." in said(
        compared, "cheapest"
    )
