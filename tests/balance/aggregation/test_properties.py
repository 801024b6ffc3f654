"""What aggregations promise: each property is stated once, and the methods that keep it are named beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.balance.aggregation import AGGREGATIONS, GramianAggregation, RowsAggregation, weigh
from manyheads.balance.weighting import Moment
from manyheads.config.spec.aggregation import AggregationSpec

Make, Step, Draw = Callable[..., Any], Callable[..., Tensor], Callable[..., Tensor]
ALL = list(AGGREGATIONS)
SECTIONS = get_args(get_args(AggregationSpec)[0])
DOCS = Path(__file__).resolve().parents[3] / "docs"
GRAMIAN = [name for name in ALL if name != "graddrop"]

RANDOM = {"pcgrad", "gradvac", "graddrop"}
NO_CONFLICT = {"upgrad", "dualproj", "mgda", "nash_mtl", "fairgrad", "config", "imtl_g"}
"""No loss grows, to first order: no inner product with a gradient is negative. The last two: of independent gradients, in the
direction; imtl_g may step backward, when its weights add up to less than nothing."""
KEEPS_AGREEMENT = {"sum", "mean", "upgrad", "dualproj", "pcgrad", "gradvac"}
"""Gradients that agree are added or averaged as they are."""
DEGREE = dict.fromkeys(ALL, 1.0) | {"fairgrad": 0.0}
"""Gradients s times as long make the step s to this power as long; nash_mtl while it is not cut to `max_norm`."""
STATE = {"gradvac", "nash_mtl"}

every = pytest.mark.parametrize("kind", ALL)
seeds = st.integers(0, 10**6)
counts = st.integers(2, 7)


def options(kind: str) -> dict[str, Any]:
    """Beside the defaults: nash_mtl without its limit of length."""
    return {"max_norm": None} if kind == "nash_mtl" else {}


def gramian_of(rows: Tensor) -> Tensor:
    return rows @ rows.T


# what there is ------------------------------------------------------------------------------------------------------------


def test_every_method_has_a_section_and_every_section_a_method() -> None:
    assert {get_args(s.model_fields["type"].annotation)[0] for s in SECTIONS} == set(ALL)


@every
def test_every_method_and_option_has_its_page(kind: str) -> None:
    page = (DOCS / "balance" / "aggregation" / f"{kind}.md").read_text(encoding="utf-8")
    [section] = [s for s in SECTIONS if get_args(s.model_fields["type"].annotation) == (kind,)]
    assert f"`type: {kind}`" in page
    assert all(f"| `{option}` |" in page for option in set(section.model_fields) - {"type", "level"})
    assert f"](balance/aggregation/{kind}.md)" in (DOCS / "balance.md").read_text(encoding="utf-8")


@every
def test_which_contract_a_method_keeps(kind: str, make: Make) -> None:
    assert isinstance(make(kind), RowsAggregation) == (kind == "graddrop")
    assert isinstance(make(kind), GramianAggregation) == (kind != "graddrop")


# numbers ------------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("scale", [1e-18, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("zeros", [(), (1,), (0, 2), (0, 1, 2, 3)], ids=str)
def test_finite_with_tiny_and_huge_gradients_and_with_zeros(
    kind: str, scale: float, zeros: tuple[int, ...], make: Make, step: Step, draw: Draw
) -> None:
    rows = (draw(3, 4, 6) * scale).float()
    rows[list(zeros)] = 0
    method = make(kind)
    for number in range(3):
        assert step(method, rows, number).isfinite().all()
    assert len(zeros) < 4 or (step(method, rows) == 0).all()


@pytest.mark.parametrize("kind", GRAMIAN)
@given(seed=seeds, count=counts)
def test_finite_with_copies_and_opposites(kind: str, seed: int, count: int, make: Make, step: Step, draw: Draw) -> None:
    rows = draw(seed, count, 4)
    rows[1] = rows[0] * (-1) ** seed
    assert step(make(kind), rows.float()).isfinite().all()
    assert step(make(kind), torch.ones(count, 3)).isfinite().all()


@every
def test_one_task_alone_keeps_its_gradient(kind: str, make: Make, step: Step, draw: Draw) -> None:
    method, rows = make(kind), draw(1, 1, 9)
    torch.testing.assert_close(step(method, rows), rows[0])
    assert (step(method, rows * 0) == 0).all()


@pytest.mark.parametrize("kind", GRAMIAN)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_pass_through_and_are_not_remembered(kind: str, bad: float, make: Make) -> None:
    method, moment = make(kind), Moment(1, 0, 0, ("a", "b"))
    assert (weigh(method, torch.tensor([[1.0, bad], [bad, 1.0]], dtype=torch.float64), moment) == 1).all()
    assert method.to_json() == make(kind).to_json()


# which way the step goes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(NO_CONFLICT))
@given(seed=seeds, count=counts)
def test_no_loss_grows(kind: str, seed: int, count: int, make: Make, step: Step, draw: Draw) -> None:
    rows = draw(seed, count, count + 4)
    gains = rows @ step(make(kind), rows)
    if kind == "imtl_g":
        gains = gains * gains.sum().sign()
    assert gains.min() >= -1e-7 * gains.abs().max()


@pytest.mark.parametrize("kind", sorted({"upgrad", "dualproj", "mgda"}))
@given(seed=seeds, count=counts, width=st.integers(1, 9))
def test_no_loss_grows_where_gradients_depend_on_each_other(
    kind: str, seed: int, count: int, width: int, make: Make, step: Step, draw: Draw
) -> None:
    rows = draw(seed, count, width)
    assert (rows @ step(make(kind), rows)).min() >= -1e-6


@pytest.mark.parametrize("kind", sorted(KEEPS_AGREEMENT))
@given(seed=seeds, count=counts)
def test_gradients_that_agree_are_left_as_they_are(
    kind: str, seed: int, count: int, make: Make, step: Step, draw: Draw
) -> None:
    rows = draw(seed, count, 5).abs()
    mean = kind in {"mean", "upgrad", "dualproj"}
    torch.testing.assert_close(step(make(kind), rows), rows.mean(0) if mean else rows.sum(0))


@pytest.mark.parametrize("kind", GRAMIAN)
def test_orthogonal_gradients_of_one_length_count_the_same(kind: str, make: Make) -> None:
    weights = weigh(make(kind), 4 * torch.eye(5, dtype=torch.float64), Moment(1, 0, 0, tuple("abcde")))
    torch.testing.assert_close(weights, weights[:1].expand(5))
    assert weights[0] > 0


# scale and order ----------------------------------------------------------------------------------------------------------


@every
@given(seed=seeds, count=counts, power=st.integers(-9, 9))
def test_longer_gradients_make_a_longer_step_as_promised(
    kind: str, seed: int, count: int, power: int, make: Make, step: Step, draw: Draw
) -> None:
    rows, scale = draw(seed, count, count + 4), 2.0**power
    one, other = step(make(kind, **options(kind)), rows), step(make(kind, **options(kind)), scale * rows)
    torch.testing.assert_close(other, scale ** DEGREE[kind] * one, rtol=1e-4, atol=1e-4 * float(other.norm()))


@every
@given(seed=seeds, count=counts, order=st.randoms())
def test_the_order_of_the_tasks_makes_no_difference(
    kind: str, seed: int, count: int, order: Any, make: Make, step: Step, draw: Draw
) -> None:
    rows, names = draw(seed, count, count + 4), list("abcdefg"[:count])
    places = list(range(count))
    order.shuffle(places)
    one, other = make(kind), make(kind)
    for number in range(3):  # what is remembered goes by name too
        straight = step(one, rows, number, names)
        shuffled = step(other, rows[places], number, [names[i] for i in places])
        torch.testing.assert_close(shuffled, straight, rtol=1e-4, atol=1e-4 * float(straight.norm()))


# chance and memory --------------------------------------------------------------------------------------------------------


@every
def test_chance_is_a_function_of_the_step(kind: str, make: Make, step: Step, draw: Draw) -> None:
    rows = draw(8, 6, 4)
    torch.manual_seed(1)
    first = [step(make(kind), rows, number) for number in range(8)]
    torch.manual_seed(2)
    again = [step(make(kind), rows, number) for number in range(8)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    differ = any(not torch.equal(first[0], other) for other in first[1:])
    assert differ == (kind in RANDOM)


@every
def test_a_restored_method_goes_on_to_the_same_bits(kind: str, make: Make, step: Step, draw: Draw) -> None:
    whole = make(kind)
    names = [("a", "b", "c"), ("b", "c"), ("c", "a", "d"), ("a",), ("d", "b"), ("a", "b", "c", "d")]
    for number, tasks in enumerate(names):
        step(whole, draw(number, len(tasks), 6), number, tasks)
    part = make(kind)
    part.restore(json.loads(json.dumps(whole.to_json(), allow_nan=False)))
    for number, tasks in enumerate(names, start=len(names)):
        rows = draw(number, len(tasks), 6)
        assert torch.equal(step(part, rows, number, tasks), step(whole, rows, number, tasks))
    assert part.to_json() == whole.to_json()
    assert bool(whole.to_json()) == (kind in STATE)


@every
def test_the_gradients_are_not_changed(kind: str, make: Make, step: Step, draw: Draw) -> None:
    rows = draw(2, 4, 5).float()
    before = rows.clone()
    step(make(kind), rows)
    assert torch.equal(rows, before)
    if kind in GRAMIAN:
        gramian = gramian_of(rows.double())
        kept = gramian.clone()
        make(kind).weights(gramian, Moment(1, 0, 0, tuple("abcd")))
        assert torch.equal(gramian, kept)
