"""Examples on disk: one Arrow file for each content, memory-mapped, so that memory does not grow with the data.

    ids list<int32>  types list<int8>  words list<int32>  cut int32  length int32  path dictionary  line int64
    target.<task>    as the task's target says (`TaskTarget.arrow`), null where the label is missing
    spelled list<string>   where modules read characters: each piece as the row has it
    parts list<int32>   where a row is several sequences: the pieces of each
    passage string  starts list<int32>  stops list<int32>  part_words list<int32>
                     where these are windows: the text, the characters of all their words, and how many words each has

A file's name is the hash of all that decides its content. It is written under another name, synced, and renamed: whoever
finds it finds it whole, and of two writers the last one wins with the same bytes. Its last four bytes are the CRC-32 of all
others, which is compared on every load: a disk may change a byte, and a changed piece of text would train unseen.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import tokenizers

from manyheads.data.encode import InputSpec
from manyheads.data.targets import TaskTarget
from manyheads.errors import Problem, ResourceError
from manyheads.text.tokenize import Tokenizer
from manyheads.types import Example, Passage, Row

FORMAT = 3
_TEXT = InputSpec("text")
_WINDOWS = ("starts", "stops", "part_words")
TARGET = "target."  # prefix of a target's column
_ROWS = 16_384  # in a record batch: what the writer holds in memory
_KEY = b"manyheads.key"
_SUM = 4  # bytes of the checksum at the end of a file
_CHUNK = 2**20  # bytes that are summed at a time: read and not mapped, so that they do not stay in memory

log = logging.getLogger(__name__)


def key(
    rows: Sequence[Row], inputs: InputSpec, tokenizer: Tokenizer, targets: Mapping[str, TaskTarget], max_length: int
) -> str:
    """sha256 of all that decides the examples: columns that are read, places, tokenizer and its library, targets."""
    digest = hashlib.sha256()
    settings = (FORMAT, tokenizers.__version__, tokenizer.fingerprint, inputs, max_length)
    digest.update(repr((*settings, [(task, t.fingerprint) for task, t in targets.items()])).encode())
    columns = [*inputs.columns, *(target.column for target in targets.values())]
    for row in rows:
        read = [row.values.get(column, ...) for column in columns]  # a column that is not there is no null
        digest.update(repr((row.place.path, row.place.line, read)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def schema(targets: Mapping[str, TaskTarget], inputs: InputSpec = _TEXT, spelled: bool = False) -> pa.Schema:
    """Columns of the table of examples with these targets."""
    numbers = {"ids": pa.list_(pa.int32()), "types": pa.list_(pa.int8()), "words": pa.list_(pa.int32()), "cut": pa.int32()}
    place = {"length": pa.int32(), "path": pa.dictionary(pa.int32(), pa.string()), "line": pa.int64()}
    several = {"parts": pa.list_(pa.int32())} if inputs.parts else {}
    windows = {} if inputs.stride is None else {"passage": pa.string(), **dict.fromkeys(_WINDOWS, pa.list_(pa.int32()))}
    wanted = {TARGET + task: target.arrow for task, target in targets.items()}
    letters = {"spelled": pa.list_(pa.string())} if spelled else {}
    return pa.schema({**numbers, **place, **letters, **several, **windows, **wanted})


def to_table(examples: Iterable[Example], columns: pa.Schema) -> pa.Table:
    """The examples as a table in memory."""
    return pa.Table.from_batches(_record_batches(examples, columns), columns).unify_dictionaries()


def default_folder() -> Path:
    """MANYHEADS_CACHE, else the user's folder for caches."""
    if named := os.environ.get("MANYHEADS_CACHE"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "manyheads"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "manyheads" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manyheads"


class Cache:
    """A folder of encoded data sets. It may be deleted at any time; what is missing is built again."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder

    def load_or_build(self, key: str, columns: pa.Schema, build: Callable[[], Iterable[Example]]) -> pa.Table:
        """The table under `key`, memory-mapped; `build` makes one that is not there, or is damaged, which is a warning.

        Raises ResourceError if it cannot be written.
        """
        path = self.folder / f"{key}.arrow"
        found = _load(path, key)
        if found is not None:
            return found
        examples = build()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, key, columns, examples)
        except OSError as error:
            remedy = "make room, or name another folder in the environment variable MANYHEADS_CACHE"
            raise ResourceError(Problem(f"the cache cannot be written: {error}", str(path), remedy=remedy)) from error
        found = _load(path, key)
        if found is None:
            raise ResourceError(Problem("the cache was written, but cannot be read", str(path)))
        return found


def _load(path: Path, key: str) -> pa.Table | None:
    """The table in a file that is whole and is what its name says; None otherwise."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - _SUM
            whole = size > 0 and _crc(file, size) == file.read(_SUM)
        table = pa.ipc.open_file(pa.memory_map(str(path)).read_buffer(size)).read_all() if whole else None
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        log.warning("%s in the cache cannot be read and is built again: %s", path, error)
        return None
    if table is None or (table.schema.metadata or {}).get(_KEY) != key.encode():
        log.warning("%s in the cache is damaged and is built again", path)
        return None
    return table


def _crc(file: IO[bytes], size: int) -> bytes:
    """CRC-32 of the next `size` bytes. (2.8 GB a second on a busy core, where sha256 made 0.2.)"""
    found = 0
    while size and (chunk := file.read(min(size, _CHUNK))):
        found, size = zlib.crc32(chunk, found), size - len(chunk)
    return found.to_bytes(_SUM, "big")


def _write(path: Path, key: str, columns: pa.Schema, examples: Iterable[Example]) -> None:
    temporary = path.with_name(f".{path.stem[:16]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x+b") as file:
            _write_batches(file, columns.with_metadata({_KEY: key}), examples)
            size = file.tell()
            file.seek(0)
            file.write(_crc(file, size))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if sys.platform != "win32":  # the rename itself is on the disk only when its folder is
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_batches(file: IO[bytes], columns: pa.Schema, examples: Iterable[Example]) -> None:
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_file(file, columns, options=options) as writer:
        for batch in _record_batches(examples, columns):
            writer.write_batch(batch)


def _passages(passages: Sequence[Passage]) -> dict[str, list[Any]]:
    """Columns of the windows of rows that are read through such."""
    words = [[word for window in p.windows for word in window] for p in passages]
    return {
        "passage": [p.text for p in passages],
        "starts": [[start for start, _ in row] for row in words],
        "stops": [[stop for _, stop in row] for row in words],
        "part_words": [[len(window) for window in p.windows] for p in passages],
    }


def _record_batches(examples: Iterable[Example], columns: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches whose path dictionaries each begin with the one before, as a file wants it."""
    paths: dict[str, int] = {}
    tasks = [name.removeprefix(TARGET) for name in columns.names if name.startswith(TARGET)]
    source = iter(examples)
    while chunk := list(islice(source, _ROWS)):
        indices = pa.array([paths.setdefault(e.place.path, len(paths)) for e in chunk], pa.int32())
        found = {
            "ids": [e.ids for e in chunk],
            "types": [e.types for e in chunk],
            "words": [e.words for e in chunk],
            "cut": [e.cut for e in chunk],
            "length": [len(e.ids) for e in chunk],
            "path": pa.DictionaryArray.from_arrays(indices, pa.array(list(paths), pa.string())),
            "line": [e.place.line for e in chunk],
            **{TARGET + task: [e.targets[task] for e in chunk] for task in tasks},
            "parts": [e.parts for e in chunk],
            "spelled": [e.spelled for e in chunk],
            **_passages([e.passage for e in chunk if e.passage is not None]),
        }
        yield pa.record_batch(
            [pa.array(found[f.name], f.type) if f.name != "path" else found["path"] for f in columns], columns
        )
