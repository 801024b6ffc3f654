"""Cosines of gradients, and the alarm for pairs that oppose each other for long."""

from __future__ import annotations

import json
import math

import pytest
import torch

from manyheads.balance.backward import Gramians
from manyheads.balance.conflict import WHOLE, Conflicts, cosines


def gramians(rows: list[list[float]], split: int | None = None) -> Gramians:
    matrix = torch.tensor(rows, dtype=torch.float64)
    blocks = (
        {}
        if split is None
        else {"low": matrix[:, :split] @ matrix[:, :split].T, "high": matrix[:, split:] @ matrix[:, split:].T}
    )
    return Gramians(tuple("abcd"[: len(rows)]), matrix @ matrix.T, blocks)


def at(cosine: float) -> Gramians:
    """Two gradients of different length with this cosine."""
    return gramians([[2.0, 0.0], [3 * cosine, 3 * math.sqrt(1 - cosine**2)]])


def test_each_pair_in_each_block() -> None:
    found = {(pair, block): value for pair, block, value in cosines(gramians([[1, 0, 1], [1, 1, -1], [0, 2, 0]], split=2))}
    assert len(found) == 9
    assert found[("a", "b"), WHOLE] == pytest.approx(0)
    assert found[("a", "b"), "low"] == pytest.approx(1 / math.sqrt(2))
    assert found[("a", "b"), "high"] == pytest.approx(-1)
    assert found[("b", "c"), WHOLE] == pytest.approx(1 / math.sqrt(3))


def test_a_zero_gradient_has_no_cosine() -> None:
    assert all(math.isnan(value) for _, _, value in cosines(gramians([[0, 0], [1, 2]])))
    conflicts = Conflicts()
    for _ in range(9):
        assert conflicts.see(gramians([[0, 0], [1, 2]])) == []
    assert conflicts.means == {}


def test_lasting_conflict_is_told_once() -> None:
    conflicts = Conflicts()
    told = [conflicts.see(at(-0.5)) for _ in range(9)]
    assert [bool(t) for t in told] == [False] * 4 + [True] + [False] * 4
    [[(pair, mean)]] = [t for t in told if t]
    assert pair == ("a", "b")
    assert mean == pytest.approx(-0.5)


@pytest.mark.parametrize("cosine", [0.5, 0.0, -0.05])
def test_no_alarm_without_conflict(cosine: float) -> None:
    conflicts = Conflicts()
    assert not any(conflicts.see(at(cosine)) for _ in range(20))


def test_one_bad_look_is_no_lasting_conflict() -> None:
    conflicts = Conflicts()
    for _ in range(6):
        assert conflicts.see(at(0.4)) == []
    assert conflicts.see(at(-0.9)) == []


def test_the_state_continues_to_the_bit() -> None:
    whole, parted = Conflicts(), Conflicts()
    for i in range(4):
        whole.see(at(-0.3 - i / 10))
        parted.see(at(-0.3 - i / 10))
    again = Conflicts()
    again.restore(json.loads(json.dumps(parted.to_json())))
    for i in range(4):
        assert again.see(at(-0.31 - i / 9)) == whole.see(at(-0.31 - i / 9))
    assert again.to_json() == whole.to_json()
