"""The quadratic programs against brute force where there are few, and against the conditions of a minimum for many."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.dual_cone import Array, cosines, nonnegative, project, simplex


def draw(seed: int, rows: int, width: int) -> Array:
    return np.random.default_rng(seed).normal(size=(rows, width))


def awkward(seed: int, rows: int, width: int) -> Array:
    """Gradients with copies, opposites, zeros and very different lengths among them."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(rows, width))
    for i in range(1, rows):
        kind = rng.integers(6)
        if kind < 3:
            found[i] = (found[i - 1], -found[i - 1], np.zeros(width))[kind]
        elif kind == 3:
            found[i] *= 10.0 ** rng.integers(-4, 5)
    return found


def brute_force(gramian: Array, linear: Array) -> float:
    """Least value of s'Gs / 2 + q's over s >= 0, from all ways to choose what is above zero."""
    places = range(len(gramian))
    best = 0.0
    for chosen in chain.from_iterable(combinations(places, n) for n in places[1:] or ()):
        best = min(best, _stationary(gramian, linear, list(chosen)))
    return min(best, _stationary(gramian, linear, list(places)))


def _stationary(gramian: Array, linear: Array, chosen: list[int]) -> float:
    inside = gramian[np.ix_(chosen, chosen)]
    s = np.linalg.lstsq(inside, -linear[chosen], rcond=None)[0]
    return float(s @ inside @ s / 2 + linear[chosen] @ s) if (s >= -1e-9).all() else 0.0


def check_minimum(gramian: Array, u: Array, v: Array, close: float) -> None:
    """v >= u, Gv >= 0, and nothing where both are loose; lengths and weights brought to 1 before."""
    lengths = np.sqrt(gramian.diagonal())
    largest = float((lengths * np.abs(u)).max(initial=1e-300))
    raised = (v - u) * lengths / largest
    slope = v @ gramian / np.where(lengths > 0, lengths, 1) / largest
    assert np.isfinite(v).all()
    assert raised.min() >= -1e-12
    assert slope.min() >= -close
    assert np.abs(raised * slope).max() <= close


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6))
def test_no_other_choice_of_weights_is_better(seed: int, rows: int, width: int) -> None:
    gradients, linear = draw(seed, rows, width), draw(seed + 1, 1, width)[0]
    gramian, q = gradients @ gradients.T, gradients @ linear
    s = nonnegative(gramian, q)
    assert (s >= 0).all()
    assert s @ gramian @ s / 2 + q @ s == pytest.approx(brute_force(gramian, q), abs=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 16))
def test_conditions_of_a_minimum_with_copies_opposites_and_zeros(seed: int, rows: int, width: int) -> None:
    gradients = awkward(seed, rows, width)
    gramian, u = gradients @ gradients.T, np.eye(rows)
    check_minimum(gramian, u, project(gramian, u), 1e-5)


@pytest.mark.parametrize("width", [20, 48, 60, 64, 80, 500, 20_000])
@pytest.mark.parametrize("single", [False, True], ids=["double", "single"])
def test_conditions_of_a_minimum_for_many_singular_or_not(width: int, single: bool) -> None:
    gradients = draw(width, 64, width)
    gramian = (
        (gradients.astype(np.float32) @ gradients.astype(np.float32).T).astype(np.float64)
        if single
        else gradients @ gradients.T
    )
    u = np.eye(64) / 64
    check_minimum(gramian, u, project(gramian, u), 1e-4 if single else 1e-7)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_a_batch_of_problems_is_each_of_them(seed: int, rows: int) -> None:
    gradients = draw(seed, rows, rows + 2)
    gramian, u = gradients @ gradients.T, draw(seed + 1, 3, rows)
    each = np.stack([project(gramian, one) for one in u])
    np.testing.assert_allclose(project(gramian, u), each, atol=1e-7)


@given(st.integers(0, 10**6), st.integers(2, 8), st.floats(-12, 12))
def test_the_scale_of_the_gradients_makes_no_difference(seed: int, rows: int, power: float) -> None:
    gradients, u = draw(seed, rows, rows + 3), np.eye(rows)
    gramian = gradients @ gradients.T
    np.testing.assert_allclose(project(gramian * 10**power, u), project(gramian, u), atol=1e-7)


@given(st.integers(0, 10**6), st.integers(2, 8))
def test_what_is_not_in_conflict_stays(seed: int, rows: int) -> None:
    gradients = np.abs(draw(seed, rows, 5))
    gramian, u = gradients @ gradients.T, np.abs(draw(seed, 2, rows))
    np.testing.assert_array_equal(project(gramian, u), u)


def test_two_that_oppose_each_other_by_hand() -> None:
    """g1 = (1, 0), g2 = (-1, 1): g1 projected is (1/2, 1/2) = g1 + g2 / 2; g2 projected is (0, 1) = g2 + g1."""
    gramian = np.array([[1.0, -1.0], [-1.0, 2.0]])
    np.testing.assert_allclose(project(gramian, np.eye(2)), [[1, 0.5], [1, 1]], atol=1e-8)


def test_zeros_stay_as_they_are() -> None:
    np.testing.assert_array_equal(project(np.zeros((3, 3)), np.eye(3)), np.eye(3))
    np.testing.assert_array_equal(nonnegative(np.zeros((2, 2)), np.zeros(2)), np.zeros(2))


def test_all_that_stop_pivoting_are_solved_by_the_active_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from manyheads.balance import dual_cone

    gradients = draw(4, 10, 12)
    gramian, u = gradients @ gradients.T, np.eye(10)
    wanted = project(gramian, u)
    monkeypatch.setattr(dual_cone, "_EXCHANGES", 0)
    np.testing.assert_allclose(project(gramian, u), wanted, atol=1e-8)


def test_a_gramian_that_rounding_made_indefinite() -> None:
    gramian = np.array([[1.0, 1.0 + 1e-6, -0.5], [1.0 + 1e-6, 1.0, -0.5], [-0.5, -0.5, 1.0]])
    assert np.linalg.eigvalsh(gramian)[0] < 0
    check_minimum(gramian, np.eye(3), project(gramian, np.eye(3)), 1e-4)


# the shortest weighted mean -----------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 10))
def test_the_shortest_mean_gains_as_much_along_all_that_it_is_made_of(seed: int, rows: int, width: int) -> None:
    gradients = draw(seed, rows, width)
    w = simplex(gradients @ gradients.T)
    square = float((w @ gradients) @ (w @ gradients))
    gains = gradients @ (w @ gradients)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1)
    assert gains.min() >= square - 1e-4
    assert float(np.abs((gains - square) * w).max()) <= 1e-4


def test_the_shortest_mean_of_orthogonal_gradients_weighs_by_their_squares() -> None:
    np.testing.assert_allclose(simplex(np.diag([1.0, 4.0, 0.25])), np.array([1, 0.25, 4]) / 5.25, atol=1e-8)


def test_a_gradient_of_zeros_is_the_shortest() -> None:
    np.testing.assert_array_equal(simplex(np.diag([1.0, 0.0, 2.0, 0.0])), [0, 0.5, 0, 0.5])
    np.testing.assert_array_equal(simplex(np.zeros((2, 2))), [0.5, 0.5])


def test_cosines_are_0_for_a_gradient_of_zeros() -> None:
    unit, inverse = cosines(np.array([[4.0, 0.0, -2.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 1.0]]))
    np.testing.assert_array_equal(unit, [[1, 0, -1], [0, 0, 0], [-1, 0, 1]])
    np.testing.assert_array_equal(inverse, [0.5, 0, 1])
