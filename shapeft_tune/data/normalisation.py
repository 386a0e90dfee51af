"""From stored int16 to what a network sees: subtract each band's mean, divide by its standard deviation.

The official definition (PASTIS, ``NORM_S2_patch.json``): for each patch, mean and standard deviation of
each band over all its frames and pixels; for each fold, the average of these over its patches; for a split,
the average over its folds. Sentinel-1 has its own, over all frames of an orbit (PASTIS-R,
``NORM_S1A_patch.json`` and ``NORM_S1D_patch.json``).

Legend: B batch, T frames, C bands or channels, H and W pixels, P pixels of one frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shapeft_tune.atomic import write_atomically
from shapeft_tune.config.bands import S2_BANDS, BandStatistics, Sensor
from shapeft_tune.config.data import DataConfig
from shapeft_tune.data.facts import known
from shapeft_tune.data.folder import READERS, Folder, OnProgress, Patch, no_progress
from shapeft_tune.data.sources import S2, Source, sources_of
from shapeft_tune.errors import DataError

StatisticsContent = dict[str, dict[str, list[float]]]
"""``{"Fold_1": {"mean": [...], "std": [...]}, ...}``"""


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
    """Return the average over these folds of the statistics of all their patches, labelled or not.

    What the official file would give if it were made from this folder: folds count alike, whatever their
    size. Where the folder keeps facts, only the first trial reads every frame of the folds, about 20 GB of
    Sentinel-2 for three folds of PASTIS.
    """
    parts = [
        [_of_bands(_of_fold(folder, fold, source), source) for fold in sorted(folds)] for source in sources
    ]
    return _normalisation([_average(of_folds) for of_folds in parts], sources)


def fold_statistics(
    folder: Folder, source: Source = S2, on_progress: OnProgress = no_progress
) -> dict[int, BandStatistics]:
    """Return the statistics of every fold by the official definition, in the units of ``config.bands``.

    Reads every frame of the folder where they are not known yet. ``on_progress`` hears of patches that are
    done, and of a fold's at once where its statistics are known.
    """
    return {
        fold: _of_bands(of_fold, source) for fold, of_fold in _of_folds(folder, source, on_progress).items()
    }


def statistics_content(
    folder: Folder, source: Source = S2, on_progress: OnProgress = no_progress
) -> StatisticsContent:
    """Return the statistics of every fold as the data set's own file has them, by ``Fold_N`` and name.

    As in the official files, values are in the units of storage, and radar has the difference of its two
    bands as a third channel.
    """
    return {
        f"Fold_{fold}": {name: _as_stored(values, source) for name, values in asdict(of_fold).items()}
        for fold, of_fold in _of_folds(folder, source, on_progress).items()
    }


def write_statistics(
    folder: Folder, source: Source = S2, on_progress: OnProgress = no_progress
) -> StatisticsContent:
    """Write :func:`statistics_content` as the data set's own file, such as ``NORM_S2_patch.json``."""
    content = statistics_content(folder, source, on_progress)
    write_atomically(folder.root / source.statistics, json.dumps(content, indent=1).encode())
    return content


def _as_stored(values: Sequence[float], source: Source) -> list[float]:
    """Return them with a hundredth of a sample's unit: a file that is made again has the same digest."""
    return [round(round(value, 2) / source.scale, 4) for value in values]


def _official_statistics(folder: Folder, folds: Collection[int], source: Source) -> BandStatistics:
    by_fold = folder.statistics(source)
    if missing := sorted(set(folds) - set(by_fold)):
        raise DataError(
            f"{folder.root / source.statistics}: expected statistics of folds {sorted(folds)}; got none of"
            f" fold {missing[0]} - set `data.normalisation: own`"
        )
    return _average([by_fold[fold] for fold in folds])


def _of_folds(folder: Folder, source: Source, on_progress: OnProgress) -> dict[int, BandStatistics]:
    """Return the statistics of all channels, made ones included, of every fold that has patches."""
    done, statistics = 0, {}
    for fold in sorted({patch.fold for patch in folder.patches}):
        statistics[fold] = _of_fold(folder, fold, source, on_progress, done)
        done += len(folder.in_folds({fold}))
        on_progress(done, len(folder.patches))
    return statistics


def _of_fold(
    folder: Folder, fold: int, source: Source, on_progress: OnProgress = no_progress, before: int = 0
) -> BandStatistics:
    patches = folder.in_folds({fold})
    if not patches:
        raise DataError(
            f"{folder.root}: expected patches to take statistics of; got none in fold {fold}"
            " - change `data.folds`"
        )

    def count() -> dict[str, list[float]]:
        with ThreadPoolExecutor(READERS) as pool:
            parts = []
            for part in pool.map(lambda patch: _of_patch(folder, patch, source), patches):
                parts.append(part)
                on_progress(before + len(parts), len(folder.patches))
        return {name: list(values) for name, values in asdict(_average(parts)).items()}

    files = [path for patch in patches for path in folder.image_paths(patch, source)]
    counted = known(folder, f"statistics-{source.name}", fold, files, count)
    return BandStatistics(tuple(counted["mean"]), tuple(counted["std"]))


def _of_patch(folder: Folder, patch: Patch, source: Source) -> BandStatistics:
    """Return the statistics of a patch's channels over all frames and pixels; variance is over n - 1.

    Sums of 16-bit integers and of their squares are whole numbers, added without error in any order: so
    every processor gets the same.
    """
    images_TCHW = folder.images(patch, range(len(patch.days_of(source))), source)
    sum_C = square_C = np.zeros(source.channels, dtype=np.int64)
    for image_CHW in images_TCHW:  # float64 is exact to 2^53, more than a frame's squares amount to
        values_CP = _with_difference(image_CHW.reshape(len(image_CHW), -1).astype(np.float64), source)
        sum_C = sum_C + values_CP.sum(axis=1).astype(np.int64)
        square_C = square_C + np.einsum("cp,cp->c", values_CP, values_CP).astype(np.int64)
    count = images_TCHW[:, 0].size
    means, deviations = [], []
    for total, squares in zip(sum_C.tolist(), square_C.tolist(), strict=True):
        means.append(total / count)
        variance = (count * squares - total * total) / (count * max(count - 1, 1))
        deviations.append(math.sqrt(variance))
    return BandStatistics(tuple(means), tuple(deviations))


def _with_difference(values_CP: NDArray[np.float64], source: Source) -> NDArray[np.float64]:
    """Return the values with what a source stores beside its bands: of radar, VV - VH."""
    if source.channels == len(source.bands):
        return values_CP
    return np.concatenate([values_CP, values_CP[:1] - values_CP[1:2]])


def _of_bands(statistics: BandStatistics, source: Source) -> BandStatistics:
    bands = len(source.bands)
    return BandStatistics(statistics.mean[:bands], statistics.std[:bands])


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
