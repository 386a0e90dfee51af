"""Which patches a folder of rasters has, and which files are theirs: by patterns of names, or by an index.

Nothing is opened here but the index.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

from shapeft_tune.config.rasters import RASTERS_FILE, Rasters, fault_of_pattern
from shapeft_tune.errors import DataError

DATE = r"\d{8}|\d{4}-\d{2}-\d{2}"
PLACES = re.compile(r"(\{patch\}|\{date\}|\*)")
"""What stands for something else in a pattern."""
YEARS = range(1900, 2101)
"""What can be a year; eight digits in a name may be something else."""
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

    Raises DataError where the index cannot be read, or folders cannot be listed at all.
    """
    faults: list[str] = []
    if not _is_text(str(root)):
        raise DataError(f"{str(root)!r}: expected a name in UTF-8 - rename the folder")
    rows = _rows(root / rasters.index, faults) if rasters.index else None
    images, labels = _told_apart(_found(root, rasters.images, faults), _found(root, rasters.labels, faults))
    names = sorted(images.keys() | labels.keys() if rows is None else rows)
    if not names and not faults:
        where = rasters.index or f"{rasters.images} and {rasters.labels}"
        faults.append(f"{root}: expected at least one patch in {where}; got none - check the YAML file")
    faults += [
        f"{root / RASTERS_FILE}: folds.patches: expected names of patches; got {name!r}, which has no files"
        for name in sorted((rasters.folds.patches or {}).keys() - set(names))
    ]
    listed: list[Listed] = []
    has_folds = _has_folds(root, rows, rasters, faults)
    for name in names:
        before, row = len(faults), rows[name] if rows is not None else {}
        own_labels = _own(root, "labels", name, row, labels, faults)
        paths = {path for path, _ in own_labels}
        own_images = [
            each for each in _own(root, "images", name, row, images, faults) if each[0] not in paths
        ]
        series = _series(root, name, own_images, row.get("images") or rasters.images, faults)
        _require_one(root, name, "label raster", own_labels, rasters.labels, faults)
        dates = _dates(root, name, row, rasters, faults)
        fold = _fold(root, name, row, rasters, faults) if has_folds else None
        if len(faults) == before:
            listed.append(Listed(name, own_labels[0][0], series, dates, fold))
    return tuple(listed), tuple(faults)


def parsed_date(text: str) -> date:
    """Return the date of YYYYMMDD or YYYY-MM-DD. Raises ValueError for anything else, and for other ages."""
    try:
        day = date.fromisoformat(text if re.fullmatch(DATE, text) else "")
    except ValueError:
        raise ValueError(f"{text!r}, which is no date") from None
    if day.year not in YEARS:
        raise ValueError(f"{text!r}, a year before {YEARS[0]} or after {YEARS[-1]}")
    return day


def _told_apart(images: Files, labels: Files) -> tuple[Files, Files]:
    """Return both without the files that are the other: labels lie beside images in some folders.

    What fits both patterns is a label raster; unless its name has a date, and another patch's name as an
    image's, as ``a_20190305.tif`` fits ``{patch}_{date}.tif`` as one of a's, and ``{patch}.tif`` too.
    """
    label_of = {path: name for name, files in labels.items() for path, _ in files}
    image_of = {path: (name, text) for name, files in images.items() for path, text in files}

    def is_image(path: Path) -> bool:
        name, text = image_of.get(path, ("", None))
        return name != label_of.get(path, "") and bool(re.fullmatch(DATE, text or ""))

    return (
        _those(images, lambda path: path not in label_of or is_image(path)),
        _those(labels, lambda path: not is_image(path)),
    )


def _those(found: Files, wanted: Callable[[Path], bool]) -> Files:
    kept = {name: [each for each in files if wanted(each[0])] for name, files in found.items()}
    return {name: files for name, files in kept.items() if files}


def _found(root: Path, pattern: str | None, faults: list[str], patch: str | None = None) -> Files:
    """Return the files that fit a pattern, by patch; those of one patch where its name is given.

    Raises DataError where they cannot be listed.
    """
    found: Files = {}
    if pattern is None:
        return found
    pattern = PurePosixPath(pattern).as_posix()  # without "./" and "//"
    exact, loose = (_expression(pattern, patch, date) for date in (DATE, "[^/]+?"))
    searched = [_part(part, patch) for part in pattern.split("/")]
    try:
        paths = list(_below(root, searched))
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or "no path"
        raise DataError(f"{root / pattern}: expected files that can be looked for; got: {reason}") from None
    for path in paths:
        name = path.relative_to(root).as_posix()
        if not (fits := exact.fullmatch(name) or loose.fullmatch(name)):
            continue
        if not _is_text(name):
            faults.append(f"{root}: expected names of files in UTF-8; got {name!r} - rename it")
            continue
        values = fits.groupdict()
        found.setdefault(patch or values.get("patch", ""), []).append((path, values.get("date")))
    return found


