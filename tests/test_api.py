"""Training without a recipe, and recipes that know what was registered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import manyheads
from manyheads import api
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.training import BatchSpec, TrainingSpec
from manyheads.data.read import READERS
from manyheads.data.readers.contract import FileFact, Rows, Source
from manyheads.data.tensors import TensorDataset
from manyheads.errors import DataError, ManyheadsError, RecipeError
from manyheads.model import Model
from manyheads.nn.build import MODULES
from manyheads.ports import Port, Ports
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.task.base import TASKS, Task
from manyheads.task.classification import Classification
from manyheads.task.regression import Regression
from manyheads.train.events import Finished
from manyheads.types import Place, Row, States

CPU = {"device": "cpu"}


def circle() -> tuple[Model, list[TensorDataset]]:
    torch.manual_seed(0)
    x = torch.rand(400, 2) * 2 - 1
    inside = (x.norm(dim=1) < 0.7).long()
    datasets = [
        TensorDataset({"x": x[part]}, {"circle": inside[part]}, "plane", split)
        for part, split in ((slice(0, 300), "train"), (slice(300, 400), "test"))
    ]
    modules = {"trunk": nn.Sequential(nn.Linear(2, 16), nn.ReLU()), "head": nn.Linear(16, 2)}
    return Model(modules, [Task("circle", ["trunk", "head"], Classification(labels=["out", "in"]))]), datasets


def test_fit_trains_in_place_and_scores_every_split() -> None:
    model, datasets = circle()
    found = api.fit(model, datasets, {"epochs": 40, "batch": {"rows": 20}, "optimizer": {"lr": 0.02}, **CPU})
    assert found.keys() == {f"circle/plane/{s}/{m}" for s in ("train", "test") for m in ("loss", "accuracy")}
    assert found["circle/plane/test/accuracy"] > 0.9


def test_the_seed_decides() -> None:
    settings = {"epochs": 1, "batch": {"rows": 20}, **CPU}
    first, again, other = (api.fit(*circle(), settings, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("training", "mixture", "balance", "place", "close"),
    [
        ({"epoch": 3}, None, None, "training.epoch", "epochs"),
        ({"optimizer": {"lr": -1.0}}, None, None, "training.optimizer.lr", None),
        ({"optimizer": {"lr": -1.0}, "batch": BatchSpec(rows=3)}, None, None, "training.optimizer.lr", None),
        ({"epochs": "three"}, None, None, "training.epochs", None),
        (None, {"sampling": "unifrom"}, None, "mixture.sampling", "uniform"),
        (None, None, {"wieghting": {"type": "dwa"}}, "balance.wieghting", "weighting"),
        (None, None, {"weighting": {"type": "dwa", "temprature": 2.0}}, "balance.weighting.temprature", "temperature"),
        (None, None, {"weighting": {"type": "dwa", "temperature": 0}}, "balance.weighting.temperature", None),
    ],
)
def test_wrong_settings_are_told_at_their_key(training: Any, mixture: Any, balance: Any, place: str, close: str | None) -> None:
    with pytest.raises(RecipeError) as caught:
        api.fit(*circle(), training, mixture, balance)
    assert (caught.value.problems[0].place, caught.value.problems[0].nearest) == (place, close)


def test_nothing_to_train_on() -> None:
    model, datasets = circle()
    with pytest.raises(RecipeError, match="plane/test with circle"):
        api.fit(model, datasets[1:], CPU)


def test_splits_go_by_the_names_that_data_sets_say() -> None:
    """Only `train` is trained on; any other name is scored under it; without `train` all that was found is named."""
    model, [train, night] = circle()
    night.split = "night"
    found = api.fit(model, [train, night], {"epochs": 1, **CPU})
    assert {key.split("/")[2] for key in found} == {"train", "night"}
    alone, _ = circle()
    assert api.fit(alone, [train], {"epochs": 1, **CPU}).items() <= found.items()
    train.split = "trian"
    rule = r"no data set has the split 'train' .* found 'plane/trian with circle', 'plane/night with circle'"
    with pytest.raises(RecipeError, match=rule):
        api.fit(model, [train, night], CPU)


def plain(task: str, targets: Any, name: str = "data", split: str = "train") -> TensorDataset:
    return TensorDataset({"x": torch.rand(len(targets), 2)}, {task: targets}, name, split)


def two_heads(**more: Any) -> Model:
    tasks = [Task(n, [f"{n}_head"], Classification(), **more) for n in "ab"]
    return Model({f"{n}_head": nn.Linear(2, 2) for n in "ab"}, tasks)


def refused(model: Model, *datasets: TensorDataset, error: type[ManyheadsError] = RecipeError, **training: Any) -> list[str]:
    """What `fit` says, once it is sure that no weight has moved."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(error) as caught:
        api.fit(model, datasets, {"epochs": 1, **CPU, **training})
    assert type(caught.value) is error
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("tasks", ["ab", "aa"])
def test_two_data_sets_that_are_called_alike(tasks: str) -> None:
    first, second = (plain(task, [0, 1] * 10) for task in tasks)
    [told] = refused(two_heads(), first, second)
    assert f"'data/train with {tasks[0]}', 'data/train with {tasks[1]}' are called alike" in told
    tests = [plain("a", [0, 1], "t", "test"), plain("a", [1, 0], "t", "test")]
    assert "'t/test with a', 't/test with a'" in refused(two_heads(), first, *tests)[0]


