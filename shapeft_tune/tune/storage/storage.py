"""Where trials are kept when the nodes of a cluster share no folder: any address that pyarrow can write to.

The storage is the truth; a node's folder of a trial is a working copy of it. Addresses are those of Ray's
storage path: ``s3://BUCKET/PREFIX`` or ``file:///ABSOLUTE/FOLDER`` (a mounted one, say), and whatever else
``pyarrow.fs`` opens. This is tested with S3 and folders.

S3 takes its options in the address, as in
``s3://BUCKET/PREFIX?region=eu-central-1&endpoint_override=HOST:PORT&scheme=http``; user and secret come
from ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_SESSION_TOKEN``, from ``~/.aws``, or from
the role of the machine. ``AWS_DEFAULT_REGION`` and ``AWS_ENDPOINT_URL`` serve as well. All nodes need them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from shapeft_tune.errors import UserError
from shapeft_tune.scores import CONFUSION_FILE
from shapeft_tune.tune.storage.storage_check import Unusable, check_storage, opened, shown
from shapeft_tune.tune.storage.stored_files import (
    Note,
    StorageFailed,
    delete,
    download,
    is_draft,
    listed,
    read_notes,
    state_of,
    upload,
    version_of,
    write_notes,
)

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

logger = logging.getLogger(__name__)
T = TypeVar("T")

LARGE_FILES = (CONFUSION_FILE, "best.pt", "last.pt")
"""Beside the JSON files; in the order in which they are stored, so that what is newest says so last."""
RESULT_FILE = "result.json"
"""Stored last of all: where it is, the trial is done, and everything else is there."""
PAUSES = (1.0, 4.0)
"""Seconds before a second and a third attempt at what must succeed; pyarrow itself repeats each request."""


@dataclass(frozen=True)
class TrialStorage:
    """Files of trials by key, ``<sweep>/trials/<strategy>/<fingerprint>``; see :func:`trial_key`.

    Without an address the home is shared by all nodes and every method does nothing.
    """

    uri: str | None = field(default=None, repr=False)  # it may hold a secret

    @classmethod
    def at(cls, uri: str | None) -> TrialStorage:
        """Return the storage at an address; opened on first use, so it can be sent to workers."""
        return cls(uri)

    def __str__(self) -> str:
        return shown(self.uri) if self.uri is not None else "the home, which all nodes share"

    def check(self) -> None:
        """Write, read and delete a small file, within seconds.

        Raises:
            UserError: a wrong address, no bucket, no right, no answer.
        """
        if self.uri is not None:
            check_storage(self.uri)

    def fetch(self, folder: Path, key: str, names: Collection[str] | None = None) -> None:
        """Bring what is missing here, or was changed in the storage since, before a trial begins or goes on.

        A file that was changed here only stays: the storage was out of reach when it was to be stored. One
        that is here only stays, too, and is stored again with the next checkpoint.

        Args:
            folder: the working copy; created where the storage holds something.
            key: the trial's.
            names: only these files; by default all of them.

        Raises:
            StorageFailed: no answer, or half a file.
        """
        if self.uri is not None:
            self._insist(lambda: self._fetch(folder, key, names), f"fetch {key}")

    def keep(self, folder: Path, key: str) -> bool:
        """Store what changed since the last time, after a checkpoint.

        Failing is logged and told, no more: the trial goes on, and the next checkpoint is another chance.
        """
        try:
            if self.uri is not None:
                self._keep(folder, key)
        except OSError:
            logger.warning("cannot store %s now", key, exc_info=True)
            return False
        return True

    def keep_last(self, folder: Path, key: str) -> None:
        """Store what changed since the last time, when the trial has ended.

        Raises:
            StorageFailed: no answer after several attempts.
        """
        if self.uri is not None:
            self._insist(lambda: self._keep(folder, key), f"store {key}")

    def drop(self, key: str, names: Collection[str]) -> None:
        """Delete files of a trial from the storage; those that are not there are not missed.

        Raises:
            StorageFailed: no answer.
        """
        if self.uri is not None:
            self._insist(lambda: self._drop(key, names), f"delete from {key}")

    def mark(self, place: str) -> None:
        """Put an empty file at a place, for all nodes to see; :meth:`drop` takes it away.

        Raises:
            StorageFailed: no answer.
        """
        if self.uri is not None:
            self._insist(lambda: self._mark(place), f"mark {place}")

    def marked(self, place: str) -> bool:
        """Tell whether there is a file at a place.

        Raises:
            OSError: no answer; asked once.
        """
        if self.uri is None:
            return False
        system, root = self._open()
        return bool(system.get_file_info(f"{root}/{place}").is_file)

    def sizes(self, prefix: str) -> Mapping[str, int]:
        """Return the bytes of every trial below a prefix, say ``<sweep>/trials``, by key; in one listing.

        A shared home is listed the same way by ``TrialStorage.at(home.as_uri())``.

        Raises:
            StorageFailed: no answer.
        """
        found: dict[str, int] = {}
        if self.uri is not None:
            for path, size in self._insist(lambda: self._listed(prefix), f"list {prefix}"):
                key = path.rpartition("/")[0]
                found[key] = found.get(key, 0) + size
        return found

    def names(self, prefix: str) -> frozenset[str]:
        """Return the paths of all files below a prefix, ``<key>/<name>`` of trials; as :meth:`sizes`."""
        if self.uri is None:
            return frozenset()
        return frozenset(path for path, _ in self._insist(lambda: self._listed(prefix), f"list {prefix}"))

    def clear(self, trials: Path, prefix: str, names: Collection[str]) -> None:
        """Remove copies here of files that were dropped from the storage since; see :meth:`drop`.

        A file that was changed here since it was stored stays, and so does one of a trial of which there is
        nothing in the storage: that is another storage.

        Args:
            trials: the folder that holds those of all trials, by strategy and fingerprint.
            prefix: of the same trials in the storage.
            names: of the files.

        Raises:
            OSError: no answer; asked once.
        """
        if self.uri is not None:
            for name in names:
                for path in trials.glob(f"*/*/{name}"):
                    self._clear(path, f"{prefix}/{path.parent.relative_to(trials).as_posix()}")

    def size(self, prefix: str) -> int:
        """Return the bytes of everything below a prefix; as :meth:`sizes`."""
        return sum(self.sizes(prefix).values())

    # Inner workings

    def _insist(self, act: Callable[[], T], what: str) -> T:
        for pause in (*PAUSES, None):
            try:
                return act()
            except OSError as error:
                if pause is None:
                    raise StorageFailed(f"storage {self}: cannot {what} ({error})") from error
                logger.warning("cannot %s; trying again", what, exc_info=True)
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _open(self) -> tuple[FileSystem, str]:
        assert self.uri is not None
        try:
            return _opened(self.uri)
        except Unusable as error:
            raise UserError(f"storage {self}: {error}") from None

    def _fetch(self, folder: Path, key: str, names: Collection[str] | None) -> None:
        system, root = self._open()
        notes = read_notes(folder)
        there = {info.base_name: info for info in listed(system, f"{root}/{key}")}
        if names is None:
            for name in filter(is_draft, there):  # of a process that died while it stored
                delete(system, f"{root}/{key}/{name}")
            gone = notes.keys() - there.keys()  # dropped there; what is here must not pass for stored
            if gone:
                notes = {name: note for name, note in notes.items() if name not in gone}
                write_notes(folder, notes)
        for name in _in_order(there):
            if names is not None and name not in names:
                continue
            note = notes.get(name)
            if note and note.there == version_of(there[name]) and (folder / name).exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            download(system, there[name], folder / name)
            notes[name] = Note(state_of(folder / name), version_of(there[name]))
            write_notes(folder, notes)

    def _keep(self, folder: Path, key: str) -> None:
        system, root = self._open()
        notes = read_notes(folder)
        here = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        for name in _in_order(here):
            state = state_of(folder / name)
            if name not in notes or notes[name].here != state:
                stored = upload(system, folder / name, f"{root}/{key}")
                notes[name] = Note(state, version_of(stored))
                write_notes(folder, notes)
        for name in sorted(notes.keys() - set(here)):  # one that is done removes its last checkpoint
            delete(system, f"{root}/{key}/{name}")
            del notes[name]
            write_notes(folder, notes)

    def _drop(self, key: str, names: Collection[str]) -> None:
        system, root = self._open()
        for name in names:
            delete(system, f"{root}/{key}/{name}")

    def _clear(self, path: Path, key: str) -> None:
        system, root = self._open()
        notes = read_notes(path.parent)
        note = notes.get(path.name)
        try:
            if note is None or note.here != state_of(path):
                return
            there = {info.base_name for info in listed(system, f"{root}/{key}")}
            if there and path.name not in there:
                del notes[path.name]
                write_notes(path.parent, notes)
                path.unlink()
        except FileNotFoundError:
            return  # somebody else removed it

    def _mark(self, place: str) -> None:
        system, root = self._open()
        path = f"{root}/{place}"
        if system.type_name == "local":
            system.create_dir(path.rpartition("/")[0], recursive=True)
        system.open_output_stream(path).close()

    def _listed(self, prefix: str) -> list[tuple[str, int]]:
        system, root = self._open()
        infos = listed(system, f"{root}/{prefix.strip('/')}", recursive=True)
        return [(info.path.removeprefix(f"{root}/"), info.size) for info in infos]


SHARED_HOME = TrialStorage.at(None)
"""Stands for a storage where the home is one that all nodes share."""


def trial_key(sweep: str, strategy: str, fingerprint: str) -> str:
    """Return what names a trial's files in a storage: its folder's path inside the home."""
    return f"{sweep}/trials/{strategy}/{fingerprint}"


@lru_cache(maxsize=4)
def _opened(uri: str) -> tuple[FileSystem, str]:
    return opened(uri)


def _in_order(names: Collection[str]) -> Iterator[str]:
    """Yield the files of a trial that are stored, in the order in which one may rely on another."""
    small = {name for name in names if name.endswith(".json") and not name.startswith(".")}
    yield from sorted(small - {RESULT_FILE})
    yield from (name for name in LARGE_FILES if name in names)
    yield from small & {RESULT_FILE}
