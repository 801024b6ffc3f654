from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.aggregation.bargain import bargain


@given(st.integers(0, 10**6), st.integers(1, 8), st.floats(0.2, 4))
def test_the_weights_solve_their_equation(seed: int, count: int, power: float) -> None:
    rows = np.random.default_rng(seed).normal(size=(count, count + 3))
    w = bargain(rows @ rows.T, power)
    assert (w > 0).all()
    np.testing.assert_allclose(rows @ rows.T @ w, w**-power, rtol=1e-5)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_lengths_that_differ_by_far(power: float) -> None:
    rows = np.random.default_rng(3).normal(size=(5, 9)) * 10.0 ** np.array([-4, -2, 0, 2, 4])[:, None]
    w = bargain(rows @ rows.T, power)
    np.testing.assert_allclose(rows @ rows.T @ w, w**-power, rtol=1e-3)


def test_orthogonal_gradients_by_hand() -> None:
    np.testing.assert_allclose(bargain(np.diag([4.0, 0.25]), 1.0), [0.5, 2.0], rtol=1e-9)
    np.testing.assert_allclose(bargain(np.diag([8.0, 1 / 8]), 0.5), [0.25, 4.0], rtol=1e-9)


def test_a_gradient_of_zeros_gets_nothing_and_takes_nothing() -> None:
    np.testing.assert_allclose(bargain(np.diag([4.0, 0.0, 0.25]), 1.0), [0.5, 0, 2.0], rtol=1e-9)
    assert (bargain(np.zeros((3, 3)), 1.0) == 0).all()


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_opposites_that_no_weights_satisfy_stay_finite(power: float) -> None:
    w = bargain(np.array([[1.0, -1.0], [-1.0, 1.0]]), power)
    assert np.isfinite(w).all()
    assert w[0] == pytest.approx(w[1])
