"""Collation by whole arrays equals a loop over rows and pieces."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data import cache
from manyheads.data.cache import schema, to_table
from manyheads.data.collate import Collator
from manyheads.data.labels import LabelMap
from manyheads.data.number_target import NumberTarget
from manyheads.data.targets import BinaryTarget, ClassTarget, MultilabelTarget, TagTarget, TaskTarget
from manyheads.nn.losses import items
from manyheads.types import IGNORE, Example, Place, Target, Tokens

ABC = LabelMap(("a", "b", "c"))
TARGETS: dict[str, TaskTarget] = {
    "class": ClassTarget("class", "c", labels=ABC),
    "soft": ClassTarget("soft", "s", labels=ABC, soft=True),
    "two": BinaryTarget("two", "b", labels=LabelMap(("a", "b"))),
    "many": MultilabelTarget("many", "m", labels=ABC),
    "number": NumberTarget("number", "n"),
    "tags": TagTarget("tags", "t", words="words", labels=ABC),
}
small = st.integers(0, 2)
flag = st.integers(0, 1)
share = st.floats(0, 1, width=32)


@st.composite
def example(draw: st.DrawFn) -> Example:
    length, words = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    return Example(
        ids=tuple(draw(st.lists(st.integers(0, 30_000), min_size=length, max_size=length))),
        types=tuple(draw(st.lists(flag, min_size=length, max_size=length))),
        words=tuple(draw(st.lists(st.integers(-1, 5), min_size=words, max_size=words))),
        targets={
            "class": draw(st.none() | small),
            "soft": draw(st.none() | st.tuples(share, share, share)),
            "two": draw(st.none() | st.tuples(share)),
            "many": draw(st.none() | st.tuples(flag, flag, flag)),
            "number": draw(st.none() | st.floats(-1e6, 1e6, width=32)),
            "tags": draw(st.none() | st.lists(small | st.just(IGNORE), min_size=words, max_size=words).map(tuple)),
        },
        place=Place("x", 1),
    )


def table_of(examples: list[Example], rows: int = 3) -> pa.Table:
    """The table in record batches of at most `rows` rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "_ROWS", rows)
        return to_table(examples, schema(TARGETS))


def pad(lists: list[list[Any]], fill: Any) -> torch.Tensor:
    width = max(map(len, lists))
    return torch.tensor([[*one, *[fill] * (width - len(one))] for one in lists])


def gold_tags(e: Example) -> list[int]:
    tags = e.targets["tags"]
    return list(tags) if isinstance(tags, tuple) else [IGNORE] * len(e.words)


def slow(examples: list[Example]) -> tuple[Tokens, dict[str, torch.Tensor]]:
    """The exact twin: everything by loops."""
    tokens = Tokens(
        ids=pad([list(e.ids) for e in examples], 0),
        mask=pad([[True] * len(e.ids) for e in examples], False),
        types=pad([list(e.types) for e in examples], 0),
        words=pad([list(e.words) for e in examples], -1),
    )
    tags = []
    for e in examples:
        tags.append([IGNORE if at < 0 else tag for at, tag in zip(e.words, gold_tags(e), strict=True)])
    many = [e.targets["many"] or (math.nan,) * 3 for e in examples]
    targets = {
        "class": torch.tensor([IGNORE if e.targets["class"] is None else e.targets["class"] for e in examples]),
        "soft": torch.tensor([e.targets["soft"] or (math.nan,) * 3 for e in examples], dtype=torch.float32),
        "two": torch.tensor([e.targets["two"] or (math.nan,) for e in examples], dtype=torch.float32),
        "many": torch.tensor(many, dtype=torch.float32),
        "number": torch.tensor([math.nan if (n := e.targets["number"]) is None else n for e in examples]),
        "tags": pad(tags, IGNORE),
    }
    return tokens, targets


