"""The commands as a user types them: output, exit codes, and what a mistake looks like."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from shapeft_tune.cli import main
from shapeft_tune.cli.sweep import command_with
from shapeft_tune.config import load_sweep
from shapeft_tune.config.merge import with_values
from tests.data.pastis_hub import Hub, files_of, serving
from tests.data.rasters.own_rasters import OwnRasters, labels
from tests.train.tiny import TINY
from tests.tune.small import SMALL, UTAE, run, written

ROOT = Path(__file__).resolve().parents[1]
PASTIS = SMALL["base"] | {"data": {"dataset": "pastis"}}


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def shapeft(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["shapeft_tune", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "data"
    done = run("data", "sample", folder, "--patches", 10, "--patch-size", 16, "--dates", 6)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def own_sample(sample: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(sample, tmp_path / "data"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "sweep.yaml", SMALL | {"base": PASTIS})


def mistake(outcome: Outcome, *words: object) -> None:
    """The outcome is one clear message and exit code 2."""
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert str(word) in outcome.err


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_is_valid_and_tells_its_story(path: Path) -> None:
    assert load_sweep(path).name == path.stem
    header = path.read_text().split("name:")[0]
    assert all(f"# {word} " in header for word in ("Question", "Run", "Cost", "Expect"))


def test_plan_prints_the_schema_of_sweep_files_without_one(shapeft: Command) -> None:
    shipped = (ROOT / "search_spaces" / "schema.json").read_text()
    assert json.loads(shapeft("plan", "--schema").out) == json.loads(shipped)


def test_plan_without_a_file_says_what_it_needs(shapeft: Command) -> None:
    outcome = shapeft("plan")
    assert outcome.code == 2
    assert "expected a sweep FILE or --schema" in outcome.err


def test_help_names_every_command(shapeft: Command) -> None:
    text = shapeft("--help").out
    commands = ("sweep", "plan", "status", "report", "train", "evaluate", "data", "ui", "doctor")
    assert all(f" {command} " in text for command in commands)


def test_help_needs_none_of_the_heavy_packages() -> None:
    """Its time is theirs: an import of one of them takes longer than all the rest."""
    script = """
import sys
sys.argv = ["shapeft_tune", "--help"]
try:
    from shapeft_tune.cli import main
    main()
