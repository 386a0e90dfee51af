"""``rasters.yaml``: what a folder of GeoTIFF series and label rasters of one's own holds.

Patterns are paths inside the folder. ``{patch}`` stands for a patch's name, ``{date}`` for YYYYMMDD or
YYYY-MM-DD, ``*`` for anything, all of them within one part of the path.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.base import Frozen, Violation
from shapeft_tune.config.data import Fold
from shapeft_tune.config.loading import checked
from shapeft_tune.config.yaml_file import read_yaml

RASTERS_FILE = "rasters.yaml"
MOST_CLASSES = 255
"""Labels are uint8, and void needs a number too."""
CLASS_NAME = re.compile(r"\w(?:[\w .,:-]{0,98}[\w.:-])?")
"""What can be part of a metric's name in the record, which drops the commas."""
SEASON = (9, 1)
"""Month and day on which every season starts."""


def _without_zero(band: Any) -> Any:
    """Let ``B02`` stand for ``B2``, as both are in use."""
    return re.sub(r"^B0(\d)$", r"B\1", band) if isinstance(band, str) else band


def _several(given: Any) -> Any:
    """Let ``void: 0`` stand for ``void: [0]``."""
    return given if given is None or isinstance(given, list | tuple) else (given,)


def _list_of_bands(given: Any) -> Any:
    if not isinstance(given, list | tuple):
        raise ValueError("a list of the names of bands, such as [B2, B3, B4]")
    return given


