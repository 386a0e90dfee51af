from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

from shapeft_tune.config import SweepConfig
from shapeft_tune.errors import TrackingError, UserError
from shapeft_tune.report import CellSummary, Run, compare, read_runs, write_report
from shapeft_tune.scores import CONFUSION_FILE, Scores
from shapeft_tune.tracking import Ending, Recorder, TrialEnd

Make = Callable[..., Run]


@pytest.fixture(scope="module")
def told(run: Make) -> list[Run]:
    """Return the trials that the recorded sweep is made of."""
    return [
        run(1e-3, best__val_miou=0.5),
        run(2e-3, best__val_miou=0.3, state="pruned"),
        run(1e-3, 1, test__miou=0.40),
        run(1e-3, 2, test__miou=0.46),
        run(3e-3, dates=1, strategy="croma", state="failed"),
    ]


def folder_at(store: str, sweep: str) -> Path:
    """Return a sweep's folder beside its store."""
    return Path(store.removeprefix("sqlite:///")).parent / sweep


@pytest.fixture(scope="module")
def recorded(told: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store into which the recorder wrote them."""
    file = tmp_path_factory.mktemp("recorded") / "mlflow.db"
    record = Recorder.open(f"sqlite:///{file}", "demo", file.parent / "demo")
    for trial in told:
        record.trial_ended(trial.facts, TrialEnd(Ending(trial.state), trial.metrics))
    record.close()
    assert record.problems == ()
    return file


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(recorded, tmp_path / 'mlflow.db')}"


def test_trials_are_read_back_as_they_were_told(store: str, told: list[Run]) -> None:
    read = {run.facts.fingerprint: run for run in read_runs(store, "demo")}
    assert {run.facts.fingerprint: run.facts for run in told} == {
        name: run.facts for name, run in read.items()
    }
    for trial in told:
        there = read[trial.facts.fingerprint]
        assert there.state == trial.state
        assert there.metric == ("miou", 1)
        assert trial.metrics.items() <= there.metrics.items()


def test_the_comparison_of_read_trials_is_that_of_told_ones(
    store: str, told: list[Run], sweep: SweepConfig
) -> None:
    assert compare(sweep, read_runs(store, "demo")) == compare(sweep, told)


def test_more_trials_than_a_page_holds_are_all_read(
    store: str, told: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shapeft_tune.tracking.connection.PAGE", 2)
    assert len(read_runs(store, "demo")) == len(told)


def test_a_config_that_was_too_long_for_a_tag_is_read_from_its_file(store: str, run: Make) -> None:
    long = run(1e-3, best__val_miou=0.5).facts
    config = {**long.config, "note": "x" * 9000}
    record = Recorder.open(store, "other", folder_at(store, "other"))
    record.trial_started(type(long)(**{**vars(long), "sweep": "other", "config": config}))
    record.close()
    (read,) = read_runs(store, "other")
    assert read.facts.config == config


@pytest.fixture
def five_folds(store: str, run: Make, tmp_path: Path) -> list[Run]:
    """Return a seed's five confirmations as recorded: 0 and 1 before matrices were tags, 1 without a file."""
    draw = np.random.default_rng(0)
    matrices = [draw.integers(1, 99, (19, 19)) for _ in range(5)]
    told = [
        run(2e-3, 1, rotation=rotation, counts_KK=counts_KK, test__miou=Scores.of(counts_KK).miou)
        for rotation, counts_KK in enumerate(matrices)
    ]
    record = Recorder.open(store, "demo", folder_at(store, "demo"))
    for rotation, trial in enumerate(told):
        (tmp_path / str(rotation)).mkdir()
        file = tmp_path / str(rotation) / CONFUSION_FILE
        assert trial.test_counts_KK is not None
        half_KK = trial.test_counts_KK // 2
        np.savez(
            file,
            test_ids=[f"{rotation}a", f"{rotation}b"],
            test_counts=np.stack([half_KK, trial.test_counts_KK - half_KK]),
            class_names=[f"class {number}" for number in range(19)],
        )
        files = {} if rotation == 1 else {CONFUSION_FILE: file}
        tagged = trial.test_counts_KK if rotation > 1 else None
        record.trial_ended(
            trial.facts, TrialEnd(Ending.COMPLETE, trial.metrics, artifacts=files, test_counts_KK=tagged)
        )
    record.close()
    assert record.problems == ()
    return told


def test_confusion_matrices_are_read_from_the_tag_or_else_from_the_file(
    store: str, five_folds: list[Run], caplog: pytest.LogCaptureFixture
) -> None:
    read = {run.facts.fingerprint: run for run in read_runs(store, "demo", with_patches=True)}
    for rotation, trial in enumerate(five_folds):
        counts_KK = read[trial.facts.fingerprint].test_counts_KK
        if rotation == 1:
            assert counts_KK is None
        else:
            assert np.array_equal(counts_KK, trial.test_counts_KK)
    assert f"no {CONFUSION_FILE} in the record" in caplog.text


def test_no_file_is_fetched_for_fixed_folds(
    store: str, five_folds: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MlflowClient, "download_artifacts", None)
    monkeypatch.setattr(MlflowClient, "list_artifacts", None)
    assert len(read_runs(store, "demo")) == 5 + 5


def test_a_report_on_rotated_folds_needs_all_five_matrices(
    store: str, rotating: SweepConfig, run: Make, five_folds: list[Run], tmp_path: Path
) -> None:
    record = Recorder.open(store, "demo", folder_at(store, "demo"))
    best = run(2e-3, best__val_miou=0.9)
    record.trial_ended(best.facts, TrialEnd(Ending.COMPLETE, best.metrics))
    record.close()

    def cell() -> CellSummary:
        return write_report(rotating, store, tmp_path / "report").comparison.cell("utae", 0.1, 6)

    assert (cell().confirmation_trials, cell().incomplete_seeds) == (0, 1)
    lost = five_folds[1]
    client = MlflowClient(store)
    (there,) = client.search_runs(["1"], f"tags.fingerprint = '{lost.facts.fingerprint}'")
    client.log_artifact(there.info.run_id, str(tmp_path / "1" / CONFUSION_FILE))
    summed_KK = np.sum([each.test_counts_KK for each in five_folds], axis=0)
    assert cell().test_miou_mean == Scores.of(summed_KK).miou


def test_a_sweep_that_was_never_recorded_is_refused(store: str) -> None:
    with pytest.raises(TrackingError, match=r"'nothing'.*run the sweep first"):
        read_runs(store, "nothing")


def test_a_report_has_its_tables_figures_and_numbers(store: str, sweep: SweepConfig, tmp_path: Path) -> None:
    files = write_report(sweep, store, tmp_path / "report")
    cells = json.loads(files.json.read_text())["cells"]
    assert [cell["test_miou_mean"] for cell in cells] == [None, None, pytest.approx(0.43), None]
    assert files.csv.read_text().count("\n") == 1 + len(sweep.cells)
    text = files.markdown.read_text()
    for path in files.figures:
        if path.suffix == ".png":
            assert f"({path.relative_to(tmp_path / 'report').as_posix()})" in text
            with Image.open(path) as picture:
                assert min(picture.size) > 200
        else:
            assert "</svg>" in path.read_text()
    assert [path.suffix for path in files.figures] == [".png", ".svg"] * (len(files.figures) // 2)
    assert {"map.svg", "over_dates.svg"} <= {path.name for path in files.figures}
    assert files.html.read_text().count("<h2") == text.count("\n## ")
    assert [path.name for path in files.latex] == ["results.tex"]
    left = {path for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert left == set(files.placed_in("report"))


def test_a_report_of_the_same_record_is_the_same_file_by_file(
    store: str, sweep: SweepConfig, tmp_path: Path
) -> None:
    one, other = (write_report(sweep, store, tmp_path / name) for name in ("one", "other"))
    for first, second in zip(one.placed_in(""), other.placed_in(""), strict=True):
        if first != one.html:  # tells when it was written
            assert first.read_bytes() == second.read_bytes(), first.name


def test_the_baseline_and_published_numbers_are_those_asked_for(
    store: str, sweep: SweepConfig, tmp_path: Path
) -> None:
    files = write_report(sweep, store, tmp_path / "report", baseline="croma", published=True)
    content = json.loads(files.json.read_text())
    assert content["baseline"] == "croma"
    assert content["published"] == []  # the sample data set has none
    assert "None are known for this data set" in files.html.read_text()
    with pytest.raises(UserError, match="unet"):
        write_report(sweep, store, tmp_path / "report", baseline="unet")


def test_files_in_the_trials_folder_are_not_fetched(
    store: str, rotating: SweepConfig, run: Make, five_folds: list[Run], tmp_path: Path
) -> None:
    """The lost matrix of the fixture's second trial is found in its folder."""
    record = Recorder.open(store, "demo", folder_at(store, "demo"))
    best = run(2e-3, best__val_miou=0.9)
    record.trial_ended(best.facts, TrialEnd(Ending.COMPLETE, best.metrics))
    record.close()
    lost = five_folds[1].facts
    folder = tmp_path / "demo" / "trials" / "utae" / lost.fingerprint
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "1" / CONFUSION_FILE, folder)
    (folder / "result.json").write_text(json.dumps({"fingerprint": lost.fingerprint}))
    files = write_report(rotating, store, tmp_path / "report", trials_folder=folder.parents[1])
    assert files.comparison.cell("utae", 0.1, 6).confirmation_trials == 1


def test_a_report_is_attached_to_the_sweep(store: str, sweep: SweepConfig, tmp_path: Path) -> None:
    write_report(sweep, store, tmp_path / "report")
    client = MlflowClient(store)
    (parent,) = client.search_runs(["1"], "tags.role = 'sweep'")
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "report")} == {
        "report/report.html",
        "report/report.md",
        "report/cells.csv",
        "report/differences.csv",
        "report/report.json",
        "report/latex",
        "report/figures",
    }


def test_a_report_is_written_even_if_it_cannot_be_attached(
    store: str, sweep: SweepConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = MlflowClient(store)
    (parent,) = client.search_runs(["1"], "tags.role = 'sweep'")
    client.delete_run(parent.info.run_id)
    with caplog.at_level(logging.WARNING):
        files = write_report(sweep, store, tmp_path / "report")
    assert files.markdown.is_file()
    assert "not attached" in caplog.text
