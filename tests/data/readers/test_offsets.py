"""Slots by offsets into the text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import default_columns, read_rows
from manyheads.data.readers.contract import Rows
from manyheads.data.readers.offsets import _tagged
from manyheads.errors import DataError
from manyheads.text.tags import spans

Read = Callable[..., Rows]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Rows of these lines, whose columns are label, slots and text unless said."""

    def call(*lines: str, **spec: Any) -> Rows:
        (tmp_path / "a.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        values = {"format": "offsets", "train": "a.tsv", "columns": ["label", "slots", "text"], **spec}
        return read_rows(DataSpec.model_validate(values), "train", tmp_path)

    return call


def test_slots_become_tags_of_words(read: Read) -> None:
    found = read("set\t14:28:when,8:10:whom\twake up me at 7 o'clock", "show\t\tshow  all")
    assert [dict(row.values) for row in found.rows] == [
        {
            "label": "set",
            "slots": "14:28:when,8:10:whom",
            "text": "wake up me at 7 o'clock",
            "words": ["wake", "up", "me", "at", "7", "o'clock"],
            "tags": ["O", "O", "B-whom", "O", "B-when", "I-when"],
        },
        {"label": "show", "slots": "", "text": "show  all", "words": ["show", "all"], "tags": ["O", "O"]},
    ]
    assert [str(row.place) for row in found.rows] == ["a.tsv:1", "a.tsv:2"]


def test_a_header_and_the_default_columns(read: Read) -> None:
    found = read("text\tslots", "at six\t3:6:time", columns=None)
    assert found.rows[0].values["tags"] == ["O", "B-time"]
    columns = default_columns(DataSpec.model_validate({"format": "offsets", "train": "a.tsv"}))
    assert (columns.words, columns.tags) == ("words", "tags")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a\t3:6\tat six", "a slot is from:to:label, not '3:6'"),
        ("a\t9:12:time\tat six", "the slot '9:12:time' has no word of the text"),
        ("a\t2:3:time\tat six", "the slot '2:3:time' has no word of the text"),
        ("a\t0:4:x,3:6:y\tat six", "the slot '3:6:y' shares a word with one before"),
        ("a\t\t  ", "a text without words has no tags"),
        ("a\tb", "a row of 3 columns is expected, this one has 2"),
    ],
)
def test_bad_rows(read: Read, line: str, rule: str) -> None:
    with pytest.raises(DataError, match=r"a\.tsv:2") as caught:
        read("a\t\tfine", line)
    assert rule in str(caught.value)
    found = read("a\t\tfine", line, bad_rows="skip")
    assert (len(found.rows), [bad.place.line for bad in found.bad]) == (1, [2])


def test_columns_that_are_not_there(read: Read) -> None:
    with pytest.raises(DataError, match="slots by offsets need the columns 'text', 'slots'; there is no 'slots'"):
        read("a\tb\tc", columns=["label", "spans", "text"])


@given(st.lists(st.sampled_from(["a", "bb", "ccc"]), min_size=1, max_size=8), st.data())
def test_spans_of_whole_words_come_back(words: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)), max_size=4)))
    wanted = [(start, stop, "x") for start, stop in zip(cuts[::2], cuts[1::2], strict=False)]
    starts = [len(" ".join(words[:i])) + (i > 0) for i in range(len(words))]
    slots = ",".join(f"{starts[a]}:{starts[b - 1] + len(words[b - 1])}:x" for a, b, _ in wanted)
    made = _tagged(" ".join(words), slots)
    assert not isinstance(made, str)
    assert made[0] == words
    assert len(spans(made[1], "BIO")) == len(wanted)
    assert [tag != "O" for tag in made[1]] == [any(a <= i < b for a, b, _ in wanted) for i in range(len(words))]
