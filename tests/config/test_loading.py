from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from shapeft_tune.config import load_sweep, load_trial
from shapeft_tune.config.corners import corner_values
from shapeft_tune.errors import ConfigError, Problem
from tests.config.examples import SWEEP, TRIAL, without, written


def problems(path: Path) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    return {problem.path: problem for problem in caught.value.problems}


def test_every_problem_of_a_file_is_shown_at_once_with_its_line(tmp_path: Path) -> None:
    text = yaml.safe_dump(SWEEP, sort_keys=False)
    text = (
        text.replace("steps: 40", "stepz: 40")
        .replace("every: 20", "every: often")
        .replace("heads: 2", "heads: 3")
    )
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    found = problems(file)
    assert found.keys() == {
        "base.training.stepz",
        "base.validation.every",
        "strategies.utae.config.model.heads",
    }
    for path, problem in found.items():
        key = path.rsplit(".", 1)[-1]
        assert problem.line is not None
        assert text.splitlines()[problem.line - 1].strip().startswith(f"{key}:")


def test_a_message_names_file_field_line_expectation_and_what_came(tmp_path: Path) -> None:
    file = written(tmp_path, SWEEP | {"budget": {"trials": 0}})
    with pytest.raises(ConfigError, match=r"sweep.yaml.*\n.*budget.trials \(line \d+\): expected .*1; got 0"):
        load_sweep(file)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"log_uniform": [1e-2, 1e-4]}, "a lower bound below the upper one"),
        ({"log_uniform": [0, 1e-4]}, "bounds above 0"),
        ({"uniform": [0.5, 0.5]}, "a lower bound below the upper one"),
        ({"choice": []}, "at least 1 item"),
        ({"choice": [0.1, 0.1]}, "different options"),
    ],
)
def test_an_impossible_range_is_refused(tmp_path: Path, bounds: object, expected: str) -> None:
    found = problems(written(tmp_path, SWEEP | {"search": {"training.optimiser.lr": bounds}}))
    assert any(path.startswith("search.training.optimiser.lr") for path in found)
    assert any(expected in problem.expected for problem in found.values())


def test_a_rule_broken_only_at_the_far_corner_of_two_ranges_is_found_before_anything_starts(
    tmp_path: Path,
) -> None:
    training = SWEEP["base"]["training"] | {"schedule": "multi_step"}
    base = SWEEP["base"] | {"training": training}
    search = {
        "training.schedule.warmup": {"uniform": [0.0, 0.5]},
        "training.schedule.milestones": {"choice": [[0.6, 0.9], [0.4, 0.9]]},
    }
    found = problems(written(tmp_path, SWEEP | {"base": base, "search": search}))
    assert "less than the first milestone (0.4)" in found["search.training.schedule.warmup"].expected
    assert "warmup=0.5, " in found["search.training.schedule.warmup"].hint


@pytest.mark.parametrize(
    ("path", "range_"),
    [
        ("training.batch_size", {"uniform": [4, 16]}),  # whole numbers at both ends, and none between
        ("model.heads", {"int": [2, 8], "step": 2}),  # 6 does not divide the width of 8
    ],
)
def test_a_range_that_is_wrong_between_its_ends_is_refused(tmp_path: Path, path: str, range_: object) -> None:
    assert list(problems(written(tmp_path, SWEEP | {"search": {path: range_}}))) == [f"search.{path}"]


@pytest.mark.parametrize(
    "path", ["seed", "data.label_fraction", "data", "validation.every", "data.folds.train"]
)
def test_what_trials_of_a_cell_must_share_cannot_be_searched(tmp_path: Path, path: str) -> None:
    found = problems(written(tmp_path, SWEEP | {"search": {path: {"choice": [1, 2]}}}))
    assert f"search.{path}" in found


KEPT: dict[str, list[Any]] = {
    "seed": [1, 2],
    "validation.every": [10, 20],
    "data.dataset": ["sample", "pastis"],
    "data.folds.train": [[1, 2], [1, 2, 3]],
    "data.label_fraction": [0.5, 1.0],
    "data.temporal_length": [1, 3],
}


@pytest.mark.parametrize("path", KEPT)
@pytest.mark.parametrize("form", ["plain", "grid", "conditional", "group", "nested group", "strategy"])
def test_no_form_of_a_range_lets_trials_of_a_cell_differ_in_it(tmp_path: Path, path: str, form: str) -> None:
    first, second = KEPT[path]
    when = {"training.optimiser.lr": 0.002}
    name = "mine" if "group" in form else path
    forms: dict[str, Any] = {
        "plain": first,
        "grid": {"grid": [first, second]},
        "conditional": {"value": first, "when": when},
        "group": {"one_of": [{path: first}, {path: second}]},
        "nested group": {"one_of": [_nested(path, first), _nested(path, second)]},
        "strategy": {"choice": [first, second]},
    }
    ranges = {name: forms[form]}
    own = {"utae": SWEEP["strategies"]["utae"] | {"search": ranges}}
    content = {"strategies": own} if form == "strategy" else {"search": ranges}
    found = problems(written(tmp_path, SWEEP | content))
    place = f"strategies.utae.search.{name}" if form == "strategy" else f"search.{name}"
    assert "may differ in" in found[place].expected


