"""What chooses checkpoints and stops runs."""

from __future__ import annotations

import json
import math

import pytest

from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.task.regression import Regression
from manyheads.train.follow import WHOLE, Best, Follow, higher_is_better
from manyheads.types import Record

TASKS = {
    "mood": Task("mood", ["x"], Classification(labels=["a", "b"]), patience=2),
    "stars": Task("stars", ["x"], Regression(), metric="mse"),
}


def records(step: int, mood: float | None = None, stars: float | None = None, dataset: str = "d") -> list[Record]:
    values = {("mood", "accuracy"): mood, ("stars", "mse"): stars}
    noise = [Record(step, "mood", dataset, "dev", "loss", -99.0)]
    return noise + [Record(step, t, dataset, "dev", m, v) for (t, m), v in values.items() if v is not None]


def test_the_first_value_is_the_best_so_far() -> None:
    follow = Follow()
    assert follow.see(records(5, mood=0.1, stars=9.0), TASKS, 5) == ["mood", "stars", WHOLE]
    assert follow.steps() == {5}


def test_lower_is_better_where_the_metric_says_so() -> None:
    follow = Follow("stars")
    follow.see(records(1, stars=2.0), TASKS, 1)
    assert follow.see(records(2, stars=1.0), TASKS, 2) == ["stars", WHOLE]
    assert follow.see(records(3, stars=3.0), TASKS, 3) == []
    assert (follow.best["stars"].value, follow.best["stars"].step) == (1.0, 2)


def test_an_equal_value_is_not_better() -> None:
    follow = Follow("mood")
    follow.see(records(1, mood=0.5), TASKS, 1)
    assert follow.see(records(2, mood=0.5), TASKS, 2) == []
    assert follow.best[WHOLE].step == 1


def test_the_average_counts_lower_metrics_as_negative() -> None:
    follow = Follow()
    follow.see(records(1, mood=0.5, stars=1.0), TASKS, 1)
    assert follow.best[WHOLE].value == pytest.approx((0.5 - 1.0) / 2)
    assert follow.see(records(2, mood=0.4, stars=0.8), TASKS, 2) == ["stars", WHOLE]
    assert follow.see(records(3, mood=0.6, stars=2.0), TASKS, 3) == ["mood"]


def test_an_average_with_an_undefined_score_is_not_compared_and_costs_no_patience() -> None:
    follow = Follow()
    follow.see(records(1, mood=0.5, stars=1.0), TASKS, 1)
    assert follow.see(records(2, mood=math.nan, stars=0.1), TASKS, 2) == ["stars"]
    assert (follow.best[WHOLE].step, follow.best[WHOLE].waited, follow.best["mood"].waited) == (1, 0, 0)
    assert follow.see(records(3, mood=0.4, stars=1.0), TASKS, 3) == []
    assert (follow.best[WHOLE].waited, follow.stop(1)) == (1, True)


def test_a_score_that_is_undefined_is_never_the_best() -> None:
    follow = Follow()
    assert follow.see(records(1, mood=math.nan), TASKS, 1) == []
    assert follow.steps() == set()
    assert follow.see(records(2, mood=0.0), TASKS, 2) == ["mood", WHOLE]
    assert follow.see(records(3, mood=math.nan), TASKS, 3) == []


def test_several_data_sets_of_one_task_are_averaged() -> None:
    follow = Follow("mood")
    follow.see(records(1, mood=0.4) + records(1, mood=0.8, dataset="e"), TASKS, 1)
    assert follow.best["mood"].value == pytest.approx(0.6)


def test_patience_of_a_task() -> None:
    follow = Follow()
    for step, value in enumerate([0.5, 0.4, 0.3], 1):
        assert follow.exhausted(TASKS) == ()
        follow.see(records(step, mood=value, stars=1.0), TASKS, step)
    assert follow.exhausted(TASKS) == ("mood",)
    follow.see(records(4, mood=0.9, stars=1.0), TASKS, 4)
    assert follow.exhausted(TASKS) == ()


def test_patience_of_the_whole() -> None:
    follow = Follow("mood")
    assert not follow.stop(1)
    follow.see(records(1, mood=0.5), TASKS, 1)
    assert not follow.stop(1)
    follow.see(records(2, mood=0.5), TASKS, 2)
    assert follow.stop(1)
    assert not follow.stop(2)
    assert not follow.stop(None)