def test_data_sets_of_no_task_may_be_called_as_they_like() -> None:
    found = api.fit(two_heads(), [plain("a", [0, 1] * 10), plain("else", [0, 1])], {"epochs": 1, **CPU})
    assert found.keys() == {"a/data/train/loss", "a/data/train/accuracy"}


def test_what_fit_does_not_do_is_no_setting_of_its() -> None:
    data = plain("a", [0, 1] * 10)
    settings = {"patience": 1, "select": "zzz", "evaluate_every": 1, "checkpoint": {"keep": 3}}
    found = refused(two_heads(), data, **settings)
    assert {text.partition(":")[0] for text in found} == {f"training.{key}" for key in settings}
    assert all("evaluates and saves nothing on the way" in text for text in found)
    api.fit(two_heads(), [data], TrainingSpec(epochs=1, select="average", **CPU))  # type: ignore[arg-type]


def test_the_rules_of_all_sections_are_told_at_once() -> None:
    data = [plain("a", [0, 1] * 10, "one"), plain("b", [0, 1] * 10, "two")]
    wrong = {"sampling": "pike", "rate": 0.5, "over": 3, "tasks_per_step": 2}
    with pytest.raises(RecipeError) as caught:
        api.fit(two_heads(), data, {"epochs": 1, "accumulate": 2, "schedule": {"name": "step"}, **CPU}, wrong)
    places = ["training.schedule.name", "mixture.over", "mixture.tasks_per_step", "training.accumulate"]
    assert [problem.place for problem in caught.value.problems] == places


def test_a_sampling_that_reckons_with_epochs_takes_those_of_fit() -> None:
    data = [plain("a", [0, 1] * 10, "one"), plain("b", [0, 1] * 10, "two")]
    found = api.fit(two_heads(), data, {"epochs": 2, **CPU}, {"sampling": "annealed", "temperature": 5.0})
    assert {"a/one/train/loss", "b/two/train/loss"} <= found.keys()


def test_patience_of_a_task_is_refused_too() -> None:
    [told] = refused(two_heads(patience=2), plain("a", [0, 1] * 10), select="zzz")[1:2]
    assert told.startswith("tasks.a.patience: `fit` evaluates and saves nothing on the way")


def test_losses_are_balanced_as_in_a_recipe() -> None:
    """Weights learned by uncertainty and gradients joined by UPGrad; a section and plain values say the same."""
    settings = {"steps": 6, "batch": {"rows": 10}, "optimizer": {"lr": 0.1}, **CPU}
    balance = {"weighting": {"type": "uncertainty", "lr": 0.5}, "aggregation": {"type": "upgrad"}}

    def trained(given: Any) -> dict[str, float]:
        torch.manual_seed(0)
        modules = {"trunk": nn.Linear(2, 4), "a_head": nn.Linear(4, 2), "b_head": nn.Linear(4, 2)}
        model = Model(modules, [Task(n, ["trunk", f"{n}_head"], Classification()) for n in "ab"])
        labels = {"a": [0, 1] * 10, "b": [1, 1, 0, 1] * 5}
        return api.fit(model, [TensorDataset({"x": torch.rand(20, 2)}, labels, "d")], settings, balance=given)

    assert trained(balance) == trained(BalanceSpec.model_validate(balance))
    assert trained(balance) != trained(None)


