from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

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


def test_what_the_type_says_of_itself() -> None:
    kind = Multilabel(list(LABELS))
    assert (kind.wants, kind.metric, kind.scheme, kind.labels, kind.outputs) == ("vector", "f1_micro", "none", LABELS, 3)
