"""Pretrained weights: which file is meant, where it lies or comes from, reading it without running its code.

Official files are looked for in the weights folder first, under the name they have in their repository, then
in the hub client's cache inside that folder, and are downloaded last. Whatever is found must have the hash
that is written beside the model; a file without a known hash must have the one that the hub stated for the
pinned commit when it was downloaded. Preflight resolves every file on the driver, so trials only read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import rich.progress
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from rich.console import Console
from torch import Tensor, nn

from shapeft_tune.errors import WeightsError

HUB_CACHE = "hub"
"""Folder inside the weights folder that the hub client keeps its downloads in, in the layout it shares."""
LARGE = 500_000_000
"""Bytes; from here on hashing takes seconds and shows a bar."""

_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)


@dataclass(frozen=True)
class OfficialCheckpoint:
    """A file that a model's authors, or those who converted it for them, publish on the Hugging Face hub."""

    file: str
    """Path inside the repository, and inside the weights folder for those who put it there by hand."""
    repository: str
    revision: str = "main"
    """The commit, in 40 digits; a branch may move."""
    sha256: str | None = None
    """Of the content. None where no public source tells it: then the hub's word at the download counts."""

    @property
    def address(self) -> str:
        """Where to download it."""
        return hf_hub_url(self.repository, self.file, revision=self.revision)

    @property
    def name(self) -> str:
        """The file, whatever its revision."""
        return f"{self.repository}/{self.file}"


def resolve_weights(weights: str, official: OfficialCheckpoint | None, folder: Path | None) -> Path | None:
    """Return the file that ``weights`` means, downloading it where it must be; None for ``none``.

    ``official`` is what the word ``official`` stands for, None where nothing was published. Other words are
    file names, absolute or relative to ``folder``. Raises WeightsError where the file is missing, cannot be
    downloaded or is not the official one.
    """
    if weights == "none":
        return None
    if weights != "official":
        path = _existing(weights, folder)
        _note_digest(weights, path)
        return path
    if official is None:
        raise WeightsError("weights: official: nothing is published for this model; use none or a file")
    path = find_official(official, folder) or _downloaded(official, folder)
    _note_digest(official.name, path, _verified_digest(official, path, folder))
    return path


@contextlib.contextmanager
def noting_digests() -> Iterator[dict[str, str]]:
    """Give a dictionary that fills with name and SHA-256 of every weights file that is resolved inside."""
    noted: dict[str, str] = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def find_official(official: OfficialCheckpoint, folder: Path | None) -> Path | None:
    """Return an official file that is on this machine, put there by hand or downloaded; None for none.

    Nothing is asked of the network, and the content is not looked at.
    """
    if folder and (folder / official.file).is_file():
        return folder / official.file
    cached = try_to_load_from_cache(
        official.repository, official.file, cache_dir=_hub_cache(folder), revision=official.revision
    )
    return Path(cached) if isinstance(cached, str) else None


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; read once in a process unless the file changes."""
    return _digest(path, _state(path))


def _note_digest(name: str, path: Path, known: str | None = None) -> None:
    if (noted := _noted.get()) is not None:
        noted[name] = known or file_digest(path)


def _existing(name: str, folder: Path | None) -> Path:
    advice = "Put it there, or give its absolute path."
    if folder is None and not Path(name).is_absolute():
        raise WeightsError(f"weights {name}: no weights folder was given to look for it in. {advice}")
    path = (folder or Path()) / name  # an absolute name replaces the folder
    if not path.is_file():
        raise WeightsError(f"weights {name}: expected the file {path}, which does not exist. {advice}")
    return path


def _downloaded(official: OfficialCheckpoint, folder: Path | None) -> Path:
    """Fetch a file into the hub client's cache, whose locks let several processes ask at once."""
    try:
        # Asked first and once: the download itself would try again for minutes where there is no network.
        stated = get_hf_file_metadata(official.address).etag
        if official.sha256 and stated and _is_sha256(stated) and stated != official.sha256:
            raise ValueError(f"expected SHA-256 {official.sha256}, but the hub states {stated}")
        return Path(
            hf_hub_download(
                official.repository,
                official.file,
                revision=official.revision,
                cache_dir=_hub_cache(folder),
            )
        )
    except Exception as error:  # by version, the hub client raises errors of three HTTP libraries
        place = folder / official.file if folder else f"{official.file} in a folder given as weights folder"
        raise WeightsError(
            f"weights official: {official.file} is not on this machine, and downloading it failed"
            f" ({type(error).__name__}: {_first_line(error)}). It comes from {official.address}. Try again"
            f" with a connection, or fetch it elsewhere and put it at {place}"
        ) from error


