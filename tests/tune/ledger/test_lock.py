from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.lock import driver_of, sole_driver

HOLD = """
import sys, time
from pathlib import Path
from shapeft_tune.tune.ledger.lock import sole_driver
with sole_driver(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with sole_driver(tmp_path):
        assert driver_of(tmp_path) == f"process {os.getpid()} on {os.uname().nodename}"
        with pytest.raises(LedgerError, match=f"process {os.getpid()} on"), sole_driver(tmp_path):
            pass
    assert driver_of(tmp_path) is None


def test_the_lock_of_a_killed_driver_is_free(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert f"process {holder.pid}" in str(driver_of(tmp_path))
    holder.kill()
    holder.wait()
    with sole_driver(tmp_path):
        pass


def test_nobody_drives_a_sweep_that_never_ran(tmp_path: Path) -> None:
    assert driver_of(tmp_path) is None
