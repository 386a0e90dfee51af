"""Everything that is wrong with a PASTIS folder, found in one pass over its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapeft_tune.data.folder import READERS, Patch
from shapeft_tune.data.pastis import (
    CLASS_NAMES,
    STATISTICS,
    VOID,
    PastisFolder,
)
from shapeft_tune.data.pastis_metadata import read_metadata
from shapeft_tune.data.sources import RADAR, S2, Source
from shapeft_tune.errors import DataError


@dataclass(frozen=True)
class FolderReport:
    """What a folder holds and what is wrong with it."""

    patches: int
    """Patches whose metadata can be used."""
    sizes: dict[tuple[int, int], int]
    """Patches of each (height, width) in pixels."""
    dates_min: int
    dates_max: int
    folds: dict[int, int]
    """Patches of each fold."""
    class_pixels: tuple[int, ...]
    """Pixels of each class; the last is void."""
    faults: tuple[str, ...]
    """Every fault: what was expected, what came, what to do."""


@dataclass(frozen=True)
class _Finding:
    """What one patch's files hold."""

    size: tuple[int, int] | None
    class_pixels: tuple[int, ...]
    faults: tuple[str, ...]


def check_folder(
    root: Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> FolderReport:
    """Look at every file of the folder: each series' header and length, each target's values.

    ``on_progress`` is told how many patches are done, of how many. Faults are collected; DataError is raised
    only where there is no folder or no metadata to go by. Radar counts where the folder has any.
    """
    patches, metadata_faults = read_metadata(root)
    folder = PastisFolder(root, patches)
    radar = [source for source in RADAR.values() if (root / source.folder).is_dir()]
    findings: list[_Finding] = []
    with ThreadPoolExecutor(READERS) as pool:
        for finding in pool.map(lambda patch: _look_at(folder, patch, radar), patches):
            findings.append(finding)
            on_progress(len(findings), len(patches))
    frames = [len(patch.days) for patch in patches]
    pixels = sum((np.array(finding.class_pixels) for finding in findings), np.zeros(VOID + 1, dtype=np.int64))
    found = [fault for finding in findings for fault in finding.faults]
    return FolderReport(
        patches=len(patches),
        sizes=dict(Counter(finding.size for finding in findings if finding.size)),
        dates_min=min(frames, default=0),
        dates_max=max(frames, default=0),
        folds=dict(sorted(Counter(patch.fold for patch in patches).items())),
        class_pixels=tuple(pixels.tolist()),
        faults=(*metadata_faults, *_statistics_faults(folder), *found),
    )


def _look_at(folder: PastisFolder, patch: Patch, radar: Sequence[Source]) -> _Finding:
    size, target_size, faults = None, None, []
    class_pixels = np.zeros(VOID + 1, dtype=np.int64)
    try:
        size = folder.size(patch)
    except DataError as error:
        faults.append(str(error))
    try:
        target_HW = folder.target(patch)
        target_size = target_HW.shape
        class_pixels = np.bincount(target_HW.ravel(), minlength=VOID + 1)
    except DataError as error:
        faults.append(str(error))
    if size and target_size and size != target_size:
        faults.append(f"{folder.target_path(patch)}: expected the images' size {size}; got {target_size}")
    faults += [fault for source in radar for fault in _radar_faults(folder, patch, source, size)]
    return _Finding(size, tuple(class_pixels.tolist()), tuple(faults))


def _radar_faults(
    folder: PastisFolder, patch: Patch, source: Source, size: tuple[int, int] | None
) -> Iterator[str]:
    try:
        folder.size(patch, (S2, source) if size else (source,))
    except DataError as error:
        yield str(error)


def _statistics_faults(folder: PastisFolder) -> tuple[str, ...]:
    try:
        present = set(folder.statistics())
    except DataError as error:
        return (str(error),)
    absent = {patch.fold for patch in folder.patches} - present
    return tuple(f"{folder.root / STATISTICS}: expected fold {fold}; got none" for fold in sorted(absent))


def described(report: FolderReport) -> Iterator[tuple[str, str]]:
    """Yield what a folder holds as (subject, words) for people."""
    total = max(sum(report.class_pixels), 1)
    shares = (
        (name, pixels / total)
        for name, pixels in zip((*CLASS_NAMES, "void"), report.class_pixels, strict=True)
    )
    yield "patches", str(report.patches)
    yield (
        "sizes",
        ", ".join(f"{height} x {width} px ({count})" for (height, width), count in report.sizes.items()),
    )
    yield "dates", f"{report.dates_min} to {report.dates_max} for each patch"
    yield "folds", ", ".join(f"{fold}: {count} patches" for fold, count in report.folds.items())
    yield "classes", ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares if share)
    yield "faults", str(len(report.faults) or "none")
