"""``metadata.geojson`` of PASTIS and PASTIS-R: which patches there are, their folds and their dates.

Dates are ``{"0": 20180924, ...}``, an object in some files and a string of JSON in others.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from shapeft_tune.data.folder import Patch
from shapeft_tune.data.sources import RADAR, Source
from shapeft_tune.errors import DataError

METADATA = "metadata.geojson"
FOLDS = (1, 2, 3, 4, 5)
SEASON_START = date(2018, 9, 1)
"""Day 0 of every series of PASTIS."""


def read_metadata(root: Path, season_start: date = SEASON_START) -> tuple[tuple[Patch, ...], tuple[str, ...]]:
    """Return the usable patches of ``metadata.geojson``, ordered by id, and every fault of the others.

    Days are counted from ``season_start``.
    Raises DataError where there is no such file, or where it is no GeoJSON at all.
    """
    patches: list[Patch] = []
    faults: list[str] = []
    for number, feature in enumerate(_features(root)):
        try:
            patches.append(_patch(feature.get("properties"), number, season_start))
        except ValueError as fault:
            faults.append(str(fault))
    counts = Counter(patch.id for patch in patches)
    faults += [f"patch {id}: expected one entry; got {count}" for id, count in counts.items() if count > 1]
    if not patches and not faults:
        faults.append("expected at least one patch; got none")
    return tuple(sorted(patches, key=lambda patch: patch.id)), tuple(faults)


def _features(root: Path) -> list[dict[str, Any]]:
    path = root / METADATA
    if not path.is_file():
        raise DataError(_nothing_at(root))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        features, description = content["features"], content.get("described_in")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: expected a GeoJSON FeatureCollection; got something else ({error}) - copy it again"
        ) from None
    if description is not None and not (root / str(description)).is_file():
        raise DataError(
            f"{root / str(description)}: expected the file with the classes of this data set; got none"
            " - copy it again: without it, labels would be taken for PASTIS's"
        )
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise DataError(f"{path}: expected a list of features - copy it again")
    return features


def _nothing_at(root: Path) -> str:
    expected = f"a PASTIS folder: {METADATA}, DATA_S2/, ANNOTATIONS/"
    if root.exists() and not root.is_dir():
        return f"{root}: expected {expected}; got a file - give the folder that it lies in"
    if (root / "rasters.yaml").is_file():
        return (
            f"{root}: expected {expected}; got a folder of rasters - use `dataset: rasters`, or turn it into"
            " such a folder with `data import`"
        )
    if not root.is_dir():
        return f"{root}: expected {expected}; got no such folder - check the path"
    if inner := sorted(path.parent for path in root.glob(f"*/{METADATA}")):
        return f"{root}: expected {expected}; got a folder around one - use {inner[0]}"
    came = f"no {METADATA} in it" if any(root.iterdir()) else "an empty folder"
    return f"{root}: expected {expected}; got {came} - was the archive unpacked to the end?"


def _patch(properties: Any, number: int, season_start: date) -> Patch:
    """Check one feature's properties. Raises ValueError that names the patch and what is wrong with it."""
    if not isinstance(properties, dict):
        raise ValueError(f"feature {number}: expected properties; got none")
    patch_id, fold = properties.get("ID_PATCH"), properties.get("Fold")
    if type(patch_id) is not int or patch_id < 0:  # it becomes part of a file's name
        raise ValueError(f"feature {number}: expected ID_PATCH to be a whole number; got {patch_id!r}")
    if type(fold) is not int or fold not in FOLDS:
        raise ValueError(f"patch {patch_id}: expected Fold to be one of {FOLDS}; got {fold!r}")
    try:
        days = _shared(tuple(_days(properties.get("dates-S2"), season_start)))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f'patch {patch_id}: expected dates-S2 to be {{"0": YYYYMMDD, ...}}; got {error}'
        ) from None
    if any(after <= before for before, after in itertools.pairwise(days)):
        raise ValueError(f"patch {patch_id}: expected dates-S2 in ascending order; got another order")
    return Patch(
        patch_id, fold, days, *(_radar_days(properties, source, season_start) for source in RADAR.values())
    )


def _radar_days(properties: dict[str, Any], source: Source, season_start: date) -> tuple[int, ...]:
    """Return the days of a radar source, none where they are faulty: most networks do not need them."""
    try:
        return _shared(tuple(_days(properties.get(source.dates), season_start)))
    except (ValueError, TypeError, AttributeError):
        return ()


def _days(dates: Any, season_start: date) -> Iterator[int]:
    """Yield the days of ``{"0": 20180924, ...}``, which some writers store as a string of JSON."""
    stored = json.loads(dates) if isinstance(dates, str) else dates
    if not stored:
        raise ValueError("no dates")
    for _, day in sorted(stored.items(), key=lambda item: int(item[0])):
        yield _day(str(day), season_start)


# The patches of one satellite tile share their dates: they are worked out and kept in memory once.
@lru_cache(maxsize=4096)
def _day(yyyymmdd: str, season_start: date) -> int:
    return (date.fromisoformat(yyyymmdd) - season_start).days


@lru_cache(maxsize=512)
def _shared(days: tuple[int, ...]) -> tuple[int, ...]:
    return days
