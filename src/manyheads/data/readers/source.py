"""Opening a file without hanging on one that is none, and unpacking .gz and .bz2."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import stat
import zlib
from pathlib import Path

from manyheads.data.readers.contract import FileFact, Source
from manyheads.errors import DataError, Problem, nearest

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFREG: "a file",
}
PACKED = (".gz", ".bz2")


def content(source: Source) -> tuple[bytes, FileFact]:
    """The bytes of a file, unpacked if its name ends in .gz or .bz2, and the fact of the file as it lies on the disk."""
    data = _bytes(source)
    fact = FileFact(source.name, hashlib.sha256(data).hexdigest(), len(data))
    return _unpacked(data, source.name), fact


def folder(source: Source) -> Path:
    """The source's path, once it is sure to be a folder."""
    kind = _kind(source)
    if kind != stat.S_IFDIR:
        raise DataError(Problem(f"a folder is needed; this is {_KINDS.get(kind, 'something else')}", source.name))
    return source.path


def unopened(error: OSError | ValueError, source: Source) -> DataError:
    """The error for a path that the system refuses: what is there instead, and the nearest name beside it."""
    path, name = source.path, source.name
    remedy = f"looked for {path}"
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return DataError(Problem("this link points to nothing", name, value=os.readlink(path), remedy=remedy))
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DataError(Problem("there is no such file", name, nearest=nearest(path.name, _beside(path)), remedy=remedy))
    if isinstance(error, PermissionError):
        return DataError(Problem("there is no permission to read this", name, remedy=remedy))
    return DataError(Problem(f"this cannot be opened: {getattr(error, 'strerror', None) or error}", name, remedy=remedy))


def _bytes(source: Source) -> bytes:
    kind = _kind(source)  # before opening: to open a pipe nobody writes to would wait for ever
    if kind != stat.S_IFREG:
        remedy = "for one sub-folder a label, set `format: folders`" if kind == stat.S_IFDIR else ""
        raise DataError(Problem(f"a file is needed; this is {_KINDS.get(kind, 'something else')}", source.name, remedy=remedy))
    try:
        return source.path.read_bytes()
    except OSError as error:
        raise unopened(error, source) from error


def _kind(source: Source) -> int:
    try:
        return stat.S_IFMT(source.path.stat().st_mode)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise unopened(error, source) from error


def _beside(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path.parent))
    except OSError:
        return []


def _unpacked(data: bytes, name: str) -> bytes:
    packed = Path(name).suffix.lower()
    try:
        if packed == ".gz":
            return gzip.decompress(data)
        if packed == ".bz2":
            return bz2.decompress(data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(Problem(f"this {packed} file is broken or cut off: {error}", name)) from error
    return data
