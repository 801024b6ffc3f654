from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.types import IGNORE, Batch, Place, Record, RowBlock, States, Tokens, cat_rows, part_rows, tensors_in


def tokens(*lengths: int, words: bool = False) -> Tokens:
    """Rows of these lengths, ids from 1; with words, each piece is a word."""
    width = max(lengths)
    at = torch.arange(width).expand(len(lengths), width)
    mask = at < torch.tensor(lengths).unsqueeze(1)
    return Tokens((at + 1) * mask, mask, at % 2 * mask, torch.where(mask, at, -1) if words else None)


def test_names() -> None:
    assert str(Place("tweets.csv", 7)) == "tweets.csv:7"
    assert Record(3, "sentiment", "tweets", "dev", "accuracy", 0.5).key == "sentiment/tweets/dev/accuracy"


def test_what_crosses_a_border_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Place("a", 1).line = 2  # type: ignore[misc]


def test_joining_pads_to_the_longest_with_each_fields_filler() -> None:
    joined = Tokens.cat([tokens(2, words=True), tokens(3, 1, words=True)])
    assert joined.ids.tolist() == [[1, 2, 0], [1, 2, 3], [1, 0, 0]]
    assert joined.mask.tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    assert joined.types.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert joined.words is not None
    assert joined.words.tolist() == [[0, 1, -1], [0, 1, 2], [0, -1, -1]]


def test_a_block_without_words_joins_one_with_words_as_having_none() -> None:
    for blocks in ([tokens(2), tokens(3, words=True)], [tokens(3, words=True), tokens(2)]):
        joined = Tokens.cat(blocks)
        assert joined.words is not None
        assert joined.words.dtype == torch.int64
        assert sorted(joined.words.tolist()) == [[-1, -1, -1], [0, 1, 2]]
    assert Tokens.cat([tokens(2), tokens(3)]).words is None


def test_states_join_along_rows() -> None:
    one = States(torch.ones(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    two = States(torch.full((2, 3, 4), 2.0), torch.ones(2, 3, dtype=torch.bool))
    joined = States.cat([one, two])
    assert joined.states.shape == (3, 3, 4)
    assert joined.states[0, 2].tolist() == [0.0] * 4
    assert joined.mask.sum(1).tolist() == [2, 3, 3]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 3))
def test_every_layer_is_joined_padded_and_parted(widths: list[int], below: int) -> None:
    blocks = []
    for i, width in enumerate(widths):
        level = [torch.full((2, width, 3), float(10 * i + k)) for k in range(below + 1)]
        blocks.append(States(level[-1], torch.ones(2, width, dtype=torch.bool), None, tuple(level[:-1])))
    joined = cat_rows(blocks)
    assert len(tensors_in(joined)) == below + 2
    for i, width in enumerate(widths):
        part = part_rows(joined, 2 * i, 2 * i + 2, len(joined)).to("cpu")
        for k, layer in enumerate((*part.below, part.states)):
            assert layer.shape == (2, max(widths), 3)
            assert layer[:, :width].unique().tolist() == [10 * i + k]
            assert not layer[:, width:].any()


def test_a_part_is_a_view_of_every_layer() -> None:
    whole = States(torch.ones(3, 2, 4), torch.ones(3, 2, dtype=torch.bool), None, (torch.zeros(3, 2, 4), torch.ones(3, 2, 4)))
    part = whole.part(1, 3)
    assert len(part) == 2
    for held, all_rows in zip(tensors_in(part), tensors_in(whole), strict=True):
        assert held.data_ptr() == all_rows[1:].data_ptr()


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=4), st.booleans())
def test_parts_of_a_joined_block_are_the_blocks(groups: list[list[int]], words: bool) -> None:
    blocks = [tokens(*lengths, words=words) for lengths in groups]
    joined = cat_rows(blocks)
    start = 0
    for block in blocks:
        part = part_rows(joined, start, start + len(block), len(joined))
        width = block.ids.shape[1]
        assert torch.equal(part.ids[:, :width], block.ids)
        assert torch.equal(part.mask[:, :width], block.mask)
        assert not part.mask[:, width:].any()
        if words:
            assert torch.equal(part.words[:, :width], block.words)
            assert (part.words[:, width:] == -1).all()
        start += len(block)
    assert start == len(joined)


@dataclasses.dataclass(frozen=True, slots=True)
class Own(RowBlock):
    value: Tensor
    grid: Tensor | None = None


def test_a_block_of_ones_own_may_hold_any_tensors() -> None:
    joined = Own.cat([Own(torch.tensor([1.0]), torch.zeros(1, 2, 2)), Own(torch.tensor([2.0, 3.0]), torch.ones(2, 1, 2))])
    assert joined.value.tolist() == [1.0, 2.0, 3.0]
    assert joined.grid is not None
    assert joined.grid.shape == (3, 2, 2)
    assert len(Own(torch.ones(4))) == 4


def test_to_moves_tensors_and_keeps_none_and_lists() -> None:
    batch = Batch("news", {"text": tokens(2), "raw": ["a"], "x": torch.ones(1)}, {"topic": torch.tensor([1])}, [5])
    moved = batch.to("meta")
    assert moved.fields["text"].ids.is_meta
    assert moved.fields["text"].words is None
    assert moved.fields["x"].is_meta
    assert moved.targets["topic"].is_meta
    assert moved.fields["raw"] == ["a"]
    assert (moved.dataset, moved.rows, len(moved)) == ("news", [5], 1)


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        ([torch.tensor([1, 2]), torch.tensor([3])], [1, 2, 3]),
        ([torch.tensor([[1, 2]]), torch.tensor([[3]])], [[1, 2], [3, 0]]),
        ([torch.ones(1, 1, 2), torch.ones(1, 2, 2)], [[[1, 1], [0, 0]], [[1, 1], [1, 1]]]),
    ],
)
def test_tensors_are_joined_and_padded_with_zero(values: list[Tensor], joined: list[object]) -> None:
    assert cat_rows(values).tolist() == joined


def test_lists_and_mappings_are_joined_entry_by_entry() -> None:
    assert cat_rows([["a"], ["b", "c"]]) == ["a", "b", "c"]
    joined = cat_rows([{"h": torch.ones(1), "raw": [1]}, {"h": torch.zeros(2), "raw": [2, 3]}])
    assert joined["h"].tolist() == [1, 0, 0]
    assert joined["raw"] == [1, 2, 3]
    part = part_rows(joined, 1, 3, 3)
    assert part["h"].tolist() == [0, 0]
    assert part["raw"] == [2, 3]


def test_a_single_value_is_handed_on_as_it_is() -> None:
    thing = object()
    assert cat_rows([thing]) is thing


def test_what_has_no_rows_cannot_be_joined_or_parted() -> None:
    with pytest.raises(TypeError, match="found object"):
        cat_rows([object(), object()])
    with pytest.raises(TypeError, match="found tuple"):
        part_rows((1, 2), 0, 1, 2)


def test_a_result_with_another_number_of_rows_is_never_cut() -> None:
    with pytest.raises(ValueError, match="4 rows of several batches went in, 8 came out"):
        part_rows(torch.zeros(8, 2), 0, 2, 4)


def test_ignore_is_what_torch_ignores() -> None:
    assert torch.nn.CrossEntropyLoss().ignore_index == IGNORE
