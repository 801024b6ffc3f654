from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.task.multilabel import Multilabel

LABELS = ("sport", "money", "law")
SCORES = torch.tensor([[2.0, -2.0, 0.0], [-1.0, -1.0, -1.0]])
NAN = float("nan")


def test_a_label_is_predicted_from_the_threshold_on() -> None:
    found = Multilabel(LABELS).predict("topics", SCORES)
    assert [p.value for p in found] == [("sport", "law"), ()]
    assert list(found[0].probabilities) == list(LABELS)
    assert found[0].probabilities["sport"] == pytest.approx(1 / (1 + 2.718281828**-2))
    assert [p.value for p in Multilabel(LABELS, threshold=0.8).predict("topics", SCORES)] == [("sport",), ()]


def test_judging_leaves_out_rows_without_labels() -> None:
    judged = Multilabel(LABELS).judge(SCORES, torch.tensor([[NAN, NAN, NAN], [1.0, 0.0, 1.0]]))
    assert judged.gold == [("sport", "law")]
    assert judged.predicted == [()]
    assert judged.probabilities is not None
    assert judged.probabilities.shape == (1, 3)


def test_judging_uses_the_same_threshold_as_predicting() -> None:
    kind = Multilabel(LABELS, threshold=0.8)
    judged = kind.judge(SCORES, torch.zeros(2, 3))
    assert list(judged.predicted) == [p.value for p in kind.predict("topics", SCORES)]


def test_the_loss_is_the_mean_over_labels_summed_over_rows() -> None:
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert_close(Multilabel(LABELS).loss(SCORES, target), F.binary_cross_entropy_with_logits(SCORES, target) * 2)


def test_the_loss_is_the_multilabel_soft_margin_of_torch() -> None:
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert_close(Multilabel(LABELS).loss(SCORES, target), F.multilabel_soft_margin_loss(SCORES, target, reduction="sum"))


def test_class_weights_are_for_rows_that_have_the_label_and_smoothing_reaches_the_loss() -> None:
    target, weights = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), [3.0, 9.0, 0.5]
    wanted = F.binary_cross_entropy_with_logits(SCORES, target, pos_weight=torch.tensor(weights)) * 2
    assert_close(Multilabel(LABELS, class_weights=weights).loss(SCORES, target), wanted)
    smooth = F.binary_cross_entropy_with_logits(SCORES, target * 0.8 + 0.1) * 2
    assert_close(Multilabel(LABELS, label_smoothing=0.2).loss(SCORES, target), smooth)
    with pytest.raises(RecipeError, match="3 labels want as many class weights, found 2"):
        Multilabel(LABELS, class_weights=[1.0, 2.0])


def test_what_the_type_says_of_itself() -> None:
    kind = Multilabel(list(LABELS))
    assert (kind.wants, kind.metric, kind.scheme, kind.labels, kind.outputs) == ("vector", "f1_micro", "none", LABELS, 3)


def test_a_threshold_for_each_label() -> None:
    kind = Multilabel(LABELS, threshold={"sport": 0.9, "money": 0.1})
    assert [p.value for p in kind.predict("topics", SCORES)] == [("money", "law"), ("money",)]
    assert kind.judge(SCORES, torch.zeros(2, 3)).predicted == [("money", "law"), ("money",)]
    same = Multilabel(LABELS, threshold=dict.fromkeys(LABELS, 0.8)).predict("topics", SCORES)
    assert same == Multilabel(LABELS, threshold=0.8).predict("topics", SCORES)
    with pytest.raises(RecipeError, match=r"no label is called this; there are 'sport', 'money', 'law'.*mean 'money'"):
        Multilabel(LABELS, threshold={"mony": 0.5})


def test_the_most_probable_labels_whatever_their_probability() -> None:
    def answers(top: int) -> list[object]:
        return [p.value for p in Multilabel(LABELS, top=top).predict("topics", SCORES)]

    assert answers(1) == [("sport",), ("sport",)]
    assert answers(2) == [("sport", "law"), ("sport", "money")]
    assert answers(3) == answers(9) == [LABELS, LABELS]
