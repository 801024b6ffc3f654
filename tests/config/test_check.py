from __future__ import annotations

from collections.abc import Callable

import pytest

from manyheads.config.load import Loaded, recipe_from
from manyheads.errors import RecipeError

Load = Callable[..., Loaded]
Refused = Callable[..., str]


def recipe(**changes: object) -> dict:
    """A recipe with two modules, a shared data set and two tasks; changes are dotted keys with __ for the dot."""
    found: dict = {
        "modules": {"encoder": {"type": "pretrained", "name": "minilm"}, "top": {"type": "feedforward", "width": 8}},
        "data": {"shared": {"train": "shared.csv", "text": "text"}},
        "tasks": {
            "mood": {"type": "classification", "path": ["encoder", "top"], "data": {"from": "shared", "label": "mood"}},
            "size": {"type": "regression", "path": ["encoder"], "data": {"train": "size.csv"}},
        },
        "mixture": {},
        "training": {},
    }
    for key, value in changes.items():
        *parts, last = key.split("__")
        node = found
        for part in parts:
            node = node.setdefault(part, {})
        node[last] = value
    return found


@pytest.mark.parametrize(("key", "value"), [("focal", 2.0), ("class_weights", "balanced"), ("label_smoothing", 0.1)])
def test_losses_of_single_words_are_none_of_a_path_of_tags(key: str, value: object) -> None:
    task = {"type": "tagging", "path": ["encoder"], "data": {"train": "names.conll"}, key: value}
    [told] = problems(tasks__names={**task, "decoder": "crf"})
    assert told.startswith(f"tasks.names.{key}: `{key}` is for the losses of single words, and `decoder: crf` learns the")
    recipe_from(recipe(tasks__names=task))


def test_some_task_must_count() -> None:
    assert problems(tasks__mood__weight=0, tasks__size__weight=0.0) == [
        "tasks.mood.weight: all tasks have the weight 0, so nothing would be learned; found '0'"
    ]
    recipe_from(recipe(tasks__mood__weight=0))
    assert len(problems(tasks__mood__weight=0, tasks__size__weight=-1)) == 1


def problems(plugins: dict[str, set[str]] | None = None, **changes: object) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe_from(recipe(**changes), plugins)
    return [str(problem) for problem in caught.value.problems]