def test_a_selected_task_without_rows_chooses_nothing() -> None:
    follow = Follow("stars")
    assert follow.see(records(1, mood=0.5), TASKS, 1) == ["mood"]
    assert WHOLE not in follow.best


# one score, or several -----------------------------------------------------------------------------------------------


def of(step: int, task: str, metric: str, value: float, dataset: str = "d") -> Record:
    return Record(step, task, dataset, "dev", metric, value)


def best(select: str | list[str], *looks: list[Record]) -> int:
    """The step that is the best after these evaluations, 1 and on."""
    follow = Follow(select)
    for step, found in enumerate(looks, 1):
        follow.see(found, TASKS, step)
    return follow.best[WHOLE].step


@pytest.mark.parametrize(
    ("select", "step"),
    [
        ("mood/accuracy", 2),
        ("mood/d/dev/accuracy", 2),
        ("mood/e/dev/accuracy", 3),
        ("mood/loss", 1),
        ("mood/loss:max", 2),
        ("mood/accuracy:min", 1),
        ("stars", 3),
        ("stars:max", 1),
        ("stars/mse", 3),
        ("stars/mse:max", 1),
        ("loss:max", 2),
        (["mood/d/dev/accuracy", "stars"], 3),
        (["mood/loss", "stars:max"], 1),
    ],
)
def test_one_score_or_the_mean_of_some_may_choose(select: str | list[str], step: int) -> None:
    looks = [
        [of(1, "mood", "accuracy", 0.1), of(1, "mood", "loss", 0.2), of(1, "stars", "mse", 3.0)],
        [of(2, "mood", "accuracy", 0.9), of(2, "mood", "loss", 0.8), of(2, "stars", "mse", 2.0)],
        [of(3, "mood", "accuracy", 0.8), of(3, "mood", "loss", 0.4), of(3, "stars", "mse", 1.0)],
    ]
    others = [[of(i, "mood", "accuracy", value, "e")] for i, value in enumerate((0.3, 0.2, 0.4), 1)]
    if "/e/" in select:
        looks = [[*look, *other] for look, other in zip(looks, others, strict=True)]
    assert best(select, *looks) == step


def test_a_mean_of_which_a_part_is_undefined_is_not_compared() -> None:
    follow = Follow(["mood", "stars"])
    assert WHOLE in follow.see(records(1, mood=0.5, stars=1.0), TASKS, 1)
    assert WHOLE not in follow.see(records(2, mood=0.9), TASKS, 2)
    assert WHOLE not in follow.see(records(3, mood=0.9, stars=math.nan), TASKS, 3)
    assert (follow.best[WHOLE].step, follow.best[WHOLE].waited) == (1, 0)


def test_what_is_undefined_is_told_by_task_or_by_key() -> None:
    look = [of(1, "mood", "accuracy", 0.5), of(1, "mood", "f1", math.nan), of(1, "stars", "mse", math.nan)]
    assert Follow("mood/f1").undefined(look, TASKS) == ["stars", "mood/f1"]
    assert Follow("mood").undefined(look, TASKS) == ["stars"]
    assert Follow(["mood", "average"]).undefined(look[:2], TASKS) == []


@pytest.mark.parametrize(
    ("metric", "higher"), [("accuracy", True), ("mse", False), ("loss", False), ("mse/low", False), ("f1/x", True)]
)
def test_the_direction_of_a_score(metric: str, higher: bool) -> None:
    assert higher_is_better(metric) is higher


def test_what_is_remembered_survives_json() -> None:
    follow = Follow("mood")
    for step, value in enumerate([0.1, 1 / 3, 0.2], 1):
        follow.see(records(step, mood=value, stars=value), TASKS, step)
    again = Follow.from_json("mood", json.loads(json.dumps(follow.to_json())))
    assert again == follow


def test_best_of_one() -> None:
    best = Best()
    assert best.see(1.0, 3, higher=False)
    assert not best.see(2.0, 4, higher=False)
    assert (best.value, best.step, best.waited) == (1.0, 3, 1)
