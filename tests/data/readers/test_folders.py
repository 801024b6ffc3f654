import os

import pytest

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError, RecipeError


@pytest.fixture
def news(tmp_path):
    for name, text in {
        "sport/b.txt": "goal\n",
        "sport/a.txt": "match\r\n\r\nover",
        "business/1.txt": "shares",
        ".git/x": "no",
        "sport/.hidden": "no",
    }.items():
        path = tmp_path / "news" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path


def read(base, **spec):
    return read_rows(DataSpec.model_validate({"format": "folders", "train": "news", **spec}), "train", base)


def test_a_folder_a_label_and_a_file_a_text_unchanged_and_sorted(news):
    found = read(news)
    assert [tuple(r.values.values()) for r in found.rows] == [
        ("shares", "business"),
        ("match\r\n\r\nover", "sport"),
        ("goal\n", "sport"),
    ]
    assert [str(r.place) for r in found.rows] == ["news/business/1.txt:1", "news/sport/a.txt:1", "news/sport/b.txt:1"]
    assert [(f.path, f.bytes) for f in found.files] == [
        ("news/business/1.txt", 6),
        ("news/sport/a.txt", 13),
        ("news/sport/b.txt", 5),
    ]


def test_what_stands_in_the_wrong_place_is_a_bad_row(news):
    (news / "news" / "README").write_text("about")
    (news / "news" / "sport" / "deeper").mkdir()
    with pytest.raises(DataError, match="beside the labels' folders") as caught:
        read(news)
    assert [p.place for p in caught.value.problems] == ["news/README:1", "news/sport/deeper:1"]
    found = read(news, bad_rows="skip")
    assert (len(found.rows), [b.sample for b in found.bad]) == (3, ["README", "deeper"])


def test_a_bad_byte_is_located_in_its_file(news):
    (news / "news" / "sport" / "a.txt").write_bytes(b"one\ntw\xff")
    with pytest.raises(DataError, match=r"news/sport/a\.txt:2: byte 0xff at offset 6"):
        read(news)


def test_a_file_name_that_is_not_text_is_a_bad_row(news):
    (news / "news" / os.fsdecode(b"caf\xe9")).mkdir()
    found = read(news, bad_rows="skip")
    assert "not utf-8" in found.bad[0].rule
    assert str(found.bad[0].place) == "news/caf\\udce9:1"


def test_a_folder_is_needed(tmp_path):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    for name, rule in {"file": "this is a file", "pipe": "a named pipe", "gone": "no such file"}.items():
        with pytest.raises(DataError, match=f"{name}: .*{rule}"):
            read(tmp_path, train=name)


def test_a_folder_that_cannot_be_listed_is_refused(news, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(DataError, match="news: there is no permission to read this"):
        read(news)


def test_an_empty_folder_has_no_rows(tmp_path):
    (tmp_path / "news" / "sport").mkdir(parents=True)
    with pytest.raises(DataError, match="news: no rows"):
        read(tmp_path)


def test_columns_are_the_formats_own(news):
    with pytest.raises(RecipeError, match="names its own columns"):
        read(news, columns=["x"])
