"""From stored int16 to what a network sees: subtract each band's mean, divide by its standard deviation.

The official definition (PASTIS, ``NORM_S2_patch.json``): for each patch, mean and standard deviation of
each band over all its frames and pixels; for each fold, the average of these over its patches; for a split,
the average over its folds. Sentinel-1 has its own, over all frames of an orbit (PASTIS-R,
``NORM_S1A_patch.json`` and ``NORM_S1D_patch.json``).

Legend: B batch, T frames, C bands, H and W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import torch

from shapeft_tune.config.bands import S2_BANDS, BandStatistics, Sensor
from shapeft_tune.config.data import DataConfig
from shapeft_tune.data.folder import READERS, Folder, Patch
from shapeft_tune.data.pastis import STATISTICS
from shapeft_tune.data.sources import S2, Source, sources_of
from shapeft_tune.errors import DataError


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from and what divides each band, in the units of ``config.bands``."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bands: tuple[str, ...] = S2_BANDS

    def __post_init__(self) -> None:
        for band, mean, std in zip(self.bands, self.mean, self.std, strict=True):
            if not (np.isfinite(mean) and np.isfinite(std) and std > 0):
                raise DataError(
                    f"band {band}: expected a finite mean and a standard deviation above 0;"
                    f" got {mean} and {std} - is the band constant or missing in the training folds?"
                )

    def apply(self, images_BTCHW: torch.Tensor) -> torch.Tensor:
        """Return float32 of the same shape, on the same device."""
        mean_C11 = images_BTCHW.new_tensor(self.mean, dtype=torch.float32)[:, None, None]
        std_C11 = images_BTCHW.new_tensor(self.std, dtype=torch.float32)[:, None, None]
        return (images_BTCHW.float() - mean_C11) / std_C11


def normalisation_for(
    config: DataConfig,
    folder: Folder,
    pretraining: BandStatistics | None = None,
    sensors: Sequence[Sensor] = ("s2",),
) -> Normalisation:
    """Return the normalisation a trial asks for, from its training folds alone or from ``pretraining``.

    It covers the bands of the sensors in the order of ``config.bands.bands_of``; ``pretraining`` does too.
    """
    sources = sources_of(sensors, config.orbit)
    if config.normalisation == "pretraining":
        if pretraining is None:
            raise DataError(
                "data.normalisation: the model has no statistics of its pretraining for these bands"
            )
        return _normalisation([pretraining], sources)
    build = {"official": official_normalisation, "own": own_normalisation}[config.normalisation]
    return build(folder, config.folds.train, sources)


def official_normalisation(
    folder: Folder, folds: Collection[int], sources: Sequence[Source] = (S2,)
) -> Normalisation:
    """Return the average over these folds of the statistics that come with the data set."""
    return _normalisation([_official_statistics(folder, folds, source) for source in sources], sources)


def own_normalisation(
    folder: Folder, folds: Collection[int], sources: Sequence[Source] = (S2,)
) -> Normalisation:
    """Return the average of the statistics of all patches of these folds, labelled or not.

    Reads every frame of every one of them: about 20 GB of Sentinel-2 for three folds of PASTIS.
    """
    patches = folder.in_folds(folds)
    return _normalisation([_statistics_of(folder, patches, source) for source in sources], sources)


def write_statistics(folder: Folder) -> None:
    """Compute the statistics of every fold by the official definition and write ``NORM_S2_patch.json``."""
    content = {}
    for fold in sorted({patch.fold for patch in folder.patches}):
        statistics = asdict(_statistics_of(folder, folder.in_folds({fold}), S2))
        # Two decimals: beyond them processors differ, and with them would the folder's digest.
        content[f"Fold_{fold}"] = {
            name: [round(value, 2) for value in statistics[name]] for name in statistics
        }
    (folder.root / STATISTICS).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _official_statistics(folder: Folder, folds: Collection[int], source: Source) -> BandStatistics:
    by_fold = folder.statistics(source)
    if missing := sorted(set(folds) - set(by_fold)):
        raise DataError(
            f"{folder.root / source.statistics}: expected statistics of folds {sorted(folds)}; got none of"
            f" fold {missing[0]} - set `data.normalisation: own`"
        )
    return _average([by_fold[fold] for fold in folds])


def _statistics_of(folder: Folder, patches: Sequence[Patch], source: Source) -> BandStatistics:
    if not patches:
        raise DataError(
            f"{folder.root}: expected patches to take statistics of; got none - change `data.folds`"
        )

    def of_patch(patch: Patch) -> BandStatistics:
        images_TCHW = folder.images(patch, range(len(patch.days_of(source))), source)
        mean = images_TCHW.mean(axis=(0, 2, 3), dtype=np.float64)
        std = images_TCHW.std(axis=(0, 2, 3), dtype=np.float64)
        return BandStatistics(tuple(mean.tolist()), tuple(std.tolist()))

    with ThreadPoolExecutor(READERS) as pool:
        return _average(list(pool.map(of_patch, patches)))


def _average(parts: Sequence[BandStatistics]) -> BandStatistics:
    mean = np.mean([part.mean for part in parts], axis=0)
    std = np.mean([part.std for part in parts], axis=0)
    return BandStatistics(tuple(mean.tolist()), tuple(std.tolist()))


def _normalisation(parts: Sequence[BandStatistics], sources: Sequence[Source]) -> Normalisation:
    """Return the statistics of several sources, one after another."""
    return Normalisation(
        mean=tuple(value for part in parts for value in part.mean),
        std=tuple(value for part in parts for value in part.std),
        bands=tuple(band for source in sources for band in source.bands),
    )
