"""What lies on disk for the trials of a sweep, as its driver handles it: results, checkpoints, a ceiling."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shapeft_tune.atomic import write_atomically
from shapeft_tune.tune.ledger.trials import LedgerTrial
from shapeft_tune.tune.orders import CHECKPOINTS, STOP_FILE, trial_folder
from shapeft_tune.tune.recording import ARTIFACTS
from shapeft_tune.tune.storage.disk_ceiling import DiskCeiling, size_of
from shapeft_tune.tune.storage.stop_mark import ask_to_stop, take_back
from shapeft_tune.tune.storage.storage import SHARED_HOME, TrialStorage, trial_key

logger = logging.getLogger(__name__)

PEAKS_FILE = "disk.json"
"""In the sweep's folder: the most bytes that a running trial took, by strategy."""


class TrialFiles:
    """The trials' folders in the home and, where the home is not shared by all nodes, their storage."""

    def __init__(
        self, folder: Path, storage: TrialStorage = SHARED_HOME, most_bytes: int | None = None
    ) -> None:
        """Look at what is there already, if there is a ceiling.

        Args:
            folder: the sweep's.
            storage: what all nodes share, where it is not the home.
            most_bytes: that all trials together may take; None for no ceiling.
        """
        self._folder = folder
        self._storage = storage
        prefix = f"{folder.name}/trials"
        kept_in = TrialStorage.at(folder.parent.as_uri()) if storage.uri is None else storage
        stored = kept_in.sizes(prefix) if most_bytes is not None else {}
        self._ceiling = DiskCeiling(most_bytes, stored, _peaks_in(folder))
        self._is_limited = most_bytes is not None
        self._stop_is_known = False

    def refusal(self, strategy: str, trial: LedgerTrial | None = None) -> str:
        """Return why a trial of a strategy may not begin now; empty if it may.

        Args:
            strategy: the trial's.
            trial: the trial itself, if it was begun before.
        """
        key = self._key(trial) if trial else ""
        return "" if self._ceiling.may_begin(strategy, key) else self._ceiling.refusal(strategy, key)

    def began(self, trial: LedgerTrial) -> None:
        """A trial was handed out."""
        self._ceiling.began(trial.cell.strategy, self._key(trial))

    def grew(self, trial: LedgerTrial, size: int) -> None:
        """A running trial has written a checkpoint and takes this many bytes at most."""
        if self._ceiling.measured(self._key(trial), size):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._folder / PEAKS_FILE, json.dumps(self._ceiling.largest).encode())

    def ended(self, trial: LedgerTrial, size: int | None) -> None:
        """A trial is over, for now at least, and takes these bytes with its checkpoints; None: unknown."""
        self._ceiling.ended(self._key(trial), size)

    def results(self, trial: LedgerTrial) -> Path:
        """Return the folder with a trial's results."""
        folder = self.folder(trial)
        with suppress(OSError):  # then it is as if there were none
            self._storage.fetch(folder, self._key(trial), names=ARTIFACTS)
        return folder

    def drop_checkpoints(self, trial: LedgerTrial) -> None:
        """Remove the weights of a trial and keep its results."""
        folder, key = self.folder(trial), self._key(trial)
        for name in CHECKPOINTS:
            (folder / name).unlink(missing_ok=True)
        try:
            self._storage.drop(key, CHECKPOINTS)
            if self._is_limited:  # asked, not subtracted: the files may never have been on this machine
                stays = size_of(folder) if self._storage.uri is None else self._storage.size(key)
                self._ceiling.shrunk(key, stays)
        except OSError:
            logger.warning("cannot remove checkpoints from the storage", exc_info=True)

    def drop_left_over(self, trials: Iterable[LedgerTrial]) -> None:
        """Remove the weights of trials where a driver died before it could; looks at what there is."""
        try:
            stored = self._storage.names(f"{self._folder.name}/trials")
        except OSError:
            logger.warning("cannot look for checkpoints in the storage", exc_info=True)
            stored = frozenset()
        for trial in trials:
            folder, key = self.folder(trial), self._key(trial)
            if any((folder / name).exists() or f"{key}/{name}" in stored for name in CHECKPOINTS):
                self.drop_checkpoints(trial)

    def spread_stop(self) -> None:
        """Let all nodes know that the sweep is to end."""
        if not self._stop_is_known:
            self._stop_is_known = True
            try:
                ask_to_stop(self._folder / STOP_FILE, self._storage)
            except OSError:
                logger.warning("the storage does not take the wish to stop", exc_info=True)

    def take_stop_back(self) -> None:
        """Let trials run again after a stop."""
        take_back(self._folder / STOP_FILE, self._storage)

    def folder(self, trial: LedgerTrial) -> Path:
        """Return a trial's own folder."""
        return trial_folder(self._folder, trial.cell.strategy, trial.fingerprint)

    def _key(self, trial: LedgerTrial) -> str:
        return trial_key(self._folder.name, trial.cell.strategy, trial.fingerprint)


def _peaks_in(folder: Path) -> dict[str, int]:
    try:
        content = json.loads((folder / PEAKS_FILE).read_text(encoding="utf-8"))
        return {str(strategy): int(size) for strategy, size in content.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):  # then it is measured again
        return {}