except SystemExit:
    print([name for name in ("torch", "ray", "mlflow", "optuna", "numpy", "pydantic") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_file_with_mistakes_lists_them_all(shapeft: Command, tmp_path: Path) -> None:
    content = SMALL | {"budget": {"trials": 0}, "colour": "red"}
    mistake(shapeft("plan", written(tmp_path / "bad.yaml", content)), "2 problems", "budget.trials", "colour")


@pytest.mark.parametrize("command", ["sweep", "plan", "status", "report", "train"])
def test_a_file_that_is_not_there(shapeft: Command, tmp_path: Path, command: str) -> None:
    mistake(shapeft(command, tmp_path / "none.yaml", "--home", tmp_path), "none.yaml")


def test_a_data_set_that_was_not_given(shapeft: Command, file: Path, tmp_path: Path) -> None:
    mistake(shapeft("sweep", file, "--home", tmp_path / "home"), "--data")


def test_a_data_folder_that_is_missing_or_empty(shapeft: Command, file: Path, tmp_path: Path) -> None:
    home, empty = tmp_path / "home", tmp_path / "empty"
    empty.mkdir()
    mistake(shapeft("sweep", file, "--home", home, "--data", tmp_path / "none"), tmp_path / "none")
    mistake(shapeft("sweep", file, "--home", home, "--data", empty), empty)


def test_fewer_dates_than_asked(shapeft: Command, sample: Path, tmp_path: Path) -> None:
    settings = {"label_fractions": [1.0], "temporal_lengths": [3, 99]}
    asked = written(tmp_path / "sweep.yaml", SMALL | {"base": PASTIS, "settings": settings})
    outcome = shapeft("sweep", asked, "--home", tmp_path / "home", "--data", sample)
    mistake(outcome, "data.temporal_length", "99")


def test_a_truncated_series(shapeft: Command, file: Path, own_sample: Path, tmp_path: Path) -> None:
    victim = next((own_sample / "DATA_S2").iterdir())
    victim.write_bytes(victim.read_bytes()[:-100])
    mistake(shapeft("sweep", file, "--home", tmp_path / "home", "--data", own_sample), victim.name)
    mistake(shapeft("data", "check", own_sample), victim.name)


def test_a_label_that_does_not_exist(shapeft: Command, own_sample: Path) -> None:
    victim = next((own_sample / "ANNOTATIONS").iterdir())
    target = np.load(victim)
    target[0, 0, 0] = 20
    np.save(victim, target)
    mistake(shapeft("data", "check", own_sample), victim.name, "20")


def test_a_home_that_cannot_be_written_to(shapeft: Command, tmp_path: Path) -> None:
    (tmp_path / "home").touch()  # a file: also root cannot write into it
    outcome = shapeft("sweep", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home")
    mistake(outcome, "--home", tmp_path / "home")


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("http://127.0.0.1:9", "127.0.0.1:9"),
        ("ftp://somewhere", "ftp://somewhere"),
        ("sqlite:////nowhere/at/all/mlflow.db", "/nowhere/at/all"),
    ],
)
def test_a_tracking_server_that_is_not_there(shapeft: Command, tmp_path: Path, uri: str, named: str) -> None:
    outcome = shapeft(
        "sweep", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home", "--tracking-uri", uri
    )
    mistake(outcome, named)


def test_weights_that_are_not_there(shapeft: Command, tmp_path: Path) -> None:
    croma = {"name": "croma_optical", "tuning": {"mode": "frozen", "weights": "official"}}
    content = SMALL | {"strategies": {"croma": {"config": {"model": croma}}}, "search": {}}
    outcome = shapeft("sweep", written(tmp_path / "s.yaml", content), "--home", tmp_path / "home")
    mistake(outcome, "CROMA_base.pt", "antofuller/CROMA", tmp_path / "home" / "weights")


def test_a_gpu_that_is_not_there(shapeft: Command, tmp_path: Path) -> None:
    content = SMALL | {"resources": {"cpu": 1, "gpu": 0.5}}
    outcome = shapeft(
        "sweep", written(tmp_path / "s.yaml", content), "--home", tmp_path / "home", "--gpus", 0
    )
    mistake(outcome, "strategy utae asks for 0.5 GPU")


def test_a_report_before_the_sweep(shapeft: Command, tmp_path: Path) -> None:
    mistake(shapeft("report", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home"), "sweep")


def test_pages_before_the_sweep(shapeft: Command, tmp_path: Path) -> None:
    mistake(shapeft("ui", "--home", tmp_path), "run a sweep first")


def test_an_unknown_option_and_an_unknown_trial(shapeft: Command, tmp_path: Path) -> None:
    assert shapeft("sweep", "--colour").code == 2
    mistake(shapeft("evaluate", "abc", "--home", tmp_path), "abc")


def test_a_sample_that_would_overwrite_something(shapeft: Command, sample: Path) -> None:
    mistake(shapeft("data", "sample", sample), "it holds something already")


def test_a_sample_of_an_impossible_size(shapeft: Command, tmp_path: Path) -> None:
    mistake(shapeft("data", "sample", tmp_path / "new", "--patch-size", 20), "patch_size", "multiple of 8")
    assert not (tmp_path / "new").exists()


def test_plan_of_a_sweep_that_never_ran_writes_nothing(shapeft: Command, tmp_path: Path) -> None:
    outcome = shapeft("plan", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home", "--json")
    plan = json.loads(outcome.out)
    assert (plan["trials_to_do"], plan["trials_done"], len(plan["cells"])) == (10, 0, 2)
    assert not (tmp_path / "home").exists()


def test_data_check_describes_a_sound_folder_for_people_and_machines(shapeft: Command, sample: Path) -> None:
    outcome = shapeft("data", "check", sample)
    assert outcome.code == 0
    assert "none" in next(line for line in outcome.out.splitlines() if line.startswith("faults"))
    content = json.loads(shapeft("data", "check", sample, "--json").out)
    assert (content["patches"], content["sizes"], content["faults"]) == (10, {"16x16": 10}, [])


def test_the_real_tiles_are_sound(shapeft: Command, shared: Path) -> None:
    assert shapeft("data", "check", shared / "data" / "flanders").code == 0


def test_data_check_shows_people_tables_and_no_line_per_patch(shapeft: Command, shared: Path) -> None:
    out = shapeft("data", "check", shared / "data" / "flanders").out
    assert re.search(r"S2 +8 +372 +38 +46.5 +55 +2018-09-18 +2019-11-27 +1.3 %", out)
    assert re.search(r"3 +corn +1662 +20.29 %", out)
    assert re.search(r"patches +2 +2 +2 +1 +1", out)
    assert "90000" not in out


def test_data_check_of_the_official_metadata_lists_its_missing_arrays(shapeft: Command, shared: Path) -> None:
    outcome = shapeft("data", "check", shared / "data" / "pastis_metadata", "--json")
    assert json.loads(outcome.out)["patches"] == 9
    assert len(json.loads(outcome.out)["faults"]) == 18
    mistake(outcome, "faults found: 18")
    lines = outcome.err.splitlines()[1:]
    for id in (10000, 10001, 10002, 10003, 10004, 10005, 10006, 10007, 10009):
        assert sum(f"DATA_S2/S2_{id}.npy: expected a file; got none" in line for line in lines) == 1
        assert sum(f"ANNOTATIONS/TARGET_{id}.npy: expected a file; got none" in line for line in lines) == 1


def test_data_stats_are_what_numpy_computes_and_lie_beside_the_official(
    shapeft: Command, sample: Path
) -> None:
    features = json.loads((sample / "metadata.geojson").read_text())["features"]
    patches = [feature["properties"] for feature in features]
    content = json.loads(shapeft("data", "stats", sample, "--json").out)
    assert sorted(content) == [f"Fold_{fold}" for fold in (1, 2, 3, 4, 5)]
    for fold in (1, 2, 3, 4, 5):
        members = [patch["ID_PATCH"] for patch in patches if patch["Fold"] == fold]
        series = [np.load(sample / f"DATA_S2/S2_{id}.npy").astype(float) for id in members]
        means = np.mean([images_TCHW.mean(axis=(0, 2, 3)) for images_TCHW in series], axis=0)
        stds = np.mean([images_TCHW.std(axis=(0, 2, 3)) for images_TCHW in series], axis=0)
        np.testing.assert_allclose(content[f"Fold_{fold}"]["mean"], means, atol=0.006)
        np.testing.assert_allclose(content[f"Fold_{fold}"]["std"], stds, rtol=1e-3)
    assert "largest difference from NORM_S2_patch.json: 0.000 %" in shapeft("data", "stats", sample).out


@pytest.mark.parametrize(
    ("folder", "official", "sensor"),
    [
        ("flanders", "NORM_S2_patch.json", "S2"),
        ("flanders", "NORM_S1A_patch.json", "S1A"),
        ("pastis_mini", "NORM_S2_patch.local.json", "S2"),
    ],
)
def test_data_stats_of_real_tiles_equal_files_made_by_the_official_code(
    shapeft: Command, shared: Path, folder: str, official: str, sensor: str
) -> None:
    content = json.loads(shapeft("data", "stats", shared / "data" / folder, "--sensor", sensor, "--json").out)
    given = json.loads((shared / "data" / folder / official).read_text())
    for fold in given:
        for name in ("mean", "std"):  # two decimals; std there is of a sample, n - 1, here of all pixels
            np.testing.assert_allclose(content[fold][name], given[fold][name], rtol=2e-4, atol=0.006)


def test_data_stats_are_written_only_where_none_are_or_by_force(shapeft: Command, own_sample: Path) -> None:
    path = own_sample / "NORM_S2_patch.json"
    right = json.loads(path.read_text())
    path.write_text('{"Fold_1": "mine"}')
    mistake(shapeft("data", "stats", own_sample, "--write"), path, "--force")
    assert path.read_text() == '{"Fold_1": "mine"}'
    assert shapeft("data", "stats", own_sample, "--write", "--force").code == 0
    assert json.loads(path.read_text()) == right
    path.unlink()
    assert "not there" in shapeft("data", "stats", own_sample).out
    assert not path.exists()
    assert str(path) in shapeft("data", "stats", own_sample, "--write").out
    assert json.loads(path.read_text()) == right


def test_data_stats_of_a_sensor_that_is_not_there(shapeft: Command, sample: Path) -> None:
    mistake(shapeft("data", "stats", sample, "--sensor", "S3"), "expected one of S2, S1A, S1D; got S3")
    mistake(shapeft("data", "stats", sample, "--sensor", "s1a"), "expected dates-S1A of patch")


def test_a_download_without_a_network_or_of_something_else(shapeft: Command, tmp_path: Path) -> None:
    to = tmp_path / "pastis"
    mistake(shapeft("data", "download", "pastis-hd", "--to", to), "IGNF/PASTIS-HD", "unset HF_HUB_OFFLINE")
    mistake(shapeft("data", "download", "imagenet", "--to", to), "expected pastis-hd; got imagenet")
    command = ("data", "download", "pastis-hd", "--to", to, "--modality")
    mistake(shapeft(*command, "s3"), "expected some of s2, s1a, s1d, spot", "got s3")
    assert not to.exists()


@pytest.fixture
def hub(sample: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(files_of(sample), monkeypatch) as server:
        yield server


def test_a_download_states_its_disk_first_and_then_what_to_do_next(
    shapeft: Command, hub: Hub, tmp_path: Path
) -> None:
    command = ("data", "download", "pastis-hd", "--to", tmp_path / "to", "--modality", "annotations")
    tried = shapeft(*command, "--dry-run")
    assert re.search(r"annotations +10 +0 +10 +0.0 MB", tried.out)
    assert "0.0 MB of disk" in tried.out
    assert not (tmp_path / "to").exists()
    done = shapeft(*command)
    assert done.code == 0
    assert done.out.startswith(tried.out.split("; ")[0])
    assert "12 files fetched (0.0 MB), 0 were there" in done.out
    assert f"data check {tmp_path / 'to'}" in done.out
    assert "0 files fetched (0.0 MB), 12 were there" in shapeft(*command).out


def test_a_download_that_the_disk_has_no_room_for(
    shapeft: Command, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shapeft_tune.data.download.shutil.disk_usage", lambda path: SimpleNamespace(free=5))
    outcome = shapeft("data", "download", "pastis-hd", "--to", tmp_path / "to")
    mistake(outcome, "free disk; got 0.0 MB", "--modality")
    assert "s2" in outcome.out
    assert hub.sent == []


def test_train_runs_one_trial_and_evaluate_finds_it(shapeft: Command, tmp_path: Path) -> None:
    file = written(tmp_path / "trial.yaml", TINY)
    trained = shapeft("train", file, "--home", tmp_path / "home", "--test")
    assert trained.code == 0, trained.err
    folder = Path(trained.out.rsplit("Stored in ", 1)[1].strip())
    result = json.loads((folder / "result.json").read_text())
    scored = shapeft("evaluate", folder.name[:6], "--fold", "test", "--home", tmp_path / "home", "--json")
    assert json.loads(scored.out)["miou"] == pytest.approx(result["test"]["miou"])


def test_train_on_a_stored_config_trains_the_same_trial(shapeft: Command, tmp_path: Path) -> None:
    first = shapeft("train", written(tmp_path / "trial.yaml", TINY), "--home", tmp_path / "a")
    folder = Path(first.out.rsplit("Stored in ", 1)[1].strip())
    second = shapeft("train", folder / "config.json", "--home", tmp_path / "b")
    assert Path(second.out.rsplit("Stored in ", 1)[1].strip()).name == folder.name
    assert [line.rsplit("  ", 1)[0] for line in second.out.splitlines()[:3]] == [
        line.rsplit("  ", 1)[0] for line in first.out.splitlines()[:3]
    ]


def test_doctor_finds_this_machine_well(shapeft: Command, tmp_path: Path) -> None:
    outcome = shapeft("doctor", "--home", tmp_path / "home")
    assert outcome.code == 0, outcome.out
    assert "FIX" not in outcome.out


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The home of a sweep that has one trial."""
    from shapeft_tune.config.places import Places
    from shapeft_tune.tune.ledger.ledger import Ledger
    from shapeft_tune.tune.ledger.trials import State
    from shapeft_tune.tune.preflight import check_sweep

    home = tmp_path / "home"
    sweep = load_sweep(written(tmp_path / "small.yaml", SMALL))
    contents = check_sweep(sweep, Places(home))
    ledger = Ledger.open(home / "small", sweep, contents.data, contents.by_strategy)
    cell = next(iter(ledger.cells.values()))
    trial = cell.next()
    assert trial is not None
    cell.end(trial, State.COMPLETE, 0.5)
    return home


def test_a_changed_file_is_refused_with_the_difference(shapeft: Command, begun: Path, tmp_path: Path) -> None:
    changed: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALL))
    changed["base"]["training"]["batch_size"] = 3
    outcome = shapeft("sweep", written(tmp_path / "s.yaml", changed), "--home", begun)
    mistake(outcome, "training.batch_size was 2, is now 3")


def test_a_new_generation_of_an_unchanged_file_is_refused(
    shapeft: Command, begun: Path, tmp_path: Path
) -> None:
    unchanged = written(tmp_path / "s.yaml", SMALL)
    mistake(shapeft("sweep", unchanged, "--home", begun, "--new"), "nothing differs", "leave out --new")
    outcome = shapeft("sweep", unchanged, "--home", begun, "--new", "--generation", 1)
    mistake(outcome, "--new or --generation")


def test_a_new_generation_that_cannot_begin_leaves_the_old_one_the_newest(
    shapeft: Command, begun: Path, tmp_path: Path
) -> None:
    without_data = written(tmp_path / "s.yaml", SMALL | {"base": PASTIS})
    mistake(shapeft("sweep", without_data, "--home", begun, "--new"), "--data")
    assert not list(begun.glob("small+*"))


def test_what_goes_on_after_a_new_generation_began_asks_for_no_other() -> None:
    from shapeft_tune.cli.sweep import again_asked

    words = ["sweep", "s.yaml", "--new", "--home", "runs"]
    assert again_asked(words) == ["sweep", "s.yaml", "--home", "runs"]


@pytest.mark.parametrize("ceiling", ["0", "-1", "nan", "inf"])
def test_a_disk_ceiling_that_leaves_no_room_is_refused_before_anything_runs(
    shapeft: Command, file: Path, tmp_path: Path, ceiling: str
) -> None:
    home = tmp_path / "home"
    mistake(shapeft("sweep", file, "--home", home, "--disk-gb", ceiling), "--disk-gb", "expected more than 0")
    assert not home.exists()


def test_status_of_a_sweep_that_nobody_works_on_says_how_to_go_on(
    shapeft: Command, begun: Path, tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    outcome = shapeft("status", file, "--home", begun, "--watch", "--every", 1)
    assert outcome.code == 0
    assert "1 of 10 trials have ended" in outcome.out
    assert f"python -m shapeft_tune sweep {file} --home {begun}\n" in outcome.out
    mistake(shapeft("status", file, "--home", begun, "--watch", "--json"), "--watch or --json")
    mistake(shapeft("status", file, "--home", begun, "--generation", 2), "--generation 2", "which has 1")


def test_models_of_a_strategy_are_shown_valid_before_anything_starts(
    shapeft: Command, tmp_path: Path
) -> None:
    strategies = {
        "deep": {"config": {"model": UTAE | {"encoder_widths": [8] * 5, "decoder_widths": [8] * 5}}}
    }
    outcome = shapeft(
        "sweep", written(tmp_path / "s.yaml", SMALL | {"strategies": strategies}), "--home", tmp_path / "home"
    )
    mistake(outcome, "sides of at least 32 pixels", "16 x 16")


def test_rasters_are_imported_and_then_found_sound(shapeft: Command, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    rasters = OwnRasters(tmp_path / "own").with_images().written()
    outcome = shapeft("data", "import", rasters, "--to", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "5 patches in" in outcome.out
    checked = shapeft("data", "check", tmp_path / "out", "--json")
    assert (checked.code, json.loads(checked.out)["faults"]) == (0, [])
    (tmp_path / "out" / "dataset.json").unlink()
    mistake(shapeft("data", "check", tmp_path / "out"), "dataset.json", "taken for PASTIS's")


def test_rasters_that_do_not_fit_are_all_named_and_not_imported(shapeft: Command, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = OwnRasters(tmp_path / "own").with_images()
    own.write_label("a", stored=labels(0) + 1, nodata=None)
    own.write_image("e", transform=own.transform("a"))
    outcome = shapeft("data", "import", own.written(), "--to", tmp_path / "out")
    mistake(outcome, "labels/a.tif", "got also 0, 11", "images/e/20190305.tif", "the grid of its labels")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_plan_shows_which_patches_are_labelled_and_their_classes(
    shapeft: Command, sample: Path, tmp_path: Path
) -> None:
    settings = {"label_fractions": [0.5, 1.0], "temporal_lengths": [1, 3]}
    file = written(tmp_path / "s.yaml", SMALL | {"base": PASTIS, "settings": settings})
    places = ("--home", tmp_path / "home", "--data", sample)
    outcome = shapeft("plan", file, *places, "--labels")
    assert outcome.code == 0, outcome.err
    assert "class (stratified, seed 0)" in outcome.out
    labels = json.loads(shapeft("plan", file, *places, "--labels", "--json").out)["labels"]
    assert [(each["label_fraction"], each["seed"], each["count"]) for each in labels] == [
        (fraction, seed, count) for fraction, count in ((0.5, 3), (1.0, 6)) for seed in (0, 1, 2)
    ]
    for each in labels[:3]:
        assert " ".join(map(str, each["patches"])) in outcome.out
    assert "labels" not in json.loads(shapeft("plan", file, *places, "--json").out)


def test_plan_of_labels_needs_the_data(shapeft: Command, file: Path, tmp_path: Path) -> None:
    mistake(shapeft("plan", file, "--home", tmp_path / "home", "--labels"), "--data")


def test_train_keeps_copies_of_what_it_reads_where_it_is_told(shapeft: Command, tmp_path: Path) -> None:
    file, cache = written(tmp_path / "trial.yaml", TINY), tmp_path / "cache"
    trained = shapeft("train", file, "--home", tmp_path / "a", "--cache", cache, "--cache-gb", 1)
    plain = shapeft("train", file, "--home", tmp_path / "b")
    assert (trained.code, plain.code) == (0, 0)
    assert trained.out.splitlines()[-2] == plain.out.splitlines()[-2]  # the scores
    assert list(cache.rglob("S2_*"))
    (folder,) = (tmp_path / "a" / "single").iterdir()
    shutil.rmtree(cache)
    assert shapeft("evaluate", folder, "--home", tmp_path / "a", "--cache", cache).code == 0
    assert list(cache.rglob("S2_*"))


@pytest.mark.parametrize("command", ["sweep", "train"])
def test_a_cache_that_cannot_be_written_is_told_before_anything_starts(
    shapeft: Command, tmp_path: Path, command: str
) -> None:
    content = TINY if command == "train" else SMALL
    (tmp_path / "occupied").write_text("")
    options = ("--home", tmp_path / "home", "--cache", tmp_path / "occupied")
    mistake(shapeft(command, written(tmp_path / "file.yaml", content), *options), "occupied", "--cache")


def test_a_cache_inside_the_data_set_is_refused(shapeft: Command, file: Path, own_sample: Path) -> None:
    outcome = shapeft("sweep", file, "--data", own_sample, "--cache", own_sample / "cache")
    mistake(outcome, "--cache", "expected a folder outside of the data set")
    assert not (own_sample / "cache").exists()


def test_a_folder_that_cannot_be_reached_is_named_without_a_traceback(
    shapeft: Command, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    mistake(shapeft("data", "sample", tmp_path / "loop" / "data"), "loop")
    mistake(shapeft("data", "import", tmp_path, "--to", tmp_path / ("x" * 300)))


def test_rasters_are_not_taken_for_a_broken_archive(shapeft: Command, tmp_path: Path) -> None:
    (tmp_path / "rasters.yaml").write_text("images: x")
    mistake(shapeft("data", "check", tmp_path), "a folder of rasters", "data import")
    mistake(shapeft("data", "check", tmp_path / "rasters.yaml"), "got a file")


def test_a_trial_is_not_evaluated_on_patches_of_several_sizes(
    shapeft: Command, own_sample: Path, tmp_path: Path
) -> None:
    config = with_values(TINY, {"data.dataset": "pastis", "training.steps": 4, "validation.every": 4})
    file, home = written(tmp_path / "trial.yaml", config), tmp_path / "home"
    assert shapeft("train", file, "--data", own_sample, "--home", home).code == 0
    (trial,) = (home / "single").iterdir()
    labelled = json.loads((trial / "labels.json").read_text())["labelled_patches"]
    assert labelled == json.loads((trial / "result.json").read_text())["labelled_patches"]
    path = next((own_sample / "DATA_S2").glob("*.npy"))
    np.save(path, np.load(path)[..., :8, :8])
    mistake(shapeft("evaluate", trial, "--data", own_sample, "--home", home), "patches of one size")


def test_plan_says_that_rasters_are_resampled_and_names_the_labelled_ones(
    shapeft: Command, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    own = OwnRasters(tmp_path / "own").with_images()
    own.write_image("e", transform=own.transform("a"))
    rasters = own.set(resample="nearest").written()
    base = with_values(SMALL["base"], {"data": {"dataset": "rasters", "normalisation": "own"}})
    settings = {"label_fractions": [1.0], "temporal_lengths": [1]}
    file = written(tmp_path / "sweep.yaml", SMALL | {"base": base, "settings": settings})
    outcome = shapeft("plan", file, "--data", rasters, "--labels", "--home", tmp_path / "home")
    assert outcome.code == 0, outcome.err
    assert "1 images lie on another grid than their labels and are resampled (nearest)." in outcome.err
    (line,) = [line for line in outcome.out.splitlines() if line.strip().startswith("100 %")]
    assert line.split()[-3:] == ["a", "b", "c"]


def test_the_command_after_an_outage_names_the_same_file_and_store_but_no_password() -> None:
    asked = {
        "--home": Path("my runs"),
        "--tracking-uri": "http://user:secret@host:5000",
        "--generation": None,
    }
    told = command_with(["record", "sync", "mine.yaml"], asked)
    assert told == (
        "python -m shapeft_tune record sync mine.yaml --home 'my runs' --tracking-uri http://host:5000"
    )