def _verified_digest(official: OfficialCheckpoint, path: Path, folder: Path | None) -> str | None:
    """Return the digest that an official file must have and has; None where nothing tells which.

    A download with another content is removed, a file that was put there by hand is not.
    """
    by_hand = folder is not None and path == folder / official.file
    blob = path.resolve()  # the hub client names what it keeps after the hash that the hub stated
    expected = official.sha256 or (blob.name if not by_hand and _is_sha256(blob.name) else None)
    if expected is None or _was_verified(path, expected):
        return expected
    found = file_digest(path)
    if found == expected:
        _write_record(path, _record_of(path, expected))
        return expected
    if not by_hand:
        with contextlib.suppress(OSError):
            path.unlink()
            blob.unlink()
    advice = (
        "Remove it to have it downloaded, or rename it and give the new name in place of `official`"
        if by_hand
        else "Such a download is thrown away: run again to download it anew"
    )
    raise WeightsError(
        f"{path}: expected {official.file} of {official.repository} at {official.revision} with SHA-256"
        f" {expected}; got {found}. {advice}"
    )


def _record(path: Path) -> Path:
    """Return where it is noted that a file has its hash: not every trial should read gigabytes for it."""
    return path.with_name(f".{path.name}.verified")


def _was_verified(path: Path, digest: str) -> bool:
    record = _record(path)
    return record.is_file() and record.read_text() == _record_of(path, digest)


def _record_of(path: Path, digest: str) -> str:
    return " ".join([digest, *map(str, _state(path))])


def _write_record(path: Path, content: str) -> None:
    record = _record(path)
    draft = record.with_name(f"{record.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # a folder that is only read is checked once in every process
        draft.write_text(content)
        draft.replace(record)


def _state(path: Path) -> tuple[int, int, int]:
    """Return what changes with the content; the last number does even where the modification time is kept."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


@cache
def _digest(path: Path, state: tuple[int, int, int]) -> str:
    console = Console(stderr=True)
    with rich.progress.open(
        path,
        "rb",
        description=f"checking {path.name}",
        console=console,
        transient=True,
        disable=state[0] < LARGE or not console.is_terminal,
    ) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it has readinto


def _hub_cache(folder: Path | None) -> Path | None:
    return folder / HUB_CACHE if folder else None  # None: the hub client's own place


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the dictionary in a checkpoint, on the CPU, its tensors still on disk until they are used.

    Raises WeightsError for a broken file and for a pickle with anything but plain data and tensors in it:
    opening such a file would run code that its author chose.
    """
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu", mmap=_is_archive(path))
    except Exception as error:  # torch raises half a dozen types for a damaged file
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(
                f"{path}: expected tensors and plain data only; it holds {foreign[1]}, and loading that could"
                " run arbitrary code: it is refused. Save the state dictionary alone, with torch.save."
            ) from error
        raise WeightsError(
            f"{path}: expected a whole file written by torch.save, but reading it failed"
            f" ({type(error).__name__}). It may be truncated, or a web page saved by mistake: fetch it again."
        ) from error
    return named(checkpoint, source=str(path))


def named(state: Any, source: str) -> Mapping[str, Any]:
    """Return a dictionary of a checkpoint; raises WeightsError where it is none, or its keys are no names."""
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        came = "other keys" if isinstance(state, Mapping) else type(state).__name__
        raise WeightsError(f"{source}: expected a dictionary whose keys are names; got {came}")
    return state


def shortened(names: Iterable[str], most: int = 8) -> str:
    """Return the first names in order, and how many more there are."""
    first = sorted(names)
    more = f" and {len(first) - most} more" if len(first) > most else ""
    return f"{', '.join(first[:most]) or 'nothing'}{more}"


def _is_archive(path: Path) -> bool:
    """Return whether a file is an archive, as torch writes since 1.6; older ones cannot be mapped."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy ``state`` into ``module``; raises WeightsError naming every entry that does not fit."""
    require_fit(module.state_dict(), state, source)
    module.load_state_dict(state)


def require_fit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Raise WeightsError naming every entry of ``state`` that is missing, unexpected or of another shape."""
    faults = [f"missing: {name}" for name in expected if name not in state]
    faults += [f"unexpected: {name}" for name in state if name not in expected]
    faults += [
        f"{name}: expected shape {list(expected[name].shape)}, got {_described(value)}"
        for name, value in state.items()
        if name in expected and getattr(value, "shape", None) != expected[name].shape
    ]
    faults += [
        f"{name}: expected {expected[name].dtype}, got {value.dtype}"
        for name, value in state.items()
        if name in expected
        and isinstance(value, Tensor)
        and value.is_floating_point() != expected[name].is_floating_point()
    ]
    faults += [
        f"{name}: expected finite numbers, got others"
        for name, value in state.items()
        if name in expected and isinstance(value, Tensor) and not value.isfinite().all()
    ]
    if faults:
        raise WeightsError("\n  ".join([f"{source} does not fit the model ({len(faults)} entries)", *faults]))


def _described(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else f"no tensor but {type(value).__name__}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
