"""How fast samples are read, and what a trial's reading takes: ``python -m benchmarks.data [--quick]``.

Writes a folder in the PASTIS layout with random values, then lets 1, 4 and 8 processes read it as trials do
(``training_batches`` of 8, flipped and turned) and prints Markdown. Beside them, in the same rounds, stands
the same with ``numpy.load`` of whole files, as one would first write it, and the limit, ``numpy.copyto`` of
the same bytes in memory. Memory is a process's private memory, in which the page cache does not count.

Shape suffixes: T dates, C bands, H W pixels.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.data import Augmentation
from shapeft_tune.data import PastisFolder, Split, training_batches
from shapeft_tune.data.batches import Stored
from shapeft_tune.data.cache import Cache, CachedFolder
from shapeft_tune.data.folder import ALL_BANDS, WHOLE, Folder, Patch, Window
from shapeft_tune.data.pastis_metadata import METADATA, SEASON_START
from shapeft_tune.data.sources import S2, Source
from shapeft_tune.data.temporal import even_frames

BATCH = 8
MEGA = 10**6


@dataclass(frozen=True)
class Size:
    """What is written and read."""

    patches: int
    side: int
    dates: int
    lengths: tuple[int, ...]
    processes: tuple[int, ...]
    seconds: float
    """Each measurement reads for about as long."""
    rounds: int


FULL = Size(160, 128, 52, (1, 6, 35), (1, 4, 8), seconds=1.5, rounds=3)
QUICK = Size(24, 32, 40, (1, 6), (1, 2), seconds=0.2, rounds=2)


@dataclass(frozen=True)
class Slow(PastisFolder):
    """A folder on a disk where every read waits, as on a network."""

    seconds: float = 0.005

    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[Any]:
        """Wait once for the header and once for each frame, then read."""
        time.sleep(self.seconds * (1 + len(frames)))
        return super().stored(patch, frames, source, window, bands)

    def target(self, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
        """Wait, then read."""
        time.sleep(self.seconds)
        return super().target(patch, window)


@dataclass(frozen=True)
class Whole(PastisFolder):
    """A folder whose files are loaded as a whole, whatever is asked for."""

    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[Any]:
        """Load, then pick."""
        series_TCHW: NDArray[Any] = np.load(self.image_path(patch, source))
        return series_TCHW[list(frames)]

    def target(self, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
        """Load, then pick."""
        labels_HW: NDArray[np.uint8] = np.load(self.target_path(patch))[0]
        return labels_HW


def write_folder(root: Path, size: Size) -> PastisFolder:
    """Write random series of ``dates`` to ``dates`` + 8 dates; two that follow one another differ."""
    chance = np.random.default_rng(0)
    shape = (size.dates + 8, 10, size.side, size.side)
    series_TCHW = chance.integers(0, 10_000, shape, dtype=np.int16)
    features = []
    for name in ("DATA_S2", "ANNOTATIONS"):
        (root / name).mkdir(parents=True)
    for id in range(size.patches):
        count = size.dates + id % 9
        np.save(root / f"DATA_S2/S2_{id}.npy", np.roll(series_TCHW, id, axis=0)[:count])
        labels = chance.integers(0, 20, (3, size.side, size.side), dtype=np.uint8)
        np.save(root / f"ANNOTATIONS/TARGET_{id}.npy", labels)
        days = {str(frame): int(f"{SEASON_START + timedelta(5 * frame):%Y%m%d}") for frame in range(count)}
        properties = {"ID_PATCH": id, "Fold": 1 + id % 5, "dates-S2": days}
        features.append({"type": "Feature", "properties": properties, "geometry": None})
    content = {"type": "FeatureCollection", "features": features}
    (root / METADATA).write_text(json.dumps(content), encoding="utf-8")
    return PastisFolder.open(root)


Reading = Callable[[PastisFolder, int, int], Iterator[int]]
"""``(folder, T, seed)`` -> the number of patches that were read, again and again."""


def as_trials_do(folder: Folder, length: int, seed: int, readers: int = 1) -> Iterator[int]:
    """Read what training reads, until the end of the world."""
    split = Split(folder, folder.patches, length)
    batches = training_batches(
        split,
        batch_size=BATCH,
        seed=seed,
        augmentation=Augmentation(),
        first_step=0,
        last_step=10**9,
        samples=Stored(split, readers),
    )
    for batch in batches:
        yield len(batch)


def from_whole_files(folder: PastisFolder, length: int, seed: int) -> Iterator[int]:
    """Do the same, but load each file as a whole and pick the dates then, as one would first write it."""
    return as_trials_do(Whole(folder.root, folder.patches), length, seed)


def copies(folder: PastisFolder, length: int, seed: int) -> Iterator[int]:
    """Copy as many bytes of images from memory to memory, into a new array each time, as a batch is."""
    _, *image = folder.shape(folder.patches[0])
    source_NTCHW = np.ones((BATCH, length, *image), np.int16)
    while True:
        np.copyto(np.empty_like(source_NTCHW), source_NTCHW)
        yield BATCH


READINGS: dict[str, Reading] = {
    "as trials do": as_trials_do,
    "whole files": from_whole_files,
    "memory copy": copies,
}


@dataclass(frozen=True)
class Job:
    """What one process is asked to do."""

    folder: PastisFolder
    reading: str
    length: int
    seconds: float


def private_bytes() -> int:
    """Return this process's memory that no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def work(job: Job, seed: int, start: Barrier, before: int) -> tuple[int, float, int]:
    """Read for a while; return patches, seconds and the private memory beyond what there was ``before``."""
    read = READINGS[job.reading](job.folder, job.length, seed)
    next(read)  # what happens once is not counted
    start.wait()
    patches, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < job.seconds:
        patches += next(read)
    return patches, seconds, private_bytes() - before


