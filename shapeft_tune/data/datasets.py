"""From the config's data set to a folder on disk; the generated one is made on first use."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from pathlib import Path

from shapeft_tune.config.data import Dataset, PastisDataset, RastersDataset, SampleDataset
from shapeft_tune.config.places import CACHE_BYTES
from shapeft_tune.data.cache import OWN_FOLDER, Cache, CachedFolder
from shapeft_tune.data.folder import Folder
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.sample import GENERATOR_VERSION, generate_sample
from shapeft_tune.errors import DataError, HomeError

FACTS = "facts"


def open_dataset(
    dataset: Dataset,
    *,
    data: Path | None,
    home: Path,
    cache: Path | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Folder:
    """Open ``data`` for ``pastis`` and ``rasters``, or the generated folder under ``home`` for ``sample``.

    What is counted of it once is kept under ``home``, what is read of it under ``cache`` if there is one.
    """
    folder = _opened(dataset, data, home)
    return CachedFolder.around(folder, Cache(cache / OWN_FOLDER, cache_bytes)) if cache else folder


def _opened(dataset: Dataset, data: Path | None, home: Path) -> Folder:
    facts = home / FACTS
    if isinstance(dataset, PastisDataset | RastersDataset):
        if data is None:
            raise DataError(
                f"data set {dataset.name}: expected the folder it lies in; got none - give it with"
                " --data DIR, or use `dataset: sample`, which needs no download"
            )
        if isinstance(dataset, RastersDataset):
            from shapeft_tune.data.rasters.folder import RasterFolder  # rasterio takes its time

            return RasterFolder.open(data, facts)
        return PastisFolder.open(data, facts)
    return PastisFolder.open(_generated(dataset, home / "samples"), facts)


def _generated(settings: SampleDataset, samples: Path) -> Path:
    """Return the folder of this sample, made now if it is not there yet.

    Several processes may come here at once: each builds in a folder of its own, and the first whose rename
    succeeds has made the sample. A folder under its final name is therefore always whole.
    """
    final = samples / _digest(settings)
    if final.is_dir():
        return final
    building = samples / f".{final.name}-{uuid.uuid4().hex}"
    try:
        building.mkdir(parents=True)
        generate_sample(settings, building)
        building.rename(final)
    except OSError as error:
        if not final.is_dir():  # otherwise another process was first
            raise HomeError(f"{samples}: expected room for a generated data set; got {error}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return final


def _digest(settings: SampleDataset) -> str:
    text = json.dumps([GENERATOR_VERSION, settings.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
