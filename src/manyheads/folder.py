"""A directory that is written whole or not at all, and that shows when a byte of it has changed.

    with writing(target, kind="artefact") as folder:
        (folder / "config.json").write_text(...)      # any files, in any order
    verify(target, kind="artefact")                   # ArtefactError names what is missing, extra or changed

Files are written into `.tmp-manyheads-<random>` beside the target. Then, in this order: every file and sub-folder is
synced, manifest.json with all sizes and sha256 is written and synced, the folder is synced, renamed, and its parent
synced. So whatever has a manifest is whole, after a power cut too. The process holds a lock (flock) on what it writes;
a folder with such a name and without such a lock was left by a dead process, and the next writer removes it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError

from manyheads.errors import ArtefactError, Problem, ResourceError, shown
from manyheads.failpoints import reach

FORMAT = 1
MANIFEST = "manifest.json"
PICKLES = frozenset({".pt", ".bin", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})

_TEMP, _OLD = ".tmp-manyheads-", ".old-manyheads-"
_LEFT = re.compile(rf"{re.escape(_TEMP)}[0-9a-f]{{16}}|{re.escape(_OLD)}[0-9a-f]{{16}}-(?P<was>.+)", re.DOTALL)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO})
_MOST = 20  # problems that one message lists


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was written: `size` in bytes, `sha256` in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a saved folder holds; `files` by their path inside it, with `/`."""

    kind: str
    files: Mapping[str, Entry]


@contextmanager
def writing(target: Path, kind: str, needed: int = 0) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` when the block ends well.

    A saved folder of the same kind is replaced; it stays as it was until the new one is whole, and for good when
    anything fails. Raises ResourceError when the disk is full, may not be written or holds something else at `target`;
    its message tells how many bytes are `needed`, as far as the caller knows.
    """
    temp, lock = None, None
    try:
        _make(target.parent)
        sweep(target.parent)
        _refuse_strangers(target, kind)
        temp, lock = _create(target.parent)
        yield temp
        _seal(temp, kind)
        _place(temp, target)
    except (OSError, SafetensorError) as error:
        _explain(error, target, temp, needed)
        raise
    finally:
        if temp is not None:
            shutil.rmtree(temp, ignore_errors=True)  # nothing is there once it has been renamed
        if lock is not None:
            os.close(lock)


def write_text(path: Path, text: str) -> None:
    """Write a single file whole, or leave it as it was. Raises ResourceError, which names it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`."""
    temp = path.with_name(_TEMP + secrets.token_hex(8))
    try:
        temp.write_bytes(content)
        temp.replace(path)
    except OSError as error:
        _explain(error, path, None, len(content))
        raise ResourceError(Problem(f"cannot be saved: {error.strerror}", str(path))) from error
    finally:
        with suppress(OSError):  # nothing is there once it has been renamed
            temp.unlink()


def verify(folder: Path, kind: str) -> Manifest:
    """The manifest of a saved folder, after every byte was compared with it. Nothing in the folder is interpreted.

    Raises ArtefactError naming each file that is missing, extra, changed, a link or a pickle.
    """
    try:
        manifest = _manifest(folder, kind)
        found, problems = _listing(folder)
        found.pop(MANIFEST, None)
        for name in sorted(found.keys() | manifest.files.keys()):
            fault = _fault(found.get(name), manifest.files.get(name))
            if fault is not None:
                problems.append(Problem(f"the file {shown(name)} {fault}", str(folder)))
    except OSError as error:
        raise ArtefactError(Problem(f"cannot be read: {error.strerror}", str(error.filename or folder))) from error
    if problems:
        raise ArtefactError(*_first(problems))
    return manifest


def discard(folder: Path) -> None:
    """Remove a saved folder in one move, so that no reader ever sees half of it. Raises OSError."""
    doomed = folder.with_name(_TEMP + secrets.token_hex(8))
    folder.rename(doomed)
    reach("save.prune")
    shutil.rmtree(doomed)


def set_aside(target: Path, kind: str) -> None:
    """Move a damaged folder out of the way of the one that takes its place, to `<name>.damaged-<n>`."""
    try:
        if target.exists():
            verify(target, kind)
    except ArtefactError:
        aside = (target.with_name(f"{target.name}.damaged-{n}") for n in count(1))
        with suppress(OSError):  # then `writing` says what is in the way
            target.rename(next(path for path in aside if not os.path.lexists(path)))


def sweep(parent: Path) -> None:
    """Remove what dead processes left half written in `parent`; put back what they were about to replace."""
    try:
        names = os.listdir(parent)
    except OSError:
        return
    for name, match in ((n, _LEFT.fullmatch(n)) for n in names):
        if match is None:
            continue
        with suppress(OSError):  # locked by a living process, on a disk without locks, or gone meanwhile
            lock = lock_on(parent / name)
            try:
                if match["was"] and not os.path.lexists(parent / match["was"]):
                    os.rename(parent / name, parent / match["was"])
                else:
                    shutil.rmtree(parent / name, ignore_errors=True)
            finally:
                os.close(lock)


def lock_on(folder: Path) -> int:
    """A descriptor that locks `folder` until it is closed. BlockingIOError where it is locked, OSError where nothing can be."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def existing(path: Path) -> Path:
    """`path`, or the nearest one above it that exists."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def read_json(path: Path) -> Any:
    """Strict JSON: no NaN, no Infinity, no key twice. Raises ArtefactError."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_doubles)
    except OSError as error:
        raise ArtefactError(Problem(f"cannot be read: {error.strerror}", str(path))) from error
    except (ValueError, RecursionError) as error:
        raise ArtefactError(Problem(f"is not strict JSON: {error}", str(path))) from error


