from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from manyheads.nn.heads import CrfHead, RowHead, WordHead
from manyheads.ports import Port
from manyheads.types import States


def states(words: list[list[int]], pieces: int = 6, width: int = 4) -> States:
    """States of rows whose words begin at these pieces."""
    random, most = torch.Generator().manual_seed(1), max(map(len, words))
    at = torch.tensor([row + [-1] * (most - len(row)) for row in words], dtype=torch.long).reshape(len(words), most)
    mask = torch.ones(len(words), pieces, dtype=torch.bool)
    return States(torch.randn(len(words), pieces, width, generator=random), mask, at)


def slowly(head: WordHead, given: States) -> Tensor:
    """A word at a time."""
    assert given.words is not None
    rows, classes = [], head.linear.out_features
    for row, words in zip(given.states, given.words.tolist(), strict=True):
        rows.append([head.linear(row[at]) if at >= 0 else torch.zeros(classes) for at in words])
    return torch.stack([torch.stack(row) if row else torch.zeros(0, classes) for row in rows])


def test_a_row_head_is_a_linear_map() -> None:
    head, vector = RowHead(4, 3).eval(), torch.randn(2, 4)
    assert_close(head(vector), vector @ head.linear.weight.T + head.linear.bias)
    assert head.ports.takes == (Port("vector", 4),)
    assert head.ports.gives == Port("scores", 3)


@given(st.lists(st.lists(st.integers(-1, 5), max_size=5), min_size=1, max_size=4))
def test_a_word_head_equals_its_slow_twin(words: list[list[int]]) -> None:
    head = WordHead(4, 3).eval()
    torch.nn.init.normal_(head.linear.bias)
    given = states(words)
    found = head(given)
    assert found.shape == (len(words), max(map(len, words)), 3)
    assert_close(found, slowly(head, given))


def test_a_word_that_was_cut_off_scores_zero_and_has_no_gradient() -> None:
    head, given = WordHead(4, 3).eval(), states([[1, -1]])
    torch.nn.init.ones_(head.linear.bias)
    given.states.requires_grad_(True)
    scores = head(given)
    assert scores[0, 1].tolist() == [0.0, 0.0, 0.0]
    assert int(scores[0, 1].argmax()) == 0
    scores[0, 1].sum().backward()
    assert given.states.grad is not None
    assert not given.states.grad.any()


def test_a_word_head_says_what_is_missing() -> None:
    given = states([[0]])
    with pytest.raises(ValueError, match="the data set needs `words`"):
        WordHead(4, 3)(States(given.states, given.mask))
    with pytest.raises(ValueError, match="the data set needs `words`"):
        CrfHead(4, 3)(States(given.states, given.mask))


def test_a_crf_head_adds_a_chain_that_begins_at_zero_to_a_word_head() -> None:
    head, given = CrfHead(4, 3).eval(), states([[0, 2], [1]])
    torch.nn.init.normal_(head.transitions)
    found = head(given)
    assert torch.equal(found.emissions, head.words(given))
    assert found.mask.tolist() == [[True, True], [True, False]]
    assert all(torch.equal(row, head.transitions) for row in found.transitions)
    assert (found.start.shape, found.end.shape) == ((2, 3), (2, 3))
    fresh = CrfHead(4, 3)
    assert not any(weight.any() for weight in (fresh.transitions, fresh.start, fresh.end))
    assert fresh.ports == WordHead(4, 3).ports


def test_a_chain_ends_at_the_last_word_that_has_a_piece() -> None:
    found = CrfHead(4, 3).eval()(states([[1, -1, 2, -1], [-1, -1], [-1, 3]]))
    assert found.mask.tolist() == [[True, True, True, False], [False] * 4, [True, True, False, False]]
    assert not found.emissions[0, 1].any()  # a word without a piece between others is told by them alone


def test_heads_begin_small_and_drop_only_while_training() -> None:
    torch.manual_seed(0)
    for head in (RowHead(256, 64, dropout=0.5), WordHead(256, 64, dropout=0.5)):
        assert 0.019 < float(head.linear.weight.detach().std()) < 0.021
        assert not head.linear.bias.any()
    head, vector = RowHead(8, 4, dropout=0.5), torch.ones(1, 8)
    assert not torch.equal(head(vector), head(vector))
    head.eval()
    assert torch.equal(head(vector), head(vector))
