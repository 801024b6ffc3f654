"""The constant answer: the most frequent label, tag or labels, the mean number."""

from __future__ import annotations

import pytest
import torch

from manyheads.data.tensors import TensorDataset
from manyheads.task.base import Task, TaskType
from manyheads.task.classification import Classification
from manyheads.task.multilabel import Multilabel
from manyheads.task.regression import Regression
from manyheads.task.tagging import Tagging
from manyheads.train.baseline import SUFFIX, majority

NONE = -100


def data_of(targets: object, rows: int, split: str = "train") -> TensorDataset:
    return TensorDataset({"x": torch.zeros(rows, 1)}, {"t": targets}, "d", split)  # type: ignore[dict-item]


def scores(kind: TaskType, train: TensorDataset, test: TensorDataset, *metrics: str) -> dict[str, float]:
    records = majority(Task("t", ["x"], kind, metrics=metrics), train, [test], step=3)
    assert all((r.step, r.task, r.dataset, r.split) == (3, "t", "d", "test") for r in records)
    return {r.metric.removesuffix(SUFFIX): r.value for r in records}


def test_classes() -> None:
    kind = Classification(labels=["no", "yes", "maybe"])
    found = scores(kind, data_of([1, 1, 0, None, 1], 5), data_of([1, 0, 1, None, 2], 5, "test"), "f1_macro")
    assert found["accuracy"] == 0.5
    assert found["f1_macro"] == pytest.approx(2 * 0.5 / 1.5 / 3)


def test_a_label_that_training_rows_lack_is_a_class_all_the_same() -> None:
    kind = Classification(labels=["no", "yes", "maybe"])
    found = scores(kind, data_of([0, 0, 1], 3), data_of([2, 0, 0], 3, "test"), "f1_macro")
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_ids_without_names() -> None:
    assert scores(Classification(), data_of([3, 3, 1], 3), data_of([3, 1], 2, "test")) == {"accuracy": 0.5}


def test_more_rows_than_are_counted_at_once() -> None:
    train = data_of([0] * 700 + [1] * 600, 1300)
    assert scores(Classification(labels=["a", "b"]), train, data_of([0, 1, 1, 1], 4, "test")) == {"accuracy": 0.25}


def test_numbers() -> None:
    train, test = data_of([1.0, 2.0, None, 6.0], 4), data_of([3.0, 5.0], 2, "test")
    found = scores(Regression(), train, test, "mse")
    assert found["mse"] == pytest.approx(2.0)  # the mean is 3
    assert found["spearman"] != found["spearman"]  # a constant has no rank


def test_several_labels() -> None:
    train = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [torch.nan] * 3, [1.0, 1.0, 0.0]])
    test = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    found = scores(Multilabel(labels=["a", "b", "c"]), data_of(train, 4), data_of(test, 2, "test"))
    assert found["f1_micro"] == pytest.approx(2 * 3 / (4 + 4))  # a and b, always


@pytest.mark.parametrize(("held", "answer"), [(1, 0), (9, 1)])
def test_one_label_that_holds_or_not(held: int, answer: int) -> None:
    train = torch.tensor([[float(i < held)] for i in range(10)])
    test = torch.tensor([[0.0], [1.0], [1.0]])
    found = scores(Multilabel(labels=["toxic"]), data_of(train, 10), data_of(test, 3, "test"), "accuracy")
    assert found["accuracy"] == pytest.approx([1 / 3, 2 / 3][answer])
    assert found["f1_micro"] == pytest.approx([0.0, 0.8][answer])


def test_labels_that_are_missing_in_some_rows_count_in_the_others() -> None:
    train = torch.tensor([[1.0, torch.nan], [torch.nan, 0.0], [1.0, 0.0]])
    found = scores(Multilabel(labels=["a", "b"]), data_of(train, 3), data_of(torch.tensor([[1.0, 0.0]]), 1, "test"), "accuracy")
    assert found == {"f1_micro": 1.0, "accuracy": 1.0}


def test_tags() -> None:
    train = torch.tensor([[0, 1, NONE], [0, 0, 2]])
    test = torch.tensor([[0, 0, 1], [2, NONE, NONE]])
    kind = Tagging(labels=["O", "B-X", "I-X"], scheme="BIO")
    found = scores(kind, data_of(train, 2), data_of(test, 2, "test"), "accuracy")
    assert found == {"span_f1": 0.0, "accuracy": 0.5}


def test_every_data_set_is_scored() -> None:
    task = Task("t", ["x"], Classification(labels=["a", "b"]))
    records = majority(task, data_of([0, 0, 1], 3), [data_of([0], 1, "dev"), data_of([1], 1, "test")])
    assert [(r.split, r.value) for r in records] == [("dev", 1.0), ("test", 0.0)]


def test_no_label_to_learn_from() -> None:
    assert scores(Classification(labels=["a", "b"]), data_of([None, None], 2), data_of([0, 1], 2, "test")) == {"accuracy": 0.5}