def _expression(pattern: str, patch: str | None, date: str) -> re.Pattern[str]:
    """Return what the names that fit a pattern look like, the place of its date holding ``date``."""
    kinds = {"patch": "[^/]+" if patch is None else re.escape(patch), "date": date}
    expression, named = "", set[str]()
    for part in PLACES.split(pattern):
        name = part[1:-1]
        if part == "*":
            expression += "[^/]*?"
        elif part in ("{patch}", "{date}"):
            expression += f"(?P={name})" if name in named else f"(?P<{name}>{kinds[name]})"
            named.add(name)
        else:
            expression += re.escape(part)
    return re.compile(expression)


def _part(part: str, patch: str | None) -> str | re.Pattern[str]:
    """Return one name of a path; or, where several names fit it, what they look like at most."""
    pieces = PLACES.split(part if patch is None else part.replace("{patch}", patch))
    if len(pieces) == 1:
        return pieces[0]
    return re.compile(
        "".join(".*" if PLACES.fullmatch(piece) else re.escape(piece) for piece in pieces), re.DOTALL
    )


def _below(folder: Path, parts: Sequence[str | re.Pattern[str]]) -> Iterator[Path]:
    """Yield what fits these parts of a path, ordered by name. Raises OSError where a folder cannot be read.

    So does not ``Path.glob``, which passes over what it may not read.
    """
    part, *rest = parts
    try:
        names = [part] if isinstance(part, str) else sorted(filter(part.fullmatch, os.listdir(folder)))
        if not rest and isinstance(part, str):
            (folder / part).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if rest:
            yield from _below(folder / name, rest)
        else:
            yield folder / name


def _is_text(name: str) -> bool:
    """Return whether a name can be printed and kept; those in other encodings than UTF-8 cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    try:
        return _found(root, str(pattern), faults, name).get(name, [])
    except DataError as error:
        faults.append(str(error))
        return []


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
            hint = _hint_at_more(text or "", pattern)
            faults.append(f"{path}: expected YYYYMMDD or YYYY-MM-DD in its name; got {error}{hint}")
            continue
        if day in series:
            faults.append(f"{path}: expected one image for each date; got {day} also in {series[day].name}")
        series.setdefault(day, path)
    return tuple((series[day], day) for day in sorted(series))


def _hint_at_more(text: str, pattern: str | None) -> str:
    """Say how to write a pattern for names that go on after their date, as Sentinel-2's own do."""
    if not re.match(DATE, text) or not pattern:
        return ""
    return f" - write {pattern.replace('{date}', '{date}*')} where more follows the date"


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


def _has_folds(
    root: Path, rows: Mapping[str, Mapping[str, Any]] | None, rasters: Rasters, faults: list[str]
) -> bool:
    """Return whether any row has the column of folds; it is one fault of the index if none has."""
    column = rasters.folds.column
    if column is None or not rows or any(column in row for row in rows.values()):
        return True
    columns = ", ".join(dict.fromkeys(str(name) for row in rows.values() for name in row))
    faults.append(
        f"{root / (rasters.index or '')}: expected a column `{column}`, as `folds.column` says; got {columns}"
    )
    return False


def _fold(root: Path, name: str, row: Mapping[str, Any], rasters: Rasters, faults: list[str]) -> int | None:
    source = rasters.folds
    if source.blocks_metres is not None:
        return None
    given = row.get(source.column) if source.column is not None else (source.patches or {}).get(name)
    try:
        number = float(str(given))  # what fills columns with gaps writes 1.0
    except ValueError:
        number = 0
    if number in FOLDS:
        return int(number)
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
    except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        expected = "a CSV file with a header, or a GeoJSON FeatureCollection"
        raise DataError(f"{path}: expected {expected}; got something else ({error})") from None
    for number, row in enumerate(read, start=1):
        if "patch" not in row:
            names = ", ".join(map(str, row)) or "none"
            hint = " - separate columns by commas" if re.search("[;\t]", names) else ""
            raise DataError(f"{path}: expected a column `patch`; got {names}{hint}")
        name = "" if row["patch"] is None else str(row["patch"]).strip()
        if not name or name in (".", "..") or re.search(r"[/\\\0{}*]", name) or not _is_text(name):
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
