"""Whether another trial may begin without its checkpoints going over the disk that a sweep may take.

While a trial runs it holds its last and its best checkpoint, and for moments a third that replaces one of
them; afterwards the best at most. What a trial will need is known from the largest of its strategy so far,
also in earlier runs; as long as none of a strategy is known, one at a time runs until its first checkpoint is
measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "bytes"))


class DiskCeiling:
    """Bytes that trials take and will take, kept by adding and subtracting."""

    def __init__(
        self,
        limit: int | None,
        stored: Mapping[str, int] | None = None,
        expected: Mapping[str, int] | None = None,
    ) -> None:
        """Begin with what is there.

        Args:
            limit: bytes that all trials together may take; None for no ceiling.
            stored: bytes of each trial that is there already, by key; see :meth:`TrialStorage.sizes`.
            expected: bytes that a running trial takes, by strategy, where that is known beforehand.
        """
        self._limit = limit
        self._bytes = dict(stored or {})
        self._used = sum(self._bytes.values())
        self._largest = dict(expected or {})
        self._running: dict[str, str] = {}

    @property
    def used(self) -> int:
        """Bytes that trials take now."""
        return self._used

    @property
    def promised(self) -> int:
        """Bytes by which the running trials will still grow, as far as is known."""
        return sum(
            max(self._largest.get(strategy, 0) - self._bytes.get(key, 0), 0)
            for key, strategy in self._running.items()
        )

    def may_begin(self, strategy: str, key: str = "") -> bool:
        """Tell whether a trial may begin, or go on.

        Args:
            strategy: the trial's.
            key: the trial's, if it was begun before and has files already.
        """
        if self._limit is None:
            return True
        if strategy not in self._largest and strategy in self._running.values():
            return False
        return self._used + self.promised + self._growth(strategy, key) <= self._limit

    def began(self, strategy: str, key: str) -> None:
        """Note that a trial runs."""
        self._running[key] = strategy
        self._bytes.setdefault(key, 0)

    @property
    def largest(self) -> Mapping[str, int]:
        """The most that a running trial took, by strategy, as far as any was measured."""
        return dict(self._largest)

    def measured(self, key: str, size: int) -> bool:
        """Note a running trial's bytes after a checkpoint, see :func:`peak_of`; tell if they are a record."""
        strategy = self._running[key]
        self._set(key, size)
        if size <= self._largest.get(strategy, 0):
            return False
        self._largest[strategy] = size
        return True

    def ended(self, key: str, size: int | None) -> None:
        """Note that a trial runs no more, and the bytes that stay of it; None where nobody knows better."""
        self._running.pop(key, None)
        if size is not None:
            self._set(key, size)

    def shrunk(self, key: str, size: int) -> None:
        """Note the bytes that stay of a trial of which something was removed."""
        self._set(key, size)

    def refusal(self, strategy: str, key: str = "") -> str:
        """Return in words why no trial of a strategy may begin, when :meth:`may_begin` says so."""
        assert self._limit is not None, "without a ceiling nothing is refused"
        more, next_one = self.promised, self._growth(strategy, key)
        return (
            f"the disk ceiling of {in_words(self._limit)} is reached: trials take "
            f"{in_words(self._used)}, those that run will take {in_words(more)} more, and one of "
            f"{strategy!r} would take {in_words(next_one)} - raise the ceiling or remove old trials"
        )

    def _growth(self, strategy: str, key: str) -> int:
        return max(self._largest.get(strategy, 0) - self._bytes.get(key, 0), 0)

    def _set(self, key: str, size: int) -> None:
        self._used += size - self._bytes.get(key, 0)
        self._bytes[key] = size


def size_of(folder: Path) -> int:
    """Return the bytes of the files in one trial's folder."""
    return sum(_sizes(folder))


def peak_of(folder: Path) -> int:
    """Return the most that a running trial's folder takes: a new checkpoint lies beside the old one."""
    sizes = _sizes(folder)
    return sum(sizes) + max(sizes, default=0)


def _sizes(folder: Path) -> list[int]:
    sizes = []
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # a draft that was renamed meanwhile
            sizes.append(path.stat().st_size)
    return sizes


def in_words(size: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    unit, name = next((each for each in UNITS if size >= each[0]), UNITS[-1])
    return f"{size / unit:.2f} {name}" if unit > 1 else f"{size} {name}"