# writing --------------------------------------------------------------------------------------------------------------


def _make(folder: Path) -> None:
    """Create a folder and those above it, each entry synced."""
    if folder.is_dir():
        return
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _refuse_strangers(target: Path, kind: str) -> None:
    if not os.path.lexists(target):
        return
    remedy = "name another folder, or move it away; nothing was changed"
    if target.is_symlink() or not target.is_dir():
        raise ResourceError(Problem("is in the way: not a folder", str(target), remedy=remedy))
    if any(target.iterdir()):
        try:
            _manifest(target, kind)
        except ArtefactError as error:
            rule = f"is in the way: the folder is not empty, and no saved {kind} that could be replaced"
            raise ResourceError(Problem(rule, str(target), remedy=remedy)) from error


def _create(parent: Path) -> tuple[Path, int | None]:
    """A new folder and its lock; no lock where the file system has none, so that nobody else gets one either."""
    while True:
        folder = parent / (_TEMP + secrets.token_hex(8))
        folder.mkdir()
        try:
            lock = lock_on(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # swept in the moment before it was locked
        except OSError:
            return folder, None
        if folder.exists():
            return folder, lock
        os.close(lock)


def _seal(folder: Path, kind: str) -> None:
    """Sync everything in it, then write and sync the manifest, then the folder itself."""
    found, problems = _listing(folder)
    if problems:
        raise ArtefactError(*_first(problems))
    mode = folder.stat().st_mode & 0o666  # what the umask left of a new folder; safetensors writes files as 0600
    entries = {}
    for name in sorted(found):
        found[name].chmod(mode)
        entries[name] = asdict(_entry(found[name], None))
        _sync(found[name])
        reach("save.after_file")
    for inner in sorted({parent for path in found.values() for parent in path.parents if folder in parent.parents}):
        _sync(inner)
    reach("save.before_manifest")
    text = json.dumps({"format": FORMAT, "kind": kind, "files": entries}, allow_nan=False, indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
    _sync(folder / MANIFEST)
    _sync(folder)


def _place(temp: Path, target: Path) -> None:
    """Rename onto the target. One that is there is renamed away, and removed once its successor is safe on disk."""
    reach("save.before_rename")
    old = target.with_name(f"{_OLD}{secrets.token_hex(8)}-{target.name}")
    replaces = target.is_dir() and any(target.iterdir())
    try:
        if replaces:
            target.rename(old)
            reach("save.between_renames")
        temp.rename(target)
    except BaseException:
        if replaces and not target.exists():
            old.rename(target)
        raise
    reach("save.after_rename")
    _sync(target.parent)
    if replaces:
        shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError | SafetensorError, target: Path, temp: Path | None, needed: int) -> None:
    """Raise ResourceError for what the disk or its permissions caused; return for anything else."""
    number = error.errno if isinstance(error, OSError) else _errno(error)
    remedy = "what was saved before is intact; make room, or name another folder"
    if number in _FULL:
        written = sum(p.stat().st_size for p in temp.rglob("*") if p.is_file()) if temp else 0
        rule = f"cannot be saved: {os.strerror(number)}; it takes at least {max(needed, written)} bytes"
        if number == errno.ENOSPC:
            rule += f", and {shutil.disk_usage(existing(target)).free + written} are free"  # what was written is removed again
        if number == errno.EFBIG:
            rule += ", and files are limited, by the shell (ulimit -f) or by the file system"
            remedy = "what was saved before is intact; raise the limit, or name another folder"
        raise ResourceError(Problem(rule, str(target), remedy=remedy)) from error
    if number in _REFUSED:
        where = str(error.filename) if isinstance(error, OSError) and error.filename else None
        raise ResourceError(Problem(f"cannot be saved: {os.strerror(number)}", str(target), where, remedy=remedy)) from error


def _errno(error: SafetensorError) -> int:
    """The number that safetensors' own text holds, as in "I/O error: File too large (os error 27)"; 0 without one."""
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else 0


# reading --------------------------------------------------------------------------------------------------------------


def _manifest(folder: Path, kind: str) -> Manifest:
    place = str(folder / MANIFEST)
    if not folder.is_dir():
        raise ArtefactError(Problem("there is no such folder", str(folder)))
    data = read_json(folder / MANIFEST)
    number = data.get("format") if isinstance(data, dict) else None
    if type(number) is int and number > FORMAT:
        remedy = "a newer release of manyheads wrote this folder; install that one to read it"
        raise ArtefactError(Problem(f"has format {number}, and this release reads up to {FORMAT}", place, remedy=remedy))
    whole = type(number) is int and number >= 1 and data.keys() == {"format", "kind", "files"}
    if not whole or not isinstance(data["files"], dict):
        raise ArtefactError(Problem("is not a manifest: it must hold format, kind and files, and nothing else", place))
    if data["kind"] != kind:
        raise ArtefactError(Problem(f"the folder is not a saved {kind}", place, str(data["kind"])))
    return Manifest(kind, {name: _parsed(name, value, place) for name, value in data["files"].items()})


def _parsed(name: str, value: Any, place: str) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"size", "sha256"}:
        raise ArtefactError(Problem(f"the entry of {shown(name)} must hold size and sha256", place))
    if type(value["size"]) is not int or not isinstance(value["sha256"], str):
        raise ArtefactError(Problem(f"the entry of {shown(name)} needs a whole number and a text", place))
    return Entry(value["size"], value["sha256"])


