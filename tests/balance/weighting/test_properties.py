"""What every weighting keeps, stated once. A method's row in `CASES` says which of the optional promises it gives."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from manyheads.balance.weighting import WEIGHTINGS, Moment, Weighting, Weights
from manyheads.config.spec.weighting import WeightingSpec
from manyheads.errors import RecipeError

DOCS = Path(__file__).resolve().parents[3] / "docs"
TASKS = ("news", "tags", "stars")
Step = dict[str, tuple[float, float]]  # task to loss and gradient norm
SPEC: TypeAdapter[WeightingSpec] = TypeAdapter(WeightingSpec)


@dataclass(frozen=True)
class Case:
    """What a method promises beyond what all do.

    options  settings under which its weights move in a few steps
    frozen   settings under which it is static; None: there are none
    adds_up  weights of a step of all tasks add up to their number
    neutral  a task that is seen before all others counts 1
    fair     tasks that change names change weights, and nothing else does
    """

    options: dict[str, Any] = field(default_factory=dict)
    frozen: dict[str, Any] | None = None
    adds_up: bool = False
    neutral: bool = True
    fair: bool = True


CASES = {
    "static": Case(frozen={}, adds_up=True),
    "uncertainty": Case({"lr": 0.3}, frozen={"lr": 0.0}),
    "dwa": Case({"temperature": 0.5}, frozen={"temperature": 1e300}, adds_up=True),
    "rlw": Case({"distribution": "normal"}, adds_up=True, neutral=False, fair=False),  # static would not be random
    "gradnorm": Case({"alpha": 1.5, "lr": 0.3}, frozen={"alpha": 1.5, "lr": 0.0}, adds_up=True),
    "famo": Case({"lr": 0.3, "decay": 0.01}, adds_up=True),  # with its logits at rest it still divides by losses
    "imtl_l": Case({"lr": 0.3}, frozen={"lr": 0.0}),
    "geometric": Case(),  # no settings
    "stch": Case({"mu": 0.5}, frozen={"mu": 1e300}, adds_up=True),
    "db_mtl": Case(neutral=False),  # no settings
}


def those(promise: Callable[[Case], object] = lambda case: True) -> pytest.MarkDecorator:
    """For each method whose row says so."""
    return pytest.mark.parametrize("name", sorted(name for name, case in CASES.items() if promise(case)))


EACH = those()

numbers = st.sampled_from([0.0, 1e-30, 1e-8, 0.2, 1.0, 3.0, 1e30]) | st.floats(0, 10) | st.floats(0, 1e30)
steps = st.lists(st.dictionaries(st.sampled_from(TASKS), st.tuples(numbers, numbers)), max_size=12)
whole_steps = st.lists(st.fixed_dictionaries({task: st.tuples(numbers, numbers) for task in TASKS}), max_size=12)


def made(name: str, tasks: Sequence[str] = TASKS) -> Weighting:
    return WEIGHTINGS[name](list(tasks), **CASES[name].options)


def asked(weighting: Weighting, number: int, step: Step) -> Weights:
    moment = Moment(7, number, number // 3, tuple(step))
    return weighting.weights(moment, {t: loss for t, (loss, _) in step.items()} if weighting.sees == "losses" else {})


def taken(weighting: Weighting, number: int, step: Step) -> Weights:
    """The weights of a step, which is then learned from; an epoch has three steps."""
    found = asked(weighting, number, step)
    norms = {t: norm for t, (_, norm) in step.items()} if weighting.sees == "norms" else {}
    weighting.learn(Moment(7, number, number // 3, tuple(step)), {t: loss for t, (loss, _) in step.items()}, norms)
    return found


def walked(weighting: Weighting, steps: Sequence[Step], start: int = 0) -> list[Weights]:
    return [taken(weighting, number, step) for number, step in enumerate(steps, start)]


def state_of(weighting: Weighting) -> Any:
    """The state as a checkpoint has it."""
    return json.loads(json.dumps(weighting.to_json(), allow_nan=False))


# complete -----------------------------------------------------------------------------------------------------------------


def test_every_weighting_is_here() -> None:
    assert set(CASES) == set(WEIGHTINGS)


@EACH
def test_a_weighting_has_a_section_of_the_recipe_and_a_page(name: str) -> None:
    spec = SPEC.validate_python({"type": name})
    assert set(CASES[name].options) == set(spec.model_dump()) - {"type"}
    WEIGHTINGS[name](TASKS, **spec.model_dump(exclude={"type"}))
    page = (DOCS / "balance" / "weighting" / f"{name}.md").read_text(encoding="utf-8")
    assert f"`type: {name}`" in page
    assert all(f"`{option}`" in page for option in CASES[name].options)
    assert f"](balance/weighting/{name}.md)" in (DOCS / "balance.md").read_text(encoding="utf-8")


def test_a_weighting_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'gradnorm'"):
        WEIGHTINGS["grad_norm"]


# numbers ------------------------------------------------------------------------------------------------------------------


@EACH
@given(steps=steps)
def test_weights_are_finite_and_not_negative_whatever_the_losses(name: str, steps: list[Step]) -> None:
    weighting = made(name)
    for number, step in enumerate(steps):
        found = taken(weighting, number, step)
        assert set(found) == set(step)
        assert all(isinstance(w, float) and math.isfinite(w) and w >= 0 for w in found.values())


@EACH
@pytest.mark.parametrize("loss", [0.0, 1e-30, 1e30])
def test_weights_stay_finite_for_long(name: str, loss: float) -> None:
    """A loss that stays where it is must not let a weight run away."""
    weighting = made(name)
    for number in range(400):
        found = taken(weighting, number, {"news": (loss, loss), "tags": (1.0, 1.0)})
    assert all(math.isfinite(w) and 0 <= w <= 1e40 for w in found.values())
    found = taken(weighting, 400, {"news": (1.0, 1.0), "tags": (1.0, 1.0)})
    assert all(math.isfinite(w) and 0 <= w <= 1e40 for w in found.values())


@those(lambda case: case.adds_up)
@given(steps=whole_steps)
def test_weights_add_up(name: str, steps: list[Step]) -> None:
    for found in walked(made(name), steps):
        assert math.fsum(found.values()) == pytest.approx(len(TASKS), rel=1e-9)


@those(lambda case: case.frozen is not None)
@given(steps=steps)
def test_what_is_frozen_is_static(name: str, steps: list[Step]) -> None:
    for found in walked(WEIGHTINGS[name](TASKS, **CASES[name].frozen or {}), steps):
        assert set(found.values()) <= {1.0}


def test_those_that_cannot_be_frozen() -> None:
    assert {name for name, case in CASES.items() if case.frozen is None} == {"rlw", "famo", "geometric", "db_mtl"}


@EACH
def test_what_is_not_frozen_moves(name: str) -> None:
    falling = [{"news": (3 / (n + 1), 2.0), "tags": (1.0, 0.5), "stars": (0.3, 1.0)} for n in range(9)]
    assert (walked(made(name), falling)[-1] == dict.fromkeys(TASKS, 1.0)) == (name == "static")


# tasks --------------------------------------------------------------------------------------------------------------------


@EACH
@given(steps=steps, order=st.permutations(TASKS))
def test_the_order_of_tasks_does_not_matter(name: str, steps: list[Step], order: list[str]) -> None:
    turned = [{task: step[task] for task in order if task in step} for step in steps]
    one, other = made(name), made(name, order)
    assert walked(one, steps) == walked(other, turned)
    assert state_of(one) == state_of(other)


@those(lambda case: case.fair)
@given(steps=steps, order=st.permutations(TASKS))
def test_names_do_not_matter(name: str, steps: list[Step], order: list[str]) -> None:
    new = dict(zip(TASKS, order, strict=True))
    wanted = [{new[task]: w for task, w in found.items()} for found in walked(made(name), steps)]
    assert walked(made(name), [{new[task]: values for task, values in step.items()} for step in steps]) == wanted


@EACH
@given(steps=steps, last=st.dictionaries(st.sampled_from(TASKS), st.tuples(numbers, numbers)))
def test_a_task_that_is_not_in_a_step_keeps_its_state(name: str, steps: list[Step], last: Step) -> None:
    weighting = made(name)
    walked(weighting, steps)
    before = _without_scale(name, state_of(weighting))
    taken(weighting, len(steps), last)
    after = _without_scale(name, state_of(weighting))
    for key, numbers in before.items():
        assert {t: n for t, n in after[key].items() if t not in last} == {t: n for t, n in numbers.items() if t not in last}


def _without_scale(name: str, state: Any) -> Mapping[str, Mapping[str, Any]]:
    """GradNorm scales all weights together, so that they add up; test_gradnorm shows that their proportions stay."""
    return {key: numbers for key, numbers in state.items() if (name, key) != ("gradnorm", "learned")}


@those(lambda case: case.neutral)
@given(loss=numbers, norm=numbers)
def test_the_first_task_counts_one_as_long_as_it_is_alone(name: str, loss: float, norm: float) -> None:
    assert taken(made(name), 0, {"tags": (loss, norm)}) == {"tags": 1.0}


# state --------------------------------------------------------------------------------------------------------------------


@EACH
@given(steps=steps, cut=st.integers(0, 12))
def test_a_state_that_was_put_back_gives_the_same_weights_to_the_bit(name: str, steps: list[Step], cut: int) -> None:
    whole, first, second = made(name), made(name), made(name)
    wanted = walked(whole, steps)
    walked(first, steps[:cut])
    second.restore(state_of(first))
    assert state_of(second) == state_of(first)
    assert walked(second, steps[cut:], start=min(cut, len(steps))) == wanted[cut:]
    assert state_of(second) == state_of(whole)


@EACH
@given(steps=steps, last=st.dictionaries(st.sampled_from(TASKS), st.tuples(numbers, numbers)))
def test_asking_changes_nothing(name: str, steps: list[Step], last: Step) -> None:
    """A step that is not taken, for its gradient was not finite, leaves no trace."""
    weighting = made(name)
    walked(weighting, steps)
    before = state_of(weighting)
    assert asked(weighting, len(steps), last) == asked(weighting, len(steps), last)
    assert state_of(weighting) == before


@EACH
def test_a_state_that_was_taken_stays_as_it_was(name: str) -> None:
    """The loop hands the state to a checkpoint and goes on."""
    weighting = made(name)
    step = dict.fromkeys(TASKS, (0.5, 2.0))
    walked(weighting, [step] * 4)
    held = weighting.to_json()
    before = json.dumps(held)
    walked(weighting, [dict.fromkeys(TASKS, (0.25, 1.0))] * 4, start=4)
    assert json.dumps(held) == before


@EACH
def test_a_state_does_not_grow(name: str) -> None:
    weighting, sizes = made(name), []
    for start in (0, 10, 20):
        walked(weighting, [dict.fromkeys(TASKS, (0.5, 2.0))] * 10, start)
        sizes.append(_leaves(state_of(weighting)))
    assert sizes[0] == sizes[1] == sizes[2] <= 8 * len(TASKS)


def _leaves(state: Any) -> int:
    if isinstance(state, dict):
        return sum(map(_leaves, state.values()))
    return sum(map(_leaves, state)) if isinstance(state, list) else 1
