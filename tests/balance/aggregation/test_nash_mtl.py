from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.balance.aggregation.nash_mtl import NashMTL

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_each_gains_as_much_as_its_weight_is_small(seed: int, count: int, step: Step, draw: Draw) -> None:
    """Gw = 1 / w, up to a factor that all share; the step is sqrt(K) times the root of |G| long, as in the paper's code."""
    rows = draw(seed, count, count + 4)
    gramian, method = rows @ rows.T, NashMTL(max_norm=None, update_every=1)
    found = step(method, rows)
    weights = torch.tensor(list(method.last.values()), dtype=torch.float64)
    torch.testing.assert_close(gramian @ weights * weights, gramian.norm().expand(count), rtol=1e-5, atol=0)
    assert found.norm() == pytest.approx(float((count * gramian.norm()).sqrt()), rel=1e-5)


def test_the_scales_of_the_losses_make_no_difference(step: Step, draw: Draw) -> None:
    rows, scales = draw(3, 4, 8), torch.tensor([[0.1], [1.0], [10.0], [300.0]])
    one, other = (step(NashMTL(1.0, 1), r) for r in (rows * 100, rows * 100 * scales))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert one.norm() == pytest.approx(1)


def test_a_short_step_is_not_lengthened(step: Step, draw: Draw) -> None:
    rows = draw(3, 4, 8) * 1e-3
    torch.testing.assert_close(step(NashMTL(1.0, 1), rows), step(NashMTL(None, 1), rows))


def test_weights_are_found_every_so_many_steps_and_for_a_task_without_any(step: Step, draw: Draw) -> None:
    method, found = NashMTL(max_norm=None, update_every=3), []
    for number, tasks in enumerate(["abc", "abc", "ca", "abc", "abd", "dc"]):
        step(method, draw(number, len(tasks), 6), number, tasks)
        found.append(dict(method.last))
    assert found[0] == found[1] == found[2]
    assert found[3] != found[2]
    assert found[4] != found[3]  # d is new
    assert found[5] == found[4]


def test_kept_weights_are_used_by_name(step: Step, draw: Draw) -> None:
    method, rows = NashMTL(max_norm=None, update_every=9), draw(4, 3, 6)
    step(method, rows, 0, "abc")
    wanted = method.last["c"] * rows[0] + method.last["a"] * rows[1]
    torch.testing.assert_close(step(method, rows[:2], 1, "ca"), wanted)
