from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from manyheads.seeds import generator, key

PURPOSE = st.lists(st.text() | st.integers(), max_size=4).map(tuple)


def test_keys_are_the_same_on_every_machine_and_in_every_release() -> None:
    assert key(13, "order", "news", 0) == 177433896912513117292084033585568703988
    assert generator(13, "order", "news", 0).integers(1000, size=4).tolist() == [408, 692, 77, 525]


@given(st.integers(0, 2**63 - 1), PURPOSE)
def test_equal_purposes_draw_equal_numbers(seed: int, purpose: tuple[str | int, ...]) -> None:
    assert np.array_equal(generator(seed, *purpose).random(3), generator(seed, *purpose).random(3))


@given(st.integers(0, 100), PURPOSE, st.integers(0, 100), PURPOSE)
def test_different_purposes_have_different_keys(
    one: int, this: tuple[str | int, ...], other: int, that: tuple[str | int, ...]
) -> None:
    separated = any("\x1f" in part for part in (*this, *that) if isinstance(part, str))
    assert (key(one, *this) == key(other, *that)) == ((one, this) == (other, that)) or separated


def test_a_number_and_its_text_are_different_purposes() -> None:
    assert key(1, "epoch", 1) != key(1, "epoch", "1")


def test_a_draw_does_not_depend_on_what_was_drawn_before() -> None:
    first = generator(7, "step", 3).random()
    generator(7, "step", 1).random(1000)
    assert generator(7, "step", 3).random() == first


def test_steps_are_independent_enough_to_be_used_as_uniforms() -> None:
    draws = np.array([generator(0, "task", step).random() for step in range(4000)])
    assert abs(draws.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.05
