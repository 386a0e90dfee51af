"""A small data set in the exact PASTIS layout, generated: fields that grow, ripen and are harvested.

It is made so that what the project measures can be seen on it in a minute. On one date in spring, the winter
crops are all green and the summer crops are all bare soil; over the season each has a calendar of its own
(``crops.py``), which growers shift by some weeks, clouds hide and noise blurs. So more dates and more labels
both help, and for the same reasons as in the real data. Which model is better in reality it cannot tell.

Kept from the real data: irregular dates, shared by the patches of one satellite tile; the dominance of a few
classes; the previous crop in the first autumn; tracks and hedges between fields; mixed pixels; void parcels
(cut by the patch's border, or of other crops); 20 m bands; clouds and their shadows.

Legend: T frames, C bands, P parcels, H and W pixels. Days are days since 1 September 2018.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.data import SampleDataset
from shapeft_tune.data.crops import GROWTHS, TRACK, Floats, grown
from shapeft_tune.data.normalisation import write_statistics
from shapeft_tune.data.pastis import (
    IMAGE_FOLDER,
    TARGET_FOLDER,
    VOID,
    PastisFolder,
)
from shapeft_tune.data.pastis_metadata import FOLDS, METADATA, SEASON_START

GENERATOR_VERSION = 1
"""Raised with every change of what is generated, so that no trial mixes old and new."""

Ints = NDArray[np.int64]

TILES = ("t30uxv", "t31tfj", "t31tfm", "t32ulu")
"""The satellite tiles of PASTIS; the sample has four regions with their names."""
TILE_ORIGIN = ((420_000, 6_890_000), (850_000, 6_300_000), (850_000, 6_560_000), (1_000_000, 6_820_000))
"""Corner of each region in metres, EPSG:2154."""
PIXEL_METRES = 10
REVISITS, REVISIT_DAYS = 82, 5
"""Sentinel-2 passes every 5 days from early September to late October of the next year."""
PARCEL_SIDE = 11
"""Mean side of a parcel in pixels: about 1.2 hectares."""
SMALLEST_PARCEL = 12
"""Pixels; what the patch's border leaves of a parcel below this is void."""
BLURRED_BANDS = [S2_BANDS.index(band) for band in ("B5", "B6", "B7", "B8A", "B11", "B12")]
"""Sensed at 20 m."""
CLOUD = np.array((5600, 5400, 5500, 5650, 5900, 6100, 6200, 6200, 4300, 3300), dtype=np.float64)
HAZE = np.array((300, 230, 180, 140, 100, 80, 70, 60, 20, 10), dtype=np.float64)
"""What a hazy day adds to each band."""
SKIES = {-9.0: 0.76, -0.4: 0.10, 0.4: 0.07, 9.0: 0.07}
"""Probability of a clear, a fair, a broken and an overcast sky; the key is added to the clouds' thickness."""


@dataclass(frozen=True)
class _Region:
    """What the patches of one tile share."""

    days_T: Ints
    lateness: float
    """Days by which everything grows later here."""
    shares: Floats
    """Probability of each of ``GROWTHS``."""


@dataclass(frozen=True)
class _Fields:
    """A map of parcels."""

    parcel_HW: Ints
    """Number of the parcel, from 0; the last number is the tracks between them."""
    growths: tuple[int, ...]
    """Index into ``GROWTHS`` of each parcel."""
    labels_P: NDArray[np.uint8]
    """Class of each parcel; the tracks are background."""


def generate_sample(settings: SampleDataset, root: Path) -> None:
    """Write the data set that ``settings`` describe into the existing, empty folder ``root``.

    The same settings give the same files. Patches are dealt to folds and regions in turn.
    """
    for name in (IMAGE_FOLDER, TARGET_FOLDER):
        (root / name).mkdir()
    regions = [_region(settings, tile) for tile in range(len(TILES))]
    features = [_write_patch(settings, index, regions, root) for index in range(settings.patches)]
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2154"}},
        "features": features,
    }
    (root / METADATA).write_text(json.dumps(content, indent=1), encoding="utf-8")
    write_statistics(PastisFolder.open(root))


def _region(settings: SampleDataset, tile: int) -> _Region:
    chance = np.random.default_rng([settings.seed, 0, tile])
    winter = np.abs(np.arange(REVISITS) * REVISIT_DAYS - 115) < 50
    clear = np.where(winter, 0.4, 1.0)  # providers drop the cloudiest dates, most of them in winter
    count = settings.dates + chance.integers(0, 4)
    passes = np.sort(chance.choice(REVISITS, count, replace=False, p=clear / clear.sum()))
    shares = np.array([growth.share for growth in GROWTHS]) * chance.lognormal(0, 0.25, len(GROWTHS))
    return _Region(
        days_T=4 + chance.integers(0, REVISIT_DAYS) + REVISIT_DAYS * passes,
        lateness=chance.uniform(-7, 7),
        shares=shares / shares.sum(),
    )