def _nested(path: str, value: Any) -> Any:
    head, _, rest = path.partition(".")
    return {head: _nested(rest, value) if rest else value}


def test_two_options_that_amount_to_the_same_are_refused(tmp_path: Path) -> None:
    search = {"training.loss": {"choice": ["cross_entropy", {"name": "cross_entropy", "label_smoothing": 0}]}}
    found = problems(written(tmp_path, SWEEP | {"search": search}))
    assert found["search.training.loss"].expected == "options that differ"


def test_a_range_for_a_field_that_does_not_exist_is_refused_at_the_range(tmp_path: Path) -> None:
    found = problems(
        written(tmp_path, SWEEP | {"search": {"training.optimizer.lr": {"uniform": [0.1, 0.2]}}})
    )
    assert list(found) == ["search.training.optimizer.lr"]


def test_the_setting_cannot_be_set_by_a_strategy_too(tmp_path: Path) -> None:
    base = SWEEP["base"] | {"data": {"dataset": "sample", "label_fraction": 0.5}}
    assert "base.data.label_fraction" in problems(written(tmp_path, SWEEP | {"base": base}))


def test_a_model_that_is_not_known_lists_the_ones_that_are(tmp_path: Path) -> None:
    strategies = {"a": {"config": {"model": {"name": "unet"}}}}
    found = problems(written(tmp_path, SWEEP | {"strategies": strategies}))
    assert "'croma_optical', 'croma_joint', 'croma_sar'" in found["strategies.a.config.model"].expected


@pytest.mark.parametrize("key", ["name", "settings", "strategies"])
def test_a_sweep_without_an_essential_part_is_refused(tmp_path: Path, key: str) -> None:
    assert key in problems(written(tmp_path, without(SWEEP, key)))


def test_no_strategy_at_all_is_refused(tmp_path: Path) -> None:
    assert "strategies" in problems(written(tmp_path, SWEEP | {"strategies": {}}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", "each key once"),
        ("a: [1\n", "valid YAML"),
        ("- 1\n", "a mapping at the top level"),
        ("", "a mapping at the top level"),
    ],
)
def test_what_is_no_mapping_in_yaml_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=expected):
        load_sweep(file)


def test_aliases_in_aliases_are_refused_before_they_are_written_out(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    file = tmp_path / "sweep.yaml"
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="at most 100000 fields"):
        load_sweep(file)


def test_a_date_that_is_none_is_told_as_every_mistake_is(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("name: 2024-13-45\n")
    with pytest.raises(ConfigError, match="plain keys and values"):
        load_sweep(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="readable YAML file"):
        load_sweep(tmp_path / "none.yaml")


def test_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text(yaml.safe_dump(TRIAL).replace("lr: 0.002", "lr: 2e-3"))
    assert load_trial(file).training.optimiser.lr == 0.002


def test_a_stored_config_is_a_trial_file(tmp_path: Path) -> None:
    trial = load_trial(written(tmp_path, TRIAL))
    stored = tmp_path / "config.json"
    stored.write_text(trial.model_dump_json())
    assert load_trial(stored) == trial


def test_corners_of_many_ranges_stay_few_and_hold_every_extreme(tmp_path: Path) -> None:
    search = {
        "training.optimiser.lr": {"log_uniform": [1e-4, 1e-2]},
        "training.optimiser.weight_decay": {"uniform": [0.0, 0.1]},
        "training.batch_size": {"int": [1, 8]},
        "training.gradient_clip": {"choice": [0.5, 1.0, 2.0, 4.0]},
        "training.schedule.warmup": {"uniform": [0.0, 0.3]},
        "training.loss.label_smoothing": {"uniform": [0.0, 0.2]},
        "model.dropout": {"uniform": [0.0, 0.5]},
        "model.key_size": {"choice": [2, 4, 8, 16]},
    }
    base = SWEEP["base"] | {
        "training": SWEEP["base"]["training"] | {"schedule": "cosine", "loss": "cross_entropy"}
    }
    cell = load_sweep(written(tmp_path, SWEEP | {"base": base, "search": search})).cells[0]
    corners = list(corner_values(cell))
    assert len(corners) < 300
    for path, range_ in cell.ranges.items():
        assert {corner[path] for corner in corners} >= set(range_.corners)
