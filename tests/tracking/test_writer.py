"""What is written into a real MLflow store, told to the writer itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking import Ending, Place, SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.cell_runs import cell_runs
from shapeft_tune.tracking.connection import connect
from shapeft_tune.tracking.wire import cell_key_of, facts_of, params_of, tags_of
from shapeft_tune.tracking.writer import SweepWriter

Trial = Callable[..., TrialFacts]
DONE = TrialEnd(Ending.COMPLETE, {"best/val_miou": 0.4})
LABELS = {"labelled_patches": [3, 1, 2], "patches": {"validation": 7, "test": 9}}


@pytest.fixture
def client(store: str) -> MlflowClient:
    return connect(store, create=True)


def opened(client: MlflowClient, folder: Path) -> SweepWriter:
    return SweepWriter.open(client, "demo", (folder / "artifacts").as_uri(), "", ("miou", 1))


def ended(writer: SweepWriter, facts: TrialFacts, end: TrialEnd = DONE) -> None:
    """Tell an end in the order in which a recorder does."""
    for name, path in end.artifacts.items():
        writer.attach(facts, end.ending, name, path, 2)
    writer.keep_counts(facts, end, 2)
    writer.end(facts, end, 2)


def runs_with(client: MlflowClient, role: str) -> list[Any]:
    return list(client.search_runs(["1"], f"tags.role = '{role}'", order_by=["attributes.start_time ASC"]))


def only_run(client: MlflowClient, role: str = "search") -> Any:
    (run,) = runs_with(client, role)
    return run


def files_of(client: MlflowClient, run_id: str) -> set[str]:
    return {file.path for file in client.list_artifacts(run_id)}


def trial_files(folder: Path) -> dict[str, Path]:
    """Write the files of a trial of three classes that was tested on two patches."""
    counts = np.arange(18, dtype=np.int32).reshape(2, 3, 3)
    np.savez_compressed(folder / "confusion.npz", class_names=np.array(["a", "b", "c"]), test_counts=counts)
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return {name: folder / name for name in ("labels.json", "confusion.npz")}


def test_a_trial_lies_under_its_cell_and_the_cell_under_the_sweep(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    writer = opened(client, tmp_path)
    for facts in (trial(lr=0.001), trial(lr=0.002), trial(strategy="utae_again")):
        writer.start(facts, 1)
    (sweep,), cells = runs_with(client, "sweep"), runs_with(client, "cell")
    assert {cell.data.tags["mlflow.parentRunId"] for cell in cells} == {sweep.info.run_id}
    ids = {cell.data.tags["strategy"]: cell.info.run_id for cell in cells}
    parents = {
        (run.data.tags["strategy"], run.data.tags["mlflow.parentRunId"])
        for run in runs_with(client, "search")
    }
    assert parents == {("utae", ids["utae"]), ("utae_again", ids["utae_again"])}


def test_a_cell_tells_its_setting_and_its_strategy(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    opened(client, tmp_path).start(trial(), 1)
    cell = only_run(client, "cell")
    assert cell.info.run_name == "utae labels=0.1 dates=6"
    told = {name: text for name, text in cell.data.tags.items() if not name.startswith("mlflow.")}
    assert told == {
        "role": "cell",
        "sweep": "demo",
        "strategy": "utae",
        "label_fraction": "0.1",
        "temporal_length": "6",
        "encoder": "utae",
        "decoder": "utae",
        "tuning": "scratch",
    }
    assert cell.data.metrics == {"cell/label_fraction": 0.1, "cell/temporal_length": 6}


def test_a_cell_whose_network_is_searched_names_no_encoder(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    facts = replace(trial(), sampled={"model.name": "utae"})
    opened(client, tmp_path).start(facts, 1)
    assert not {"encoder", "decoder", "tuning"} & only_run(client, "cell").data.tags.keys()
    assert only_run(client).data.tags["encoder"] == "utae"


def test_a_later_writer_finds_the_cells_and_makes_none_twice(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    first = opened(client, tmp_path)
    first.start(trial(lr=0.001), 1)
    first.close(SweepEnding.STOPPED)
    opened(client, tmp_path).start(trial(lr=0.002), 1)
    facts = trial()
    cell = only_run(client, "cell")
    assert cell.info.status == "RUNNING"
    found = {key: run.info.run_id for key, run in cell_runs(client, "1").items()}
    assert found == {cell_key_of(facts): cell.info.run_id}


def test_a_cells_run_that_lacks_words_is_described_by_its_next_trial(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    opened(client, tmp_path).close(SweepEnding.STOPPED)
    key = {"strategy": "utae", "label_fraction": "0.1", "temporal_length": "6"}
    bare = client.create_run("1", 1, key | {"role": "cell", "sweep": "demo"}, "utae labels=0.1 dates=6")
    client.set_terminated(bare.info.run_id)
    opened(client, tmp_path).start(trial(), 2)
    cell = only_run(client, "cell")
    assert cell.info.run_id == bare.info.run_id
    assert cell.info.status == "RUNNING"
    assert cell.data.tags.items() >= {"encoder": "utae", "decoder": "utae", "tuning": "scratch"}.items()
    assert cell.data.params.keys() == {"strategy", "encoder", "decoder", "tuning"}
    assert cell.data.metrics == {"cell/label_fraction": 0.1, "cell/temporal_length": 6}


def test_a_finished_cell_that_was_made_beside_the_writer_runs_again(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    one, other = opened(client, tmp_path), opened(client, tmp_path)
    one.start(trial(lr=0.001), 1)
    one.close(SweepEnding.FINISHED)
    other.start(trial(lr=0.002), 1)  # it has looked before the cell was there
    assert only_run(client, "cell").info.status == "RUNNING"


def test_a_step_that_is_told_again_is_no_second_point(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    told = [(10, 0.1), (20, 0.2), (20, 0.2), (10, 0.1), (30, 0.3)]
    for writer in (opened(client, tmp_path), opened(client, tmp_path)):  # the second one reads what is there
        for moment, (step, miou) in enumerate(told, start=1):
            writer.progress(trial(), step, {"val/miou": miou}, moment)
    history = client.get_metric_history(only_run(client).info.run_id, "val/miou")
    assert sorted((point.step, point.timestamp) for point in history) == [(10, 1), (20, 2), (30, 5)]


def test_a_cell_that_a_lost_answer_made_is_found(client: MlflowClient, trial: Trial, tmp_path: Path) -> None:
    one, other = opened(client, tmp_path), opened(client, tmp_path)
    one.start(trial(lr=0.001), 1)
    other.start(trial(lr=0.002), 1)  # it has looked before the cell was there
    assert len(runs_with(client, "cell")) == 1


@pytest.mark.parametrize(
    ("ending", "statuses"),
    [
        (SweepEnding.FINISHED, {"utae": "FINISHED", "utae_again": "FINISHED"}),
        (SweepEnding.STOPPED, {"utae": "FINISHED", "utae_again": "KILLED"}),
        (SweepEnding.FAILED, {"utae": "FINISHED", "utae_again": "FAILED"}),
    ],
)
def test_a_cell_ends_as_its_sweep_does_where_trials_are_left(
    client: MlflowClient, trial: Trial, tmp_path: Path, ending: SweepEnding, statuses: dict[str, str]
) -> None:
    writer = opened(client, tmp_path)
    ended(writer, trial())
    writer.start(trial(strategy="utae_again"), 1)
    assert {cell.info.status for cell in runs_with(client, "cell")} == {"RUNNING"}
    writer.close(ending)
    assert {cell.data.tags["strategy"]: cell.info.status for cell in runs_with(client, "cell")} == statuses


@pytest.mark.parametrize("ends_again", [True, False])
def test_a_trial_of_a_record_without_cells_moves_under_its_cell_when_it_is_told_again(
    client: MlflowClient, trial: Trial, tmp_path: Path, ends_again: bool
) -> None:
    facts = trial()
    sweep = opened(client, tmp_path)._parent_id
    before = {"strategy", "role", "fingerprint", "label_fraction", "temporal_length"}
    tags = {name: text for name, text in tags_of(facts).items() if name in before}
    state = {"state": "complete" if ends_again else "running", "mlflow.parentRunId": sweep}
    client.create_run("1", tags=tags | state)
    writer = opened(client, tmp_path)
    if ends_again:
        ended(writer, facts)
    else:
        writer.start(facts, 1)
    run = only_run(client)
    assert run.data.tags["mlflow.parentRunId"] == only_run(client, "cell").info.run_id
    assert run.data.tags["configuration"] == facts.configuration


def test_repeats_of_a_configuration_are_recognised_by_one_tag(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    writer = opened(client, tmp_path)
    writer.start(trial(lr=0.001), 1)
    writer.start(trial(lr=0.002), 1)
    for seed in (1, 2):
        writer.start(trial(lr=0.002, role=Role.CONFIRMATION, seed=seed), 1)
    found = client.search_runs(["1"], f"tags.configuration = '{trial(lr=0.002).configuration}'")
    assert sorted((run.data.tags["role"], run.data.tags["seed"]) for run in found) == [
        ("confirmation", "1"),
        ("confirmation", "2"),
        ("search", "0"),
    ]


def test_words_are_parameters_and_numbers_are_metrics_so_that_all_can_be_axes(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    opened(client, tmp_path).start(trial(lr=0.003), 1)
    run = only_run(client)
    assert run.data.params == {
        "strategy": "utae",
        "encoder": "utae",
        "decoder": "utae",
        "tuning": "scratch",
        "training.optimiser.lr": "0.003",
    }
    assert run.data.metrics == {"cell/label_fraction": 0.1, "cell/temporal_length": 6, "cell/seed": 0}


def test_facts_come_back_from_a_run_as_they_were_told(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    contents = {"weights CROMA_base.pt": "0a1b", "S1A": "2c3d"}
    facts = replace(trial(), data_digest="0123456789abcdef", contents=contents)
    opened(client, tmp_path).start(facts, 1)
    run = only_run(client)
    assert run.data.tags["data_digest"] == "0123456789abcdef"
    assert facts_of(run.data.tags, run.data.params, facts.config) == facts
    assert set(params_of(facts)) - set(facts.sampled) == {"strategy", "encoder", "decoder", "tuning"}


def test_a_running_trial_tells_where_and_an_ended_one_on_what(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    writer = opened(client, tmp_path)
    writer.start(trial(), 1)
    writer.began(trial(), Place("node1", "gpu 1"), 1)
    running = only_run(client).data.tags
    assert (running["host"], running["device"]) == ("node1", "gpu 1")
    environment = {"device": "NVIDIA H200", "host": "node1", "precision": "bf16", "code_version": "0.1.0+abc"}
    ended(writer, trial(), replace(DONE, environment=environment | {"platform": "Linux"}))
    tags = only_run(client).data.tags
    assert {name: tags[name] for name in environment} == environment
    assert "platform" not in tags  # of that, there is the file


def test_the_data_of_a_trial_are_inputs_with_a_digest_and_are_there_once(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    facts = replace(trial(role=Role.CONFIRMATION, seed=4), data_digest="d" * 16)
    end = replace(DONE, artifacts=trial_files(tmp_path))
    for _ in range(2):  # in two processes' lives, and twice in each
        writer = opened(client, tmp_path)
        ended(writer, facts, end)
        ended(writer, facts, end)
    inputs = only_run(client, "confirmation").inputs.dataset_inputs
    told = {each.tags[0].value: each.dataset for each in inputs}
    assert sorted(each.tags[0].value for each in inputs) == ["test", "training", "validation"]
    assert told["training"].name == "sample folds 1,2,3 labels 0.1 seed 4"
    assert (told["validation"].name, told["test"].name) == ("sample folds 4", "sample folds 5")
    rows = {context: json.loads(dataset.profile)["num_rows"] for context, dataset in told.items()}
    assert rows == {"training": 3, "validation": 7, "test": 9}


def test_a_search_trial_has_no_test_data_and_no_picture(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    writer = opened(client, tmp_path)
    ended(writer, trial(), replace(DONE, artifacts=trial_files(tmp_path)))
    run = only_run(client)
    assert sorted(each.tags[0].value for each in run.inputs.dataset_inputs) == ["training", "validation"]
    assert "confusion.png" not in files_of(client, run.info.run_id)


def test_a_confirmation_has_its_confusion_matrix_as_data_and_as_a_picture(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    writer = opened(client, tmp_path)
    facts = trial(role=Role.CONFIRMATION, seed=1)
    ended(writer, facts, replace(DONE, artifacts=trial_files(tmp_path)))
    run_id = only_run(client, "confirmation").info.run_id
    assert {"confusion.npz", "confusion.png"} <= files_of(client, run_id)
    picture = Path(client.download_artifacts(run_id, "confusion.png", str(tmp_path)))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_end_with_more_numbers_than_a_request_takes_is_all_there(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    metrics = {f"best/iou/class {number}": number / 2000 for number in range(2000)}
    ended(opened(client, tmp_path), trial(), TrialEnd(Ending.COMPLETE, metrics))
    run = only_run(client)
    assert metrics.items() <= run.data.metrics.items()
    assert run.data.tags["state"] == "complete"


def test_a_sweep_that_its_budget_ended_is_finished_and_says_so_until_it_goes_on(
    client: MlflowClient, tmp_path: Path
) -> None:
    opened(client, tmp_path).close(SweepEnding.FINISHED, "budget: total.wall_hours: 1 of 1 are used")
    sweep = only_run(client, "sweep")
    assert sweep.info.status == "FINISHED"
    assert sweep.data.tags["ended_by"] == "budget: total.wall_hours: 1 of 1 are used"
    opened(client, tmp_path)
    again = only_run(client, "sweep")
    assert (again.info.status, "ended_by" in again.data.tags) == ("RUNNING", False)


def counted(name: str, method: Callable[..., Any], asked: list[str]) -> Callable[..., Any]:
    """Return the method, which notes its name whenever it is called."""

    def counting(*arguments: Any, **options: Any) -> Any:
        asked.append(name)
        return method(*arguments, **options)

    return counting


REQUESTS = (
    *("create_run", "get_run", "search_runs", "update_run", "set_terminated", "set_tag", "delete_tag"),
    *("log_batch", "log_inputs", "get_metric_history"),
)


def test_a_trial_takes_a_request_for_each_validation_and_seven_more(
    client: MlflowClient, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = opened(client, tmp_path)
    writer.start(trial(lr=0.001), 1)  # makes the cell
    asked: list[str] = []
    for name in REQUESTS:
        monkeypatch.setattr(client, name, counted(name, getattr(client, name), asked))
    facts = trial(lr=0.002)
    writer.start(facts, 1)
    writer.attach_config(facts, 1)  # asks for the place of files, once for a run, past the client's face
    writer.began(facts, Place("node1", "cpu"), 1)
    for step in (10, 20, 30):
        writer.progress(facts, step, {"val/miou": 0.1, "train/loss": 1.0}, step)
    end = replace(DONE, artifacts=trial_files(tmp_path), environment={"device": "cpu"})
    ended(writer, facts, end)
    assert sorted(asked) == sorted(
        [
            *("search_runs", "create_run", "log_batch"),
            "log_batch",  # it began
            *["log_batch"] * 3,
            *("log_inputs", "set_terminated", "log_batch"),
        ]
    )
    asked.clear()
    ended(writer, facts, end)
    assert asked == []  # what is known to be written is not asked for again
