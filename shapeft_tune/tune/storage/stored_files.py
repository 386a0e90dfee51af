"""Files on their way into a storage and out of it, and a working copy's notes on which are the same there.

Every file is written under another name and then moved, because an upload that is given up midway is closed
by pyarrow, and S3 takes it for whole. So a file in the storage is whole (S3 moves up to 5 GB at once).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from shapeft_tune.atomic import replacing, write_atomically

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

logger = logging.getLogger(__name__)

NOTES_FILE = "stored.notes"
"""In a working copy: what each file was when it was last the same here and in the storage."""
DRAFT = ".draft-"
CHUNK = 8 * 2**20
"""Bytes that are read and sent at a time."""


class StorageFailed(OSError):
    """The storage does not take or give a trial's files: no fault of the trial, and others meet it too."""


@dataclass(frozen=True)
class Note:
    """One file that was the same here and in the storage: how each side knows it."""

    here: tuple[int, int]
    """Size in bytes and time of change in nanoseconds."""
    there: tuple[int, int]


def is_draft(name: str) -> bool:
    """Tell a file that is still being written from a whole one."""
    return name.startswith(DRAFT)


def listed(system: FileSystem, path: str, *, recursive: bool = False) -> list[FileInfo]:
    """Return the files in a folder; none where there is no folder."""
    from pyarrow.fs import FileSelector

    selector = FileSelector(path, allow_not_found=True, recursive=recursive)
    return [info for info in system.get_file_info(selector) if info.is_file]


def version_of(info: FileInfo) -> tuple[int, int]:
    """Return what changes with every change of a stored file."""
    return info.size, info.mtime_ns or 0


def state_of(path: Path) -> tuple[int, int]:
    """Return what changes with every change of a file here."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def upload(system: FileSystem, source: Path, place: str) -> FileInfo:
    """Store a file, whole or not at all, and return how the storage knows it."""
    target, draft = f"{place}/{source.name}", f"{place}/{DRAFT}{source.name}.{uuid4().hex}"
    if system.type_name == "local":
        system.create_dir(place, recursive=True)  # other storages have no folders, or make them
    try:
        written = 0
        with source.open("rb") as file, system.open_output_stream(draft) as stream:
            while chunk := file.read(CHUNK):
                written += stream.write(chunk)
        system.move(draft, target)
    except BaseException:
        _forget(system, draft)
        raise
    stored = system.get_file_info(target)
    if stored.size != written:
        raise StorageFailed(f"{target}: expected {written} bytes; got {stored.size} - do two write there?")
    return stored


def download(system: FileSystem, info: FileInfo, target: Path) -> None:
    """Copy a stored file here, whole or not at all."""
    read = 0
    with replacing(target) as file, system.open_input_stream(info.path) as stream:
        while chunk := stream.read(CHUNK):
            read += file.write(chunk)
        if read != info.size:
            raise StorageFailed(f"{info.path}: expected {info.size} bytes; got {read} - it changed meanwhile")


def delete(system: FileSystem, path: str) -> None:
    """Delete a file; one that is not there is not missed."""
    try:
        system.delete_file(path)
    except OSError:
        if system.get_file_info(path).is_file:
            raise


def _forget(system: FileSystem, draft: str) -> None:
    try:
        delete(system, draft)
    except OSError:
        logger.warning("half a file stays in the storage: %s", draft)


def read_notes(folder: Path) -> dict[str, Note]:
    """Return the notes of a working copy by name; none where there are none."""
    try:
        content: dict[str, Any] = json.loads((folder / NOTES_FILE).read_text(encoding="utf-8"))
        return {name: Note(tuple(note["here"]), tuple(note["there"])) for name, note in content.items()}
    except (FileNotFoundError, ValueError):  # without them everything is compared, and copied, again
        return {}


def write_notes(folder: Path, notes: Mapping[str, Note]) -> None:
    """Keep the notes of a working copy."""
    content = {name: {"here": note.here, "there": note.there} for name, note in notes.items()}
    write_atomically(folder / NOTES_FILE, json.dumps(content).encode())
