from __future__ import annotations

from torch import nn

from manyheads.graph import Step
from manyheads.model import Model
from manyheads.summary import summary
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.task.regression import Regression

DRAWN = """\
3 tasks over 5 modules, 2 of them shared
7 steps for all tasks, 8 without sharing
48 parameters, 26 of them trained

task    type            path
circle  Classification  trunk* -> circle_head
square  Classification  trunk* -> head*
far     Regression      left=trunk*(batch.left) -> right=trunk*(batch.right) -> mix(left, right) -> head*

module       type            parameters  used by
trunk*       Linear, frozen          12  circle, square, far
circle_head  Linear                  10  circle
head*        Linear                  10  square, far
mix          Bilinear                 6  far
spare        Linear, frozen          10  no task"""


def model() -> Model:
    far = [
        Step("trunk", ("batch.left",), "left"),
        Step("trunk", ("batch.right",), "right"),
        Step("mix", ("left", "right")),
        "head",
    ]
    trunk, spare = nn.Linear(2, 4), nn.Linear(4, 2)
    trunk.requires_grad_(False)
    spare.requires_grad_(False)
    pool = {
        "trunk": trunk,
        "circle_head": nn.Linear(4, 2),
        "head": nn.Linear(4, 2),
        "mix": nn.Bilinear(1, 1, 3),
        "spare": spare,
    }
    tasks = [
        Task("circle", ["trunk", "circle_head"], Classification()),
        Task("square", ["trunk", "head"], Classification()),
        Task("far", far, Regression()),
    ]
    return Model(pool, tasks)


def test_the_drawing() -> None:
    assert summary(model()) == DRAWN


def test_a_parameter_that_two_modules_hold_counts_once() -> None:
    one, two = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    two.weight = one.weight
    text = summary(Model({"one": one, "two": two}, [Task("a", ["one", "two"], Classification())]))
    assert text.startswith("1 task over 2 modules, 0 of them shared\n2 steps for all tasks, 2 without sharing\n16")


def test_every_name_of_the_model_is_drawn() -> None:
    found, text = model(), summary(model())
    assert all(name in text for name in (*found.pool, *found.tasks))