class Crowd:
    """Processes that wait for jobs, so that importing is not measured."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.start = context.Barrier(count)
        ends = [context.Pipe() for _ in range(count)]
        self.ends = [here for here, _ in ends]
        self.workers = [
            context.Process(target=_serve, args=(there, seed, self.start), daemon=True)
            for seed, (_, there) in enumerate(ends)
        ]
        for worker in self.workers:
            worker.start()

    def run(self, job: Job) -> tuple[float, int]:
        """Return patches per second of all together, and the largest growth of private memory."""
        for end in self.ends:
            end.send(job)
        done = [end.recv() for end in self.ends]
        return sum(patches / seconds for patches, seconds, _ in done), max(grown for *_, grown in done)

    def close(self) -> None:
        """Send them home."""
        for end in self.ends:
            end.send(None)
        for worker in self.workers:
            worker.join()


@contextmanager
def crowd_of(count: int) -> Iterator[Crowd]:
    """Yield processes, and end them."""
    crowd = Crowd(count)
    try:
        yield crowd
    finally:
        crowd.close()


def _serve(end: Any, seed: int, start: Barrier) -> None:
    while True:
        before = private_bytes()  # before the job: with it comes the folder's list of patches and dates
        if (job := end.recv()) is None:
            return
        end.send(work(job, seed, start, before))


def measure_crowds(folder: PastisFolder, size: Size) -> Iterator[str]:
    """Yield the rows of the table of speeds."""
    yield "| T | processes | trials, patches/s | whole files | memory copy | to whole files | to the copy |"
    yield "|---|---|---|---|---|---|---|"
    for count in size.processes:
        with crowd_of(count) as crowd:
            for length in size.lengths:
                rounds = [
                    {name: crowd.run(Job(folder, name, length, size.seconds))[0] for name in READINGS}
                    for _ in range(size.rounds)
                ]
                ours, whole, copied = (statistics.median(each[name] for each in rounds) for name in READINGS)
                to_whole, to_copy = (
                    statistics.median(each["as trials do"] / each[other] for each in rounds)
                    for other in ("whole files", "memory copy")
                )
                yield (
                    f"| {length} | {count} | {ours:.0f} | {whole:.0f} | {copied:.0f} |"
                    f" {to_whole:.1f} | {to_copy:.2f} |"
                )


def measure_memory(folder: PastisFolder, size: Size) -> Iterator[str]:
    """Yield the rows of the table of private memory: of a quarter of the data set, and of all of it."""
    quarter = replace(folder, patches=folder.patches[: len(folder.patches) // 4])
    yield "| T | patches | data set, MB | grown by, MB, in one process | in each of several |"
    yield "|---|---|---|---|---|"
    for length, part in itertools.product(size.lengths, (quarter, folder)):
        megabytes = sum(part.image_path(patch).stat().st_size for patch in part.patches) / MEGA
        grown = []
        for count in (1, size.processes[-1]):
            with crowd_of(count) as crowd:  # new ones: what others did before has left its memory
                grown.append(crowd.run(Job(part, "as trials do", length, 2 * size.seconds))[1] / MEGA)
        yield (
            f"| {length} | {len(part.patches)} | {megabytes:.0f} | {grown[0]:.1f} |"
            f" {grown[1]:.1f} ({size.processes[-1]}) |"
        )


def measure_one_date(folder: PastisFolder, size: Size) -> Iterator[str]:
    """Yield the rows of the table of one date against whole files, with and without the page cache."""
    yield "| page cache | one date, ms | one date, mapped, ms | whole file, ms | one date to whole file |"
    yield "|---|---|---|---|---|"

    def whole(patch: Patch) -> Any:
        return np.load(folder.image_path(patch))

    def one(patch: Patch) -> Any:
        return folder.stored(patch, even_frames(patch.days, 1))

    def mapped(patch: Patch) -> Any:
        (frame,) = even_frames(patch.days, 1)
        return np.array(np.load(folder.image_path(patch), mmap_mode="r")[frame])

    for cold in (False, True):
        times: list[tuple[float, ...]] = []
        for _ in range(size.rounds):
            times.append(tuple(_seconds_each(read, folder, cold) for read in (one, mapped, whole)))
        medians = [1000 * statistics.median(column) for column in zip(*times, strict=True)]
        ratio = statistics.median(first / last for first, _, last in times)
        cells = " | ".join(f"{value:.3f}" for value in medians)
        yield f"| {'empty' if cold else 'warm'} | {cells} | {ratio:.3f} |"


def _seconds_each(read: Callable[[Patch], Any], folder: PastisFolder, cold: bool) -> float:
    if cold:
        for patch in folder.patches:
            forget(folder.image_path(patch))
    began = time.perf_counter()
    for patch in folder.patches:
        read(patch)
    return (time.perf_counter() - began) / len(folder.patches)


def forget(path: Path) -> None:
    """Let the page cache drop a file; needs no rights, but the file must have been written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def measure_cache(folder: PastisFolder, size: Size, place: Path) -> Iterator[str]:
    """Yield the rows of the table of a slow disk, with threads and with a cache."""
    yield "| T | local disk | its cache | slow disk | 4 threads | 8 threads | cache, first pass | second |"
    yield "|---|---|---|---|---|---|---|---|"
    some = folder.patches[: min(len(folder.patches), 48)]
    local = replace(folder, patches=some)
    slow = Slow(folder.root, some)
    for length in size.lengths:
        caches = [Cache(place / f"{kind}-{length}", 10**11) for kind in ("local", "slow")]
        near, far = CachedFolder.around(local, caches[0]), CachedFolder.around(slow, caches[1])
        _one_pass(near, length, 1)
        speeds = [
            statistics.median(_one_pass(each, length, readers) for _ in range(rounds))
            for each, readers, rounds in (
                (local, 1, size.rounds),
                (near, 1, size.rounds),
                (slow, 1, 1),
                (slow, 4, 1),
                (slow, 8, 1),
                (far, 8, 1),
                (far, 8, size.rounds),
            )
        ]
        yield f"| {length} | {' | '.join(f'{speed:.0f}' for speed in speeds)} |"


