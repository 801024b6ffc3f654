"""Folders: whole or not there, whatever fails; every changed byte is found and named."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads import folder as module
from manyheads.errors import ArtefactError, ResourceError
from manyheads.failpoints import VARIABLE, forget
from manyheads.folder import (
    FORMAT,
    MANIFEST,
    PICKLES,
    Manifest,
    discard,
    existing,
    read_json,
    sweep,
    verify,
    write_text,
    writing,
)

FILES = {
    "config.json": b'{"width": 3}\n',
    "inner/deep/vocab.txt": "wörter\n".encode(),
    "inner/empty": b"",
    "weights": bytes(range(256)),
}
POINTS = [
    "save.after_file",
    "save.after_file:2",
    "save.before_manifest",
    "save.before_rename",
    "save.between_renames",
    "save.after_rename",
]
CASES = [(p, old) for p in POINTS for old in (False, True) if old or p != "save.between_renames"]  # old: a folder is replaced


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def save(target: Path, files: dict[str, bytes] = FILES) -> Path:
    with writing(target, kind="thing") as folder:
        fill(folder, files)
    return target


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST}


def leftovers(parent: Path) -> list[str]:
    return [n for n in os.listdir(parent) if n.startswith((".tmp-", ".old-"))]


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    def set_(value: str) -> None:
        monkeypatch.setenv(VARIABLE, value)
        forget()

    yield set_
    monkeypatch.undo()
    forget()


# what is written ------------------------------------------------------------------------------------------------------


def test_a_saved_folder_is_complete_and_verified(tmp_path: Path) -> None:
    target = save(tmp_path / "new" / "parents" / "thing")
    assert content(target) == FILES
    manifest = verify(target, kind="thing")
    assert manifest.kind == "thing"
    assert {name: entry.size for name, entry in manifest.files.items()} == {name: len(c) for name, c in FILES.items()}
    assert not leftovers(target.parent)


def test_the_manifest_is_strict_sorted_json(tmp_path: Path) -> None:
    text = (save(tmp_path / "thing") / MANIFEST).read_text(encoding="utf-8")
    data = json.loads(text)
    assert text == json.dumps(data, indent=1, sort_keys=True) + "\n"
    assert (data["format"], data["kind"], sorted(data["files"])) == (1, "thing", sorted(FILES))


@given(
    names=st.lists(
        st.text(min_size=1, max_size=12).filter(lambda n: "/" not in n and "\0" not in n and n not in (".", "..")), max_size=5
    )
)
def test_any_file_name_and_content_comes_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    files = {n: n.encode("utf-8", "replace") * i for i, n in enumerate(names) if _possible(n)}
    target = save(tmp_path_factory.mktemp("any") / "thing", files)
    assert content(target) == files
    assert verify(target, kind="thing").files.keys() == files.keys()


def _possible(name: str) -> bool:
    try:
        return len(os.fsencode(name)) < 200 and name != MANIFEST and Path(name).suffix.lower() not in PICKLES
    except UnicodeEncodeError:
        return False


def test_a_relative_target_and_a_link_to_the_parent_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    save(Path("link/thing"))
    assert content(tmp_path / "real" / "thing") == FILES
    assert verify(Path("link/thing"), kind="thing").files.keys() == FILES.keys()


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, file: int, folder: int) -> None:
    before = os.umask(umask)
    try:
        with writing(tmp_path / "thing", kind="thing") as temp:
            fill(temp, FILES)
            (temp / "weights").chmod(0o600)  # as safetensors leaves them
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "thing").rglob("*")}
    assert {modes[n] for n in ("config.json", "weights", MANIFEST, "vocab.txt")} == {file}
    assert stat.S_IMODE((tmp_path / "thing").stat().st_mode) == modes["inner"] == folder


def test_everything_is_synced_before_what_depends_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = _trace(monkeypatch)
    save(tmp_path / "thing")
    renamed = next(i for i, (what, _) in enumerate(events) if what == "rename")
    synced = [name for _, name in events[:renamed]]
    temp = synced[-1]
    assert temp.startswith(".tmp-")
    assert synced[-2] == MANIFEST
    assert set(synced[:-2]) == {"config.json", "vocab.txt", "empty", "weights", "inner", "deep"}
    assert events[renamed:] == [("rename", "thing"), ("sync", tmp_path.name)]


def test_an_old_folder_is_removed_only_after_its_successor_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "thing")
    events = _trace(monkeypatch)
    save(tmp_path / "thing", {"new": b"1"})
    moves = [what if what != "sync" else f"sync {name}" for what, name in events]
    assert moves[-4:] == ["rename", "rename", f"sync {tmp_path.name}", "remove"]


def _trace(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every sync, rename and removal, in order, by name."""
    events: list[tuple[str, str]] = []
    sync, rename, remove = module._sync, Path.rename, shutil.rmtree
    fsync = os.fsync
    synced: list[int] = []

    def traced_sync(path: Path) -> None:
        sync(path)
        assert synced, "fsync was not called"
        assert os.stat(path).st_ino == synced.pop()
        events.append(("sync", path.name))

    def traced_fsync(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    def traced_rename(path: Path, target: Path) -> Path:
        events.append(("rename", Path(target).name))
        return rename(path, target)

    def traced_remove(path: Path, ignore_errors: bool = False) -> None:
        if os.path.exists(path):
            events.append(("remove", Path(path).name))
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(module, "_sync", traced_sync)
    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "rename", traced_rename)
    monkeypatch.setattr(module.shutil, "rmtree", traced_remove)
    return events


