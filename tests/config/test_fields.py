from __future__ import annotations

import pytest

from manyheads.config.fields import all_task_keys, builtin, homes, keys, kind, section_at, sections, task_keys
from manyheads.config.recipe import Recipe
from manyheads.config.spec.data import DataSpec, TaskData
from manyheads.config.spec.modules import OwnModule, PoolModule
from manyheads.config.spec.tasks import ClassificationTask, OwnTask, StepSpec, TaggingTask
from manyheads.config.spec.training import OptimizerSpec, TrainingSpec

DATA = {
    "modules": {"p": {"type": "pool"}, "o": {"type": "mine"}},
    "data": {"d": {}},
    "tasks": {"t": {"type": "tagging", "path": ["p", {"module": "p"}]}, "bad": {"type": ["x"]}, "none": 3},
}


def test_keys_are_spelled_as_in_a_file() -> None:
    assert "from" in keys(TaskData)
    assert "from_" not in keys(TaskData)


def test_every_section_is_listed_with_its_place() -> None:
    places = {place for place, _ in sections()}
    assert {(), ("modules", "<name>"), ("tasks", "<name>", "path", "<n>"), ("training", "optimizer")} <= places
    assert (("data", "<name>"), DataSpec) in sections()


@pytest.mark.parametrize(
    ("path", "section"),
    [
        ((), Recipe),
        (("modules", "p"), PoolModule),
        (("modules", "o"), OwnModule),
        (("data", "d"), DataSpec),
        (("tasks", "t"), TaggingTask),
        (("tasks", "bad"), OwnTask),
        (("tasks", "none"), OwnTask),
        (("tasks", "absent"), OwnTask),
        (("tasks", "t", "data"), TaskData),
        (("tasks", "t", "path", 1), StepSpec),
        (("tasks", "t", "path", 7), StepSpec),
        (("training",), TrainingSpec),
        (("training", "optimizer"), OptimizerSpec),
        (("tasks",), None),
        (("modules", "p", "how"), None),
    ],
)
def test_the_section_at_a_path(path: tuple[str | int, ...], section: type | None) -> None:
    assert section_at(path, DATA) is section


@pytest.mark.parametrize(
    ("key", "path", "found"),
    [
        ("head_lr", (), ["training.optimizer.head_lr"]),
        ("tokens", ("training",), ["training.batch.tokens", "data.<name>.batch.tokens", "tasks.<name>.data.batch.tokens"]),
        ("warmup", ("training", "optimizer"), ["training.schedule.warmup"]),
        ("train", ("tasks", "a"), ["tasks.a.data.train", "data.<name>.train"]),
        ("scheme", ("tasks", "a"), ["tasks.a.scheme (type tagging)"]),
        (
            "max_length",
            ("tasks", "a"),
            [
                "tasks.a.data.max_length",
                "modules.<name>.max_length (type pretrained or embedding or characters or elmo or transformer)",
                "data.<name>.max_length",
            ],
        ),
        ("weight", ("training",), ["tasks.<name>.weight", "tasks.<name>.data.weight", "tasks.<name>.teacher.weight"]),
        ("labels", ("data", "d"), ["tasks.<name>.labels (type classification or binary or multilabel or tagging)"]),
        ("nothing", (), []),
    ],
)
def test_where_a_key_belongs(key: str, path: tuple[str, ...], found: list[str]) -> None:
    assert homes(key, path) == found


def test_the_nearest_home_comes_first() -> None:
    assert homes("lr", ("training",))[0] == "training.optimizer.lr"
    assert homes("lr", ("tasks", "a", "data"))[0] == "tasks.a.lr"


def test_types_that_are_built_in() -> None:
    assert list(builtin("modules")) == [
        *("pretrained", "adapter", "ia3", "pool", "layer", "scalar_mix", "feedforward"),
        *("embedding", "characters", "elmo", "concat", "recurrent", "convolution", "transformer"),
        *("cross_stitch", "layer_stitch"),
    ]
    assert list(builtin("tasks")) == [
        "classification",
        "binary",
        "multilabel",
        "regression",
        "tagging",
        "multiple_choice",
        "ranking",
        "matching",
        "question_answering",
        "language_modelling",
        "masked_language_modelling",
    ]
    assert kind(ClassificationTask) == "classification"
    assert kind(OwnTask) is None
    assert kind(DataSpec) is None


def test_the_keys_of_tasks() -> None:
    assert "scheme" in task_keys("tagging")
    assert "scheme" not in task_keys("classification")
    assert "options" in task_keys("mine")
    assert "dropout" in task_keys(None)
    assert "options" not in task_keys(["x"])
    assert {"scheme", "separator", "low", "options", "dropout"} <= set(all_task_keys())
