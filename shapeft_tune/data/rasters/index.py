"""Which patches a folder of rasters has, and which files are theirs: by patterns of names, or by an index.

Nothing is opened here but the index.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from shapeft_tune.config.rasters import RASTERS_FILE, Rasters, fault_of_pattern
from shapeft_tune.errors import DataError

DATE = r"\d{8}|\d{4}-\d{2}-\d{2}"
FOLDS = range(1, 6)

Files = dict[str, list[tuple[Path, str | None]]]
"""Files of each patch, with what stands in the place of ``{date}``."""


@dataclass(frozen=True)
class Listed:
    """One patch's files, none of them opened."""

    name: str
    labels: Path
    images: tuple[tuple[Path, date | None], ...]
    """In the order of their dates; the date of a stack is None, and it is the only one."""
    dates: tuple[date, ...]
    """Of a stack's frames as the index has them; empty where the descriptions of its bands tell."""
    fold: int | None
    """None where blocks of land decide."""


def list_series(root: Path, rasters: Rasters) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    """Return the patches whose files are complete, ordered by name, and every fault of the others.

    Raises DataError where the index cannot be read at all.
    """
    faults: list[str] = []
    rows = _rows(root / rasters.index, faults) if rasters.index else None
    images, labels = _found(root, rasters.images), _found(root, rasters.labels)
    names = sorted(images.keys() | labels.keys() if rows is None else rows)
    if not names and not faults:
        where = rasters.index or f"{rasters.images} and {rasters.labels}"
        faults.append(f"{root}: expected at least one patch in {where}; got none - check the YAML file")
    faults += [
        f"{root / RASTERS_FILE}: folds.patches: expected names of patches; got {name!r}, which has no files"
        for name in sorted((rasters.folds.patches or {}).keys() - set(names))
    ]
    listed: list[Listed] = []
    for name in names:
        before, row = len(faults), rows[name] if rows is not None else {}
        own_images = _own(root, "images", name, row, images, faults)
        series = _series(root, name, own_images, rasters.images, faults)
        own_labels = _own(root, "labels", name, row, labels, faults)
        _require_one(root, name, "label raster", own_labels, rasters.labels, faults)
        dates, fold = _dates(root, name, row, rasters, faults), _fold(root, name, row, rasters, faults)
        if len(faults) == before:
            listed.append(Listed(name, own_labels[0][0], series, dates, fold))
    return tuple(listed), tuple(faults)


def parsed_date(text: str) -> date:
    """Return the date of YYYYMMDD or YYYY-MM-DD. Raises ValueError for anything else."""
    if not re.fullmatch(DATE, text):
        raise ValueError(f"{text!r} is no date")
    return date.fromisoformat(text)


def _found(root: Path, pattern: str | None, patch: str | None = None) -> Files:
    """Return the files that fit a pattern, by patch; those of one patch where its name is given."""
    found: Files = {}
    if pattern is None:
        return found
    parts = re.split(r"(\{patch\}|\{date\}|\*)", pattern)
    named: set[str] = set()
    expression, searched = "", ""
    for part in parts:
        if part == "{patch}" and patch is not None:
            part = patch
        match part:
            case "*":
                expression += "[^/]*"
            case "{patch}" | "{date}":
                name = part[1:-1]
                kind = f"{DATE}|[^/]+?" if name == "date" else "[^/]+"
                expression += f"(?P={name})" if name in named else f"(?P<{name}>{kind})"
                named.add(name)
            case _:
                expression += re.escape(part)
        searched += "*" if part in ("*", "{patch}", "{date}") else glob.escape(part)
    for path in sorted(root.glob(searched)):
        if fits := re.fullmatch(expression, path.relative_to(root).as_posix()):
            values = fits.groupdict()
            found.setdefault(patch or values.get("patch", ""), []).append((path, values.get("date")))
    return found


def _own(
    root: Path, kind: str, name: str, row: Mapping[str, Any], found: Files, faults: list[str]
) -> list[tuple[Path, str | None]]:
    """Return one patch's files: those that its row names, or those found by the pattern for all."""
    pattern = row.get(kind)
    if not pattern:
        return found.get(name, [])
    if fault := fault_of_pattern(str(pattern), ("{patch}", "{date}")):
        faults.append(f"{root}: patch {name}: {kind}: expected {fault}; got {str(pattern)!r}")
        return []
    return _found(root, str(pattern), name).get(name, [])


