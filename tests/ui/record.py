"""A small sweep recorded for real, in seconds: simulated results, told as a driver tells them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import Run, compare
from shapeft_tune.report.publish import publish_report
from shapeft_tune.report.report import Report, Reproduction
from shapeft_tune.tracking import Ending, Recorder, TrialEnd
from shapeft_tune.tune.orders import trial_folder
from tests.report.synthetic import matrices_of, synthetic_runs, synthetic_sweep

STRATEGIES = ("utae", "croma_frozen")
LABEL_FRACTIONS = (0.01, 0.1, 1.0)
TEMPORAL_LENGTHS = (1, 24)


def record_sweep(home: Path) -> Report:
    """Record a sweep of 12 cells, two search trials and two confirmations each, and publish its report."""
    whole = synthetic_sweep(STRATEGIES, seeds=2, trials=2)
    fields = {name: getattr(whole, name) for name in type(whole).model_fields}
    settings = {"label_fractions": list(LABEL_FRACTIONS), "temporal_lengths": list(TEMPORAL_LENGTHS)}
    sweep = SweepConfig.model_validate(fields | {"settings": settings})
    runs = synthetic_runs(sweep)
    store = f"sqlite:///{home / 'mlflow.db'}"
    folder = home / sweep.name
    folder.mkdir(parents=True)
    recorder = Recorder.open(store, sweep.name, folder, home / "artifacts", sweep.question)
    for run in runs:
        recorder.trial_started(run.facts)
        recorder.trial_progress(run.facts, 1000, {"val/miou": 0.9 * run.metrics.get("best/val_miou", 0.3)})
        recorder.trial_ended(run.facts, _end(run, folder))
    assert recorder.flush(120)
    recorder.close()
    assert recorder.problems == ()
    return publish(sweep, runs, home)


def publish(sweep: SweepConfig, runs: tuple[Run, ...], home: Path) -> Report:
    """Compare the runs and write what they came to into the record."""
    report = Report(sweep, compare(sweep, runs), (), Reproduction(sweep.name, ("sweep simulated.yaml",)))
    page = home / sweep.name / "report.html"
    page.write_text("<!doctype html><title>Report</title><h1>The report's page</h1>", encoding="utf-8")
    publish_report(report, f"sqlite:///{home / 'mlflow.db'}", {page: "report"}, home / sweep.name)
    return report


def _end(run: Run, sweep_folder: Path) -> TrialEnd:
    folder = trial_folder(sweep_folder, run.facts.strategy, run.facts.fingerprint)
    folder.mkdir(parents=True)
    labels = {"labelled_patches": ["1", "2"], "patches": {"validation": 60, "test": 60}}
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    (folder / "best.pt").write_bytes(run.facts.fingerprint.encode())
    files = {"labels.json": folder / "labels.json"}
    first = (run.facts.strategy, run.facts.label_fraction, run.facts.temporal_length) == ("utae", 0.01, 1)
    counts_NKK = matrices_of(run)
    if (
        run.test_patches is not None and counts_NKK is not None and first
    ):  # one cell's: drawing the picture of each takes long
        np.savez(
            folder / "confusion.npz",
            test_ids=np.array(run.test_patches.ids),
            test_counts=counts_NKK,
            class_names=np.array(run.test_patches.class_names),
        )
        files["confusion.npz"] = folder / "confusion.npz"
    return TrialEnd(Ending(run.state), run.metrics, artifacts=files, test_counts_KK=run.test_counts_KK)