# what is in the way ---------------------------------------------------------------------------------------------------


def test_a_saved_folder_is_replaced(tmp_path: Path) -> None:
    save(tmp_path / "thing")
    save(tmp_path / "thing", {"new": b"1"})
    assert content(tmp_path / "thing") == {"new": b"1"}
    assert os.listdir(tmp_path) == ["thing"]


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    assert content(save(tmp_path / "thing")) == FILES


def _own_files(target: Path) -> None:
    fill(target, {"thesis.tex": b"years of work"})


def _own_manifest(target: Path) -> None:
    fill(target, {MANIFEST: b'{"name": "a web app"}', "app.js": b"1"})


def _other_kind(target: Path) -> None:
    with writing(target, kind="other") as folder:
        fill(folder, FILES)


@pytest.mark.parametrize("make", [_own_files, _own_manifest, _other_kind])
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, make: object) -> None:
    make(tmp_path / "thing")  # type: ignore[operator]
    before = content(tmp_path / "thing")
    with pytest.raises(ResourceError, match="no saved thing that could be replaced"):
        save(tmp_path / "thing")
    assert content(tmp_path / "thing") == before
    assert os.listdir(tmp_path) == ["thing"]


def test_files_and_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "link", "dangling"):
        with pytest.raises(ResourceError, match="not a folder"):
            save(tmp_path / name)
    with pytest.raises(ResourceError, match="Not a directory") as caught:
        save(tmp_path / "file" / "thing")
    assert caught.value.exit_code == 7
    assert sorted(os.listdir(tmp_path)) == ["dangling", "file", "folder", "link"]


def test_a_planted_link_with_the_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr(module.secrets, "token_hex", lambda _: next(names))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f".tmp-manyheads-{'0' * 16}").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        save(tmp_path / "thing")
    assert not any((tmp_path / "elsewhere").iterdir())


# what fails -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("point", "old"), [(p, o) for p, o in CASES if p != "save.after_rename"])
@pytest.mark.parametrize(("action", "says"), [("full", "No space left on device"), ("raise", "Input/output error")])
def test_a_failing_disk_leaves_what_was_there(
    tmp_path: Path, arm: object, point: str, action: str, says: str, old: bool
) -> None:
    if old:
        save(tmp_path / "thing", {"old": b"0"})
    arm(f"{point}={action}")  # type: ignore[operator]
    with pytest.raises(ResourceError, match=says) as caught:
        save(tmp_path / "thing")
    assert "what was saved before is intact" in str(caught.value)
    assert caught.value.problems[0].place == str(tmp_path / "thing")
    if old:
        verify(tmp_path / "thing", kind="thing")
        assert content(tmp_path / "thing") == {"old": b"0"}
    assert os.listdir(tmp_path) == (["thing"] if old else [])


