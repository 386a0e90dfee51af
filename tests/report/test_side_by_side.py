"""Two sweeps side by side: matching, differences against scipy, what differs, and what stands against it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from shapeft_tune.config import SweepConfig
from shapeft_tune.errors import UserError
from shapeft_tune.report import Run
from shapeft_tune.report.comparison import Verdict
from shapeft_tune.report.comparison.differences import differences_between
from shapeft_tune.report.side_by_side import (
    Side,
    SideBySide,
    as_terminal,
    side_by_side,
    side_by_side_findings,
    side_of,
    write_side_by_side,
)
from shapeft_tune.report.side_by_side.changes import Change, best_changes, declared_changes
from shapeft_tune.report.statistics.estimate import estimate
from shapeft_tune.report.statistics.two_variances import quantile
from shapeft_tune.tune.ledger.generations import numbered
from tests.report.synthetic import synthetic_runs, synthetic_sweep

ONE_CELL = {"label_fractions": [0.1], "temporal_lengths": [6]}


def changed(sweep: SweepConfig, **sections: Any) -> SweepConfig:
    """Return the next generation of a sweep, with some sections replaced."""
    content = sweep.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return numbered(SweepConfig.model_validate(content | sections), 2)


def small(seeds: int = 3, **sections: Any) -> SweepConfig:
    """Return one generation of a sweep of two cells."""
    sweep = synthetic_sweep(("utae", "croma_frozen"), seeds=seeds, trials=2)
    content = sweep.model_dump(mode="json", by_alias=True, exclude_unset=True) | {"settings": ONE_CELL}
    return SweepConfig.model_validate(content | sections)


def runs_of(sweep: SweepConfig, seed: int = 0, digest: str = "d1", **more: Any) -> tuple[Run, ...]:
    facts = {"data_digest": digest} | more
    return tuple(replace(run, facts=replace(run.facts, **facts)) for run in synthetic_runs(sweep, seed))


@cache
def side(seed: int = 0, digest: str = "d1", seeds: int = 3) -> Side:
    sweep = small(seeds)
    return side_of(numbered(sweep, seed + 1), runs_of(sweep, seed, digest))


def without_patches(one: Side) -> Side:
    cells = tuple(replace(cell, scored=None) for cell in one.comparison.cells)
    return replace(one, comparison=replace(one.comparison, cells=cells))


def test_cells_are_matched_by_strategy_labels_and_dates_and_the_others_listed() -> None:
    one = small(settings={"label_fractions": [0.1, 1.0], "temporal_lengths": [6]})
    other = small(settings={"label_fractions": [1.0, 0.1], "temporal_lengths": [6, 24]})
    found = side_by_side(side_of(one, runs_of(one)), side_of(numbered(other, 2), runs_of(other)))
    assert [(pair.a.strategy, *pair.a.setting) for pair in found.pairs] == [
        (pair.b.strategy, *pair.b.setting) for pair in found.pairs
    ]
    assert len(found.pairs) == 4
    assert found.only_in_a == ()
    assert {(cell.strategy, *cell.setting) for cell in found.only_in_b} == {
        (name, fraction, 24) for name in ("utae", "croma_frozen") for fraction in (0.1, 1.0)
    }
    assert "Only in simulated+2: utae (10 % labels, 24 dates; 100 % labels, 24 dates)" in " ".join(
        side_by_side_findings(found)
    )


def test_a_paired_difference_is_that_between_strategies_of_one_sweep() -> None:
    pairs = side_by_side(side(0), side(1)).pairs
    expected = differences_between([(pair.b, pair.a) for pair in pairs])
    for pair, known in zip(pairs, expected, strict=True):
        assert pair.paired
        assert (pair.mean, pair.low, pair.high) == pytest.approx((known.mean, known.low, known.high))
        assert (pair.p_value, pair.verdict) == (pytest.approx(known.p_value), known.verdict)


def test_where_patches_are_not_known_nobody_knows_whether_they_are_the_same() -> None:
    assert not any(pair.paired for pair in side_by_side(without_patches(side(0)), side(1)).pairs)


def test_an_unpaired_difference_without_patches_is_welchs() -> None:
    found = side_by_side(without_patches(side(0)), without_patches(side(1)))
    raw = [
        stats.ttest_ind(
            list(pair.b.miou_by_seed.values()), list(pair.a.miou_by_seed.values()), equal_var=False
        )
        for pair in found.pairs
    ]
    adjusted = holm_by_hand([each.pvalue for each in raw])
    assert min(adjusted) > 0.05
    for pair, expected, p_value in zip(found.pairs, raw, adjusted, strict=True):
        assert not pair.paired
        assert pair.mean == pytest.approx((pair.b.test_miou_mean or 0) - (pair.a.test_miou_mean or 0))
        assert pair.p_value == pytest.approx(p_value)
        low, high = expected.confidence_interval(0.975)  # Holm's procedure ends at its first step, at 5 % / 2
        assert (pair.low, pair.high) == pytest.approx((low, high))


def test_an_unpaired_difference_is_as_unsure_as_both_lands_and_both_trainings_together() -> None:
    pair = side_by_side(side(0), side(1, digest="d2")).pairs[0]
    known = [
        estimate(tuple(cell.miou_by_seed.values()), cell.scored.replicates.miou_BS, len(cell.scored.patches))
        for cell in (pair.a, pair.b)
        if cell.scored
    ]
    (one, other) = [each for each in known if each]
    parts = []
    for first, second in ((one.trainings, other.trainings), (one.land, other.land)):
        shares = [variance / (first[0] + second[0]) for variance, _ in (first, second)]
        freedom = 1 / (shares[0] ** 2 / first[1] + shares[1] ** 2 / second[1])
        parts.append((first[0] + second[0], freedom))
    assert all(part[0] > 0 for part in parts)
    reach = quantile(0.975, *parts)  # of two comparisons, neither of which is told apart
    assert pair.mean is not None
    assert (pair.low, pair.high) == pytest.approx((pair.mean - reach, pair.mean + reach))


def holm_by_hand(p_values: list[float]) -> list[float]:
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for place, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[at]))
        adjusted[at] = highest
    return list(adjusted)


def test_on_the_same_patches_of_the_same_data_differences_are_paired_seed_by_seed() -> None:
    found = side_by_side(side(0), side(1))
    for pair in found.pairs:
        assert pair.paired
        assert pair.seeds == 3
        mean = np.mean([pair.b.miou_by_seed[seed] - pair.a.miou_by_seed[seed] for seed in (1, 2, 3)])
        assert pair.mean == pytest.approx(mean)
    uneven = side_by_side(side(0), side(1, seeds=5))
    for pair in uneven.pairs:
        assert (pair.paired, pair.seeds) == (True, 3)
    said = "Differences are over the seeds that both have"
    assert any(said in sentence for sentence in side_by_side_findings(uneven))
    assert not any(said in sentence for sentence in side_by_side_findings(found))


def test_a_sweep_against_its_own_results_differs_by_nothing() -> None:
    sweep = small()
    found = side_by_side(side(0), side_of(numbered(sweep, 2), runs_of(sweep)))
    for pair in found.pairs:
        assert (pair.mean, pair.p_value, pair.verdict) == (0, None, Verdict.NOT_TOLD_APART)
        assert pair.changes == ()


def test_a_large_difference_is_told_with_its_direction() -> None:
    sweep = small(seeds=8)
    better = [replace(run, facts=replace(run.facts, data_digest="d1")) for run in synthetic_runs(sweep)]
    swapped = {"utae": "croma_frozen", "croma_frozen": "utae"}
    a = side_of(sweep, better)
    cells = a.comparison.cells
    exchanged = tuple(
        replace(
            next(each for each in cells if each.strategy == swapped[cell.strategy]), strategy=cell.strategy
        )
        for cell in cells
    )
    b = replace(a, sweep=numbered(sweep, 2), comparison=replace(a.comparison, cells=exchanged))
    found = side_by_side(a, b)
    verdicts = {pair.a.strategy: pair.verdict for pair in found.pairs}
    assert verdicts == {"utae": Verdict.WORSE, "croma_frozen": Verdict.BETTER}
    text = " ".join(side_by_side_findings(found))
    assert "simulated+2 against simulated: better in 1 of 2 cells, worse in 1" in text
    assert "utae, 10 % labels, 6 dates: simulated+2 is worse, −0." in text


def test_other_data_are_said_and_their_differences_not_paired() -> None:
    found = side_by_side(side(0), side(1, digest="d2"))
    assert [pair.paired for pair in found.pairs] == [False, False]
    assert "The data of simulated and of simulated+2 are not the same" in side_by_side_findings(found)[0]
    assert side_by_side(side(0), side(1)).obstacles == ()


def test_scores_of_other_conventions_are_shown_and_not_compared() -> None:
    other = replace(side(1), comparison=replace(side(1).comparison, metric=("miou", 2)))
    found = side_by_side(side(0), other)
    assert found.obstacles == (
        "The two are scored by different conventions (simulated by miou version 1 and simulated+2 by miou "
        "version 2): no difference is computed.",
    )
    for pair in found.pairs:
        assert (pair.mean, pair.low, pair.p_value, pair.verdict) == (None, None, None, None)
        assert pair.a.test_miou_mean is not None


def test_rotated_and_fixed_folds_are_not_compared_and_other_test_folds_are_said() -> None:
    rotating = small(folds="rotate")
    found = side_by_side(side(0), side_of(numbered(rotating, 2), runs_of(rotating)))
    assert "is tested on fixed folds, simulated+2 on all five" in found.obstacles[0]
    assert all(pair.verdict is None for pair in found.pairs)
    folds = {"train": [2, 3, 4], "validation": [5], "test": [1]}
    moved = small(base={**small().base, "data": {"dataset": "pastis", "folds": folds}})
    found = side_by_side(side(0), side_of(numbered(moved, 2), runs_of(moved)))
    assert found.obstacles == (
        "The test folds differ (5 in simulated, 1 in simulated+2): differences are those of independent "
        "means.",
    )


def test_weights_with_another_content_are_named() -> None:
    sweep = small()
    sides = [
        side_of(numbered(sweep, at), runs_of(sweep, contents={"weights CROMA.pt": digest}))
        for at, digest in ((1, "aa"), (2, "bb"))
    ]
    assert side_by_side(*sides).obstacles == (
        "The content of weights CROMA.pt is another in simulated+2 than in simulated.",
    )


def test_one_seed_is_too_few_and_no_test_is_no_verdict() -> None:
    lonely = small(seeds=1)
    found = side_by_side(side(0), side_of(numbered(lonely, 2), runs_of(lonely)))
    assert {(pair.verdict, pair.low) for pair in found.pairs} == {(Verdict.TOO_FEW_SEEDS, None)}
    searching = [run for run in runs_of(small()) if not run.facts.seed]
    found = side_by_side(side(0), side_of(numbered(small(), 2), searching))
    assert {(pair.verdict, pair.mean) for pair in found.pairs} == {(None, None)}
    assert "2 cells of 2 not tested yet in both." in side_by_side_findings(found)


def test_trials_of_another_file_are_a_mistake_and_none_at_all_is_not() -> None:
    other = small(base={"data": {"dataset": "pastis"}, "training": {"steps": 400, "optimiser": "adamw"}})
    with pytest.raises(UserError, match="expected trials that the file declares; got 10 of other"):
        side_of(other, runs_of(small()))
    assert side_of(other, []).comparison.metric is None


def test_what_is_declared_otherwise_is_told_by_path_and_shared_changes_once() -> None:
    old = small()
    new = changed(
        old,
        base={"data": {"dataset": "pastis"}, "training": {"steps": 4000, "optimiser": "adamw"}},
        search={"training.optimiser.lr": {"log_uniform": [1e-4, 1e-1]}},
        budget={"trials": 2, "confirmation_seeds": 5},
        strategies={
            **{name: each.model_dump(exclude_unset=True) for name, each in old.strategies.items()},
            "utae": {"config": {"model": {"name": "utae", "width": 32}}},
        },
    )
    found = declared_changes(old, new)
    assert found["the sweep"] == (Change("budget.confirmation_seeds", 3, 5),)
    shared = {change.path: change for change in found["every strategy"]}
    assert shared["training.steps"] == Change("training.steps", 2000, 4000)
    assert shared["training.optimiser.lr"].before == {"log_uniform": [1e-4, 1e-2]}
    assert shared["training.optimiser.lr"].after == {"log_uniform": [1e-4, 1e-1]}
    assert set(shared) == {"training.steps", "training.optimiser.lr", "training.loss"} | {
        path for path in shared if path.startswith("training.loss.")
    }
    assert [change.path for change in found["utae"]] == ["model.width"]
    assert "croma_frozen" not in found
    assert str(shared["training.steps"]) == "training.steps: 2000 -> 4000"


def test_of_a_field_that_is_searched_only_its_range_is_compared() -> None:
    options = [
        {"loss": [name, other]} for name, other in (("cross_entropy", "dice"), ("dice", "cross_entropy"))
    ]
    old, new = (
        small(
            search=small().model_dump(by_alias=True, exclude_unset=True)["search"]
            | {"training.loss": {"choice": each["loss"]}}
        )
        for each in options
    )
    found = declared_changes(old, new)
    assert [change.path for change in found["every strategy"]] == ["training.loss"]


def test_short_and_long_forms_of_the_same_declaration_do_not_differ() -> None:
    long = changed(
        small(),
        base={
            "data": {"dataset": {"name": "pastis"}},
            "training": {"steps": 2000, "optimiser": {"name": "adamw"}},
        },
    )
    assert declared_changes(small(), long) == {}
    assert "The two declare the same." in side_by_side_findings(
        side_by_side(side(0), side_of(long, runs_of(long)))
    )


def test_best_configurations_are_compared_also_where_only_one_searched_a_field() -> None:
    fixed = small(search={"training.loss": {"choice": ["cross_entropy", "weighted_cross_entropy"]}})
    found = side_by_side(side(0), side_of(numbered(fixed, 2), _with_rate(fixed)))
    rates = [change for change in found.pairs[0].changes if change.path == "training.optimiser.lr"]
    assert [change.after for change in rates] == [1e-3]
    assert rates[0].before != 1e-3
    untried = replace(found.pairs[0].b, best_trial=None)
    assert best_changes(found.pairs[0].a, untried) == ()


def _with_rate(sweep: SweepConfig) -> tuple[Run, ...]:
    """Return its runs, without the learning rate that the simulation draws whatever the file says."""
    found = []
    for run in runs_of(small()):
        cell = next(cell for cell in sweep.cells if cell.strategy == run.facts.strategy)
        sampled = {"training.loss": run.facts.sampled["training.loss"]}
        trial = cell.trial(sampled, run.facts.seed)
        facts = replace(run.facts, sampled=sampled, config=trial.canonical(), fingerprint=trial.fingerprint())
        found.append(replace(run, facts=facts))
    return tuple(found)


@pytest.fixture
def two() -> SideBySide:
    one = small(settings={"label_fractions": [0.1], "temporal_lengths": [6, 24]})
    return side_by_side(side_of(one, runs_of(one)), side(1))


def test_the_files_hold_every_cell_and_number(two: SideBySide, tmp_path: Path) -> None:
    files = write_side_by_side(two, tmp_path / "report" / "against-simulated+2")
    rows = list(csv.DictReader(io.StringIO(files.csv.read_text())))
    assert len(rows) == len(two.pairs) + len(two.only_in_a) == 4
    told = json.loads(files.json.read_text())
    assert (told["a"], told["b"]) == ("simulated", "simulated+2")
    for pair, row, cell in zip(two.pairs, rows, told["cells"], strict=False):
        assert float(row["difference"]) == cell["difference"] == pair.mean
        assert row["verdict"] == cell["verdict"] == pair.verdict
        assert cell["b_test_miou_low"] == pair.b.test_miou_low
    assert {(each["strategy"], each["temporal_length"]) for each in told["only_in_a"]} == {
        ("utae", 24),
        ("croma_frozen", 24),
    }
    text = files.markdown.read_text()
    for heading in ("cell by cell", "Cells that only one", "declare otherwise", "Best configurations"):
        assert heading in text
    assert f"{two.pairs[0].a.test_miou_mean:.3f}" in text
    page = files.html.read_text()
    assert "<h1>simulated and simulated+2</h1>" in page
    for table in ("cells", "only", "declared", "configurations"):
        assert f'id="table-{table}"' in page


def test_the_terminal_table_fits_into_eighty_characters(two: SideBySide) -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(as_terminal(two))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("\n") == 5 + len(two.pairs)
    assert "not told apart" in text