def _write_patch(settings: SampleDataset, index: int, regions: list[_Region], root: Path) -> dict[str, Any]:
    """Write one patch's two files and return its entry in the metadata."""
    chance = np.random.default_rng([settings.seed, 1, index])
    tile = index // len(FOLDS) % len(TILES)
    number = index // (len(FOLDS) * len(TILES)) * len(FOLDS) + index % len(FOLDS)  # within the tile
    patch_id = 10_000 * (tile + 1) + number
    fields = _fields(settings.patch_size, regions[tile], chance)
    target_HW = fields.labels_P[fields.parcel_HW]
    parcel_HW = (fields.parcel_HW % 256).astype(
        np.uint8
    )  # the official channels 1 and 2 tell parcels apart too
    target_3HW = np.stack([target_HW, parcel_HW, parcel_HW])
    np.save(root / IMAGE_FOLDER / f"S2_{patch_id}.npy", _series(fields, regions[tile], chance))
    np.save(root / TARGET_FOLDER / f"TARGET_{patch_id}.npy", target_3HW)
    properties = {
        "Fold": FOLDS[index % len(FOLDS)],
        "ID_PATCH": patch_id,
        "N_Parcel": int(np.count_nonzero((fields.labels_P > 0) & (fields.labels_P < VOID))),
        "Parcel_Cover": float(np.mean(target_HW != 0)),
        "TILE": TILES[tile],
        "dates-S2": {str(frame): _yyyymmdd(int(day)) for frame, day in enumerate(regions[tile].days_T)},
    }
    geometry = {"type": "MultiPolygon", "coordinates": [[_square(tile, number, settings.patch_size)]]}
    return {"type": "Feature", "id": str(patch_id), "properties": properties, "geometry": geometry}


def _yyyymmdd(day: int) -> int:
    return int((SEASON_START + timedelta(days=day)).strftime("%Y%m%d"))


def _square(tile: int, number: int, size: int) -> list[list[float]]:
    """Return the patch's outline: patches of a tile stand in rows of fifty, side by side."""
    side = size * PIXEL_METRES
    left, top = TILE_ORIGIN[tile][0] + number % 50 * side, TILE_ORIGIN[tile][1] - number // 50 * side
    corners = [(left, top), (left + side, top), (left + side, top - side), (left, top - side), (left, top)]
    return [[float(x), float(y)] for x, y in corners]


def _fields(size: int, region: _Region, chance: np.random.Generator) -> _Fields:
    """Lay out parcels: a turned and stretched grid whose points are jittered, each owning what is nearest."""
    angle, stretch = chance.uniform(0, np.pi), chance.uniform(0.75, 1.33)
    row_HW, column_HW = np.indices((size, size)) / PARCEL_SIDE
    across_HW = (np.cos(angle) * column_HW - np.sin(angle) * row_HW) * stretch + chance.uniform()
    along_HW = (np.sin(angle) * column_HW + np.cos(angle) * row_HW) / stretch + chance.uniform()
    nearest_HW, second_HW, owner_HW = _two_nearest(across_HW, along_HW, chance)
    _, parcel_HW = np.unique(owner_HW, return_inverse=True)
    count = int(parcel_HW.max()) + 1
    growths = chance.choice(len(GROWTHS), count, p=region.shares)
    labels_P = np.array([*(GROWTHS[growth].label for growth in growths), TRACK.label], dtype=np.uint8)
    other_crop = chance.random(count) < 0.04
    cut_off = np.bincount(parcel_HW.ravel(), minlength=count) < SMALLEST_PARCEL
    labels_P[:-1][(other_crop | cut_off) & (labels_P[:-1] > 0)] = VOID
    on_track = (second_HW - nearest_HW) * PARCEL_SIDE / 2 < 0.5  # within half a pixel of the border
    return _Fields(np.where(on_track, count, parcel_HW), tuple(growths.tolist()), labels_P)


