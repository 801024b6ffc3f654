"""The cache holds what encoding gave, under the hash of all that decides it, and is never read torn."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

import manyheads.data.cache as module
from manyheads.data.cache import Cache, default_folder, schema, to_table
from manyheads.data.encode import InputSpec, encode
from manyheads.data.labels import LabelMap
from manyheads.data.number_target import NumberTarget
from manyheads.data.targets import ClassTarget, MultilabelTarget, TagTarget, TaskTarget
from manyheads.errors import DataError, ResourceError
from manyheads.text.tokenize import Tokenizer
from manyheads.types import Example, Place, Row

AB = LabelMap(("a", "b"))
TARGETS: dict[str, TaskTarget] = {
    "class": ClassTarget("class", "c", labels=AB),
    "many": MultilabelTarget("many", "m", labels=AB),
    "number": NumberTarget("number", "n"),
    "tags": TagTarget("tags", "t", words="words", labels=AB),
}
EXAMPLES = [
    Example((2, 4, 3), (0, 0, 0), (1,), {"class": 1, "many": (0, 1), "number": 0.5, "tags": (1,)}, Place("a.csv", 2)),
    Example((2, 3), (0, 0), (-1, -1), {"class": None, "many": None, "number": None, "tags": None}, Place("b.csv", 7), cut=2),
    Example((2, 4, 4, 3), (0, 1, 1, 0), (), {"class": 0, "many": (1, 1), "number": -2.0, "tags": (0, -100)}, Place("a.csv", 3)),
]


def content(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def written(examples: Iterable[Example]) -> list[dict[str, Any]]:
    """The slow exact twin: what each row of the table must hold."""
    return [
        {
            "ids": list(e.ids),
            "types": list(e.types),
            "words": list(e.words),
            "cut": e.cut,
            "length": len(e.ids),
            "path": e.place.path,
            "line": e.place.line,
            **{f"target.{t}": list(v) if isinstance(v, tuple) else v for t, v in e.targets.items()},
        }
        for e in examples
    ]


class Elsewhere(NamedTuple):
    """What a process of its own has done, and the folder into which it wrote."""

    process: subprocess.CompletedProcess[str]
    folder: Path


KEY_AND_KILL = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
import manyheads.data.cache as module
from manyheads.data.encode import InputSpec
from manyheads.types import Example, Place, Row
row = Row({"text": "a", "c": "x"}, Place("p", 1))
print(module.key([row], InputSpec("text"), SimpleNamespace(fingerprint="f"), {}, 8), flush=True)
module._ROWS = 1
def examples():
    for i in range(3):
        yield Example((1, 2), (0, 0), (), {}, Place("p", i))
    os.kill(os.getpid(), signal.SIGKILL)
module.Cache(Path(sys.argv[1])).load_or_build("k", module.schema({}), examples)
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """It prints a key, with other hashes of strings than here, and is killed while it writes a table."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    command = [sys.executable, "-c", KEY_AND_KILL, str(folder)]
    return Elsewhere(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False), folder)


def never() -> list[Example]:
    raise AssertionError("the cache should have been read")


def test_what_is_read_is_what_was_encoded(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "folder")
    built = cache.load_or_build("k" * 64, schema(TARGETS), lambda: EXAMPLES)
    assert content(built) == written(EXAMPLES)
    assert content(cache.load_or_build("k" * 64, schema(TARGETS), never)) == written(EXAMPLES)
    assert content(to_table(EXAMPLES, schema(TARGETS))) == written(EXAMPLES)


def test_types_of_the_columns(tmp_path: Path) -> None:
    columns = schema(TARGETS)
    assert Cache(tmp_path).load_or_build("k", columns, lambda: EXAMPLES).schema == columns
    assert columns.field("ids").type == pa.list_(pa.int32())
    assert columns.field("types").type == pa.list_(pa.int8())
    assert columns.field("target.many").type == pa.list_(pa.int8(), 2)


def test_many_record_batches_with_new_files_in_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 3)
    examples = [replace(EXAMPLES[i % 3], place=Place(f"{i // 2}.csv", i)) for i in range(10)]
    table = Cache(tmp_path).load_or_build("k", schema(TARGETS), lambda: examples)
    assert table["ids"].num_chunks == 4
    assert content(table) == written(examples)
    assert content(to_table(examples, schema(TARGETS))) == written(examples)


