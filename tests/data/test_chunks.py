"""A text in chunks against a loop over its words; the words beside each word against a loop over rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data import cache
from manyheads.data.batching import in_turn, join
from manyheads.data.cache import schema, to_table
from manyheads.data.chunks import Cut, chunked
from manyheads.data.collate import Collator
from manyheads.data.dataset import TextDataset
from manyheads.data.inner_targets import NeighbourTarget
from manyheads.data.targets import target_from_json
from manyheads.types import IGNORE, Example, Place, Row

BEGIN, END = 3, 4
TARGET = {"lm": NeighbourTarget("lm", "text")}
rows = st.lists(st.lists(st.integers(5, 30), max_size=6), min_size=1, max_size=9)


def table_of(texts: list[list[int]], direction: str = "forward", spelled: bool = False) -> pa.Table:
    """In record batches of at most two rows; the words of row i spell `w<number>`."""
    target = NeighbourTarget("lm", "text", direction=direction)
    examples = [
        Example(
            ids=(BEGIN, *text, END),
            types=(0,) * (len(text) + 2),
            words=(),
            targets={"lm": target.target(Row({}, Place("x", i)))},
            place=Place("x", i),
            spelled=("", *(f"w{n}" for n in text), "") if spelled else (),
        )
        for i, text in enumerate(texts)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "_ROWS", 2)
        return to_table(examples, schema({"lm": target}, spelled=spelled))


@given(rows, st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_every_word_is_told_once_from_the_word_before_it(texts: list[list[int]], streams: int, words: int, slot: int) -> None:
    whole = [BEGIN, *(word for text in texts for word in [*text, END])]
    table, together = chunked(table_of(texts), Cut(streams, words, slot))
    data = TextDataset("d", "train", table, in_order=together)
    pairs: dict[int, list[tuple[int, int]]] = {}
    began: list[int] = []
    batches = in_turn(len(data), together)
    assert all(len(batch) == together for batch in batches[:-1])
    for batch in map(data.batch, batches):
        tokens = batch.fields["text"]
        for ids, mask, target, carry in zip(tokens.ids, tokens.mask, batch.targets["lm"], tokens.carry, strict=True):
            if carry < 0:
                began.append(int(-carry - 1))
            assert int(abs(carry)) - 1 in began  # a chunk goes on behind another of its stream
            told = [(int(a), int(b)) for a, b, real in zip(ids, target[:, 0], mask, strict=True) if real]
            assert 1 <= len(told) <= words
            assert all(int(b) == IGNORE for b, real in zip(target[:, 0], mask, strict=True) if not real)
            pairs.setdefault(int(abs(carry)) - 1, []).extend(told)
    assert began == list(range(slot, slot + together))
    assert [pair for stream in sorted(pairs) for pair in pairs[stream]] == list(pairwise(whole))
    sizes = [len(found) for found in pairs.values()]
    assert max(sizes) - min(sizes) <= 1
    assert data.items("lm").sum() == len(whole) - 1
    assert data.items("lm").tolist() == data.lengths.tolist()


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_a_row_without_a_target_tells_nothing(direction: str) -> None:
    table = table_of([[5, 6], [], [7]], direction)
    sides = table["target.lm"].to_pylist()
    table = table.set_column(
        table.column_names.index("target.lm"), "target.lm", pa.array([sides[0], None, sides[2]], pa.uint8())
    )
    data = TextDataset("d", "train", table)
    found = data.batch([1, 2]).targets["lm"]
    assert (found[0] == IGNORE).all()
    assert found[1, :2, 0].tolist() == [7, END]
    assert data.items("lm").tolist() == [3 * found.shape[-1], 0, 2 * found.shape[-1]]


def test_a_chunk_stands_where_its_first_word_does() -> None:
    table, _ = chunked(table_of([[5, 6], [], [7, 8, 9]]), Cut(1, 3))
    data = TextDataset("d", "train", table, in_order=1)
    assert [str(data.place(i)) for i in range(len(data))] == ["x:0", "x:0", "x:2"]
    assert table["ids"].to_pylist() == [[3, 5, 6], [4, 4, 7], [8, 9]]
    assert table["after"].to_pylist() == [4, 8, 4]


def test_chunks_of_one_text_run_in_turn() -> None:
    """In one round beside other rows: the last and short chunk of a pass goes before the longer first one of the next."""
    table, together = chunked(table_of([[5, 6, 7, 8, 9]]), Cut(1, 4))
    data = TextDataset("text", "train", table, in_order=together)
    other = TextDataset("rows", "train", table_of([[5, 6], [7, 8]]))
    assert data.lengths.tolist() == [4, 2]
    last, first = data.batch([1]), data.batch([0])
    groups = join([last, other.batch([0]), first, other.batch([1])])
    order = [batch for group in groups for batch in group]
    assert [id(batch) for batch in order if batch.dataset == "text"] == [id(last), id(first)]
    assert all([batch.dataset for batch in group].count("text") < 2 for group in groups)
    assert len(order) == 4


def test_spelled_words_stay_with_their_numbers() -> None:
    table, _ = chunked(table_of([[5, 6], [7]], spelled=True), Cut(2, 2))
    assert table["ids"].to_pylist() == [[3, 5], [4, 7], [6]]
    assert table["spelled"].to_pylist() == [["", "w5"], ["", "w7"], ["w6"]]
    batch = TextDataset("d", "train", table, in_order=2).batch([0, 1])
    assert bytes(batch.fields["text"].letters[1, 1].tolist()) == b"w7"


def test_a_sample_of_chunks_is_chunks_by_themselves() -> None:
    table, together = chunked(table_of([[5, 6, 7, 8]]), Cut(1, 2))
    data = TextDataset("d", "train", table, in_order=together)
    for size in (2, 99):
        sample = data.sample(size, 1)
        assert len(sample) == min(size, len(data))
        assert sample.in_order == 0
        assert sample.batch([0]).fields["text"].carry is None
    assert data.batch([0]).fields["text"].carry is not None


@given(rows, st.sampled_from(["forward", "backward", "both"]))
def test_neighbours_by_a_loop(texts: list[list[int]], direction: str) -> None:
    collate = Collator("d", table_of(texts, direction))
    order = np.arange(len(texts))[::-1]
    found = collate(order).targets["lm"]
    assert found.equal(collate.gold("lm", order))
    longest = max(map(len, texts)) + 2
    sides = {"forward": [1], "backward": [-1], "both": [1, -1]}[direction]
    for row, number in enumerate(order):
        ids = [BEGIN, *texts[number], END]
        for at in range(longest):
            for side, step in enumerate(sides):
                inside = at < len(ids) and 0 <= at + step < len(ids)
                assert found[row, at, side] == (ids[at + step] if inside else IGNORE)
    assert collate.scored("lm").tolist() == [(len(text) + 1) * len(sides) for text in texts]


def test_the_target_as_json() -> None:
    target = NeighbourTarget("lm", "words", direction="both")
    assert target_from_json(target.to_json()) == target
    assert target.fit([]) == target.terse == target
    assert TARGET["lm"].fingerprint != NeighbourTarget("lm", "text", direction="backward").fingerprint
