from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapeft_tune.tune.storage.disk_ceiling import DiskCeiling, in_words, peak_of, size_of


def test_without_a_limit_everything_may_begin() -> None:
    ceiling = DiskCeiling(None, {"old": 10**15})
    ceiling.began("utae", "a")
    assert ceiling.may_begin("utae")


def test_a_trial_may_begin_when_it_and_those_that_run_will_fit() -> None:
    ceiling = DiskCeiling(100, {"old": 30}, expected={"utae": 30})
    assert ceiling.may_begin("utae")
    ceiling.began("utae", "a")
    assert ceiling.promised == 30
    assert ceiling.may_begin("utae")
    ceiling.began("utae", "b")
    assert not ceiling.may_begin("utae")
    ceiling.ended("a", 0)
    assert ceiling.may_begin("utae")


def test_one_trial_of_an_unknown_strategy_runs_until_it_was_measured() -> None:
    ceiling = DiskCeiling(100)
    ceiling.began("utae", "a")
    assert not ceiling.may_begin("utae")
    assert ceiling.may_begin("croma")
    ceiling.measured("a", 40)
    assert ceiling.may_begin("utae")
    ceiling.began("utae", "b")
    assert not ceiling.may_begin("utae")


def test_a_trial_that_ends_before_it_was_measured_keeps_what_it_had_from_before() -> None:
    ceiling = DiskCeiling(100, {"begun": 35})
    ceiling.began("utae", "begun")
    ceiling.ended("begun", None)
    assert ceiling.used == 35


def test_only_a_trial_that_takes_more_than_any_before_is_a_record() -> None:
    ceiling = DiskCeiling(None, expected={"utae": 30})
    ceiling.began("utae", "a")
    assert [ceiling.measured("a", size) for size in (30, 40, 35)] == [False, True, False]
    assert ceiling.largest == {"utae": 40}


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.50 kB"), (2 * 10**6, "2.00 MB")]
)
def test_small_sizes_are_told_in_small_units(size: int, words: str) -> None:
    assert in_words(size) == words


def test_a_strategy_that_nobody_knows_may_try_again_when_its_trial_ended_unmeasured() -> None:
    ceiling = DiskCeiling(100)
    ceiling.began("utae", "a")
    ceiling.ended("a", 1)
    assert ceiling.may_begin("utae")


def test_a_trial_that_goes_on_needs_only_what_it_does_not_have_yet() -> None:
    ceiling = DiskCeiling(100, {"begun": 35, "old": 60}, expected={"utae": 40})
    assert not ceiling.may_begin("utae")
    assert ceiling.may_begin("utae", "begun")


def test_checkpoints_that_were_removed_later_make_room() -> None:
    ceiling = DiskCeiling(100, {"winner": 80}, expected={"utae": 40})
    assert not ceiling.may_begin("utae")
    ceiling.shrunk("winner", 5)
    assert ceiling.may_begin("utae")


def test_a_refusal_says_how_much_there_is_and_what_to_do() -> None:
    ceiling = DiskCeiling(3 * 10**9, {"old": 2 * 10**9}, expected={"utae": 15 * 10**8})
    said = ceiling.refusal("utae")
    assert "3.00 GB" in said
    assert "2.00 GB" in said
    assert "1.50 GB" in said
    assert "raise the ceiling" in said


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 60), st.integers(0, 30)), max_size=40),
)
def test_what_is_used_never_exceeds_the_limit_when_sizes_are_what_was_expected(
    limit: int, trials: list[tuple[str, int, int]]
) -> None:
    ceiling = DiskCeiling(limit, expected={"a": 60, "b": 60})
    sizes: dict[str, int] = {}
    for number, (strategy, peak, kept) in enumerate(trials):
        key = str(number)
        if not ceiling.may_begin(strategy):
            for running in list(ceiling._running):  # the oldest ends and leaves room
                sizes[running] = min(kept, sizes[running])
                ceiling.ended(running, sizes[running])
                break
            continue
        ceiling.began(strategy, key)
        sizes[key] = peak
        ceiling.measured(key, peak)
        assert ceiling.used == sum(sizes.values()) <= limit


def test_a_folder_is_measured_with_and_without_the_checkpoint_that_replaces_one(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(bytes(300))
    (tmp_path / "best.pt").write_bytes(bytes(100))
    assert size_of(tmp_path) == 400
    assert peak_of(tmp_path) == 700
    assert size_of(tmp_path / "missing") == peak_of(tmp_path / "missing") == 0