def test_it_holds() -> None:
    assert recipe_from(recipe()).warnings == ()


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        # paths
        (
            {"tasks__mood__path": ["encodr", "top"]},
            "tasks.mood.path.0",
            "no module has this name; there are 'encoder', 'top'; found 'encodr'; did you mean 'encoder'?",
        ),
        ({"tasks__mood__path": [{"module": "encodr"}]}, "tasks.mood.path.0.module", "did you mean 'encoder'?"),
        (
            {"tasks__mood__path": ["encoder", {"module": "top", "inputs": ["encodr"]}]},
            "tasks.mood.path.1.inputs.0",
            "there are 'encoder', 'batch.text'; found 'encodr'",
        ),
        (
            {"tasks__mood__path": [{"module": "encoder", "inputs": ["top"]}, "top"]},
            "tasks.mood.path.0.inputs.0",
            "no earlier step",
        ),
        (
            {"tasks__mood__path": [{"module": "encoder", "inputs": ["batch.txt"]}]},
            "tasks.mood.path.0.inputs.0",
            "did you mean 'batch.text'?",
        ),
        (
            {"tasks__mood__path": [{"module": "encoder", "name": "top"}]},
            "tasks.mood.path.0.name",
            "cannot have the name of another module",
        ),
        (
            {"tasks__mood__path": ["encoder", "top", "top"]},
            "tasks.mood.path.2",
            "two steps of one path have the same name; found 'top'",
        ),
        # data
        (
            {"tasks__mood__data": {"from": "shard"}},
            "tasks.mood.data.from",
            "no data set has this name; there are 'shared'; found 'shard'; did you mean 'shared'?",
        ),
        (
            {"tasks__mood__data": {"from": "shared", "text": "x"}},
            "tasks.mood.data.text",
            "beside `from` only `label`, `weight`, `group` and `missing` may stand; found 'text'\n    set it in `data.shared`",
        ),
        ({"tasks__mood__data": {"from": "shared", "format": "auto"}}, "tasks.mood.data.format", "beside `from`"),
        (
            {"tasks__size__data": {}},
            "tasks.size.data",
            "`tasks.size.data` has no rows to train on\n    give `train`, or `from`",
        ),
        ({"tasks__size__data": {"train": []}}, "tasks.size.data", "has no rows to train on"),
        ({"data__shared": {"dev": "x.csv"}}, "data.shared", "`data.shared` has no rows to train on\n    give `train`"),
        ({"data__size": {"train": "x"}}, "tasks.size", "a data set has the name of a task with data of its own"),
        ({"data__shared__format": "cvs"}, "data.shared.format", "found 'cvs'; did you mean 'csv'?"),
        ({"tasks__size__data": {"format": "hub"}}, "tasks.size.data.format", "needs the key 'hub'"),
        ({"tasks__size__data__hub": "glue"}, "tasks.size.data.hub", "`hub` needs `format: hub`"),
        ({"tasks__size__data__config": "sst2"}, "tasks.size.data.config", "`config` needs `format: hub` or `format: glue`"),
        ({"data__shared__words": "w"}, "data.shared.text", "`words` and `text` exclude each other"),
        (
            {"tasks__size__data": {"train": "x", "words": "w", "pair": "p"}},
            "tasks.size.data.pair",
            "`words` and `pair` exclude",
        ),
        (
            {"tasks__size__data": {"train": "x", "dev": "y", "split": {"dev": 0.1}}},
            "tasks.size.data.split.dev",
            "`tasks.size.data.dev` has files already",
        ),
        ({"data__shared__split": {"dev": 0.5, "test": 0.5}}, "data.shared.split", "leave nothing to train on"),
        # labels
        ({"tasks__mood__labels": ["a", "b", "a"]}, "tasks.mood.labels.2", "the label is given twice; found 'a'"),
        (
            {"tasks__mood__labels": ["good", "bad"], "tasks__mood__class_weights": {"god": 2.0}},
            "tasks.mood.class_weights.god",
            "did you mean 'good'?",
        ),
        ({"tasks__size__low": 3, "tasks__size__high": 3}, "tasks.size.low", "`low` must be less than `high`, which is 3"),
        # mixture
        ({"mixture": {"sampling": "shares"}}, "mixture.sampling", "needs the key 'shares'"),
        ({"mixture": {"sampling": "shares", "shares": {"size": 0}}}, "mixture.shares", "all shares are 0"),
        ({"mixture": {"shares": {"size": 1}}}, "mixture.shares", "`shares` has no effect with `sampling: proportional`"),
        (
            {"mixture": {"sampling": "shares", "shares": {"sise": 1}}},
            "mixture.shares.sise",
            "there are 'shared', 'size'; found 'sise'; did you mean 'size'?",
        ),
        ({"mixture": {"sampling": "shares", "shares": {"mood": 1}}}, "mixture.shares.mood", "no data set has this name"),
        ({"mixture__epoch": 0}, "mixture.epoch", "at least one round; found '0'"),
        ({"mixture__epoch": "mood"}, "mixture.epoch", "there are 'pass', 'shared', 'size'; found 'mood'"),
        ({"mixture__tasks_per_step": 3}, "mixture.tasks_per_step", "than there are data sets (2); found '3'"),
        # training
        (
            {"training__select": "moood"},
            "training.select",
            "there are 'average', 'loss', 'mood', 'size'; found 'moood'; did you mean 'mood'?",
        ),
        (
            {"training__steps": 10, "training__schedule": {"warmup": 11}},
            "training.schedule.warmup",
            "longer than the run, which has 10 steps; found '11'",
        ),
        (
            {"mixture__epoch": 10, "training__accumulate": 4, "training__schedule": {"warmup": 8}},
            "training.schedule.warmup",
            "which has 7 steps",
        ),
        ({"training__stop": "votes"}, "training.stop", "no patience for 'mood', 'size'; found 'votes'"),
        ({"training__stop": "votes", "tasks__mood__patience": 2}, "training.stop", "no patience for 'size'; found 'votes'"),
    ],
)
def test_a_broken_rule_is_told_at_its_place(changes: dict[str, object], place: str, message: str) -> None:
    (problem,) = problems(**changes)
    assert problem.startswith(f"{place}: ")
    assert message in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"tasks__mood__path": ["encoder", {"module": "top", "name": "again"}, "top"]},
        {"tasks__mood__path": ["encoder", {"module": "top", "inputs": ["encoder"], "name": "top"}]},
        {"tasks__mood__path": ["encoder", {"module": "top", "inputs": ["encoder.states", "batch.text.mask"]}]},
        {"tasks__mood__data": {"from": "shared", "label": "x", "missing": ["?"]}},
        {"tasks__size__data": {"format": "hub", "hub": "glue", "config": "sst2"}},
        {"data__shared__split": {"dev": 0.5, "test": 0.4}},
        {"tasks__mood__class_weights": {"whatever": 2.0}},
        {"tasks__mood__class_weights": "balanced"},
        {"tasks__size__low": 3},
        {"mixture": {"sampling": "shares", "shares": {"shared": 1, "size": 0}}},
        {"mixture__epoch": "shared"},
        {"mixture__tasks_per_step": "all"},
        {"training__select": "mood"},
        {"training__stop": "votes", "training__patience": 2},
        {"training__stop": "votes", "tasks__mood__patience": 2, "tasks__size__patience": 1},
        {"training__batch": {"rows": 8, "tokens": 4096}},
        {"training__steps": 10, "training__schedule": {"warmup": 10}},
        {"training__schedule": {"warmup": 10_000}},
        {"mixture__epoch": 10, "training__schedule": {"warmup": 0.9}},
    ],
)
def test_what_is_fine_is_not_refused(changes: dict[str, object]) -> None:
    assert isinstance(recipe_from(recipe(**changes)), Loaded)


