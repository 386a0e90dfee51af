"""A real sweep whose ledger is in PostgreSQL and whose trials are on S3, continued from another home."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.object_store import CREDENTIALS, ObjectStore
from tests.postgres import Server
from tests.tune.small import SMALL, command, written

ONE_CELL = {"settings": {"label_fractions": [1.0], "temporal_lengths": [3]}}


def test_another_home_goes_on_with_what_the_first_has_left(
    postgres: Server, object_store: ObjectStore, tmp_path: Path
) -> None:
    ledger, storage = postgres.new_database(), object_store.new_bucket()

    def sweep(home: str, budget: dict[str, int]) -> tuple[str, dict[str, object]]:
        """Run a sweep from a home of its own; return what it printed and its only cell's report."""
        file = written(tmp_path / f"{home}.yaml", SMALL | ONE_CELL | {"budget": budget})
        kept = ["--ledger", ledger, "--storage", storage]
        place = ["--home", tmp_path / home]
        environment = os.environ | CREDENTIALS
        done = subprocess.run(
            command("sweep", file, *place, *kept, "--cpus", 2),
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / home / "small" / "report" / "report.json").read_text())
        return done.stdout, report["cells"][0]

    first_said, first = sweep("first", {"trials": 2, "confirmation_seeds": 0})
    assert (first_said.count("search"), first["search_trials"]) == (4, 2)  # began and ended, each of them

    second_said, second = sweep("second", {"trials": 2, "confirmation_seeds": 1})
    assert "search" not in second_said
    assert second["confirmation_trials"] == 1
    # The scores of trials that ran in the other home came from the storage.
    assert (second["search_trials"], second["val_miou_best"]) == (2, first["val_miou_best"])
