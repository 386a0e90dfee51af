from __future__ import annotations

import pytest

from shapeft_tune.config.constraints import BadConstraint, Constraint

TRIAL = {
    "data": {"dataset": "sample"},
    "model": {"name": "utae"},
    "training": {"batch_size": 4, "gradient_clip": None, "optimiser": {"name": "sgd", "lr": 0.5}},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("training.batch_size * training.optimiser.lr <= 2", True),
        ("training.batch_size * training.optimiser.lr < 2", False),
        ("0.1 < training.optimiser.lr < training.optimiser.momentum", True),  # momentum by default is 0.9
        ("max(training.batch_size, 8) - abs(-3) == 5 and not training.batch_size % 2 == 1", True),
        ("training.batch_size ** 0.5 >= 2 and training.batch_size // 3 == 1", True),
        ("training.optimiser == 'sgd' and training.optimiser.name != 'adamw'", True),
        ("training.gradient_clip <= 1", True),  # no limit: does not apply
        ("training.gradient_clip == None", True),
        ("training.optimiser.lr > 1 or training.schedule.warmup < 0.1", True),
        ("model.tuning.encoder_lr_ratio * training.optimiser.lr <= 1e-3", True),  # trained from scratch
        ("training.batch_size / (training.batch_size - 4) > 0", False),  # cannot be computed
        ("(0 - training.batch_size) ** 0.5 > 0", False),
        ("training.batch_size ** 9 ** 9 ** 9 > 0", False),
    ],
)
def test_a_constraint_is_judged_with_defaults_and_kept_where_it_does_not_apply(
    text: str, holds: bool
) -> None:
    assert Constraint(text).holds(TRIAL) is holds


@pytest.mark.parametrize(
    "text",
    [
        "training.batch_size <=",
        "training.batch_size * 2",
        "training.batch_size",
        "__import__('os').system('true') == 0",
        "len(training.schedule.milestones) > 2",
        "training.batch_size.real.__class__ == 3",
        "[x for x in (1, 2)] == 3",
        "(lambda: 1)() == 1",
        "training['batch_size'] < 3",
        "max(training.batch_size, key=abs) < 3",
        "training.batch_size is 3",
        "(" * 400 + "training.batch_size" + ")" * 400 + " < 2",
        "-" * 900 + "training.batch_size < 0",
        "not " * 230 + "training.batch_size < 0",
        "",
    ],
)
def test_what_is_no_comparison_of_fields_is_refused(text: str) -> None:
    with pytest.raises(BadConstraint):
        Constraint(text)


def test_a_field_that_no_trial_has_is_refused_with_those_that_are_like_it() -> None:
    with pytest.raises(BadConstraint) as caught:
        Constraint("training.optimizer.lr < 1")
    assert "training.optimiser.lr" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 < 2", "a field on one side"),
        ("training.batch_size < 8 or 1 < 2", "a field on one side"),
        ("training.optimiser.name < 3", "numbers in calculations"),
        ("training.optimiser < 'sgd'", "numbers in calculations"),
        ("-training.optimiser.name == 3", "numbers in calculations"),
        ("max(training.optimiser.name, 2) == 3", "numbers in calculations"),
        ("'a' * 99999999999 == training.batch_size", "numbers in calculations"),
        ("training.batch_size + True > 3", "numbers in calculations"),
        ("training.batch_size == 'big'", "values of one kind beside =="),
        ("training.optimiser != 3", "values of one kind beside !="),
        ("training.batch_size != None", "values of one kind"),  # never null
        ("data.folds == 3", "values of one kind"),
    ],
)
def test_a_comparison_that_says_the_same_of_every_trial_is_refused(text: str, expected: str) -> None:
    with pytest.raises(BadConstraint) as caught:
        Constraint(text)
    assert expected in caught.value.expected


def test_a_field_that_may_hold_a_number_or_something_else_may_be_compared_with_either() -> None:
    clipped = TRIAL | {"training": {"gradient_clip": 0.5, "steps": 40}}
    assert not Constraint("training.gradient_clip == None").holds(clipped)
    assert not Constraint("training.gradient_clip > 1").holds(clipped)
    assert not Constraint("training.steps > 40").holds(clipped)  # or a section: so many epochs
    assert Constraint("model.name == 'utae'").holds(clipped)
    assert not Constraint("data.augmentation.flips_and_rotations == False").holds(clipped)


@pytest.mark.parametrize("text", ["max(" + "training.batch_size, " * 5000 + "1) < 3", "x" * 999 + " < 1"])
def test_a_long_constraint_is_refused_at_once_and_told_in_short(text: str) -> None:
    with pytest.raises(BadConstraint) as caught:
        Constraint(text)
    assert len(caught.value.got) <= 80