def test_an_input_is_looked_up_under_the_name_that_was_meant() -> None:
    path = ["encodr", {"module": "top", "inputs": ["encoder"]}]
    assert len(problems(tasks__mood__path=path)) == 1


def test_a_format_and_the_fields_of_a_plugin() -> None:
    changes = {"data__shared__format": "shouting", "tasks__mood__type": "mine"}
    changes["tasks__mood__path"] = [{"module": "encoder", "inputs": ["batch.point"]}]
    assert isinstance(recipe_from(recipe(**changes), {"reader": {"shouting"}, "task": {"mine"}}), Loaded)
    assert "did you mean 'shouting'?" in problems({"reader": {"shouting"}}, data__shared__format="shoutin")[0]


def test_names_with_mistakes_of_their_own_still_exist() -> None:
    found = problems(modules__top={"type": "feedforward"}, data__shared={"train": 3})
    assert [p.partition(": ")[0] for p in found] == ["data.shared.train", "modules.top"]


def test_rules_run_beside_the_schema() -> None:
    found = problems(seed="x", training__select="moood", tasks__mood__path=["encodr"])
    assert [p.partition(": ")[0] for p in found] == ["seed", "tasks.mood.path.0", "training.select"]


def test_what_has_no_effect_is_a_warning() -> None:
    loaded = recipe_from(recipe(modules__spare={"type": "pool"}, data__idle={"train": "x"}))
    assert loaded.warnings == (
        "modules.spare: no task's path uses the module; found 'spare'",
        "data.idle: no task learns from the data set; found 'idle'",
    )