def same(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


@given(examples=st.lists(example(), min_size=1, max_size=8), data=st.data())
def test_a_batch_equals_its_slow_twin(examples: list[Example], data: st.DataObject) -> None:
    collate = Collator("x", table_of(examples))
    rows = data.draw(st.lists(st.integers(0, len(examples) - 1), min_size=1, max_size=10))
    batch = collate(rows)
    tokens, targets = slow([examples[i] for i in rows])
    for (name, found), (_, wanted) in zip(batch.fields["text"].tensors(), tokens.tensors(), strict=True):
        if name in ("letters", "carry"):
            assert found is None, "nothing was spelled, and no row goes on behind another"
            continue
        assert found is not None, name
        assert wanted is not None, name
        same(found, wanted)
    assert list(batch.targets) == list(TARGETS)
    for task, wanted in targets.items():
        same(batch.targets[task], wanted)
    assert (batch.dataset, batch.rows) == ("x", rows)


@given(examples=st.lists(example(), min_size=1, max_size=8))
def test_items_are_those_of_the_batch(examples: list[Example]) -> None:
    collate = Collator("x", table_of(examples))
    for task in TARGETS:
        found = collate.scored(task)
        assert found.sum() == items(collate(range(len(examples))).targets[task])
        assert found.tolist() == [items(collate([i]).targets[task]) for i in range(len(examples))]


@given(examples=st.lists(example(), min_size=1, max_size=8))
def test_gold_has_the_tags_of_words_that_were_cut_off(examples: list[Example]) -> None:
    collate = Collator("x", table_of(examples))
    rows = range(len(examples))
    batch = collate(rows)
    for task in ("class", "soft", "two", "many", "number"):
        same(collate.gold(task, rows), batch.targets[task])
    gold = collate.gold("tags", rows)
    same(gold, pad([gold_tags(e) for e in examples], IGNORE))
    assert gold.shape == batch.targets["tags"].shape


def test_without_words_there_are_no_positions() -> None:
    columns = {"class": TARGETS["class"]}
    table = to_table([Example((2, 3), (0, 0), (), {"class": 1}, Place("x", 1))] * 2, schema(columns))
    batch = Collator("x", table)([1, 0])
    assert batch.fields["text"].words is None
    assert batch.targets["class"].tolist() == [1, 1]


def test_a_part_of_a_table_is_collated_as_that_part() -> None:
    targets = [
        {"class": i, "soft": (i / 2, 0.5, 0.25), "two": (i / 4,), "many": (i, 0, 1), "number": float(i), "tags": (i,)}
        for i in (0, 1, 0, 1)
    ]
    examples = [Example((i, 5), (0, 0), (1,), t, Place("x", i)) for i, t in enumerate(targets)]
    batch = Collator("x", table_of(examples, 4).slice(1, 2))([0, 1])
    tokens, wanted = slow(examples[1:3])
    same(batch.fields["text"].ids, tokens.ids)
    for task, target in wanted.items():
        same(batch.targets[task], target)


def test_dtypes() -> None:
    targets: dict[str, Target] = {"class": 1, "soft": None, "two": None, "many": (1, 0, 1), "number": 0.1, "tags": (1,)}
    batch = Collator("x", table_of([Example((1,), (0,), (0,), targets, Place("x", 1))]))([0])
    assert {t: v.dtype for t, v in batch.targets.items()} == {
        "class": torch.int64,
        "soft": torch.float32,
        "two": torch.float32,
        "many": torch.float32,
        "number": torch.float32,
        "tags": torch.int64,
    }
    tokens = batch.fields["text"]
    assert (tokens.ids.dtype, tokens.mask.dtype, tokens.types.dtype) == (torch.int64, torch.bool, torch.int64)


def test_batches_own_their_memory() -> None:
    """Writing into a batch must change neither the table nor the next batch."""
    collate = Collator("x", table_of([Example((1,), (0,), (0,), dict.fromkeys(TARGETS) | {"class": 2}, Place("x", 1))]))
    batch = collate([0])
    batch.targets["class"].fill_(7)
    batch.fields["text"].ids.fill_(7)
    assert collate([0]).targets["class"].item() == 2
    assert collate([0]).fields["text"].ids.item() == 1
