"""Scores of labels against scikit-learn and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from manyheads.metrics import METRICS, Score
from manyheads.metrics.classification import f_beta, f_score, ratio

LABELS = ("a", "b", "c", "d")
MULTI = [name for name in METRICS if METRICS[name].needs == "label_sets"]
pairs = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=40)
sets = st.frozensets(st.sampled_from("abcd"))
set_pairs = st.lists(st.tuples(sets, sets), min_size=1, max_size=25)


def compute(name, gold, predicted, labels=LABELS, probabilities=None):
    score = Score([name], labels)
    score.add(gold, predicted, probabilities)
    return score.compute()[name]


def oracle(gold, predicted, average, labels=LABELS, beta=1.0):
    return sk.precision_recall_fscore_support(gold, predicted, labels=labels, average=average, beta=beta, zero_division=0)[:3]


@given(pairs)
def test_labels_equal_scikit_learn(items):
    gold, predicted = (list(side) for side in zip(*items, strict=True))
    precision, recall, f1 = oracle(gold, predicted, "macro")
    assert compute("precision", gold, predicted) == pytest.approx(precision)
    assert compute("recall", gold, predicted) == pytest.approx(recall)
    assert compute("f1", gold, predicted) == compute("f1_macro", gold, predicted) == pytest.approx(f1)
    assert compute("f1_micro", gold, predicted) == pytest.approx(oracle(gold, predicted, "micro")[2])
    assert compute("fbeta", gold, predicted) == pytest.approx(oracle(gold, predicted, "macro", beta=0.5)[2])
    assert compute("accuracy", gold, predicted) == pytest.approx(sk.accuracy_score(gold, predicted))
    assert compute("f1_micro", gold, predicted) == pytest.approx(compute("accuracy", gold, predicted))


@given(pairs)
def test_mcc_equals_scikit_learn(items):
    gold, predicted = (list(side) for side in zip(*items, strict=True))
    if len({*gold, *predicted}) == 1:
        assert compute("mcc", gold, predicted) == 0
    else:
        assert compute("mcc", gold, predicted) == pytest.approx(sk.matthews_corrcoef(gold, predicted))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_with_two_labels_the_second_is_the_positive_one(items):
    gold, predicted = ([("no", "yes")[value] for value in side] for side in zip(*items, strict=True))
    expected = oracle(gold, predicted, "macro", labels=["yes"])
    found = [compute(name, gold, predicted, ("no", "yes")) for name in ("precision", "recall", "f1")]
    assert found == pytest.approx(expected)
    both = oracle(gold, predicted, "macro", labels=["no", "yes"])[2]
    assert compute("f1_macro", gold, predicted, ("no", "yes")) == pytest.approx(both)


@given(set_pairs)
def test_sets_of_labels_equal_scikit_learn(items):
    gold, predicted = (list(side) for side in zip(*items, strict=True))
    matrices = [np.array([[label in item for label in LABELS] for item in side], dtype=int) for side in (gold, predicted)]
    names = range(len(LABELS))
    assert compute("f1_macro", gold, predicted) == pytest.approx(oracle(*matrices, "macro", names)[2])
    assert compute("f1_micro", gold, predicted) == pytest.approx(oracle(*matrices, "micro", names)[2])
    assert compute("precision", gold, predicted) == pytest.approx(oracle(*matrices, "macro", names)[0])
    assert compute("accuracy", gold, predicted) == pytest.approx(sk.accuracy_score(*matrices))


def test_two_labels_in_sets_have_no_positive_one():
    gold, predicted = [("x",), ("x", "y")], [("x",), ("x",)]
    assert compute("f1", gold, predicted, ("x", "y")) == pytest.approx((1 + 0) / 2)
    assert compute("f1_micro", gold, predicted, ("x", "y")) == pytest.approx(2 * 2 / (3 + 2))


def test_tuples_and_sets_are_the_same():
    tuples = compute("f1_micro", [("b", "a"), ()], [("a", "b"), ("c",)])
    assert tuples == compute("f1_micro", [{"a", "b"}, set()], [frozenset("ab"), {"c"}])


def test_an_absent_label_counts_as_zero():
    gold = predicted = ["a", "b"]
    assert compute("f1_macro", gold, predicted, ("a", "b")) == 1
    assert compute("f1_macro", gold, predicted, LABELS) == 0.5
    assert compute("recall", gold, predicted, LABELS) == 0.5
    assert compute("f1_micro", gold, predicted, LABELS) == 1


def test_by_hand():
    gold = ["no", "no", "no", "yes", "yes"]
    predicted = ["no", "yes", "no", "yes", "no"]  # 2 true negatives, 1 of each other kind
    labels = ("no", "yes")
    assert compute("accuracy", gold, predicted, labels) == pytest.approx(3 / 5)
    assert compute("precision", gold, predicted, labels) == pytest.approx(1 / 2)
    assert compute("recall", gold, predicted, labels) == pytest.approx(1 / 2)
    assert compute("f1", gold, predicted, labels) == pytest.approx(1 / 2)
    assert compute("mcc", gold, predicted, labels) == pytest.approx((1 * 2 - 1 * 1) / math.sqrt(2 * 2 * 3 * 3))


def test_beta_weighs_recall():
    gold, predicted = ["yes", "yes", "no"], ["yes", "no", "no"]  # precision 1, recall 1/2
    assert compute("fbeta", gold, predicted, ("no", "yes")) == pytest.approx(1.25 * 0.5 / (0.25 * 1 + 0.5))
    assert f_beta(2.0)(gold, predicted, ("no", "yes")) == pytest.approx(5 * 0.5 / (4 * 1 + 0.5))


def test_words_of_sentences_are_items():
    gold, predicted = [["O", "B-X"], ["O"]], [["O", "O"], ["O"]]
    assert compute("accuracy", gold, predicted, ("O", "B-X")) == pytest.approx(2 / 3)


def test_a_sentence_is_right_when_all_its_words_are():
    gold, predicted = [["O", "B-X"], ["O"], ["B-X", "B-X"]], [["O", "O"], ["O"], ["B-X", "B-X"]]
    assert compute("sentence_accuracy", gold, predicted, ("O", "B-X")) == pytest.approx(2 / 3)


def test_words_without_a_tag_do_not_make_a_sentence_wrong():
    gold, predicted = [[None, "B-X"], [None, None], None, ["O", "O"]], [["B-X", "B-X"], ["O", "O"], ["O"], ["O", "B-X"]]
    assert compute("sentence_accuracy", gold, predicted, ("O", "B-X")) == 0.5
    assert math.isnan(compute("sentence_accuracy", [[None]], [["O"]], ("O", "B-X")))


def test_coverage_is_the_share_of_items_that_are_scored():
    gold, predicted = ["a", None, "b", "c"], ["a", "a", None, "a"]
    assert compute("coverage", gold, predicted) == 0.5
    assert compute("accuracy", gold, predicted) == 0.5
    assert compute("coverage", [None, None], ["a", "b"]) == 0
    assert compute("coverage", [["a", None], None], [["a", "a"], ["b", "b"]]) == 0.25


class TestRocAuc:
    def test_two_labels_by_hand(self):
        probabilities = [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]]
        found = compute("roc_auc", ["no", "no", "yes", "yes"], ["no"] * 4, ("no", "yes"), probabilities)
        assert found == pytest.approx(3 / 4)  # of the four pairs (no, yes) three are in order

    @given(st.integers(0, 2**32 - 1), st.integers(3, 5))
    def test_many_labels_equal_scikit_learn_one_against_rest(self, seed, width):
        draw = np.random.default_rng(seed)
        gold = np.concatenate([np.arange(width), draw.integers(width, size=20)])
        probabilities = draw.dirichlet(np.ones(width), size=len(gold)).round(2) + 1e-3
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        found = compute("roc_auc", gold, probabilities.argmax(1), tuple(range(width)), probabilities)
        assert found == pytest.approx(sk.roc_auc_score(gold, probabilities, multi_class="ovr", average="macro"))

    def test_ids_without_a_schema(self):
        probabilities = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
        assert compute("roc_auc", [0, 1], [0, 1], (), probabilities) == 1

    def test_sets_of_labels(self):
        gold = [("a",), ("a", "b"), ()]
        probabilities = [[0.9, 0.1], [0.8, 0.7], [0.1, 0.2]]
        assert compute("roc_auc", gold, gold, ("a", "b"), probabilities) == 1

    @pytest.mark.parametrize(
        ("gold", "probabilities", "why"),
        [
            (["a", "a"], [[0.5, 0.5], [0.1, 0.9]], "all items have the label 'a'"),
            (["b", "b"], [[0.5, 0.5], [0.1, 0.9]], "no items have the label 'a'"),
            (["a", "b"], [[0.5, 0.5], [math.nan, 0.9]], "not finite"),
            (["a", "b"], [[0.5], [0.1]], "1 probabilities for 2 labels"),
        ],
    )
    def test_undefined_says_why(self, gold, probabilities, why):
        score = Score(["roc_auc"], ("a", "b"))
        score.add(gold, gold, probabilities)
        assert math.isnan(score.compute()["roc_auc"])
        assert why in score.undefined["roc_auc"]


@pytest.mark.parametrize("name", [n for n in MULTI if n != "always"])
def test_a_right_answer_is_1(name):
    assert compute(name, list(LABELS), list(LABELS)) == 1


def test_nothing_of_nothing_is_0():
    assert ratio(0, 0) == 0
    assert f_score(0, 0, 0) == 0