def _listing(folder: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Plain files by their path inside the folder, and a problem for everything that must not be there."""
    found: dict[str, Path] = {}
    problems = []
    for at, folders, files in os.walk(folder, onerror=_raise):
        for path in (Path(at, name) for name in sorted((*folders, *files))):
            mode, name = path.lstat().st_mode, path.relative_to(folder).as_posix()
            if stat.S_ISREG(mode) and path.suffix.lower() not in PICKLES:
                found[name] = path
            elif not stat.S_ISDIR(mode):
                what = "is of a kind that can run code; it was not opened" if stat.S_ISREG(mode) else "is a link or a device"
                problems.append(
                    Problem(f"{shown(name)} {what}", str(folder), remedy="only plain files without pickles are read")
                )
    return found, problems


def _fault(path: Path | None, wanted: Entry | None) -> str | None:
    """What is wrong with a file, or None."""
    if path is None or wanted is None:
        return "is missing" if path is None else "is not in the manifest"
    entry = _entry(path, wanted.size)
    if entry.size != wanted.size:
        return f"has {entry.size} bytes, not {wanted.size}"
    return "has changed: its sha256 differs" if entry.sha256 != wanted.sha256 else None


def _entry(path: Path, size: int | None) -> Entry:
    """Size and sha256; a file that has not the wanted size is not read."""
    with path.open("rb") as file:
        actual = os.fstat(file.fileno()).st_size
        if size is not None and actual != size:
            return Entry(actual, "")
        return Entry(actual, hashlib.file_digest(file, "sha256").hexdigest())


def _first(problems: Sequence[Problem]) -> list[Problem]:
    more = len(problems) - _MOST
    return [*problems[:_MOST], *([Problem(f"and {more} more")] if more > 0 else [])]


def _raise(error: OSError) -> NoReturn:
    raise error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a key stands twice")
    return data