def _names_of_values(given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise ValueError("a name for each label value, such as {1: grass, 2: wheat}")
    return given


def _source_of_folds(given: Any) -> Any:
    if not isinstance(given, Mapping | FoldSource):
        raise ValueError(f"one of {', '.join(FoldSource.model_fields)}, such as {{column: fold}}")
    return given


def _with_text_keys(given: Any) -> Any:
    """Patches named ``12`` are numbers in YAML."""
    return {str(name): fold for name, fold in given.items()} if isinstance(given, Mapping) else given


class FoldSource(Frozen):
    """Where the fold of each patch, 1 to 5, comes from: one of these."""

    column: str | None = None
    """This column of the index."""
    patches: Annotated[dict[str, Fold] | None, BeforeValidator(_with_text_keys)] = None
    """A fold for each patch's name."""
    blocks_metres: float | None = Field(None, gt=0)
    """Side of square blocks of land, which are dealt to the folds in the order of a hash. The patches of a
    block share a fold, because neighbours look alike and would make a test too easy. Needs a projected CRS.
    Patches that are added later may move blocks to other folds."""

    def rules(self) -> Iterator[Violation]:
        """Say one thing."""
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            yield Violation(
                "", f"one of {', '.join(type(self).model_fields)}", " and ".join(given) or "none of them"
            )


class Rasters(Frozen):
    """A folder of rasters: where series and labels lie, and what their bands and values mean."""

    images: str | None = None
    """Pattern of the series: ``images/{patch}/{date}.tif``, a file for each date; or ``series/{patch}.tif``,
    a stack that holds all bands of the first date, then all of the next. A stack's dates stand in the index's
    column ``dates`` or in the descriptions of its bands. The index may name a pattern for each patch. Files
    that ``labels`` finds for a patch are none of its images."""
    labels: str | None = None
    """Pattern of the label rasters, one band of whole numbers: ``labels/{patch}.tif``. Their grid is the
    patch's. The index may name a file for each patch."""
    index: str | None = None
    """CSV file with a row, or GeoJSON file with a feature, for each patch that is used. Columns or
    properties: ``patch``, its name; and, where wanted, ``images``, ``labels``, ``dates`` and a fold. By
    default, every patch that the patterns find is used."""
    bands: Annotated[
        tuple[Annotated[str, BeforeValidator(_without_zero)], ...], BeforeValidator(_list_of_bands)
    ]
    """What the file bands of one date are, in order. The ten of ``config.bands.S2_BANDS`` must be among them;
    others, such as B1 or SCL, are not read."""
    scale: float = Field(1.0, gt=0)
    """Stored value x ``scale`` + ``offset`` = surface reflectance x 10000."""
    offset: float = 0.0
    """-1000 for Level-2A products of processing baseline 04.00 and later (from January 2022), which are
    stored 1000 too high, unless whoever made the files has taken that off."""
    nodata: float | None = None
    """Value of image pixels that were not seen, for files that do not say so themselves. Such pixels become 0
    after scaling; a date without any other pixel is left out of the patch's series."""
    classes: Annotated[dict[int, str], BeforeValidator(_names_of_values)]
    """Name of each label value. Their order is the order of the classes."""
    void: Annotated[tuple[int, ...], BeforeValidator(_several)] = ()
    """Label values that are neither learnt nor scored. The label raster's nodata is void as well, unless
    ``classes`` names it."""
    folds: Annotated[FoldSource, BeforeValidator(_source_of_folds)]
    """Which patches are trained on, selected on and reported on; ``data.folds`` says which fold is what."""
    resample: Literal["nearest", "bilinear", "cubic"] | None = None
    """What is done with images on another grid than their labels': other CRS, pixels or extent. By default
    they are an error. Labels are never resampled."""
    season_start: date | None = None
    """Day 0 of every series, a first of September; by default the last one before the earliest date."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of labels 0, 1, ... inside the project."""
        return tuple(self.classes.values())

    @property
    def file_bands(self) -> tuple[int, ...]:
        """Place of each of ``S2_BANDS`` among the file bands of one date, from 1."""
        return tuple(self.bands.index(band) + 1 for band in S2_BANDS)

    def rules(self) -> Iterator[Violation]:
        """Patterns can be followed, bands and classes are complete and told apart."""
        yield from _broken_patterns(self)
        if missing := [band for band in S2_BANDS if band not in self.bands]:
            expected = f"all of {', '.join(S2_BANDS)}, the ten bands that the models were made for"
            yield Violation("bands", expected, f"none named {', '.join(missing)}")
        counts = Counter(self.bands)
        if twice := [band for band, count in counts.items() if count > 1]:
            yield Violation("bands", "each band once", f"{', '.join(twice)} twice")
        yield from _broken_classes(self)
        if self.season_start and (self.season_start.month, self.season_start.day) != SEASON:
            yield Violation("season_start", "a first of September, YYYY-09-01", str(self.season_start))
        if self.folds.column is not None and self.index is None:
            yield Violation("folds.column", "an `index` that has this column", "no index")


def _broken_patterns(rasters: Rasters) -> Iterator[Violation]:
    patterns = {"images": rasters.images, "labels": rasters.labels}
    for name, pattern in patterns.items():
        if pattern is None and rasters.index is None:
            yield Violation(name, "a pattern, or an `index` that names the files", "neither")
        elif pattern is not None:
            known = ("{patch}", "{date}") if name == "images" else ("{patch}",)
            if (fault := fault_of_pattern(pattern, known)) or "{patch}" not in pattern:
                yield Violation(name, fault or "{patch} in it", repr(pattern))
    if rasters.labels is not None and rasters.labels == rasters.images:
        yield Violation("labels", "another pattern than that of the images", repr(rasters.labels))
    if rasters.index is not None and (fault := fault_of_pattern(rasters.index, ())):
        yield Violation("index", fault, repr(rasters.index))


def fault_of_pattern(pattern: str, known: tuple[str, ...]) -> str:
    """Return what was expected of a pattern that may have these placeholders; empty if nothing is wrong."""
    path = PurePosixPath(pattern)
    if not pattern or path.is_absolute() or ".." in path.parts or "\\" in pattern:
        return "a path inside the folder"
    if set(re.findall(r"\{[^}]*\}", pattern)) - set(known):
        return f"no placeholders but {' and '.join(known)}" if known else "no placeholders"
    return ""


def _broken_classes(rasters: Rasters) -> Iterator[Violation]:
    if not 2 <= len(rasters.classes) <= MOST_CLASSES:
        expected = f"at least 2 classes and at most {MOST_CLASSES}"
        yield Violation("classes", expected, str(len(rasters.classes)))
    seen: dict[str, int] = {}
    for value, name in rasters.classes.items():
        if not CLASS_NAME.fullmatch(name):
            expected = "at most 100 letters, digits, spaces and _ - . , : that begin with a letter or digit"
            yield Violation(f"classes.{value}", expected, repr(name))
        recorded = name.replace(",", "").casefold()
        if recorded in seen:
            expected = f"a name that differs from that of {seen[recorded]} in more than commas and capitals"
            yield Violation(f"classes.{value}", expected, repr(name))
        seen.setdefault(recorded, value)
    if both := sorted(set(rasters.void) & set(rasters.classes)):
        yield Violation("void", "values that are no class", f"{', '.join(map(str, both))}, also in classes")


def load_rasters(path: Path) -> Rasters:
    """Read ``rasters.yaml``.

    Raises:
        ConfigError: with every problem of the file.
    """
    file = read_yaml(path)
    return checked(Rasters, file.content, file.source, file)
