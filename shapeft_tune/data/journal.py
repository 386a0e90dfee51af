"""What a folder remembers of its downloads: the commit that all of it belongs to, and what was found right.

One line of JSON a file, written at once, so that a download that was stopped goes on from there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from shapeft_tune.data.archives import checksum_of
from shapeft_tune.data.digest import state_of

OWN_FOLDER = ".download"
"""Folder in the data set that holds the journal and what is under way."""
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Entry:
    """One line of the journal: a file that was found right, and how to see that it is still the same."""

    path: str
    digest: str
    members: Mapping[str, tuple[int, int]]
    """Size and time of change, in nanoseconds, of the file, or of each file that an archive held."""
    checksums: Mapping[str, int] = field(default_factory=dict)
    """CRC-32 of each file that an archive held: the hub's digest is of the archive, which is not kept."""

    def holds(self, root: Path, digest: str) -> bool:
        """Return whether the files lie there as they were left, and are what the hub has."""
        return self.digest == digest and all(
            state_of(root / path) == tuple(state) for path, state in self.members.items()
        )

    def is_intact(self, root: Path) -> bool:
        """Return whether every file that an archive held still has its content; all are read."""
        return set(self.checksums) == set(self.members) and all(
            (root / path).is_file() and checksum_of(root / path) == checksum
            for path, checksum in self.checksums.items()
        )


@dataclass(frozen=True)
class Journal:
    """What a folder remembers of its downloads: a commit, then a line for each file that was found right."""

    path: Path
    commit: str | None
    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, root: Path) -> Self:
        """Read a folder's journal; an empty one where nothing was downloaded."""
        path, commit, entries = root / OWN_FOLDER / JOURNAL, None, {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                content = json.loads(line)
            except ValueError:  # the last line of a download that was cut off
                continue
            if "commit" in content:
                commit = content["commit"]
            else:
                entries[content["path"]] = Entry(**content)
        return cls(path, commit, entries)

    @contextlib.contextmanager
    def appending(self, repository: str, commit: str) -> Iterator[Callable[[Entry], None]]:
        """Give a function that notes an entry at once."""
        cut = self.path.is_file() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:

            def note(content: object) -> None:
                file.write(json.dumps(content) + "\n")
                file.flush()

            if cut:
                file.write("\n")
            if self.commit is None:
                note({"repository": repository, "commit": commit})
            yield lambda entry: note(asdict(entry))
