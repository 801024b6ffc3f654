from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.graph import Step
from manyheads.task.base import TASKS, LossFunction, Prediction, Task
from manyheads.task.binary import Binary
from manyheads.task.classification import Classification
from manyheads.task.multilabel import Multilabel
from manyheads.task.regression import Regression
from manyheads.task.tagging import Tagging
from manyheads.types import IGNORE

NAN = float("nan")


def test_the_types_of_a_recipe_are_known() -> None:
    assert {name: TASKS[name] for name in ("binary", "classification", "multilabel", "regression", "tagging")} == {
        "binary": Binary,
        "classification": Classification,
        "multilabel": Multilabel,
        "regression": Regression,
        "tagging": Tagging,
    }


def test_names_in_a_path_become_steps() -> None:
    task = Task("a", ["trunk", Step("head", ("trunk",), "out")], Classification())
    assert task.steps == (Step("trunk"), Step("head", ("trunk",), "out"))
    assert task.path == task.steps


def test_the_metric_is_the_types_unless_it_is_named() -> None:
    assert Task("a", ["x"], Regression()).scores() == ("spearman",)
    named = Task("a", ["x"], Regression(), metric="mse", metrics=["pearson", "mse", "spearman"])
    assert named.metric == "mse"
    assert named.scores() == ("mse", "pearson", "spearman")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "a task needs a name"),
    ({"weight": -1.0}, "tasks.a.weight: a weight is a finite number from 0 on; found '-1.0'"),
    ({"weight": NAN}, "tasks.a.weight: a weight is a finite number"),
    ({"weight": float("inf")}, "tasks.a.weight: a weight is a finite number"),
    ({"path": "trunk"}, "tasks.a.path: a path is a list of steps; found 'trunk'"),
    ({"type": Classification}, r"tasks.a.type: a type is an object; call the class: Classification\(...\)"),
]


@pytest.mark.parametrize(("change", "rule"), BAD)
def test_a_task_that_cannot_be(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(RecipeError, match=rule):
        Task(**{"name": "a", "path": ["trunk"], "type": Classification(), **change})


def test_a_prediction_of_tags_has_no_probabilities() -> None:
    assert Prediction("a", ("O",)).probabilities == {}


# a loss of one's own ----------------------------------------------------------------------------------------------------


def mean_error(scores: Tensor, target: Tensor) -> Tensor:
    return F.l1_loss(scores.reshape(target.shape), target)


def test_the_loss_is_the_types_unless_one_is_given() -> None:
    scores, target = torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 1.0])
    assert Task("a", ["x"], Regression()).loss_sum(scores, target) == 10
    assert Task("a", ["x"], Regression(), loss=mean_error).loss_sum(scores, target) == 4


def test_an_own_loss_sees_supervised_items_only() -> None:
    scores, target = torch.tensor([[1.0], [4.0], [9.0]]), torch.tensor([0.0, NAN, 1.0])
    assert Task("a", ["x"], Regression(), loss=mean_error).loss_sum(scores, target) == 9


def test_an_own_loss_of_the_same_kind_gives_the_same_sum() -> None:
    scores, target = torch.randn(4, 3), torch.tensor([0, IGNORE, 2, 1])
    own, built_in = Task("a", ["x"], Classification(), loss=F.cross_entropy), Task("a", ["x"], Classification())
    assert_close(own.loss_sum(scores, target), built_in.loss_sum(scores, target))


def test_an_own_loss_of_words_is_given_words() -> None:
    scores, target = torch.randn(2, 5, 2), torch.tensor([[0, 1, IGNORE], [1, IGNORE, IGNORE]])
    tagging = Tagging(("O", "X"), "none")
    own = Task("a", ["x"], tagging, loss=F.cross_entropy).loss_sum(scores, target)
    assert_close(own, Task("a", ["x"], tagging).loss_sum(scores, target))


class Doubtful(Classification):
    """A type that knows nothing of weights."""

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * super().loss(scores, target)


def test_rows_are_weighted_one_by_one_where_a_loss_knows_no_weights() -> None:
    scores, target, weights = torch.randn(4, 3), torch.tensor([0, IGNORE, 2, 1]), torch.tensor([0.5, 3, 2, 0])
    whole = Task("a", ["x"], Classification()).loss_sum(scores, target, weights)
    assert_close(Task("a", ["x"], Classification(), loss=F.cross_entropy).loss_sum(scores, target, weights), whole)
    assert_close(Task("a", ["x"], Doubtful()).loss_sum(scores, target, weights), 2 * whole)


@pytest.mark.parametrize("loss", [None, lambda scores, target: (scores[:, 0] - target).square().mean()])
def test_a_row_of_weight_0_may_have_a_loss_that_is_not_finite(loss: LossFunction | None) -> None:
    scores = torch.tensor([[1.0], [4.0]], requires_grad=True)
    task = Task("a", ["x"], Regression(), loss=loss)
    value = task.loss_sum(scores, torch.tensor([3e38, 1.0]), torch.tensor([0.0, 2.0]))
    value.backward()
    assert value.detach() == 18
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0], [12]]


def test_an_own_loss_is_not_asked_about_nothing() -> None:
    scores = torch.randn(2, 1, requires_grad=True)
    value = Task("a", ["x"], Regression(), loss=mean_error).loss_sum(scores, torch.tensor([NAN, NAN]))
    value.backward()
    assert value.detach() == 0
    assert scores.grad is not None
    assert not scores.grad.any()
