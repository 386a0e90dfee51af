"""Everything that a PASTIS folder holds and everything that is wrong with it, in one pass over its files.

A fault is what makes a patch unusable, or a result wrong; a remark is what one should know.
Read are: the metadata, the header and length of every series, all labels, band B2 of every Sentinel-2 frame
for its clouds, and the headers of SPOT images.

Legend: T frames of one patch, H and W pixels.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from shapeft_tune.data.clouds import BLUE, CLOUDY, cloud_shares
from shapeft_tune.data.folder import READERS, WHOLE, OnProgress, Patch, no_progress, unreadable
from shapeft_tune.data.pastis import STATISTICS, Description, PastisFolder
from shapeft_tune.data.pastis_metadata import METADATA, read_metadata
from shapeft_tune.data.sources import RADAR, S2, Source
from shapeft_tune.data.spot import SPOT_FOLDER, spot_header, spot_path
from shapeft_tune.errors import DataError


@dataclass(frozen=True)
class SeriesReport:
    """The series of one satellite."""

    patches: int
    """Patches whose series can be read."""
    frames: int
    """Of all these patches together."""
    dates_min: int
    """Dates of a patch, as the metadata tell; so are the next two."""
    dates_median: float
    dates_max: int
    first: str | None
    """The earliest date of any patch, YYYY-MM-DD; None where there is none."""
    last: str | None
    cloud_like: float | None
    """Share of frames that are mostly cloud by the test of ``clouds.py``; None for radar."""


@dataclass(frozen=True)
class FolderReport:
    """What a folder holds and what is wrong with it."""

    patches: int
    """Patches whose metadata can be used."""
    sizes: dict[tuple[int, int], int]
    """Patches of each (height, width) in pixels."""
    series: dict[str, SeriesReport]
    """By satellite: S2, and S1A and S1D where the folder has them."""
    folds: dict[int, int]
    """Patches of each fold."""
    class_names: tuple[str, ...]
    class_pixels: tuple[int, ...]
    """Pixels of each class; the last is void."""
    spot: int | None
    """SPOT images that fit their patches; None where the folder has none."""
    faults: tuple[str, ...]
    """Every fault: what was expected, what came, what to do."""
    remarks: tuple[str, ...]

    @property
    def dates_min(self) -> int:
        """Fewest Sentinel-2 dates of a patch."""
        return self.series[S2.name].dates_min

    @property
    def dates_max(self) -> int:
        """Most Sentinel-2 dates of a patch."""
        return self.series[S2.name].dates_max

    @property
    def class_shares(self) -> tuple[float, ...]:
        """Share of all pixels of each class; the last is void."""
        total = max(sum(self.class_pixels), 1)
        return tuple(pixels / total for pixels in self.class_pixels)

    def content(self) -> dict[str, Any]:
        """Return the report as JSON holds it.

        The keys are the fields, with sizes as "HEIGHTxWIDTH"; ``dates_min`` and ``dates_max`` of Sentinel-2;
        and ``classes``, a list of {label, name, pixels, share}.
        """
        named = zip((*self.class_names, "void"), self.class_pixels, self.class_shares, strict=True)
        return asdict(self) | {
            "sizes": {f"{height}x{width}": count for (height, width), count in self.sizes.items()},
            "dates_min": self.dates_min,
            "dates_max": self.dates_max,
            "classes": [
                {"label": label, "name": name, "pixels": pixels, "share": share}
                for label, (name, pixels, share) in enumerate(named)
            ],
        }


@dataclass
class _Finding:
    """What one patch's files hold."""

    size: tuple[int, int] | None = None
    class_pixels: tuple[int, ...] = ()
    cloud_shares: tuple[float, ...] = ()
    frames: dict[str, int] = field(default_factory=dict)
    """Frames of each satellite whose series can be read."""
    spot: bool = False
    faults: list[str] = field(default_factory=list)


def check_folder(root: Path, on_progress: OnProgress = no_progress) -> FolderReport:
    """Look at every file of the folder.

    ``on_progress`` is told how many patches are done, of how many. Faults are collected; DataError is raised
    only where there is no folder or no metadata to go by. Radar and SPOT count where the folder has any.
    """
    description = Description.read(root)
    patches, metadata_faults = read_metadata(root, description.season_start)
    folder = PastisFolder(root, patches, description.class_names)
    sources = (S2, *(source for source in RADAR.values() if (root / source.folder).is_dir()))
    has_spot = (root / SPOT_FOLDER).is_dir()
    findings: list[_Finding] = []
    with ThreadPoolExecutor(READERS) as pool:
        for finding in pool.map(lambda patch: _look_at(folder, patch, sources, has_spot), patches):
            findings.append(finding)
            on_progress(len(findings), len(patches))
    pixels = np.zeros(folder.void + 1, dtype=np.int64)
    for finding in findings:
        if finding.class_pixels:
            pixels += finding.class_pixels
    found = itertools.chain.from_iterable(finding.faults for finding in findings)
    return FolderReport(
        patches=len(patches),
        sizes=dict(Counter(finding.size for finding in findings if finding.size)),
        series={source.name: _series(folder, source, findings, description) for source in sources},
        folds=dict(sorted(Counter(patch.fold for patch in patches).items())),
        class_names=folder.class_names,
        class_pixels=tuple(pixels.tolist()),
        spot=sum(finding.spot for finding in findings) if has_spot else None,
        # An id that occurs twice would tell its files' faults twice.
        faults=tuple(dict.fromkeys((*metadata_faults, *_statistics_faults(folder), *found))),
        remarks=(*_orphans(folder, sources, has_spot), *_lacking_statistics(folder, sources)),
    )


