"""The registry, metrics of the user's own, and which value is better."""

from __future__ import annotations

import math

import pytest

from manyheads.errors import RecipeError
from manyheads.metrics import METRICS, Metric, Score, Undefined, better, metric

BUILT_IN = {
    *("accuracy", "precision", "recall", "f1", "f1_micro", "f1_macro", "fbeta", "mcc", "coverage", "roc_auc"),
    *("mse", "rmse", "mae", "pearson", "spearman", "span_f1", "span_precision", "span_recall"),
    *("sentence_accuracy", "group_accuracy"),
}


@pytest.fixture
def own(monkeypatch):
    """Metrics registered in a test leave with it."""
    monkeypatch.setattr(METRICS, "_known", dict(METRICS._known))


def test_every_metric_is_there_under_its_own_name():
    assert set(METRICS) >= BUILT_IN
    assert all(METRICS[name].name == name for name in BUILT_IN)
    assert all(METRICS[name].function.__doc__ for name in BUILT_IN - {"f1", "fbeta"})


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(RecipeError, match=r"no metric is called 'acuracy'.* did you mean 'accuracy'"):
        Score(["acuracy"])


@pytest.mark.usefixtures("own")
class TestOwn:
    def test_a_function_of_gold_predicted_labels(self):
        @metric("ends_right", needs="labels", higher=True)
        def ends_right(gold, predicted, labels):
            return sum(g[-1] == p[-1] for g, p in zip(gold, predicted, strict=True)) / len(labels)

        score = Score(["ends_right", "accuracy"], ["ax", "bx", "cy"])
        score.add(["ax", "bx"], ["bx", "cy"])
        assert score.compute() == {"ends_right": pytest.approx(1 / 3), "accuracy": 0}

    def test_a_dict_gives_several_keys(self):
        @metric("recalls")
        def recalls(gold, predicted, labels):
            pairs = list(zip(gold, predicted, strict=True))
            return {f"recall/{n}": sum(g == p == n for g, p in pairs) / max(gold.count(n), 1) for n in labels}

        score = Score(["accuracy", "recalls"], ["a", "b"])
        score.add(["a", "a", "b"], ["a", "b", "b"])
        assert score.compute() == {"accuracy": pytest.approx(2 / 3), "recall/a": 0.5, "recall/b": 1.0}

    def test_two_metrics_may_not_give_one_key(self):
        METRICS.register("again")(Metric("again", True, "labels", lambda gold, predicted, labels: {"accuracy": 1.0}))
        score = Score(["accuracy", "again"], ["a"])
        score.add(["a"], ["a"])
        with pytest.raises(RecipeError, match="two metrics give a value of the same name; found 'accuracy'"):
            score.compute()

    def test_values_that_are_not_numbers_are_undefined(self):
        @metric("odd")
        def odd(gold, predicted, labels):
            return {"odd/inf": math.inf, "odd/one": 1}

        score = Score(["odd"], ["a"])
        score.add(["a"], ["a"])
        found = score.compute()
        assert math.isnan(found["odd/inf"])
        assert found["odd/one"] == 1
        assert list(score.undefined) == ["odd/inf"]

    def test_it_may_say_why_it_is_undefined(self):
        @metric("never")
        def never(gold, predicted, labels):
            raise Undefined("it never has a value")

        score = Score(["never"], ["a"])
        score.add(["a"], ["a"])
        assert math.isnan(score.compute()["never"])
        assert score.undefined == {"never": "it never has a value"}

    def test_a_name_that_is_taken_is_an_error(self):
        with pytest.raises(RecipeError, match="two components want to be the metric 'accuracy'"):
            metric("accuracy")(lambda gold, predicted, labels: 0.0)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (0.6, 0.5, True),
        (0.5, 0.5, False),
        (0.4, 0.5, False),
        (0.4, None, True),
        (0.4, math.nan, True),
        (math.nan, 0.4, False),
        (math.nan, None, False),
        (math.nan, math.nan, False),
    ],
)
def test_better(new, old, expected):
    assert better(METRICS["accuracy"], new, old) is expected


def test_better_is_lower_for_errors():
    assert better(METRICS["mse"], 0.4, 0.5)
    assert not better(METRICS["mse"], 0.6, 0.5)
    assert not better(METRICS["mse"], math.nan, 0.5)