def test_an_aggregation_of_one_task_is_refused_before_training() -> None:
    model, datasets = circle()
    with pytest.raises(RecipeError, match="an aggregation needs two tasks") as caught:
        api.fit(model, datasets, CPU, balance={"aggregation": {"type": "upgrad"}})
    assert caught.value.problems[0].place == "balance.aggregation.type"


def test_every_key_that_fit_takes_is_one_of_the_section() -> None:
    assert set(api.FITTED) < set(TrainingSpec.model_fields)


def test_schedules_that_cannot_be_followed() -> None:
    data = plain("a", [0, 1] * 10)
    assert "needs the key 'every'" in refused(two_heads(), data, schedule={"name": "step"})[0]
    [told] = refused(two_heads(), data, schedule={"warmup": 1e9})
    assert told.startswith("training.schedule.warmup: the warm-up is longer than the run")


@pytest.mark.parametrize(("metric", "words"), [("nope", "no metric is called 'nope'"), ("pearson", "needs numbers")])
def test_metrics_are_refused_before_training(metric: str, words: str) -> None:
    [told] = refused(two_heads(metrics=["f1_macro", metric]), plain("a", [0, 1] * 10))
    assert told.startswith("tasks.a.metrics.1: ")
    assert words in told


def test_metrics_of_numbers() -> None:
    model = Model({"h": nn.Linear(2, 1)}, [Task("n", ["h"], Regression(), metrics=["accuracy"])])
    assert "needs label sets" in refused(model, plain("n", [0.5, 1.5]))[0]


def test_ids_that_the_head_does_not_have() -> None:
    targets = [0, 1, 5, None, -7]
    test = plain("a", [2], "t", "test")
    found = refused(two_heads(), plain("a", targets), test, error=DataError)
    rule = "task a: the head has 2 classes, so an id is from 0 to 1"
    assert found == [
        f"data/train row 2: {rule}; found '5'",
        f"data/train row 4: {rule}; found '-7'",
        f"t/test row 0: {rule}; found '2'",
    ]
    assert refused(two_heads(), plain("a", [9] * 50), error=DataError)[20:] == ["and 30 more such rows"]


def test_labels_that_are_all_missing() -> None:
    assert refused(two_heads(), plain("a", [None] * 4), error=DataError) == ["data/train: task a: no row has a label"]


def test_tasks_that_all_have_no_weight() -> None:
    data = plain("a", [0, 1] * 10)
    assert "all tasks have the weight 0" in refused(two_heads(weight=0.0), data)[0]


def test_public_names_are_there() -> None:
    for name in manyheads.__all__:
        assert getattr(manyheads, name).__name__ == name
    assert set(manyheads.__all__) <= set(dir(manyheads))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = manyheads.nothing


# plug-ins ---------------------------------------------------------------------------------------------------------------


class Scale(nn.Module):
    """States times a learned number."""

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.ports = Ports((Port("states"),), Port("states"), same_width=True)
        self.factor = nn.Parameter(torch.tensor([start]))

    def forward(self, states: States) -> States:
        return States(states.states * self.factor, states.mask, states.words)


class Cautious(Classification):
    """Classification whose loss is scaled."""

    target = "class"

    def __init__(self, labels: list[str], scale: float) -> None:
        if scale <= 0:
            raise ValueError("scale must be positive")
        super().__init__(labels)
        self.scale = scale

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        return super().loss(scores, target) * self.scale


def read_shouting(source: Source, spec: object) -> Rows:
    lines = source.path.read_text().splitlines()
    rows = [Row({"text": line.upper(), "label": str(len(line) % 2)}, Place(source.name, i)) for i, line in enumerate(lines, 1)]
    return Rows(rows, (), (FileFact(source.name, "0" * 64, 1),))


@pytest.fixture
def own() -> Iterator[None]:
    """A module, a task and a file format that are registered for one test."""
    kept = [(r, dict(r._known)) for r in (MODULES, TASKS, READERS)]
    MODULES.register("scale")(Scale)
    TASKS.register("cautious")(Cautious)
    READERS.register("shouting")(read_shouting)
    yield
    for registry, known in kept:
        registry._known.clear()
        registry._known.update(known)


RECIPE = """\
output: run
modules:
  encoder: {{type: pretrained, name: {encoder}, max_length: 32}}
  louder: {{type: scale, options: {{start: 2.0}}}}
tasks:
  mood:
    type: cautious
    path: [encoder, louder]
    data: {{format: shouting, train: lines.txt, split: {{dev: 0.2}}}}
    options: {{scale: {scale}}}
training: {{epochs: 1, batch: {{rows: 4}}, device: cpu}}
"""


