from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.nn.pool import AttentionPool, Pool
from manyheads.ports import Port
from manyheads.types import States


def states(lengths: list[int], width: int = 5, seed: int = 0) -> States:
    random = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)).expand(len(lengths), -1) < torch.tensor(lengths).unsqueeze(1)
    return States(torch.randn(len(lengths), max(lengths), width, generator=random), mask)


def slowly(how: str, given: States) -> Tensor:
    """A row at a time, over its real pieces only."""
    rows = [row[mask] for row, mask in zip(given.states, given.mask, strict=True)]
    ways = {"mean": lambda row: row.mean(0), "max": lambda row: row.max(0).values, "cls": lambda row: row[0]}
    return torch.stack([ways[how](row) for row in rows])


@pytest.mark.parametrize("how", ["mean", "max", "cls"])
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 99))
def test_pooling_equals_its_slow_twin(how: str, lengths: list[int], seed: int) -> None:
    given = states(lengths, seed=seed)
    assert_close(Pool(how)(given), slowly(how, given))


@pytest.mark.parametrize("how", ["mean", "max", "cls"])
def test_padding_never_shows(how: str) -> None:
    given = states([2, 4])
    noisy = States(torch.where(given.mask.unsqueeze(-1), given.states, 1e4), given.mask)
    assert torch.equal(Pool(how)(noisy), Pool(how)(given))


@pytest.mark.parametrize("how", ["mean", "max", "cls"])
def test_padding_has_no_gradient(how: str) -> None:
    given = states([2, 4])
    given.states.requires_grad_(True)
    Pool(how)(given).sum().backward()
    assert given.states.grad is not None
    assert not given.states.grad[~given.mask].any()


def test_a_row_without_pieces_has_the_mean_zero() -> None:
    given = States(torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool))
    assert Pool()(given).tolist() == [[0.0, 0.0]]


def test_half_precision_stays_half() -> None:
    given = states([2, 3])
    assert Pool()(States(given.states.bfloat16(), given.mask)).dtype == torch.bfloat16


def test_ports_and_print() -> None:
    assert Pool.ports.takes == (Port("states"),)
    assert (Pool.ports.gives, Pool.ports.same_width) == (Port("vector"), True)
    assert repr(Pool("max")) == "Pool(max)"


def test_an_unknown_way_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="'mean', 'cls', 'max'; found 'maximum'; did you mean 'max'"):
        Pool("maximum")


# attention --------------------------------------------------------------------------------------------------------------


def attention(width: int = 5, seed: int = 0) -> AttentionPool:
    torch.manual_seed(seed)
    return AttentionPool(width)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 99))
def test_attention_equals_its_slow_twin(lengths: list[int], seed: int) -> None:
    pool, given = attention(seed=seed), states(lengths, seed=seed)
    wanted = []
    for row, mask in zip(given.states, given.mask, strict=True):
        real = row[mask]
        weights = torch.softmax(torch.tanh(real @ pool.key.weight.T + pool.key.bias) @ pool.query.weight[0], 0)
        wanted.append((weights.unsqueeze(-1) * real).sum(0))
    assert_close(pool(given), torch.stack(wanted))


def test_attention_without_a_query_is_the_mean() -> None:
    pool, given = attention(), states([1, 4, 7])
    nn.init.zeros_(pool.query.weight)
    assert_close(pool(given), Pool("mean")(given))


def test_attention_never_sees_padding() -> None:
    pool, given = attention(), states([2, 4])
    noisy = States(torch.where(given.mask.unsqueeze(-1), given.states, 1e4).requires_grad_(True), given.mask)
    found = pool(noisy)
    assert torch.equal(found, pool(given))
    found.square().sum().backward()
    assert noisy.states.grad is not None
    assert not noisy.states.grad[~given.mask].any()
    assert noisy.states.grad[given.mask].any()


def test_attention_to_a_row_without_pieces_is_zero() -> None:
    given = States(torch.ones(2, 3, 5), torch.tensor([[False] * 3, [True] * 3]))
    found = attention()(given)
    assert found[0].tolist() == [0.0] * 5
    assert_close(found[1], torch.ones(5))


def test_attention_in_half_precision_stays_half() -> None:
    pool, given = attention(), states([2, 3])
    half = States(given.states.bfloat16(), given.mask)
    assert pool.bfloat16()(half).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(attention()(given)).all()


def test_ports_of_attention() -> None:
    assert (attention().ports.takes, attention().ports.gives) == ((Port("states", 5),), Port("vector", 5))