def test_no_rows_make_an_empty_table(tmp_path: Path) -> None:
    assert Cache(tmp_path).load_or_build("k", schema(TARGETS), list).num_rows == 0


def test_the_table_is_mapped_and_not_loaded(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.load_or_build("k", schema(TARGETS), lambda: EXAMPLES * 5000)
    before = pa.total_allocated_bytes()
    table = cache.load_or_build("k", schema(TARGETS), never)
    assert table.num_rows == 15_000
    assert pa.total_allocated_bytes() - before < 10_000


# keys ---------------------------------------------------------------------------------------------------------------


def rows(*texts: Any, path: str = "a.csv", **more: Any) -> list[Row]:
    return [Row({"text": text, "c": "a", **more}, Place(path, line)) for line, text in enumerate(texts, 2)]


def test_the_key_changes_with_all_that_decides_the_examples(letters: Tokenizer) -> None:
    one = {"class": TARGETS["class"]}
    other = Tokenizer(letters._backend, fingerprint="another")
    asked: list[tuple[Any, ...]] = [
        (rows("a"), InputSpec("text"), letters, one, 16),
        (rows("b"), InputSpec("text"), letters, one, 16),
        (rows("a", "a"), InputSpec("text"), letters, one, 16),
        (rows("1"), InputSpec("text"), letters, one, 16),
        (rows(1), InputSpec("text"), letters, one, 16),
        (rows("a", path="b.csv"), InputSpec("text"), letters, one, 16),
        ([Row({"text": "a", "c": "b"}, Place("a.csv", 2))], InputSpec("text"), letters, one, 16),
        (rows("a"), InputSpec("text", "c"), letters, one, 16),
        (rows("a"), InputSpec(words="text"), letters, one, 16),
        (rows("a"), InputSpec("text"), other, one, 16),
        (rows("a"), InputSpec("text"), letters, one, 17),
        (rows("a"), InputSpec("text"), letters, {}, 16),
        (rows("a"), InputSpec("text"), letters, {"renamed": one["class"]}, 16),
        (rows("a"), InputSpec("text"), letters, {"class": ClassTarget("class", "c", labels=LabelMap(("a",)))}, 16),
    ]
    keys = [module.key(*arguments) for arguments in asked]
    assert len(set(keys)) == len(keys)
    assert keys == [module.key(*arguments) for arguments in asked]


def test_the_key_does_not_change_with_columns_that_are_not_read(letters: Tokenizer) -> None:
    plain, more = rows("a"), rows("a", comment="x")
    assert module.key(plain, InputSpec("text"), letters, {}, 16) == module.key(more, InputSpec("text"), letters, {}, 16)


def test_the_key_of_broken_text(letters: Tokenizer) -> None:
    assert len(module.key(rows("\ud800"), InputSpec("text"), letters, {}, 16)) == 64


def test_the_key_does_not_depend_on_the_process(letters: Tokenizer, elsewhere: Elsewhere) -> None:
    tokenizer = Tokenizer(letters._backend, fingerprint="f")
    here = module.key([Row({"text": "a", "c": "x"}, Place("p", 1))], InputSpec("text"), tokenizer, {}, 8)
    assert elsewhere.process.stdout == f"{here}\n"


# faults -------------------------------------------------------------------------------------------------------------


def test_an_error_while_encoding_leaves_nothing(tmp_path: Path, letters: Tokenizer) -> None:
    bad = [*rows(*["a"] * 2000), Row({"text": None}, Place("a.csv", 9))]
    with pytest.raises(DataError):
        Cache(tmp_path).load_or_build("k", schema({}), lambda: encode(bad, InputSpec("text"), letters, {}, 16))
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_is_killed_leaves_no_table(elsewhere: Elsewhere) -> None:
    assert elsewhere.process.returncode == -9
    assert not (elsewhere.folder / "k.arrow").exists()
    assert Cache(elsewhere.folder).load_or_build("k", schema(TARGETS), lambda: EXAMPLES).num_rows == 3


@pytest.mark.parametrize("keep", [0, 1, 100, -8, -1])
def test_a_file_that_is_cut_short_is_built_again(tmp_path: Path, keep: int) -> None:
    cache = Cache(tmp_path)
    cache.load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
    whole = (tmp_path / "k.arrow").read_bytes()
    (tmp_path / "k.arrow").write_bytes(whole[:keep])
    assert content(cache.load_or_build("k", schema(TARGETS), lambda: EXAMPLES)) == written(EXAMPLES)
    assert (tmp_path / "k.arrow").read_bytes() == whole


@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture, at: float) -> None:
    cache, file = Cache(tmp_path), tmp_path / "k.arrow"
    cache.load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
    whole = file.read_bytes()
    place = int(at * (len(whole) - 1))
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert content(cache.load_or_build("k", schema(TARGETS), lambda: EXAMPLES)) == written(EXAMPLES)
    assert file.read_bytes() == whole
    assert [r.getMessage() for r in caplog.records] == [f"{file} in the cache is damaged and is built again"]