@pytest.mark.usefixtures("own")
def test_a_recipe_of_own_components_trains_and_answers(place: Path, tiny: Path) -> None:
    (place / "lines.txt").write_text("\n".join("good" + "d" * (i % 5) for i in range(20)))
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny, scale=0.5))
    *_, finished = run(api.load_recipe("recipe.yaml"))
    assert isinstance(finished, Finished)
    predictor = Predictor.load(finished.artefact)
    assert isinstance(predictor.model.pool["louder"], Scale)
    assert predictor.model.pool["louder"].factor.item() != 2.0
    assert predictor.model.tasks["mood"].type.scale == 0.5  # type: ignore[attr-defined]
    assert predictor(["good"])[0].predictions["mood"].value in ("0", "1")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("options: {scale: -1.0}", "does not take these options: scale must be positive"),
        ("options: {scale: wide}", "does not take these options"),
        ("options: {size: 1.0}", "unknown option"),
        ("weight: 1.0", "the option 'scale' is needed"),
    ],
)
def test_options_that_a_plug_in_refuses(place: Path, tiny: Path, text: str, rule: str) -> None:
    (place / "lines.txt").write_text("\n".join("good" + "d" * (i % 5) for i in range(20)))
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny, scale=1.0).replace("options: {scale: 1.0}", text))
    with pytest.raises(RecipeError, match=rule) as caught:
        list(run(api.load_recipe("recipe.yaml")))
    line = 6 if text == "weight: 1.0" else 10  # the task's, where it has no options
    assert caught.value.problems[0].place.startswith(f"recipe.yaml:{line}:")


def test_without_the_plug_in_its_types_are_unknown(place: Path, tiny: Path) -> None:
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny, scale=1.0))
    with pytest.raises(RecipeError) as caught:
        api.load_recipe("recipe.yaml")
    assert {p.value for p in caught.value.problems} >= {"scale", "cautious"}


@pytest.mark.usefixtures("own")
def test_plain_values_know_the_plug_ins_too(tiny: Path) -> None:
    modules = {"encoder": {"type": "pretrained", "name": str(tiny)}, "louder": {"type": "scale"}}
    task = {"type": "cautious", "path": ["encoder", "louder"], "data": {"train": "x.csv"}}
    assert api.recipe_from({"modules": modules, "tasks": {"mood": task}}).recipe.modules["louder"].type == "scale"


def test_unknown_metrics_are_told_with_the_recipes_other_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    task = {"type": "classification", "path": ["encoder"], "data": {"train": "x.csv"}, "metric": "acuracy"}
    data = {
        "modules": {"encoder": {"type": "pretrained", "name": "x"}},
        "tasks": {"a": {**task, "metrics": ["f1_macro", "far"]}},
    }
    with pytest.raises(RecipeError) as caught:
        api.recipe_from({**data, "training": {"clip": -1}})
    found = {problem.place: problem.nearest for problem in caught.value.problems}
    assert found == {"training.clip": None, "tasks.a.metric": "accuracy", "tasks.a.metrics.1": None}
    points = EntryPoints([EntryPoint("far", "not_installed.module:far", "manyheads.metric")])
    monkeypatch.setattr(api, "entry_points", lambda: points)
    data["tasks"]["a"]["metric"] = "accuracy"
    assert api.recipe_from(data).recipe.tasks["a"].metrics == ["f1_macro", "far"]


@pytest.mark.usefixtures("own")
def test_our_own_types_are_no_plug_ins() -> None:
    assert api.plugins() == {"module": {"scale"}, "task": {"cautious"}, "reader": {"shouting"}}


def test_installed_packages_are_known_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("far", "not_installed.module:Thing", "manyheads.module")])
    monkeypatch.setattr(api, "entry_points", lambda: points)
    assert api.plugins() == {"module": {"far"}, "task": set(), "reader": set()}


def test_a_loss_that_overflows_ends_with_its_name() -> None:
    model, datasets = circle()
    with torch.no_grad():
        model.pool["trunk"][0].weight.fill_(math.inf)  # type: ignore[index]
    with pytest.raises(manyheads.errors.NumericsError, match="'circle'"):
        api.fit(model, datasets, CPU)
