"""PASTIS-HD from the Hugging Face hub: only what is asked for, checked, and continued where it stopped.

Source: https://huggingface.co/datasets/IGNF/PASTIS-HD (Etalab open licence 2.0), which holds PASTIS and
PASTIS-R with SPOT 6-7 images; G. Astruc et al., "OmniSat: Self-Supervised Modality Fusion for Earth
Observation", ECCV 2024. What lies there is asked of the hub, with sizes and hashes, not assumed: single files
are put in their places, an archive of a folder is unpacked (see archives.py).

A file gets its place in the data set only when its content is what the hub stated. Until then it lies in
``.download``, beside a journal of what was found right and of the commit that all of it belongs to: so a
download that was stopped goes on by the same command, and never mixes two states of the repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Self

from shapeft_tune.data.archives import Archive, put, require_inside
from shapeft_tune.data.digest import state_of
from shapeft_tune.data.journal import OWN_FOLDER, Entry, Journal
from shapeft_tune.data.pastis import TARGET_FOLDER
from shapeft_tune.data.pastis_metadata import METADATA
from shapeft_tune.data.sources import S1A, S1D, S2
from shapeft_tune.data.spot import SPOT_FOLDER
from shapeft_tune.errors import DataError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

REPOSITORY = "IGNF/PASTIS-HD"
MODALITIES = {
    "s2": S2.folder,
    "s1a": S1A.folder,
    "s1d": S1D.folder,
    "spot": SPOT_FOLDER,
    "annotations": TARGET_FOLDER,
    "instances": "INSTANCE_ANNOTATIONS",
}
"""What may be asked for, and the folder that holds it."""
DEFAULT_MODALITIES = ("s2", "annotations")
ALWAYS = "metadata"
"""Modality of what every download brings: the metadata and all statistics."""
WORKERS = 8
"""Files at once: most are of 1 to 15 MB, where the connection waits longer than it works."""
ATTEMPTS = 2
"""Times a file is fetched whose content is not what the hub stated."""
LOOK_SECONDS = 0.2
"""Time between two looks at how far the files under way have come."""


@dataclass(frozen=True)
class RemoteFile:
    """A file in the repository, as the hub describes it."""

    path: str
    size: int
    digest: str
    """SHA-256 in 64 digits; for small files what git calls them, a SHA-1 in 40."""
    modality: str

    @property
    def is_archive(self) -> bool:
        """Whether it is a packed folder."""
        return self.path.endswith(".zip")

    def digest_of(self, path: Path) -> str:
        """Return the digest of a file's content, of the same kind as ``digest``."""
        kind = "sha256" if len(self.digest) == 64 else "sha1"
        with path.open("rb") as file:
            if kind == "sha256":
                return hashlib.file_digest(file, kind).hexdigest()
            content = file.read()
        return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What a download will do, known before it starts."""

    root: Path
    commit: str
    files: tuple[RemoteFile, ...]
    """All that was asked for; metadata first."""
    missing: tuple[RemoteFile, ...]
    """Those to fetch."""
    unchecked: tuple[RemoteFile, ...]
    """Those that are there with the right size, and are read to see that they are right. An archive is among
    them where its files are as they were left and ``verify`` asked for more."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return what was asked for, in order."""
        return tuple(dict.fromkeys(file.modality for file in self.files))

    @cached_property
    def disk(self) -> int:
        """Bytes that have to be free at least.

        An archive and what comes out of it lie there together for a while. How much that is the hub does not
        tell: taken as much as is packed here, and asked again before each archive is unpacked.
        """
        return sum(file.size * (2 if file.is_archive else 1) for file in self.missing)

    @property
    def free(self) -> int:
        """Bytes that are free where the data set will lie."""
        return _free_at(self.root)

    def require_space(self) -> None:
        """Raise DataError where the disk is too small."""
        if self.disk > (free := self.free):
            raise DataError(
                f"{self.root}: expected {gigabytes(self.disk)} of free disk; got {gigabytes(free)} - make"
                " room, choose another --to, or ask for less with --modality"
            )