def test_a_full_disk_tells_the_bytes(tmp_path: Path, arm: object) -> None:
    arm("save.before_manifest=full")  # type: ignore[operator]
    with pytest.raises(ResourceError, match=r"takes at least \d{3} bytes, and \d+ are free"):
        save(tmp_path / "thing")
    with pytest.raises(ResourceError, match="takes at least 5000 bytes"), writing(tmp_path / "thing", "thing", needed=5000):
        raise OSError(errno.ENOSPC, "full at the first byte")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, FileNotFoundError])
def test_an_error_of_the_block_passes_through(tmp_path: Path, error: type[BaseException]) -> None:
    save(tmp_path / "thing", {"old": b"0"})
    with pytest.raises(error), writing(tmp_path / "thing", "thing") as folder:  # noqa: PT012
        fill(folder, FILES)
        raise error
    assert content(tmp_path / "thing") == {"old": b"0"}
    assert os.listdir(tmp_path) == ["thing"]


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG])
def test_errors_of_disk_and_permission_are_resource_errors(tmp_path: Path, number: int) -> None:
    with pytest.raises(ResourceError, match=os.strerror(number)), writing(tmp_path / "thing", "thing"):
        raise OSError(number, os.strerror(number), "some/file")
    assert not os.listdir(tmp_path)


def test_errors_inside_safetensors_are_told_apart(tmp_path: Path) -> None:
    for text, raised in [("I/O error: File too large (os error 27)", ResourceError), ("a bug", module.SafetensorError)]:
        with pytest.raises(raised), writing(tmp_path / "thing", "thing"):
            raise module.SafetensorError(text)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["w.pt", "w.BIN", "inner/w.pkl"])
def test_a_pickle_is_not_saved(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtefactError, match="can run code"):
        save(tmp_path / "thing", {name: b"x"})
    assert not os.listdir(tmp_path)


def test_a_limit_on_file_size_is_a_full_disk(tmp_path: Path) -> None:
    save(tmp_path / "thing", {"old": b"0"})
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    save(target, {"small": b"1" * 10_000, "big": b"2" * 100_000})
except ResourceError as error:
    print(error.exit_code, error)
