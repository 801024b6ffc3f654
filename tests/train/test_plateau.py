"""Rates drop at the right evaluation."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.selection import PlateauSpec
from manyheads.train.plateau import Plateau


def drops(plateau: Plateau, better: list[bool]) -> list[bool]:
    return [plateau.see(b) for b in better]


def test_the_rate_halves_after_the_patience() -> None:
    plateau = Plateau(PlateauSpec(patience=2, factor=0.5))
    assert drops(plateau, [True, False, False, False, False, True, False]) == [False, False, True, False, True, False, False]
    assert plateau.scale == 0.25


def test_a_gain_begins_the_count_anew() -> None:
    plateau = Plateau(PlateauSpec(patience=3))
    assert not any(drops(plateau, [False, False, True] * 5))
    assert plateau.scale == 1


def test_the_drops_end_at_the_floor() -> None:
    plateau = Plateau(PlateauSpec(patience=1, factor=0.1, floor=0.05))
    assert drops(plateau, [False] * 4) == [True, True, False, False]
    assert plateau.scale == 0.05


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 4), st.integers(0, 20))
def test_a_restored_one_goes_on(better: list[bool], patience: int, cut: int) -> None:
    spec = PlateauSpec(patience=patience, floor=0.01)
    whole, first, second = Plateau(spec), Plateau(spec), Plateau(spec)
    expected = drops(whole, better)
    found = drops(first, better[:cut])
    second.restore(json.loads(json.dumps(first.to_json())))
    assert found + drops(second, better[cut:]) == expected
    assert second.to_json() == whole.to_json()
