from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import pytest
from scipy.special import softmax

from manyheads.balance.weighting import Moment
from manyheads.balance.weighting.rlw import Rlw
from manyheads.config.spec.weighting import RlwWeighting
from manyheads.seeds import generator

Distribution = Literal["normal", "uniform", "dirichlet"]
TASKS = ("a", "b", "c")
EACH = pytest.mark.parametrize("distribution", get_args(Distribution))


def drawn(distribution: Any, steps: int, seed: int = 3, tasks: tuple[str, ...] = TASKS) -> np.ndarray:
    weighting = Rlw(TASKS, distribution)
    rows = [weighting.weights(Moment(seed, step, 0, tasks), {}) for step in range(steps)]
    return np.array([[row[task] for task in tasks] for row in rows])


def test_the_recipe_offers_what_there_is() -> None:
    assert RlwWeighting(type="rlw").distribution == "normal"
    assert RlwWeighting.model_fields["distribution"].annotation == Distribution


def test_the_formula_of_the_paper() -> None:
    wanted = 3 * softmax(generator(3, "rlw", 0).standard_normal(3))
    assert drawn("normal", 1)[0].tolist() == pytest.approx(wanted.tolist(), rel=1e-12)


@EACH
def test_draws_are_a_function_of_seed_and_step(distribution: Distribution) -> None:
    long, short = drawn(distribution, 30), drawn(distribution, 10)
    assert np.array_equal(long[:10], short)
    assert len({tuple(row) for row in long}) == 30
    assert not np.array_equal(drawn(distribution, 10, seed=4), short)


@EACH
def test_a_task_has_the_weight_that_it_would_have_among_all(distribution: Distribution) -> None:
    assert np.array_equal(drawn(distribution, 10, tasks=("b",))[:, 0], drawn(distribution, 10)[:, 1])


@EACH
def test_weights_add_up_to_the_number_of_tasks_and_none_is_preferred(distribution: Distribution) -> None:
    found = drawn(distribution, 3000)
    assert found.sum(1) == pytest.approx(np.full(3000, 3.0))
    error = found.std(0) / math.sqrt(3000)
    assert (abs(found.mean(0) - 1) < 4 * error).all()


def test_distributions_differ_in_their_spread() -> None:
    spread = {name: drawn(name, 3000).std() for name in get_args(Distribution)}
    assert spread["uniform"] < spread["normal"] < spread["dirichlet"]
    # a coordinate of a uniform point of the simplex of 3 has variance 2 / (9 * 4), here times 9
    assert spread["dirichlet"] == pytest.approx(math.sqrt(0.5), rel=0.05)
