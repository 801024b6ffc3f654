"""An encoded table as a data set, from rows to batches, and through the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data import cache
from manyheads.data.cache import Cache, schema, to_table
from manyheads.data.dataset import Dataset, TextDataset
from manyheads.data.encode import InputSpec, encode
from manyheads.data.number_target import NumberTarget
from manyheads.data.targets import ClassTarget, MultilabelTarget, TagTarget, TaskTarget
from manyheads.nn.losses import items
from manyheads.text.tokenize import Tokenizer
from manyheads.types import IGNORE, Example, Place, Row

MakeRows = Callable[..., list[Row]]


@pytest.fixture
def rows(make_rows: MakeRows) -> list[Row]:
    return make_rows(
        words=[["a", "b"], ["c", "d", "e", "f", "g"], ["h"]],
        tags=[["O", "B-x"], ["O", "O", "B-x", "I-x", "O"], None],
        topic=["sport", None, "arts"],
        score=["1.5", "-2", ""],
        marks=["p|q", "", None],
    )


@pytest.fixture
def targets(rows: list[Row]) -> dict[str, TaskTarget]:
    return {
        "tags": TagTarget("tags", "tags", words="words").fit(rows),
        "topic": ClassTarget("topic", "topic").fit(rows),
        "score": NumberTarget("score", "score", missing=("",)).fit(rows),
        "marks": MultilabelTarget("marks", "marks").fit(rows),
    }


@pytest.fixture
def data(rows: list[Row], targets: dict[str, TaskTarget], letters: Tokenizer) -> TextDataset:
    examples = encode(rows, InputSpec(words="words"), letters, targets, 5)
    return TextDataset("news", "dev", to_table(examples, schema(targets)))


def test_it_is_a_dataset(data: TextDataset) -> None:
    face: Dataset = data
    assert (face.name, face.split, face.tasks, len(face)) == ("news", "dev", ("tags", "topic", "score", "marks"), 3)


def test_a_sample_is_some_of_its_rows_in_their_order(data: TextDataset) -> None:
    drawn = [data.sample(2, seed) for seed in range(9)]
    again = [data.sample(2, seed) for seed in range(9)]
    lines = [[part.place(row).line for row in range(len(part))] for part in drawn]
    assert lines == [[part.place(row).line for row in range(len(part))] for part in again]
    assert all(len(found) == 2 and found == sorted(found) for found in lines)
    assert len({tuple(found) for found in lines}) > 1, "the seed decides"
    assert (drawn[0].name, drawn[0].split, drawn[0].tasks) == (data.name, data.split, data.tasks)
    assert (
        drawn[0].gold("topic", [0, 1]).tolist() == data.gold("topic", [line - data.place(0).line for line in lines[0]]).tolist()
    )
    assert data.sample(3, 0) is data.sample(99, 0) is data


def test_lengths_are_pieces(data: TextDataset) -> None:
    assert data.lengths.tolist() == [4, 5, 3]
    assert data.lengths.dtype == np.int64


def test_what_was_cut_is_counted(data: TextDataset) -> None:
    assert data.truncated == 1
    assert data.cut.tolist() == [0, 2, 0]


def test_items(data: TextDataset) -> None:
    assert data.items("tags").tolist() == [2, 3, 0], "two words of the second row did not fit"
    assert data.items("topic").tolist() == [1, 0, 1]
    assert data.items("score").tolist() == [1, 1, 0]
    assert data.items("marks").tolist() == [1, 1, 0]
    assert data.items("tags") is data.items("tags"), "counted once"


def test_a_batch(data: TextDataset) -> None:
    batch = data.batch(np.array([1, 0]))
    tokens = batch.fields["text"]
    assert tokens.ids.tolist() == [[2, 6, 7, 8, 3], [2, 4, 5, 3, 0]]
    assert tokens.mask.tolist() == [[True] * 5, [True] * 4 + [False]]
    assert tokens.words.tolist() == [[1, 2, 3, -1, -1], [1, 2, -1, -1, -1]]
    assert batch.targets["tags"].tolist() == [[0, 0, 1, IGNORE, IGNORE], [0, 1, IGNORE, IGNORE, IGNORE]]
    assert batch.targets["topic"].tolist() == [IGNORE, 1]
    assert batch.targets["score"].tolist() == [-2.0, 1.5]
    assert batch.targets["marks"].tolist() == [[0, 0], [1, 1]]
    assert (batch.dataset, batch.rows, len(batch)) == ("news", [1, 0], 2)


def test_gold_is_whole(data: TextDataset) -> None:
    assert data.gold("tags", [1]).tolist() == [[0, 0, 1, 2, 0]]
    assert data.gold("topic", [0, 1]).tolist() == [1, IGNORE]


def test_items_are_those_of_any_batch(data: TextDataset) -> None:
    for task in data.tasks:
        assert [items(data.batch([i]).targets[task]) for i in range(3)] == data.items(task).tolist()


def test_weights_multiply_the_items_of_their_rows(data: TextDataset) -> None:
    ones = np.ones(3, np.float32)
    weighted = TextDataset("news", "train", data.table, {"tags": np.array([2, 0, 0.5], np.float32), "topic": ones})
    assert weighted.items("tags").tolist() == (data.items("tags") * [2, 0, 0.5]).tolist()
    assert weighted.items("topic").dtype == np.int64
    batch = weighted.batch([2, 0])
    assert {task: column.tolist() for task, column in batch.weights.items()} == {"tags": [0.5, 2]}
    assert batch.to("meta").weights["tags"].device.type == "meta"
    assert data.batch([2, 0]).weights == {}


def test_places(data: TextDataset) -> None:
    assert data.place(2) == Place("data.csv", 4)


def test_through_the_cache_and_in_several_parts(
    data: TextDataset,
    rows: list[Row],
    targets: dict[str, TaskTarget],
    letters: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "_ROWS", 1)
    inputs = InputSpec(words="words")
    key = cache.key(rows, inputs, letters, targets, 5)
    table = Cache(tmp_path).load_or_build(key, schema(targets), lambda: encode(rows, inputs, letters, targets, 5))
    again = TextDataset("news", "dev", table)
    one, two = data.batch([2, 0, 1]), again.batch([2, 0, 1])
    assert torch.equal(one.fields["text"].ids, two.fields["text"].ids)
    for task in data.tasks:
        torch.testing.assert_close(one.targets[task], two.targets[task], rtol=0, atol=0, equal_nan=True)
        assert data.items(task).tolist() == again.items(task).tolist()
    assert again.place(1) == data.place(1)


def test_without_targets_there_are_texts(make_rows: MakeRows, letters: Tokenizer) -> None:
    examples = encode(make_rows(text=["a", "b c"]), InputSpec("text"), letters, {}, 8)
    data = TextDataset("new", "test", to_table(examples, schema({})))
    assert data.tasks == ()
    assert data.batch([0, 1]).targets == {}
    assert data.batch([0]).fields["text"].words is None


@given(st.lists(st.lists(st.integers(1, 60), max_size=4), min_size=1, max_size=8), st.data())
def test_rows_with_words_longer_than_their_letters_are_counted(sizes: list[list[int]], data: st.DataObject) -> None:
    """Over any record batches, and in parts of the table; a letter may have several bytes."""
    words = [[("å" * (n // 2)).ljust(n - n // 2, "a") for n in row] for row in sizes]
    place = Place("x", 1)
    examples = [Example(tuple(range(2, 2 + len(w))), (0,) * len(w), (), {}, place, spelled=tuple(w)) for w in words]
    table = to_table(examples, schema({}, spelled=True))
    cut = data.draw(st.integers(0, len(words)))
    table = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    start = data.draw(st.integers(0, len(words) - 1))
    found = TextDataset("d", "train", table.slice(start)).lost()
    count = sum(any(len(word.encode()) > 48 for word in row) for row in words[start:])
    share = f"{count} training rows ({count / len(words[start:]):.0%})"
    told = f"d: {share} have words of more than 48 bytes, of which modules of letters read the first 48"
    assert found == ([told] if count else [])
