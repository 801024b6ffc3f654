"""Evaluation sees every row once and counts every labelled item the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.config.spec.training import TrainingSpec
from manyheads.data.tensors import TensorDataset
from manyheads.errors import RecipeError
from manyheads.model import Model
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.task.regression import Regression
from manyheads.train.engine import Engine
from manyheads.train.evaluate import as_dict, by_length, evaluate

NAMES = ("no", "yes")


class Echo(nn.Module):
    """Scores are the input itself, so that a test decides every prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.noise = nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        result: Tensor = self.noise(x)
        return result


def model_of(**kwargs: Any) -> Model:
    tasks = [
        Task("a", ["echo"], Classification(labels=NAMES), **kwargs),
        Task("b", ["echo", "flip"], Classification(labels=NAMES)),
    ]
    flip = nn.Linear(2, 2, bias=False)
    flip.weight.data = -torch.eye(2)
    return Model({"echo": Echo(), "flip": flip}, tasks)


def data_of(labels: list[int | None], split: str = "dev", task: str = "a") -> TensorDataset:
    """Scores say `yes` in every row."""
    return TensorDataset({"x": torch.tensor([[0.0, 1.0]] * len(labels))}, {task: labels}, "reviews", split)


def test_keys_name_task_data_set_split_and_metric() -> None:
    found = as_dict(evaluate(model_of(), [data_of([1, 1, 0, 1])]))
    assert found.keys() == {"a/reviews/dev/loss", "a/reviews/dev/accuracy"}
    assert found["a/reviews/dev/accuracy"] == 0.75


def test_the_loss_is_the_mean_over_all_items() -> None:
    labels: list[int | None] = [1, 0, None, 1, 0, 0]
    [loss, _] = evaluate(model_of(), [data_of(labels)], step=4)
    known = torch.tensor([v for v in labels if v is not None])
    wanted = F.cross_entropy(torch.tensor([[0.0, 1.0]] * len(known)), known)
    assert loss.value == pytest.approx(wanted.item(), abs=1e-6)
    assert loss.step == 4


def test_every_row_is_read_once_whatever_its_length() -> None:
    torch.manual_seed(0)
    texts = [torch.full((int(n),), i) for i, n in enumerate(torch.randint(1, 4000, (40,)))]
    data = TensorDataset({"x": texts}, {"a": [0] * 40}, "texts", "test")

    class Count(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows: list[int] = []

        def forward(self, x: Tensor) -> Tensor:
            assert x.numel() <= 8192 or len(x) == 1
            self.rows += x[:, 0].tolist()
            return torch.zeros(len(x), 2)

    count = Count()
    evaluate(Model({"count": count}, [Task("a", ["count"], Classification(labels=NAMES))]), [data])
    assert sorted(count.rows) == list(range(40))


def test_short_rows_are_scored_many_at_a_time() -> None:
    calls: list[int] = []

    class Count(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x))
            return torch.zeros(len(x), 2)

    data = TensorDataset({"x": torch.zeros(1000, 8)}, {"a": [0] * 1000}, "texts", "dev")
    evaluate(Model({"count": Count()}, [Task("a", ["count"], Classification(labels=NAMES))]), [data])
    assert sum(calls) == 1000
    assert len(calls) <= 10


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_the_parts_of_all_processes_are_the_whole(world: int) -> None:
    lengths = np.array([5, 1, 9000, 5, 2])
    rows = []
    for rank in range(world):
        for batch in by_length(lengths[rank::world]):
            rows += (batch * world + rank).tolist()
    assert sorted(rows) == [0, 1, 2, 3, 4]


def test_dropout_is_off_and_the_mode_comes_back() -> None:
    model = model_of()
    model.train()
    first = evaluate(model, [data_of([1, 0, 1])])
    assert model.training
    assert model.pool["echo"].noise.training
    assert first == evaluate(model, [data_of([1, 0, 1])])
    model.eval()
    evaluate(model, [data_of([1])])
    assert not model.training


def test_the_mode_comes_back_after_an_error() -> None:
    model = model_of(metric="no such metric")
    model.train()
    with pytest.raises(RecipeError, match="no such metric"):
        evaluate(model, [data_of([1])])
    assert model.training


def test_no_gradient_is_kept() -> None:
    model = model_of()
    evaluate(model, [data_of([1, 0], task="b")])
    assert all(p.grad is None for p in model.parameters())


def test_label_sets_can_be_scored_with_another_head() -> None:
    data = data_of([1, 1, 0, 0], task="polarity")
    assert evaluate(model_of(), [data]) == []  # nobody's label set
    by_a = as_dict(evaluate(model_of(), [data], remap={"polarity": "a"}))
    by_b = as_dict(evaluate(model_of(), [data_of([1, 1, 1, 0])], remap={"a": "b"}))
    assert by_a["polarity/reviews/dev/accuracy"] == 0.5
    assert by_b["a/reviews/dev/accuracy"] == 0.25


def test_a_label_set_can_be_left_out() -> None:
    assert evaluate(model_of(), [data_of([1, 1])], remap={"a": None}) == []


def test_a_remap_to_nobody_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'a'"):
        evaluate(model_of(), [data_of([1])], remap={"a": "A"})


def test_rows_without_a_label_have_no_score() -> None:
    found = as_dict(evaluate(model_of(), [data_of([1, None, None, 0])]))
    assert found["a/reviews/dev/accuracy"] == 0.5
    assert evaluate(model_of(), [data_of([None, None])]) == []


def test_one_pass_answers_all_label_sets_of_a_data_set() -> None:
    model = model_of()
    data = TensorDataset({"x": torch.tensor([[0.0, 1.0]] * 3)}, {"a": [1, 1, 1], "b": [1, 1, None]}, "both", "test")
    found = as_dict(evaluate(model, [data]))
    assert found["a/both/test/accuracy"] == 1.0
    assert found["b/both/test/accuracy"] == 0.0
    assert len(model.pool["echo"].seen) == 1


def test_further_metrics_are_reported() -> None:
    found = as_dict(evaluate(model_of(metrics=["f1_macro", "accuracy"]), [data_of([1, 1, 0, 1])]))
    assert [key.split("/")[-1] for key in found] == ["loss", "accuracy", "f1_macro"]


def test_bf16_computes_the_loss_in_full_precision() -> None:
    torch.manual_seed(0)
    head = nn.Linear(2, 1)
    model = Model({"head": head}, [Task("r", ["head"], Regression())])
    x, y = torch.randn(500, 2), torch.rand(500)
    data = TensorDataset({"x": x}, {"r": y}, "numbers", "dev")
    engine = Engine(TrainingSpec(precision="bf16", device="cpu"))
    found = as_dict(evaluate(model, [data], engine=engine))["r/numbers/dev/loss"]
    with torch.autocast("cpu", torch.bfloat16):
        scores = head(x)
    assert found == pytest.approx(F.mse_loss(scores.float().squeeze(1), y).item(), rel=1e-4)