def plan_download(
    root: Path,
    modalities: Sequence[str] = DEFAULT_MODALITIES,
    revision: str | None = None,
    verify: bool = False,
) -> Plan:
    """Ask the hub what there is, and compare it with what lies in ``root``. Writes nothing, reads no content.

    ``revision`` is a branch, tag or commit; by default the commit that ``root`` was begun with, or ``main``.
    With ``verify``, :func:`download` reads everything again that is there, also what came out of archives.
    Raises DataError where the hub does not answer, lacks a modality, or ``root`` holds a file of another size
    under the name of one that was not downloaded before. Another file of the same size is found by
    ``download`` when it reads it, and one under the name of an archive's member when the archive is there:
    what an archive holds is not known before. Neither is overwritten.
    """
    journal = Journal.of(root)
    commit, files = _listed(modalities, journal.commit, revision)
    missing, unchecked, foreign = [], [], []
    for file in files:
        entry, path = journal.entries.get(file.path), root / file.path
        if entry and entry.holds(root, file.digest):
            if verify:
                unchecked.append(file)
        elif entry or file.is_archive or not path.exists():  # an archive has no place of its own
            missing.append(file)
        elif path.is_file() and path.stat().st_size == file.size:
            unchecked.append(file)
        else:
            foreign.append(file.path)
    if foreign:
        raise _foreign(root, foreign, commit)
    return Plan(root, commit, files, tuple(missing), tuple(unchecked))


def download(plan: Plan, on_progress: Callable[[int, int], None] = lambda files, size: None) -> None:
    """Fetch what is missing and check the rest.

    ``on_progress`` is told how many files are right, and the bytes of these and of those under way: the hub's
    client writes a file beside its place and lets it grow, by 10 MB at once over HTTP, and that is looked at.
    Checked files count when they were read.

    Raises DataError where the disk is too small, the hub fails, a content is wrong twice, another file lies
    in a place that an archive would fill, or another download works in the same folder. Whatever was finished
    before stays, also an archive that could not be unpacked, and the same plan goes on from there.
    """
    from filelock import FileLock, Timeout
    from huggingface_hub import HfApi

    plan.require_space()
    own = plan.root / OWN_FOLDER
    try:
        own.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{plan.root}: expected a folder that can be written to; {error.strerror} - choose another --to"
        ) from None
    try:
        with (
            FileLock(own / "lock", timeout=0),
            _without_bars(),
            Journal.of(plan.root).appending(REPOSITORY, plan.commit) as note,
        ):
            shutil.rmtree(own / "unpacked", ignore_errors=True)
            _run(_Worker(plan, HfApi(), Journal.of(plan.root).entries), note, on_progress)
            shutil.rmtree(own / "incoming", ignore_errors=True)
    except Timeout:
        raise DataError(
            f"{plan.root}: expected no other download into this folder; got one that is running"
            " - wait for it, or choose another --to"
        ) from None


def gigabytes(count: int) -> str:
    """Return a number of bytes for people, in powers of ten as on the hub's pages."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _run(worker: _Worker, note: Callable[[Entry], None], on_progress: Callable[[int, int], None]) -> None:
    finished: SimpleQueue[Future[Entry]] = SimpleQueue()
    arriving = _Arriving.into(worker.incoming, worker.plan.missing)
    count, right, told, look = 0, 0, 0, time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        running = {pool.submit(worker.check, file): file for file in worker.plan.unchecked}
        running |= {pool.submit(worker.fetch, file): file for file in worker.plan.missing}
        for future in running:
            future.add_done_callback(finished.put)
        try:
            while count < len(running):
                with contextlib.suppress(Empty):
                    done = finished.get(timeout=max(0.0, look - time.monotonic()))
                    note(done.result())
                    count, right = count + 1, right + running[done].size
                    told = max(told, right)
                    on_progress(count, told)
                if look <= time.monotonic():
                    look = time.monotonic() + LOOK_SECONDS
                    told = max(told, right + arriving.size())  # a file that moves to its place is in neither
                    on_progress(count, told)
        except BaseException:  # also Ctrl-C: what is under way ends and is noted, nothing new begins
            pool.shutdown(cancel_futures=True)
            while not finished.empty():
                done = finished.get()
                if not done.cancelled() and not done.exception():
                    note(done.result())
            raise


@dataclass(frozen=True)
class _Arriving:
    """The files that the hub's client writes, to see how far they are."""

    incoming: Path
    whole: Collection[Path]
    """Where files lie that have come and are being checked."""
    left: Collection[Path]
    """Parts that an earlier download left: the client begins anew beside them."""

    @classmethod
    def into(cls, incoming: Path, files: Sequence[RemoteFile]) -> Self:
        """Look before anything is fetched."""
        whole = frozenset(incoming / file.path for file in files)
        return cls(incoming, whole, frozenset(incoming.rglob("*.incomplete")))

    def size(self) -> int:
        """Return the bytes that have come and are not in their places."""
        found = (Path(folder, name) for folder, _, names in os.walk(self.incoming) for name in names)
        coming = (
            path
            for path in found
            if path in self.whole or (path.suffix == ".incomplete" and path not in self.left)
        )
        return sum(state[0] for path in coming if (state := state_of(path)))