def test_every_flipped_bit_of_a_piece_of_text_is_noticed(tmp_path: Path) -> None:
    """What the table itself cannot tell: it reads as well with another id."""
    cache, file = Cache(tmp_path), tmp_path / "k.arrow"
    cache.load_or_build("k", schema({}), lambda: [Example((258,), (0,), (), {}, Place("a.csv", 2))])
    whole = file.read_bytes()
    place = whole.index((258).to_bytes(4, "little"))
    for bit in range(8):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        assert module._load(file, "k") is None


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "k.arrow").mkdir()
    with pytest.raises(ResourceError, match="cannot be written"):
        Cache(tmp_path).load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
    assert f"{tmp_path / 'k.arrow'} in the cache cannot be read" in caplog.text


def test_a_first_build_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Cache(tmp_path).load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
    Cache(tmp_path).load_or_build("k", schema(TARGETS), never)
    assert caplog.records == []


def test_a_file_under_another_name_is_not_believed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.load_or_build("one", schema(TARGETS), lambda: EXAMPLES)
    (tmp_path / "one.arrow").rename(tmp_path / "two.arrow")
    assert cache.load_or_build("two", schema(TARGETS), lambda: EXAMPLES[:1]).num_rows == 1


def test_of_two_writers_both_are_served(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def slow() -> Iterator[Example]:
        yield EXAMPLES[0]
        other = Cache(tmp_path).load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
        assert content(other) == written(EXAMPLES)
        yield from EXAMPLES[1:]

    assert content(cache.load_or_build("k", schema(TARGETS), slow)) == written(EXAMPLES)
    assert [p.name for p in tmp_path.iterdir()] == ["k.arrow"]


def test_a_table_in_use_survives_being_written_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    table = cache.load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
    module._write(tmp_path / "k.arrow", "k", schema(TARGETS), EXAMPLES[:1])
    assert content(table) == written(EXAMPLES)


def test_a_full_disk_ends_in_a_resource_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="MANYHEADS_CACHE"):
        Cache(tmp_path).load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"):
        Cache(tmp_path / "file").load_or_build("k", schema(TARGETS), lambda: EXAMPLES)


def test_what_cannot_be_read_back_is_a_resource_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_load", lambda path, key: None)
    with pytest.raises(ResourceError, match="cannot be read"):
        Cache(tmp_path).load_or_build("k", schema(TARGETS), lambda: EXAMPLES)


def test_data_are_on_the_disk_before_they_have_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.replace

    def traced(descriptor: int) -> None:
        calls.append("fsync folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "fsync file")
        fsync(descriptor)

    def traced_rename(old: Path, new: Path) -> None:
        calls.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", traced)
    monkeypatch.setattr(os, "replace", traced_rename)
    Cache(tmp_path).load_or_build("k", schema(TARGETS), lambda: EXAMPLES)
    if Path("/proc/self/fd").is_dir():
        assert calls == ["fsync file", "rename", "fsync folder"]


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MANYHEADS_CACHE", str(tmp_path / "named"))
    assert Cache().folder == tmp_path / "named"
    monkeypatch.delenv("MANYHEADS_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    find: Callable[[], Path] = default_folder
    for platform, variables, folder in [
        ("linux", {}, tmp_path / ".cache" / "manyheads"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/manyheads")),
        ("darwin", {}, tmp_path / "Library" / "Caches" / "manyheads"),
        ("win32", {}, tmp_path / "AppData" / "Local" / "manyheads" / "cache"),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local/manyheads/cache")),
    ]:
        monkeypatch.setattr(sys, "platform", platform)
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert find() == folder