def _two_nearest(
    across_HW: Floats, along_HW: Floats, chance: np.random.Generator
) -> tuple[Floats, Floats, Ints]:
    """Return each pixel's distance to its nearest and second nearest grid point, and the nearest's number.

    A pixel looks at the 25 points around it only, so the cost does not grow with the number of parcels.
    """
    corner = np.floor([along_HW.min(), across_HW.min()]) - 2
    along_HW, across_HW = along_HW - corner[0], across_HW - corner[1]
    rows, columns = int(along_HW.max()) + 3, int(across_HW.max()) + 3
    jitter = chance.uniform(0.12, 0.88, (2, rows, columns))
    distances, owners = [], []
    for down, right in itertools.product(range(-2, 3), repeat=2):
        row_HW, column_HW = along_HW.astype(np.int64) + down, across_HW.astype(np.int64) + right
        point_row_HW = row_HW + jitter[0, row_HW, column_HW]
        point_column_HW = column_HW + jitter[1, row_HW, column_HW]
        distances.append(np.hypot(along_HW - point_row_HW, across_HW - point_column_HW))
        owners.append(row_HW * columns + column_HW)
    order = np.argsort(distances, axis=0)[:2]
    near = np.take_along_axis(np.array(distances), order, axis=0)
    return near[0], near[1], np.take_along_axis(np.array(owners), order, axis=0)[0]


def _series(fields: _Fields, region: _Region, chance: np.random.Generator) -> NDArray[np.int16]:
    """Return what the satellite sees of the fields: int16 [T, C, H, W]."""
    days_T = region.days_T.astype(np.float64)
    late = region.lateness + chance.normal(0, 3)
    parcels = [
        grown(GROWTHS[growth], days_T, late + chance.normal(0, 6), chance) for growth in fields.growths
    ]
    parcels.append(grown(TRACK, days_T, late, chance))
    image_TCHW = np.moveaxis(np.stack(parcels, axis=1)[:, fields.parcel_HW], -1, 1)
    size = fields.parcel_HW.shape[0]
    image_TCHW = image_TCHW * (1 + 0.06 * _smooth(chance, (1, 1), size, cells=6))  # uneven ground
    image_TCHW = _sensed(image_TCHW)
    image_TCHW = _under_the_sky(image_TCHW, chance)
    image_TCHW += chance.normal(0, 1, image_TCHW.shape) * (20 + 0.02 * np.abs(image_TCHW))
    return np.clip(np.rint(image_TCHW), -2000, 20_000).astype(np.int16)


def _sensed(image_TCHW: Floats) -> Floats:
    """Blur over neighbouring pixels, and over blocks of 2 x 2 in the bands that are sensed at 20 m."""
    for axis in (-2, -1):
        before, after = _shifted(image_TCHW, 1, axis), _shifted(image_TCHW, -1, axis)
        image_TCHW = 0.2 * before + 0.6 * image_TCHW + 0.2 * after
    frames, _, height, width = image_TCHW.shape
    coarse = image_TCHW[:, BLURRED_BANDS]
    blocks = coarse.reshape(frames, len(BLURRED_BANDS), height // 2, 2, width // 2, 2).mean(axis=(3, 5))
    image_TCHW[:, BLURRED_BANDS] = blocks.repeat(2, axis=-2).repeat(2, axis=-1)
    return image_TCHW


def _shifted(image: Floats, by: int, axis: int) -> Floats:
    """Shift along an axis; the border repeats."""
    index = np.clip(np.arange(image.shape[axis]) - by, 0, image.shape[axis] - 1)
    return image.take(index, axis=axis)


def _under_the_sky(image_TCHW: Floats, chance: np.random.Generator) -> Floats:
    """Add each frame's light, rain, haze, clouds and their shadows."""
    frames, size = image_TCHW.shape[0], image_TCHW.shape[-1]
    light_T111 = chance.lognormal(0, 0.05, (frames, 1, 1, 1))
    haze_T111 = chance.exponential(0.35, (frames, 1, 1, 1))
    cover_T = chance.choice(list(SKIES), frames, p=list(SKIES.values()))
    thickness_THW = _smooth(chance, (frames,), size, cells=3) + cover_T[:, None, None]
    cloud_T1HW = 0.95 * np.clip(2.5 * thickness_THW, 0, 1)[:, None]
    shadow_T1HW = _shifted(_shifted(cloud_T1HW, -size // 6, -2), size // 8, -1)
    image_TCHW = (image_TCHW * light_T111 + haze_T111 * HAZE[:, None, None]) * (1 - 0.55 * shadow_T1HW)
    bright_TC11 = CLOUD[:, None, None] * chance.lognormal(0, 0.15, (frames, 1, 1, 1))
    return np.asarray((1 - cloud_T1HW) * image_TCHW + cloud_T1HW * bright_TC11)


def _smooth(chance: np.random.Generator, shape: tuple[int, ...], size: int, cells: int) -> Floats:
    """Return smooth noise [*shape, size, size], about standard normal, with bumps of size / cells pixels."""
    knots = chance.normal(0, 1, (*shape, cells + 1, cells + 1))
    place = np.linspace(0, cells, size)
    weights = np.maximum(1 - np.abs(place[:, None] - np.arange(cells + 1)), 0)  # linear interpolation
    return np.asarray(1.5 * weights @ knots @ weights.T)