@dataclass(frozen=True)
class _Worker:
    plan: Plan
    api: HfApi
    known: Mapping[str, Entry]
    """What was downloaded before, so that it may be replaced."""
    unpacking: Lock = field(default_factory=Lock)
    """One archive at a time, so that no two count on the same free disk."""

    @property
    def incoming(self) -> Path:
        """Where the hub's client writes."""
        return self.plan.root / OWN_FOLDER / "incoming"

    def check(self, file: RemoteFile) -> Entry:
        """Read a file that is there. One that came by another way is not touched if it is another."""
        if file.is_archive:
            entry = self.known[file.path]
            return entry if entry.is_intact(self.plan.root) else self.fetch(file)
        path = self.plan.root / file.path
        if file.digest_of(path) == file.digest:
            return _entry(self.plan.root, file, [file.path])
        if file.path not in self.known:
            raise _foreign(self.plan.root, [file.path], self.plan.commit)
        path.unlink()
        return self.fetch(file)

    def fetch(self, file: RemoteFile) -> Entry:
        """Bring a file, and put it in its place when its content is right."""
        for _ in range(ATTEMPTS):
            with _as_data_error(f"downloading {file.path} of {REPOSITORY}"):
                draft = Path(
                    self.api.hf_hub_download(
                        REPOSITORY,
                        file.path,
                        repo_type="dataset",
                        revision=self.plan.commit,
                        local_dir=self.incoming,
                    )
                )
            if (came := file.digest_of(draft)) == file.digest:
                return self._placed(file, draft)
            draft.unlink()
        raise DataError(
            f"{file.path} of {REPOSITORY} at {self.plan.commit}: expected content with digest {file.digest};"
            f" got {came}, {ATTEMPTS} times - run the same command again, later or with another HF_ENDPOINT;"
            " what was fetched stays"
        )

    def _placed(self, file: RemoteFile, draft: Path) -> Entry:
        if file.is_archive:
            with self.unpacking:
                entry = self._unpacked(file, draft)
            draft.unlink()
            return entry
        put(draft, self.plan.root / file.path)
        return _entry(self.plan.root, file, [file.path])

    def _unpacked(self, file: RemoteFile, draft: Path) -> Entry:
        """Unpack an archive beside the data set, and move its files to their places when all of them may."""
        root = self.plan.root
        folder = PurePosixPath(file.path.removesuffix(".zip")).parts[0]
        archive = Archive.open(draft, folder, f"{file.path} of {REPOSITORY}")
        known = {path for entry in self.known.values() for path in entry.members}
        if others := archive.others_in(root, known):
            raise _foreign(root, others, self.plan.commit, f"; {file.path}, which holds it, stays fetched")
        if archive.size > (free := _free_at(root)):
            raise DataError(
                f"{root}: expected {gigabytes(archive.size)} of free disk to unpack {file.path}; got"
                f" {gigabytes(free)} - make room, then run the same command again: the archive stays fetched"
            )
        building = root / OWN_FOLDER / "unpacked"
        try:
            archive.unpack(building, root)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        entry = _entry(root, file, [member.path for member in archive.members])
        return replace(entry, checksums={member.path: member.checksum for member in archive.members})


