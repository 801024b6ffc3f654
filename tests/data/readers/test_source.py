import bz2
import gzip
import hashlib
import os
import socket
from pathlib import Path

import pytest

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError

TSV = b"text\none\ntwo\n"


def refused(base, name, **spec):
    with pytest.raises(DataError) as caught:
        read_rows(DataSpec.model_validate({"train": name, **spec}), "train", base)
    assert caught.value.exit_code == 3
    (problem,) = caught.value.problems
    assert problem.place == name
    return problem


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".GZ", gzip.compress)])
def test_packed_files_are_unpacked_and_their_fact_is_of_the_packed_bytes(read, ending, pack):
    data = pack(TSV)
    found = read(f"a.tsv{ending}", data)
    assert [r.values["text"] for r in found.rows] == ["one", "two"]
    (fact,) = found.files
    assert (fact.path, fact.bytes, fact.sha256) == (f"a.tsv{ending}", len(data), hashlib.sha256(data).hexdigest())


def test_two_gzip_members_are_one_text(read):
    found = read("a.tsv.gz", gzip.compress(b"text\none\n") + gzip.compress(b"two\n"))
    assert [r.values["text"] for r in found.rows] == ["one", "two"]


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_a_packed_file_of_nothing_has_no_rows(read, ending, pack):
    for data in (b"", pack(b"")):
        with pytest.raises(DataError, match=f"a.tsv{ending}: no rows"):
            read(f"a.tsv{ending}", data)


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_a_packed_file_cut_off_anywhere_is_refused(read, ending, pack):
    data = pack(TSV)
    for cut in range(1, len(data)):
        with pytest.raises(DataError, match=f"a.tsv{ending}: this {ending} file is broken or cut off"):
            read(f"a.tsv{ending}", data[:cut])
    with pytest.raises(DataError, match="broken or cut off"):
        read(f"a.tsv{ending}", TSV)


def test_a_missing_file_names_the_nearest_one(tmp_path):
    (tmp_path / "train.tsv").write_bytes(TSV)
    problem = refused(tmp_path, "trian.tsv")
    assert problem.rule == "there is no such file"
    assert problem.nearest == "train.tsv"
    assert str(tmp_path) in problem.remedy
    assert refused(tmp_path, "none/trian.tsv").nearest is None
    assert refused(tmp_path, "train.tsv/x.tsv").rule == "there is no such file"


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    (tmp_path / "folder.tsv").mkdir()
    os.mkfifo(tmp_path / "pipe.tsv")
    (tmp_path / "null.tsv").symlink_to(os.devnull)
    (tmp_path / "gone.tsv").symlink_to("nowhere.tsv")
    (tmp_path / "loop.tsv").symlink_to("loop.tsv")
    assert "this is a folder" in refused(tmp_path, "folder.tsv").rule
    assert "this is a named pipe" in refused(tmp_path, "pipe.tsv").rule
    assert "this is a device" in refused(tmp_path, "null.tsv").rule
    assert refused(tmp_path, "gone.tsv").value == "nowhere.tsv"
    assert "cannot be opened" in refused(tmp_path, "loop.tsv").rule
    assert "cannot be opened" in refused(tmp_path, "a\0b.tsv").rule
    assert "cannot be opened" in refused(tmp_path, f"{'x' * 300}.tsv").rule


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.tsv")
        assert "this is a socket" in refused(tmp_path, "s.tsv").rule


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.tsv").write_bytes(TSV)

    def denied(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)  # root may read everything, so a mode of 000 would not do
    assert refused(tmp_path, "a.tsv").rule == "there is no permission to read this"


def test_links_and_absolute_paths_are_followed(tmp_path):
    (tmp_path / "a.tsv").write_bytes(TSV)
    (tmp_path / "link.tsv").symlink_to("a.tsv")
    for name in ("link.tsv", str(tmp_path / "a.tsv")):
        found = read_rows(DataSpec(train=name), "train", tmp_path)
        assert (len(found.rows), found.rows[0].place.path, found.files[0].path) == (2, name, name)