def _series(
    root: Path,
    name: str,
    files: list[tuple[Path, str | None]],
    pattern: str | None,
    faults: list[str],
) -> tuple[tuple[Path, date | None], ...]:
    if not files or any(text is None for _, text in files):
        _require_one(root, name, "image", files, pattern, faults)
        return tuple((path, None) for path, _ in files)
    series: dict[date, Path] = {}
    for path, text in files:
        try:
            day = parsed_date(text or "")
        except ValueError as error:
            faults.append(f"{path}: expected YYYYMMDD or YYYY-MM-DD in its name; got {error}")
            continue
        if day in series:
            faults.append(f"{path}: expected one image for each date; got {day} also in {series[day].name}")
        series.setdefault(day, path)
    return tuple((series[day], day) for day in sorted(series))


def _require_one(
    root: Path,
    name: str,
    kind: str,
    files: list[tuple[Path, str | None]],
    pattern: str | None,
    faults: list[str],
) -> None:
    if len(files) != 1:
        found = ", ".join(path.name for path, _ in files) or "none"
        where = f" at {pattern}" if pattern else ""
        faults.append(f"{root}: patch {name}: expected one {kind}{where}; got {found}")


def _dates(
    root: Path, name: str, row: Mapping[str, Any], rasters: Rasters, faults: list[str]
) -> tuple[date, ...]:
    given = row.get("dates") or ()
    texts = [str(each) for each in given] if isinstance(given, list) else re.findall(r"[^\s;,]+", str(given))
    try:
        dates = tuple(map(parsed_date, texts if given else ()))
    except ValueError as error:
        expected = "YYYYMMDD or YYYY-MM-DD, with spaces between them"
        faults.append(
            f"{root / (rasters.index or '')}: patch {name}: dates: expected {expected}; got {error}"
        )
        return ()
    if twice := [str(day) for day, count in Counter(dates).items() if count > 1]:
        faults.append(
            f"{root / (rasters.index or '')}: patch {name}: dates: expected each once; got {twice[0]} again"
        )
    return dates


def _fold(root: Path, name: str, row: Mapping[str, Any], rasters: Rasters, faults: list[str]) -> int | None:
    source = rasters.folds
    if source.blocks_metres is not None:
        return None
    given = row.get(source.column) if source.column is not None else (source.patches or {}).get(name)
    if str(given).strip() in map(str, FOLDS):
        return int(str(given))
    file = root / (rasters.index if source.column is not None and rasters.index else RASTERS_FILE)
    where = source.column or "folds.patches"
    faults.append(f"{file}: patch {name}: {where}: expected a fold from 1 to 5; got {given!r}")
    return None


def _rows(path: Path, faults: list[str]) -> dict[str, Mapping[str, Any]]:
    """Return the index's rows by patch. Raises DataError where it is no index."""
    rows: dict[str, Mapping[str, Any]] = {}
    try:
        read = list(_features(path) if path.suffix.lower() in (".geojson", ".json") else _lines(path))
    except FileNotFoundError:
        raise DataError(f"{path}: expected the index that the YAML file names; got no such file") from None
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        expected = "a CSV file with a header, or a GeoJSON FeatureCollection"
        raise DataError(f"{path}: expected {expected}; got something else ({error})") from None
    for number, row in enumerate(read, start=1):
        if "patch" not in row:
            raise DataError(f"{path}: expected a column `patch`; got {', '.join(map(str, row)) or 'none'}")
        name = "" if row["patch"] is None else str(row["patch"]).strip()
        if not name or name in (".", "..") or re.search(r"[/\\\0{}*]", name):
            faults.append(f"{path}: patch {number}: expected a name that is no path; got {name!r}")
        elif None in row:
            faults.append(f"{path}: patch {name}: expected a value for each column; got more - quote commas")
        elif name in rows:
            faults.append(f"{path}: patch {name}: expected it once; got it again as patch {number}")
        else:
            rows[name] = row
    return rows


def _features(path: Path) -> Iterator[Mapping[str, Any]]:
    for feature in json.loads(path.read_text(encoding="utf-8-sig"))["features"]:
        if not isinstance(feature["properties"], dict):
            raise ValueError("a feature without properties")
        yield feature["properties"]


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)