def _listed(
    modalities: Sequence[str], pinned: str | None, revision: str | None
) -> tuple[str, tuple[RemoteFile, ...]]:
    """Return the commit, and those of its files that were asked for."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    if unknown := sorted(set(modalities) - set(MODALITIES)):
        raise DataError(f"--modality: expected some of {', '.join(MODALITIES)}; got {', '.join(unknown)}")
    api = HfApi()
    with _as_data_error(f"asking the hub for {REPOSITORY}"):
        commit = pinned
        if commit is None or revision is not None:
            commit = str(api.dataset_info(REPOSITORY, revision=revision or "main").sha)
        if pinned not in (None, commit):
            raise DataError(
                f"--revision {revision}: expected {pinned}, which this folder was begun with; got {commit}"
                " - leave --revision away, or choose another --to"
            )
        tree = api.list_repo_tree(REPOSITORY, recursive=True, revision=commit, repo_type="dataset")
        entries = [entry for entry in tree if isinstance(entry, RepoFile)]
    files = [file for entry in entries if (file := _wanted(entry, modalities))]
    if lacking := [name for name in (ALWAYS, *modalities) if name not in {file.modality for file in files}]:
        tops = sorted({PurePosixPath(entry.path).parts[0] for entry in entries})
        expected = ", ".join(MODALITIES.get(name, METADATA) for name in lacking)
        raise DataError(f"{REPOSITORY} at {commit}: expected {expected}; got {', '.join(tops) or 'nothing'}")
    order = [ALWAYS, *MODALITIES]
    return commit, tuple(sorted(files, key=lambda file: (order.index(file.modality), file.path)))


def _wanted(entry: RepoFile, modalities: Sequence[str]) -> RemoteFile | None:
    """Return a file of the repository where it was asked for, by the folder that it is in or packs."""
    require_inside(entry.path, REPOSITORY)
    parts = PurePosixPath(entry.path).parts
    folder = parts[0].removesuffix(".zip") if len(parts) == 1 else parts[0]
    modality = next((name for name in modalities if MODALITIES[name] == folder), None)
    if entry.path == METADATA or (folder.startswith("NORM_") and folder.endswith(".json")):
        modality = ALWAYS
    digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
    return RemoteFile(entry.path, entry.size, digest, modality) if modality else None


@contextlib.contextmanager
def _as_data_error(doing: str) -> Iterator[None]:
    """Turn what the hub's client raises, errors of several HTTP libraries by version, into one of ours."""
    try:
        yield
    except (DataError, KeyboardInterrupt):
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        raise DataError(
            f"{doing} failed ({type(error).__name__}: {first}) - {_advice(error)}; then run the same command"
            " again: what was fetched stays"
        ) from error


def _advice(error: Exception) -> str:
    from huggingface_hub import constants, errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "unset HF_HUB_OFFLINE"
    if isinstance(error, errors.RevisionNotFoundError):
        return "give another --revision"
    if isinstance(error, errors.GatedRepoError) or status in (401, 403):
        return f"set HF_TOKEN to a token that may read {REPOSITORY}"
    if status == 404:
        return f"see whether {constants.ENDPOINT} has it; HF_ENDPOINT chooses another hub"
    if isinstance(error, OSError) and error.errno:  # of this machine: no space, no permission
        return "see to the folder"
    return f"see whether {constants.ENDPOINT} can be reached; HF_ENDPOINT chooses a mirror"


def _foreign(root: Path, paths: Sequence[str], commit: str, kept: str = "") -> DataError:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return DataError(
        f"{root / paths[0]}{more}: expected no file, or that of {REPOSITORY} at {commit}; got another, which"
        f" was not downloaded by this command - choose another --to, or move it away{kept}"
    )


def _entry(root: Path, file: RemoteFile, members: Sequence[str]) -> Entry:
    states = {path: state for path in members if (state := state_of(root / path))}
    return Entry(file.path, file.digest, states)


def _free_at(root: Path) -> int:
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the hub's client from drawing a bar for each file."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
