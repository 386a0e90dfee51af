"""PASTIS-HD from the Hugging Face hub: only what is asked for, checked, and continued where it stopped.

Source: https://huggingface.co/datasets/IGNF/PASTIS-HD (Etalab open licence 2.0), which holds PASTIS and
PASTIS-R with SPOT 6-7 images; G. Astruc et al., "OmniSat: Self-Supervised Modality Fusion for Earth
Observation", ECCV 2024. What lies there is asked of the hub, with sizes and hashes, not assumed: single files
are put in their places, an archive of a folder is unpacked.

A file gets its place in the data set only when its content is what the hub stated. Until then it lies in
``.download``, beside a journal of what was found right and of the commit that all of it belongs to: so a
download that was stopped goes on by the same command, and never mixes two states of the repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

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
OWN_FOLDER = ".download"
JOURNAL = "journal.jsonl"


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
class Entry:
    """One line of the journal: a file that was found right, and how to see that it is still the same."""

    path: str
    digest: str
    members: Mapping[str, tuple[int, int]]
    """Size and time of change, in nanoseconds, of the file, or of each file that an archive held."""

    def holds(self, root: Path, digest: str) -> bool:
        """Return whether the files lie there as they were left, and are what the hub has."""
        return self.digest == digest and all(
            _state(root / path) == tuple(state) for path, state in self.members.items()
        )


@dataclass(frozen=True)
class Journal:
    """What a folder remembers of its downloads: a commit, then a line for each file that was found right."""

    path: Path
    commit: str | None
    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, root: Path) -> Self:
        """Read a folder's journal; an empty one where nothing was downloaded."""
        path, commit, entries = root / OWN_FOLDER / JOURNAL, None, {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                content = json.loads(line)
            except ValueError:  # the last line of a download that was cut off
                continue
            if "commit" in content:
                commit = content["commit"]
            else:
                entries[content["path"]] = Entry(**content)
        return cls(path, commit, entries)

    @contextlib.contextmanager
    def appending(self, commit: str) -> Iterator[Callable[[Entry], None]]:
        """Give a function that notes an entry at once."""
        cut = self.path.is_file() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:

            def note(content: object) -> None:
                file.write(json.dumps(content) + "\n")
                file.flush()

            if cut:
                file.write("\n")
            if self.commit is None:
                note({"repository": REPOSITORY, "commit": commit})
            yield lambda entry: note(asdict(entry))


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
    """Those that are there with the right size, and are read to see that they are right."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return what was asked for, in order."""
        return tuple(dict.fromkeys(file.modality for file in self.files))

    @cached_property
    def disk(self) -> int:
        """Bytes that have to be free: an archive and what comes out of it lie there together for a while."""
        return sum(file.size * (2 if file.is_archive else 1) for file in self.missing)

    @property
    def free(self) -> int:
        """Bytes that are free where the data set will lie."""
        there = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free

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
    """Ask the hub what there is, and compare it with what lies in ``root``. Writes nothing.

    ``revision`` is a branch, tag or commit; by default the commit that ``root`` was begun with, or ``main``.
    With ``verify``, the content of everything that is there is read again. Raises DataError where the hub
    does not answer, lacks a modality, or ``root`` holds other files under the same names.
    """
    journal = Journal.of(root)
    commit, files = _listed(modalities, journal.commit, revision)
    missing, unchecked, foreign = [], [], []
    for file in files:
        entry, path = journal.entries.get(file.path), root / file.path
        if entry and entry.holds(root, file.digest):
            if verify and not file.is_archive:
                unchecked.append(file)
        elif entry or not path.exists():
            missing.append(file)
        elif path.is_file() and path.stat().st_size == file.size:
            unchecked.append(file)
        else:
            foreign.append(file.path)
    if foreign:
        raise _foreign(root, foreign, commit)
    return Plan(root, commit, files, tuple(missing), tuple(unchecked))


def download(plan: Plan, on_progress: Callable[[RemoteFile], None] = lambda file: None) -> None:
    """Fetch what is missing and check the rest; ``on_progress`` is told of every file that is right.

    Raises DataError where the disk is too small, the hub fails, a content is wrong twice, or another download
    works in the same folder. Whatever was finished before stays, and the same plan goes on from there.
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
            Journal.of(plan.root).appending(plan.commit) as note,
        ):
            shutil.rmtree(own / "unpacked", ignore_errors=True)
            _run(_Worker(plan, HfApi(), frozenset(Journal.of(plan.root).entries)), note, on_progress)
            shutil.rmtree(own / "incoming", ignore_errors=True)
    except Timeout:
        raise DataError(
            f"{plan.root}: expected no other download into this folder; got one that is running"
            " - wait for it, or choose another --to"
        ) from None


def gigabytes(count: int) -> str:
    """Return a number of bytes for people, in powers of ten as on the hub's pages."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _run(worker: _Worker, note: Callable[[Entry], None], on_progress: Callable[[RemoteFile], None]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        running = {pool.submit(worker.check, file): file for file in worker.plan.unchecked}
        running |= {pool.submit(worker.fetch, file): file for file in worker.plan.missing}
        try:
            for done in as_completed(running):
                note(done.result())
                on_progress(running[done])
        except BaseException:  # also Ctrl-C: what is under way ends, nothing new begins
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True)
class _Worker:
    plan: Plan
    api: HfApi
    known: frozenset[str]
    """Files that were downloaded before, so that they may be replaced."""

    @property
    def _own(self) -> Path:
        return self.plan.root / OWN_FOLDER

    def check(self, file: RemoteFile) -> Entry:
        """Read a file that is there. One that came by another way is not touched if it is another."""
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
                        local_dir=self._own / "incoming",
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
            members = self._unpacked(file, draft)
            draft.unlink()
        else:
            members = [file.path]
            _move(draft, self.plan.root / file.path)
        return _entry(self.plan.root, file, members)

    def _unpacked(self, file: RemoteFile, archive: Path) -> list[str]:
        """Unpack an archive beside the data set, move its files to their places, and return their paths."""
        folder = PurePosixPath(file.path.removesuffix(".zip")).parts[0]
        building = self._own / "unpacked" / folder
        try:
            with zipfile.ZipFile(archive) as packed:
                names = [member.filename for member in packed.infolist() if not member.is_dir()]
                for name in names:
                    _require_inside(name, f"{file.path} of {REPOSITORY}")
                packed.extractall(building)
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise DataError(
                f"{file.path} of {REPOSITORY}: expected an archive that can be unpacked; got {error}"
            ) from error
        members = []
        for name in names:
            inside = PurePosixPath(name)
            place = inside if inside.parts[0] == folder else PurePosixPath(folder) / inside
            _move(building / name, self.plan.root / place)
            members.append(str(place))
        return members


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
    _require_inside(entry.path, REPOSITORY)
    parts = PurePosixPath(entry.path).parts
    folder = parts[0].removesuffix(".zip") if len(parts) == 1 else parts[0]
    modality = next((name for name in modalities if MODALITIES[name] == folder), None)
    if entry.path == METADATA or (folder.startswith("NORM_") and folder.endswith(".json")):
        modality = ALWAYS
    digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
    return RemoteFile(entry.path, entry.size, digest, modality) if modality else None


def _require_inside(name: str, source: str) -> None:
    """Refuse a path that would be written outside the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise DataError(f"{source}: expected paths inside the folder; got {name!r}, which is refused")


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


def _foreign(root: Path, paths: Sequence[str], commit: str) -> DataError:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return DataError(
        f"{root / paths[0]}{more}: expected no file, or that of {REPOSITORY} at {commit}; got another, which"
        " was not downloaded by this command - choose another --to, or move it away"
    )


def _entry(root: Path, file: RemoteFile, members: Sequence[str]) -> Entry:
    states = {path: state for path in members if (state := _state(root / path))}
    return Entry(file.path, file.digest, states)


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes with a file's content, None where there is no file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, to)


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