"""
    done = _child(tmp_path / "thing", code)
    assert done.returncode == 0
    assert done.stdout.startswith("7 ")
    assert "File too large; it takes at least 60000 bytes, and files are limited, by the shell (ulimit -f)" in done.stdout
    assert "raise the limit" in done.stdout
    assert "are free" not in done.stdout  # a limit says nothing of room
    assert content(tmp_path / "thing") == {"old": b"0"}
    assert os.listdir(tmp_path) == ["thing"]


# single files ---------------------------------------------------------------------------------------------------------


def test_a_file_is_written_as_it_is_given(tmp_path: Path) -> None:
    for text in ("wörter\r\n\u2028", ""):
        write_text(tmp_path / "file.txt", text)
        assert (tmp_path / "file.txt").read_bytes() == text.encode()
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EACCES, errno.ENOMEM])
def test_a_file_that_cannot_be_written_is_named_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    write_text(tmp_path / "file.txt", "old")

    def fail(path: Path, *_: object, **__: object) -> None:
        path.touch()
        raise OSError(number, os.strerror(number))  # a write, unlike opening, names no file

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ResourceError, match=os.strerror(number)) as caught:
        write_text(tmp_path / "file.txt", "new")
    assert caught.value.problems[0].place == str(tmp_path / "file.txt")
    assert (tmp_path / "file.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_file_in_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="No such file or directory"):
        write_text(tmp_path / "nowhere" / "file.txt", "x")


# what is killed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("point", "replaces"), CASES)
def test_a_killed_save_leaves_the_old_or_the_new_folder(tmp_path: Path, point: str, replaces: bool) -> None:
    if replaces:
        save(tmp_path / "thing", {"old": b"0"})
    done = _child(tmp_path / "thing", "save(target, {'new': b'1', 'other': b'2'})", f"{point}=kill")
    assert done.returncode == -signal.SIGKILL
    assert leftovers(tmp_path) or point == "save.after_rename"
    sweep(tmp_path)
    assert not leftovers(tmp_path)
    if point == "save.after_rename":
        assert content(tmp_path / "thing") == {"new": b"1", "other": b"2"}
    elif replaces:
        assert content(tmp_path / "thing") == {"old": b"0"}
    else:
        assert not os.listdir(tmp_path)
        return
    verify(tmp_path / "thing", kind="thing")


def test_the_next_save_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    for point in ("save.before_manifest", "save.before_rename"):
        _child(tmp_path / "thing", "save(target)", f"{point}=kill")
    assert len(leftovers(tmp_path)) == 1  # the second has swept what the first had left
    save(tmp_path / "thing")
    assert os.listdir(tmp_path) == ["thing"]


def test_a_folder_that_is_being_written_is_not_swept(tmp_path: Path) -> None:
    with writing(tmp_path / "one", kind="thing") as first:
        fill(first, {"a": b"1"})
        save(tmp_path / "two")
        done = _child(tmp_path / "three", "save(target)")
        assert done.returncode == 0
        assert first.is_dir()
    assert {n: len(content(tmp_path / n)) for n in os.listdir(tmp_path)} == {"one": 1, "two": 4, "three": 4}


def test_folders_of_others_are_not_swept(tmp_path: Path) -> None:
    names = [".tmp-mine", ".tmp-manyheads-short", f".tmp-manyheads-{'g' * 16}", ".old-thing", f"x.tmp-manyheads-{'0' * 16}"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / f".tmp-manyheads-{'0' * 16}").write_text("a file, not a folder")
    (tmp_path / f".tmp-manyheads-{'1' * 16}").symlink_to(".tmp-mine")
    before = sorted(os.listdir(tmp_path))
    sweep(tmp_path)
    sweep(tmp_path / "absent")
    assert sorted(os.listdir(tmp_path)) == before


def test_without_locks_folders_are_saved_and_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(module.fcntl, "flock", no_locks)
    left = tmp_path / f".tmp-manyheads-{'0' * 16}"
    left.mkdir()
    assert content(save(tmp_path / "thing")) == FILES
    assert left.is_dir()


def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, calls = module.lock_on, []

    def late(folder: Path) -> int:
        calls.append(folder)
        if len(calls) == 1:
            raise BlockingIOError
        if len(calls) == 2:
            descriptor = lock(folder)
            folder.rmdir()
            return descriptor
        return lock(folder)

    monkeypatch.setattr(module, "lock_on", late)
    assert content(save(tmp_path / "thing")) == FILES
    assert len(calls) == 3


def test_readers_see_a_whole_folder_while_it_is_removed(tmp_path: Path, arm: object) -> None:
    target = save(tmp_path / "thing")
    arm("save.prune=raise")  # type: ignore[operator]
    with pytest.raises(OSError, match=r"failpoint save\.prune"):
        discard(target)
    assert not target.exists()  # in one move, though nothing was deleted yet
    sweep(tmp_path)
    assert not os.listdir(tmp_path)
    forget()
    with pytest.raises(FileNotFoundError):
        discard(target)


# what is verified -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("saved") / "thing")


@given(data=st.data())
def test_any_flipped_bit_is_found(saved: Path, data: st.DataObject) -> None:
    names = sorted(n for n, c in FILES.items() if c)
    name = data.draw(st.sampled_from(names))
    good = FILES[name]
    at = data.draw(st.integers(0, 8 * len(good) - 1))
    with _changed(saved / name, good[: at // 8] + bytes([good[at // 8] ^ 1 << at % 8]) + good[at // 8 + 1 :]):
        with pytest.raises(ArtefactError, match="sha256 differs") as caught:
            verify(saved, kind="thing")
        assert [name in p.rule for p in caught.value.problems] == [True]


@given(data=st.data())
def test_a_changed_manifest_is_refused_or_says_the_same(saved: Path, data: st.DataObject) -> None:
    good, meant = (saved / MANIFEST).read_bytes(), verify(saved, kind="thing")
    at = data.draw(st.integers(0, len(good) - 1))
    new = data.draw(st.binary(max_size=3))
    with _changed(saved / MANIFEST, good[:at] + new + good[at + 1 :]):
        assert _refused_or(saved, meant)


@given(st.binary(max_size=60))
def test_a_garbage_manifest_is_refused(saved: Path, garbage: bytes) -> None:
    with _changed(saved / MANIFEST, garbage), pytest.raises(ArtefactError):
        verify(saved, kind="thing")


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v)
)


@given(kind=JSON, files=JSON, number=JSON)
def test_a_manifest_of_wrong_types_is_refused(saved: Path, kind: object, files: object, number: object) -> None:
    text = json.dumps({"format": number, "kind": kind, "files": files})
    with _changed(saved / MANIFEST, text.encode()), pytest.raises(ArtefactError):
        verify(saved, kind="thing")


class _changed:
    """A file with other bytes for the length of a block."""

    def __init__(self, path: Path, new: bytes) -> None:
        self.path, self.new, self.good = path, new, path.read_bytes()

    def __enter__(self) -> None:
        self.path.write_bytes(self.new)

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.good)


def _refused_or(folder: Path, meant: Manifest) -> bool:
    try:
        return verify(folder, kind="thing") == meant
    except ArtefactError:
        return True


def _edit(folder: Path, **changes: object) -> None:
    data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps({**data, **changes}), encoding="utf-8")


def test_a_newer_format_says_which_release_is_needed(tmp_path: Path) -> None:
    target = save(tmp_path / "thing")
    _edit(target, format=FORMAT + 1, extra="unknown here")
    with pytest.raises(ArtefactError, match=r"has format 2, and this release reads up to 1[\s\S]*newer release") as caught:
        verify(target, kind="thing")
    assert caught.value.exit_code == 5
    with pytest.raises(ResourceError, match="in the way"):
        save(target)


@pytest.mark.parametrize("number", [0, -1, True, 1.0, "1", None])
def test_an_impossible_format_is_refused(tmp_path: Path, number: object) -> None:
    target = save(tmp_path / "thing")
    _edit(target, format=number)
    with pytest.raises(ArtefactError, match="not a manifest"):
        verify(target, kind="thing")


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (3, "must hold size and sha256"),
        ({"size": 1}, "must hold size and sha256"),
        ({"size": 1.0, "sha256": "0"}, "whole number"),
        ({"size": True, "sha256": "0"}, "whole number"),
        ({"size": 1, "sha256": 0}, "whole number"),
    ],
)
def test_an_odd_entry_is_refused(tmp_path: Path, entry: object, rule: str) -> None:
    target = save(tmp_path / "thing")
    _edit(target, files={"config.json": entry})
    with pytest.raises(ArtefactError, match=rule):
        verify(target, kind="thing")


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": 1, "a": 2}', "[" * 100_000, '"\ud800"', "1" * 5000])
def test_json_is_strict(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ArtefactError, match="is not strict JSON"):
        read_json(tmp_path / "x.json")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="not a saved checkpoint; found 'thing'"):
        verify(save(tmp_path / "thing"), kind="checkpoint")


def test_every_missing_extra_resized_and_changed_file_is_named(tmp_path: Path) -> None:
    target = save(tmp_path / "thing")
    (target / "config.json").unlink()
    (target / "more.txt").write_text("new")
    (target / "weights").write_bytes(b"short")
    (target / "inner/deep/vocab.txt").write_bytes("Wörter\n".encode())
    with pytest.raises(ArtefactError) as caught:
        verify(target, kind="thing")
    assert [p.rule for p in caught.value.problems] == [
        "the file 'config.json' is missing",
        "the file 'inner/deep/vocab.txt' has changed: its sha256 differs",
        "the file 'more.txt' is not in the manifest",
        "the file 'weights' has 5 bytes, not 256",
    ]


def test_many_problems_are_cut_short(tmp_path: Path) -> None:
    target = save(tmp_path / "thing", {f"{i:02}": b"x" for i in range(30)})
    for i in range(25):
        (target / f"{i:02}").unlink()
    with pytest.raises(ArtefactError) as caught:
        verify(target, kind="thing")
    assert len(caught.value.problems) == 21
    assert str(caught.value).endswith("and 5 more")


def test_swapped_files_are_found(tmp_path: Path) -> None:
    one, two = save(tmp_path / "one", {"w": b"1111"}), save(tmp_path / "two", {"w": b"2222"})
    first = (one / "w").read_bytes()
    (one / "w").write_bytes((two / "w").read_bytes())
    (two / "w").write_bytes(first)
    for target in (one, two):
        with pytest.raises(ArtefactError, match="'w' has changed"):
            verify(target, kind="thing")


@pytest.mark.parametrize("suffix", sorted(PICKLES))
def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = save(tmp_path / "thing")
    evil = target / f"model{suffix.upper()}"
    evil.write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
    _listed(target, evil.name)
    opened: list[str] = []
    open_ = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: opened.append(path.name) or open_(path, *a, **k))
    with pytest.raises(ArtefactError, match="can run code; it was not opened"):
        verify(target, kind="thing")
    assert evil.name not in opened


@pytest.mark.parametrize("to", ["/etc/hostname", "../secret", "config.json"])
def test_a_link_is_refused(tmp_path: Path, to: str) -> None:
    (tmp_path / "secret").write_text("mine")
    target = save(tmp_path / "thing")
    (target / "weights").unlink()
    (target / "weights").symlink_to(to)
    with pytest.raises(ArtefactError, match="'weights' is a link"):
        verify(target, kind="thing")


def test_a_linked_folder_and_a_pipe_are_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    target = save(tmp_path / "thing")
    (target / "more").symlink_to(tmp_path / "outside")
    os.mkfifo(target / "pipe")
    with pytest.raises(ArtefactError) as caught:
        verify(target, kind="thing")
    assert [p.rule for p in caught.value.problems[:2]] == ["'more' is a link or a device", "'pipe' is a link or a device"]


def _listed(target: Path, name: str) -> None:
    data = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    data["files"][name] = {"size": (target / name).stat().st_size, "sha256": "0" * 64}
    (target / MANIFEST).write_text(json.dumps(data), encoding="utf-8")


def test_names_that_lead_outside_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    target = save(tmp_path / "thing")
    _listed(target, "../secret")
    with pytest.raises(ArtefactError, match=r"'\.\./secret' is missing"):
        verify(target, kind="thing")


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, rule in [("file", "no such folder"), ("absent", "no such folder"), ("empty", "cannot be read: No such file")]:
        with pytest.raises(ArtefactError, match=rule):
            verify(tmp_path / name, kind="thing")


def test_a_file_that_vanishes_meanwhile_is_an_artefact_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = save(tmp_path / "thing")
    listing = module._listing

    def vanishing(folder: Path) -> object:
        found = listing(folder)
        (folder / "weights").unlink()
        return found

    monkeypatch.setattr(module, "_listing", vanishing)
    with pytest.raises(ArtefactError, match=r"weights: cannot be read: No such file"):
        verify(target, kind="thing")


def test_the_nearest_existing_place(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path) == tmp_path


def _child(target: Path, code: str, failpoints: str = "") -> subprocess.CompletedProcess[str]:
    """Run `code` with `save` and `target` in a process of its own."""
    head = f"""
from pathlib import Path
from manyheads.errors import ResourceError
from manyheads.folder import writing
target = Path({str(target)!r})
def save(target, files={{"a": b"1", "b": b"2", "c": b"3", "d": b"4"}}):
    with writing(target, kind="thing") as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
"""
    environment = {**os.environ, VARIABLE: failpoints}
    return subprocess.run([sys.executable, "-c", head + code], env=environment, capture_output=True, text=True, check=False)
