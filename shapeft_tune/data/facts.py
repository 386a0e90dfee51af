"""What is counted once for a data set and then known to all trials: class pixels, statistics, clouds.

A fact belongs to one fold and to files of a certain name, size and time of change: where one of them
changes, it is counted again. So a trial of full PASTIS starts without reading 20 GB for its own statistics,
and eight trials that start at once count once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock

from shapeft_tune.atomic import write_atomically
from shapeft_tune.data.digest import state_of
from shapeft_tune.data.folder import READERS, Folder, Patch
from shapeft_tune.errors import HomeError

Number = TypeVar("Number", int, float)
VERSION = 1
"""Raised with every change of what a fact means."""


def known(folder: Folder, name: str, fold: int, files: Iterable[Path], count: Callable[[], Any]) -> Any:
    """Return what ``count`` returns for a fold, plain JSON, from the disk where it has been counted before.

    Args:
        folder: the data set; where its ``facts`` is None, everything is counted anew.
        name: of the fact; letters, digits and ``-``.
        fold: whose patches it is about.
        files: what is counted; a change of any of them makes the fact unknown.
        count: counts it.

    Raises:
        HomeError: it cannot be kept.
    """
    if folder.facts is None:
        return count()
    path = folder.facts / f"{name}-fold{fold}-{_signature(folder, fold, files)}.json"
    if (fact := _read(path)) is not None:
        return fact
    try:
        folder.facts.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if (fact := _read(path)) is None:
                fact = count()
                write_atomically(path, json.dumps(fact).encode())
    except OSError as error:
        raise HomeError(f"{folder.facts}: expected room for what is counted once; got {error}") from None
    return json.loads(json.dumps(fact))  # what later calls will get: keys of objects are strings


def _read(path: Path) -> Any:
    """Return what is known; None where nothing is, or where the file is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def known_of_patches(
    folder: Folder,
    name: str,
    patches: Sequence[Patch],
    files_of: Callable[[Patch], Sequence[Path]],
    count: Callable[[Patch], tuple[Number, ...]],
) -> dict[int, tuple[Number, ...]]:
    """Return what ``count`` returns for each patch, by patch id; see :func:`known`.

    Where facts are kept, it is counted for all patches of these patches' folds.
    """
    if folder.facts is None:
        return _counted(patches, count)
    found: dict[int, tuple[Number, ...]] = {}
    for fold in sorted({patch.fold for patch in patches}):
        of_fold = folder.in_folds({fold})
        files = [file for patch in of_fold for file in files_of(patch)]
        fact = known(folder, name, fold, files, partial(_counted, of_fold, count))
        found |= {int(id): tuple(numbers) for id, numbers in fact.items()}
    return {patch.id: found[patch.id] for patch in patches}


def class_pixels_of(folder: Folder, patches: Sequence[Patch]) -> dict[int, tuple[int, ...]]:
    """Return the labelled pixels of each class, void left out, by patch id."""

    def count(patch: Patch) -> tuple[int, ...]:
        labels_HW = folder.target(patch)
        return tuple(np.bincount(labels_HW.ravel(), minlength=folder.void + 1)[: folder.void].tolist())

    name = f"class-pixels-of-{folder.void}"  # as many classes are counted as the data set has
    return known_of_patches(folder, name, patches, lambda patch: (folder.target_path(patch),), count)


def _counted(
    patches: Sequence[Patch], count: Callable[[Patch], tuple[Number, ...]]
) -> dict[int, tuple[Number, ...]]:
    with ThreadPoolExecutor(READERS) as pool:
        return {patch.id: numbers for patch, numbers in zip(patches, pool.map(count, patches), strict=True)}


def _signature(folder: Folder, fold: int, files: Iterable[Path]) -> str:
    """Return 16 digits for the files, and for what their patches are called: facts are by patch."""
    seen = hashlib.sha256(str(VERSION).encode())
    for patch in folder.in_folds({fold}):
        seen.update(f"{patch.id}:{folder.name_of(patch)}\n".encode())
    for path in sorted(files):
        # Of a file that is not there whoever counts will say so.
        seen.update(f"{path}:{state_of(path)}\n".encode())
    return seen.hexdigest()[:16]
