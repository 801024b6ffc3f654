from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manyheads.metrics import Counted
from manyheads.nn.language import NextWords
from manyheads.task.base import Reading
from manyheads.task.language_modelling import LanguageModelling
from manyheads.types import IGNORE

LOGS = torch.log(torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4]))
TARGET = torch.tensor([[[1], [2], [IGNORE]], [[4], [IGNORE], [IGNORE]], [[IGNORE], [IGNORE], [IGNORE]]])


def told(hidden: Tensor, target: Tensor) -> Tensor:
    return LOGS[target]


def scores(rows: int = 3, width: int = 3, sides: int = 1) -> NextWords:
    return NextWords(torch.zeros(rows, width, sides, 2), told)


def test_the_loss_is_the_sum_over_words() -> None:
    type_ = LanguageModelling(5)
    assert float(type_.loss(scores(), TARGET)) == pytest.approx(-math.log(0.1 * 0.2 * 0.4))
    weighted = type_.loss(scores(), TARGET, torch.tensor([2.0, 0.5, 7.0]))
    assert float(weighted) == pytest.approx(-2 * math.log(0.1 * 0.2) - 0.5 * math.log(0.4))


def test_scores_wider_than_the_target_are_narrowed() -> None:
    """As they are where a longer batch of the same round was joined with this one."""
    assert float(LanguageModelling(5).loss(scores(width=9), TARGET)) == pytest.approx(-math.log(0.1 * 0.2 * 0.4))


def test_an_item_is_a_row_with_words() -> None:
    judged = LanguageModelling(5).judge(scores(), TARGET)
    assert judged.gold == [Counted(2), Counted(1)]
    assert judged.predicted == pytest.approx([math.log(0.02), math.log(0.4)])


@pytest.mark.parametrize(
    ("direction", "likelihoods"),
    [("forward", [0.2, 0.4]), ("backward", [0.3, 0.2]), ("both", [0.2, 0.4, 0.3, 0.2])],
)
def test_the_answer_is_the_perplexity_of_the_text(direction: str, likelihoods: list[float]) -> None:
    type_ = LanguageModelling(5, direction)
    sides = 2 if direction == "both" else 1
    found = type_.predict("lm", scores(2, 4, sides), [Reading(pieces=(3, 2, 4)), Reading(pieces=(1, 4))])
    assert found[0].value == pytest.approx(math.prod(likelihoods) ** (-1 / len(likelihoods)))
    assert found[0].measure == "perplexity"
    assert found[1].value == pytest.approx({"forward": 2.5, "backward": 10, "both": 5}[direction])
    with pytest.raises(ValueError, match="told by its words"):
        type_.predict("lm", scores(1))


def test_the_constant_answer_knows_how_often_words_came() -> None:
    """Once more than counted, so that a word that never came has a likelihood too."""
    constant = LanguageModelling(5).constant(torch.tensor([0.0, 3.0, 0.0, 1.0]), TARGET[:1].clamp(max=2))
    found = constant.log_likelihood(TARGET[:1])
    assert found.tolist() == pytest.approx([math.log(4 / 8), math.log(1 / 8)])
