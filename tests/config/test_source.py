from __future__ import annotations

import os
from pathlib import Path

import pytest

from manyheads.config.source import MAX_BYTES, read_source
from manyheads.errors import RecipeError


def refused(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_source(path)
    return str(caught.value).replace(str(path), "f")


def test_text_and_tree(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1  # why\n")
    source = read_source(path)
    assert (source.name, source.text, source.root.plain()) == (str(path), "seed: 1  # why\n", {"seed": 1})


def test_a_byte_order_mark_is_stripped(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 1\n")
    source = read_source(path)
    node = source.root.find(("seed",))
    assert node is not None
    assert node.key == f"{path}:1:1"


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_line_endings(tmp_path: Path, ending: bytes) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(ending.join([b"seed: 1", b"output: x"]))
    assert read_source(path).root.plain() == {"seed": 1, "output": "x"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: 1\noutput: caf\xe9\n", "f:2:12: the file is not UTF-8; found 'byte 0xe9'"),
        ("seed: 1".encode("utf-16"), "f:1:1: the file is not UTF-8"),
        (b"", "f:1:1: a recipe must be a mapping"),
        (b"# only a comment\n", "f:1:1: a recipe must be a mapping"),
        (b"- a\n- b\n", "f:1:1: a recipe must be a mapping"),
        (b"version = 1\n[a]\nb = 2024-01-01\n", "f:1:1: a recipe must be a mapping"),  # TOML
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    assert refused(path).startswith(message)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)  # sparse: takes no room
    assert refused(path) == f"f: a recipe may hold at most {MAX_BYTES} bytes"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "r.yaml") == "f: there is no such file"
    assert refused(tmp_path) == "f: a recipe must be a regular file"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "f: a recipe must be a regular file"


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1")

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", fail)
    assert refused(path) == "f: the file cannot be read: Permission denied"


def test_tags_construct_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "r.yaml"
    path.write_text(f"output: !!python/object/apply:os.mkdir ['{canary}']\nmodules: {{a: !!python/name:os.system ''}}\n")
    assert refused(path).count("tags cannot stand in a recipe") == 2
    assert not canary.exists()