def _series(
    folder: PastisFolder, source: Source, findings: Sequence[_Finding], description: Description
) -> SeriesReport:
    days = [patch.days_of(source) for patch in folder.patches]
    counts = [len(of_patch) for of_patch in days]
    every = sorted(set(itertools.chain.from_iterable(days)))
    frames = [finding.frames[source.name] for finding in findings if source.name in finding.frames]
    shares = [share for finding in findings for share in finding.cloud_shares]
    cloudy = sum(share > CLOUDY for share in shares) / max(len(shares), 1)
    return SeriesReport(
        patches=len(frames),
        frames=sum(frames),
        dates_min=min(counts, default=0),
        dates_median=float(statistics.median(counts or [0])),
        dates_max=max(counts, default=0),
        first=_date(description.season_start, every[0]) if every else None,
        last=_date(description.season_start, every[-1]) if every else None,
        cloud_like=cloudy if source is S2 and shares else None,
    )


def _date(season_start: date, day: int) -> str:
    return (season_start + timedelta(days=day)).isoformat()


def _look_at(folder: PastisFolder, patch: Patch, sources: Sequence[Source], has_spot: bool) -> _Finding:
    finding = _Finding()
    for look in (_look_at_series, _look_at_target):
        try:
            look(folder, patch, finding)
        except DataError as error:
            finding.faults.append(str(error))
    for source in sources[1:]:
        finding.faults += _radar_faults(folder, patch, source, finding)
    if has_spot and finding.size:
        try:
            spot_header(folder.root, patch, finding.size)
            finding.spot = True
        except DataError as error:
            finding.faults.append(str(error))
    return finding


def _look_at_series(folder: PastisFolder, patch: Patch, finding: _Finding) -> None:
    frames, _, height, width = folder.shape(patch)
    finding.size, finding.frames[S2.name] = (height, width), frames
    blue_THW = folder.images(patch, range(frames), S2, WHOLE, BLUE)[:, 0]
    finding.cloud_shares = tuple(cloud_shares(blue_THW).tolist())


def _look_at_target(folder: PastisFolder, patch: Patch, finding: _Finding) -> None:
    target_HW = folder.target(patch)
    finding.class_pixels = tuple(np.bincount(target_HW.ravel(), minlength=folder.void + 1).tolist())
    if finding.size and finding.size != target_HW.shape:
        path = folder.target_path(patch)
        raise unreadable(path, f"the images' size {finding.size}", str(target_HW.shape))


def _radar_faults(folder: PastisFolder, patch: Patch, source: Source, finding: _Finding) -> Iterator[str]:
    try:
        frames = folder.shape(patch, source)[0]
        folder.size(patch, (S2, source) if finding.size else (source,))
        finding.frames[source.name] = frames
    except DataError as error:
        yield str(error)
    days = patch.days_of(source)
    if any(after < before for before, after in itertools.pairwise(days)):  # two passes a day are possible
        yield f"patch {patch.id}: expected {source.dates} in ascending order; got another order"


def _statistics_faults(folder: PastisFolder) -> tuple[str, ...]:
    try:
        present = set(folder.statistics())
    except DataError as error:
        return (str(error),)
    absent = {patch.fold for patch in folder.patches} - present
    return tuple(f"{folder.root / STATISTICS}: expected fold {fold}; got none" for fold in sorted(absent))


def _lacking_statistics(folder: PastisFolder, sources: Sequence[Source]) -> Iterator[str]:
    """Yield the radar whose official statistics cannot be used: few networks ask for them."""
    for source in sources[1:]:
        try:
            folder.statistics(source)
        except DataError as error:
            yield str(error)


def _orphans(folder: PastisFolder, sources: Sequence[Source], has_spot: bool) -> Iterator[str]:
    """Yield a remark for each folder that holds files of no patch."""
    expected = {folder.target_path(patch) for patch in folder.patches}
    expected |= {folder.image_path(patch, source) for patch in folder.patches for source in sources}
    if has_spot:
        expected |= {spot_path(folder.root, patch) for patch in folder.patches}
    for place in sorted({path.parent for path in expected}):
        names = {path.name for path in expected if path.parent == place}
        found = sorted(set(os.listdir(place)) - names) if place.is_dir() else []
        if strays := [name for name in found if not name.startswith(".")]:
            yield f"{place}: {len(strays)} files of no patch in {METADATA}, the first {strays[0]}"