def measure_readers(folder: PastisFolder, size: Size) -> Iterator[str]:
    """Yield the rows of the table of threads on a local disk."""
    yield "| T | 1 thread, patches/s | 2 | 4 | 8 |"
    yield "|---|---|---|---|---|"
    for length in size.lengths:
        rounds = [[_one_pass(folder, length, each) for each in (1, 2, 4, 8)] for _ in range(size.rounds)]
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        yield f"| {length} | {' | '.join(f'{speed:.0f}' for speed in medians)} |"


def _one_pass(folder: Folder, length: int, readers: int) -> float:
    """Return patches per second over one pass of all patches."""
    read = as_trials_do(folder, length, 0, readers)
    began, patches = time.perf_counter(), 0
    while patches < len(folder.patches):
        patches += next(read)
    return patches / (time.perf_counter() - began)


def main() -> None:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small series, two rounds: does it run at all")
    parser.add_argument("--patches", type=int, help=f"default {FULL.patches}, which take 3 GB")
    parser.add_argument("--at", type=Path, help="folder that a new one is made in; default: temporary files'")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    size = replace(size, patches=options.patches or size.patches)
    with tempfile.TemporaryDirectory(dir=options.at) as place:
        folder = write_folder(Path(place) / "data", size)
        print(
            f"{size.patches} patches of {size.side} px, {size.dates} to {size.dates + 8} dates;"
            f" {size.rounds} rounds, medians; {os.cpu_count()} cores\n"
        )
        for title, rows in (
            ("One date against the whole file", measure_one_date(folder, size)),
            ("Concurrent processes", measure_crowds(folder, size)),
            ("Private memory", measure_memory(folder, size)),
            ("Threads that read, local disk", measure_readers(folder, size)),
            (
                "Slow disk: 5 ms for each file and frame; patches/s",
                measure_cache(folder, size, Path(place) / "cache"),
            ),
        ):
            print(f"{title}\n", flush=True)
            for row in rows:
                print(row, flush=True)
            print()


if __name__ == "__main__":
    main()
