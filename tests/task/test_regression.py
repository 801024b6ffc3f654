from __future__ import annotations

import pytest
import torch

from manyheads.errors import RecipeError
from manyheads.task.regression import Regression

NAN = float("nan")


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_scores_of_either_shape(shape: tuple[int, ...]) -> None:
    scores, target = torch.tensor([1.0, 6.0, -2.0]).reshape(shape), torch.tensor([1.0, NAN, 2.0])
    kind = Regression()
    assert kind.loss(scores, target) == 16
    judged = kind.judge(scores, target)
    assert (judged.gold, judged.predicted, judged.probabilities) == ([1.0, 2.0], [1.0, -2.0], None)
    assert [p.value for p in kind.predict("near", scores)] == [1.0, 6.0, -2.0]


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [(0.0, 5.0, [1.0, 5.0, 0.0]), (0.0, None, [1.0, 6.0, 0.0]), (None, 5.0, [1.0, 5.0, -2.0])],
)
def test_answers_are_clipped_and_the_loss_is_not(low: float | None, high: float | None, values: list[float]) -> None:
    scores, kind = torch.tensor([[1.0], [6.0], [-2.0]]), Regression(low, high)
    assert [p.value for p in kind.predict("near", scores)] == values
    assert kind.judge(scores, torch.zeros(3)).predicted == values
    assert kind.loss(scores, torch.zeros(3)) == 41


def test_a_single_row() -> None:
    assert Regression().predict("near", torch.tensor([[2.5]]))[0].value == 2.5


def test_what_the_type_says_of_itself() -> None:
    kind = Regression()
    assert (kind.wants, kind.metric, kind.scheme, kind.labels, kind.outputs) == ("vector", "spearman", "none", (), 1)


def test_absolute_differences_are_learned_where_the_task_says_so() -> None:
    """The constant that costs least is the median, where that of squares is the mean."""
    target = torch.tensor([1.0, 2.0, 12.0, NAN])
    for loss, best in (("absolute", 2.0), ("squared", 5.0)):
        costs = [float(Regression(loss=loss).loss(torch.full((4, 1), at / 2), target)) for at in range(28)]
        assert costs.index(min(costs)) / 2 == best
    weighed = Regression(loss="absolute").loss(torch.zeros(4, 1), target, torch.tensor([1.0, 0.5, 2.0, 7.0]))
    assert weighed == 1 + 1 + 24
    with pytest.raises(RecipeError, match="one of 'squared', 'absolute'; found 'absolut'; did you mean 'absolute'"):
        Regression(loss="absolut")
