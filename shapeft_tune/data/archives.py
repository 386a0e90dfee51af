"""Packed folders of a download: what they hold, whether it may be put down, and unpacking it.

What an archive holds is known only once it is there. So everything is asked before the first file moves:
paths that stay inside the folder, no file of somebody else under the same name, room for what comes out.
Members are compared by size and CRC-32, which a zip file states of each: that finds accidents, not forgeries,
and the whole archive was checked by its SHA-256 before.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from shapeft_tune.errors import DataError

PIECE = 1 << 20
"""Bytes read at once."""
UNREADABLE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error)
"""What zipfile raises of an archive that it cannot unpack; RuntimeError where one is encrypted."""


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    """As the archive calls it."""
    path: str
    """Its place in the data set."""
    size: int
    """Bytes, unpacked."""
    checksum: int
    """CRC-32 of the content."""

    def lies_in(self, root: Path) -> bool:
        """Return whether the file in its place is this one; it is read for that."""
        path = root / self.path
        return path.is_file() and path.stat().st_size == self.size and checksum_of(path) == self.checksum


@dataclass(frozen=True)
class Archive:
    """A packed folder that is there and was found right."""

    file: Path
    source: str
    """What messages call it."""
    members: tuple[Member, ...]

    @classmethod
    def open(cls, file: Path, folder: str, source: str) -> Self:
        """Read what an archive of ``folder`` holds, packed with that folder or without.

        Raises DataError where it is no archive, or a path leaves the folder or comes twice.
        """
        try:
            with zipfile.ZipFile(file) as packed:
                infos = [info for info in packed.infolist() if not info.is_dir()]
        except UNREADABLE as error:
            raise _unreadable(source, error) from error
        members: dict[str, Member] = {}
        for info in infos:
            require_inside(info.filename, source)
            inside = PurePosixPath(info.filename)
            path = str(inside if inside.parts[0] == folder else PurePosixPath(folder) / inside)
            if path in members:
                raise DataError(f"{source}: expected each file once; got {path} twice, which is refused")
            members[path] = Member(info.filename, path, info.file_size, info.CRC)
        return cls(file, source, tuple(members.values()))

    @property
    def size(self) -> int:
        """Bytes of all members, unpacked."""
        return sum(member.size for member in self.members)

    def others_in(self, root: Path, known: Container[str]) -> list[str]:
        """Return the places where another file lies already, without those that are ``known``."""
        there = (member for member in self.members if os.path.lexists(root / member.path))
        return [member.path for member in there if member.path not in known and not member.lies_in(root)]

    def unpack(self, building: Path, root: Path) -> None:
        """Unpack into ``building``, on the same disk as ``root``, and move the files to their places."""
        try:
            with zipfile.ZipFile(self.file) as packed:
                packed.extractall(building)
        except UNREADABLE as error:
            raise _unreadable(self.source, error) from error
        for member in self.members:
            put(building / member.name, root / member.path)


def checksum_of(path: Path) -> int:
    """Return the CRC-32 of a file's content."""
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def require_inside(name: str, source: str) -> None:
    """Raise DataError for a path that would be written outside the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise DataError(f"{source}: expected paths inside the folder; got {name!r}, which is refused")


def put(path: Path, to: Path) -> None:
    """Move a file to its place, over what lies there. Raises DataError where that cannot be written."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, to)
    except OSError as error:
        raise DataError(
            f"{to}: expected a place that can be written to; {error.strerror} - see to that folder, then run"
            " the same command again"
        ) from error


def _unreadable(source: str, error: Exception) -> DataError:
    return DataError(f"{source}: expected an archive that can be unpacked; got {error}")
