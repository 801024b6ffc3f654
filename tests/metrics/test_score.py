"""The accumulator: any batching and any merging give what one call gives, and what does not fit is refused."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.errors import DataError, RecipeError
from manyheads.metrics import METRICS, Score, unfit

LABELS = ("a", "b", "c")
TAGS = ("O", "B-X", "I-X")
CLASSES = ("accuracy", "precision", "recall", "f1", "f1_micro", "f1_macro", "fbeta", "mcc", "coverage", "roc_auc")
NUMBERS = ("mse", "rmse", "mae", "pearson", "spearman")
SPANS = ("span_f1", "span_precision", "span_recall", "accuracy", "f1_macro", "mcc", "coverage", "sentence_accuracy")

share = st.floats(0, 1, allow_subnormal=False)
classes = st.tuples(st.sampled_from((*LABELS, None)), st.sampled_from(LABELS), st.tuples(share, share, share))
numbers = st.tuples(st.one_of(st.none(), st.floats(-1e3, 1e3)), st.floats(-1e3, 1e3))
sentences = st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=5).map(
    lambda pairs: tuple(list(side) for side in zip(*pairs, strict=True))
)


def fill(make, items):
    score = make()
    if items:
        score.add(*zip(*items, strict=True))
    return score


def check_batching(make, items, cuts, random):
    """One call, batches in order, and batches gathered from processes in any order: the same to the last bit."""
    whole = fill(make, items).compute()
    borders = [0, *sorted(cut % (len(items) + 1) for cut in cuts), len(items)]
    batches = [items[start:stop] for start, stop in pairwise(borders)]
    stepwise = make()
    for batch in batches:
        stepwise.merge(fill(make, batch))
    gathered = make()
    for batch in random.sample(batches, len(batches)):
        gathered.merge(pickle.loads(pickle.dumps(fill(make, batch))))  # noqa: S301  # our own bytes
    for other in (stepwise, gathered):
        assert list(other.compute()) == list(whole)
        assert other.compute() == pytest.approx(whole, rel=0, abs=0, nan_ok=True)


cuts = st.lists(st.integers(0, 100), max_size=4)
random = st.randoms(use_true_random=False)


@given(st.lists(classes, max_size=20), cuts, random)
def test_batches_of_labels(items, cuts, random):
    check_batching(lambda: Score(CLASSES, LABELS), items, cuts, random)


@given(st.lists(numbers, max_size=20), cuts, random)
def test_batches_of_numbers(items, cuts, random):
    check_batching(lambda: Score(NUMBERS), items, cuts, random)


@given(st.lists(sentences, max_size=12), cuts, random)
def test_batches_of_sentences(items, cuts, random):
    check_batching(lambda: Score(SPANS, TAGS, "BIO"), items, cuts, random)


GROUPED = ("accuracy", "group_accuracy")
member = st.tuples(st.sampled_from((*LABELS, None)), st.sampled_from(LABELS), st.none(), st.sampled_from("xyz"))


def grouped(items):
    score = Score(GROUPED, LABELS)
    if items:
        gold, predicted, _, names = zip(*items, strict=True)
        score.add(gold, predicted, None, names)
    return score


@given(st.lists(member, max_size=20), st.integers(0, 20))
def test_a_group_is_right_when_all_its_labelled_rows_are_however_they_come(items, cut):
    score = grouped(items[cut:])
    score.merge(pickle.loads(pickle.dumps(grouped(items[:cut]))))  # noqa: S301  # our own bytes
    known = [(gold == said, name) for gold, said, _, name in items if gold is not None]
    wanted = [all(right for right, other in known if other == name) for name in {name for _, name in known}]
    found = score.compute()["group_accuracy"]
    assert found == sum(wanted) / len(wanted) if wanted else math.isnan(found)


def test_each_item_has_a_group_or_none_has():
    score = Score(GROUPED, LABELS)
    for names in (["x"], []):
        with pytest.raises(ValueError, match="each item has a group"):
            score.add(["a", "b"], ["a", "b"], None, names or ["x", "y", "z"])
    score.add(["a"], ["a"], None, ["x"])
    with pytest.raises(ValueError, match="each item has a group"):
        score.add(["a"], ["a"])
    with pytest.raises(RecipeError, match=r"needs groups.*\n.*under `data\.group`"):
        fill(lambda: Score(GROUPED, LABELS), [("a", "a")]).compute()


def test_no_items_are_undefined_with_a_reason():
    score = Score(["accuracy", "roc_auc"], LABELS)
    assert all(math.isnan(value) for value in score.compute().values())
    assert score.undefined == {"accuracy": "there are no items", "roc_auc": "there are no items"}


def test_items_without_labels_are_left_out():
    score = Score(["accuracy"], LABELS)
    score.add(["a", None, "b"], ["a", "b", "c"])
    assert score.compute() == {"accuracy": 0.5}
    nothing = Score(["accuracy", "f1_macro"], LABELS)
    nothing.add([None], ["a"])
    assert math.isnan(nothing.compute()["accuracy"])
    assert nothing.undefined["f1_macro"] == "no item has a label"


def test_sentences_whose_words_all_lack_labels():
    score = Score(["accuracy"], TAGS)
    score.add([[None]], [["O"]])
    assert math.isnan(score.compute()["accuracy"])
    assert score.undefined["accuracy"] == "no word has a label"


def test_reasons_are_those_of_the_last_compute():
    score = Score(["pearson"])
    score.add([1.0], [1.0])
    score.compute()
    score.add([2.0], [2.0])
    assert score.compute() == {"pearson": pytest.approx(1.0)}
    assert score.undefined == {}


def test_values_are_plain_floats_in_the_order_asked_for():
    score = Score(["f1_macro", "accuracy", "mcc"], LABELS)
    score.add(np.array(["a", "b"]), np.array(["a", "c"]))
    found = score.compute()
    assert list(found) == ["f1_macro", "accuracy", "mcc"]
    assert all(type(value) is float for value in found.values())


def test_ids_are_their_own_labels():
    score = Score(["f1_macro", "f1"])
    score.add(np.array([0, 1, 1]), [np.int64(0), np.int64(1), np.int64(0)])
    assert score.compute() == {"f1_macro": pytest.approx((2 / 3 + 2 / 3) / 2), "f1": pytest.approx(2 / 3)}


def test_ids_that_have_a_probability_count_as_labels():
    score = Score(["f1_macro"])
    score.add([0, 1], [0, 1], np.eye(3)[:2])
    assert score.compute() == {"f1_macro": pytest.approx(2 / 3)}


def test_length_is_the_number_of_items():
    score = Score(["accuracy"], LABELS)
    score.add(["a", "b"], ["a", "b"])
    score.add([], [])
    assert len(score) == 2


class TestRefused:
    @pytest.mark.parametrize(
        ("gold", "predicted", "probabilities", "words"),
        [
            (["a"], ["a", "b"], None, "1 gold items and 2 predicted"),
            (["a"], ["a"], [[0.5, 0.5]] * 2, "1 gold items and 2 rows"),
            ([["a", "b"]], [["a"]], None, "2 gold tags and 1 predicted"),
        ],
    )
    def test_unequal_lengths(self, gold, predicted, probabilities, words):
        with pytest.raises(ValueError, match=words):
            Score(["accuracy"], LABELS).add(gold, predicted, probabilities)

    def test_probabilities_now_and_then(self):
        score = Score(["accuracy"], LABELS)
        score.add(["a"], ["a"], [[1.0, 0.0, 0.0]])
        with pytest.raises(ValueError, match="with every batch or with none"):
            score.add(["a"], ["a"])
        late = Score(["accuracy"], LABELS)
        late.add(["a"], ["a"])
        with pytest.raises(ValueError, match="with every batch or with none"):
            late.add(["a"], ["a"], [[1.0, 0.0, 0.0]])

    def test_merging_other_tasks(self):
        with pytest.raises(ValueError, match="same metrics, labels and scheme"):
            Score(["accuracy"], LABELS).merge(Score(["accuracy"], LABELS[:2]))

    def test_labels_that_are_not_in_the_schema(self):
        score = Score(["accuracy"], ("positive", "negative"))
        with pytest.raises(DataError, match="not in the task's schema; found 'postive'; did you mean 'positive'"):
            score.add(["postive"], ["negative"])
        assert len(score) == 0

    def test_many_strange_labels_are_counted(self):
        with pytest.raises(DataError) as caught:
            Score(["f1_micro"], LABELS).add([{str(i) for i in range(25)}], [set()])
        assert len(caught.value.problems) == 21
        assert "and 5 more" in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "labels", "scheme", "words"),
        [
            ("pearson", LABELS, "none", "needs numbers"),
            ("span_f1", TAGS, "none", "needs tags"),
            ("roc_auc", TAGS, "BIO", "needs probabilities"),
        ],
    )
    def test_a_metric_that_cannot_fit_is_refused_before_anything_is_added(self, name, labels, scheme, words):
        with pytest.raises(RecipeError, match=words):
            Score(["accuracy", name], labels, scheme)

    @pytest.mark.parametrize(
        ("name", "gold", "words"),
        [
            ("accuracy", [1.5], "needs label sets"),
            ("roc_auc", ["a"], "needs probabilities"),
            ("mcc", [("a", "b")], "needs labels"),
            ("sentence_accuracy", ["a"], "needs sentences"),
            ("sentence_accuracy", [("a", "b")], "needs sentences"),
            ("mse", ["a"], "needs numbers"),
        ],
    )
    def test_a_metric_that_does_not_fit_the_items(self, name, gold, words):
        score = Score([name])
        score.add(gold, gold)
        with pytest.raises(RecipeError, match=words) as caught:
            score.compute()
        fitting = caught.value.problems[0].remedy
        assert fitting.startswith("metrics that fit: ")
        assert f"'{name}'" not in fitting

    def test_ids_that_have_probabilities_are_no_numbers(self):
        score = Score(["pearson"])
        score.add([0, 1], [1, 1])
        score.check()
        score = Score(["pearson"])
        score.add([0, 1], [1, 1], [[0.1, 0.9], [0.2, 0.8]])
        with pytest.raises(RecipeError, match="needs numbers"):
            score.check()

    def test_what_is_unfit_of_a_task_is_told_at_its_keys(self):
        found = unfit("t", "f1", ["nope", "accuracy", "mse"], ["a", "b"], "none")
        assert [p.place for p in found] == ["tasks.t.metrics.0", "tasks.t.metrics.2"]
        assert unfit("t", "mse", ["accuracy"], (), "none") == []
        [problem] = unfit("t", "mse", ["accuracy"], (), "none", ([0.5], [0.1]))
        assert (problem.place, problem.value) == ("tasks.t.metrics.0", "accuracy")

    def test_what_fits_fits_all_metrics_of_its_kind(self):
        assert {METRICS[name].needs for name in NUMBERS} == {"numbers"}
        assert {METRICS[name].needs for name in SPANS[:3]} == {"tags"}
