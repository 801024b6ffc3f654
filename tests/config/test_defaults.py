from __future__ import annotations

from collections.abc import Callable

import pytest

from manyheads.config.load import Loaded

Load = Callable[..., Loaded]
Refused = Callable[..., str]

DEFAULTS = """\
modules:
  encoder: {type: pretrained, name: minilm}
data:
  shared: {train: shared.csv}
defaults:
  path: [encoder]
  label_smoothing: 0.1
  dropout: 0.3
  data: {format: tsv, limit: 100, missing: ["?"]}
tasks:
  plain: {type: classification, data: {train: a.tsv}}
  wins: {type: classification, dropout: 0.5, data: {train: b.csv, format: csv}}
  tags: {type: tagging, data: {train: c.tsv}}
  out: {type: classification, use_defaults: false, path: [encoder], data: {train: d.csv}}
  lent: {type: classification, data: {from: shared, label: x}}
"""


def test_a_task_has_what_it_does_not_say_itself(load: Load) -> None:
    tasks = load(DEFAULTS).recipe.tasks
    plain = tasks["plain"]
    assert (plain.path, plain.dropout, plain.label_smoothing) == (["encoder"], 0.3, 0.1)
    assert (plain.data.train, plain.data.format, plain.data.limit) == ("a.tsv", "tsv", 100)
    assert (tasks["wins"].dropout, tasks["wins"].data.format, tasks["wins"].data.limit) == (0.5, "csv", 100)


def test_a_key_that_a_type_does_not_take_is_skipped(load: Load) -> None:
    tags = load(DEFAULTS).recipe.tasks["tags"]
    assert tags.dropout == 0.3
    assert not hasattr(tags, "soft_labels")


def test_a_task_can_opt_out(load: Load) -> None:
    out = load(DEFAULTS).recipe.tasks["out"]
    assert (out.dropout, out.label_smoothing, out.data.limit) == (0.1, 0.0, None)


def test_rows_of_defaults_do_not_reach_a_named_data_set(load: Load) -> None:
    lent = load(DEFAULTS).recipe.tasks["lent"]
    assert (lent.data.from_, lent.data.missing, lent.data.limit) == ("shared", ["?"], None)


def test_resolved_recipes_have_no_defaults_left(load: Load) -> None:
    loaded = load(DEFAULTS)
    assert loaded.recipe.defaults == {}
    assert "defaults" not in loaded.data


def test_where_tells_what_came_from_defaults(load: Load) -> None:
    loaded = load(DEFAULTS, "defaults.pool=cls")
    assert loaded.where(("tasks", "plain", "dropout")) == "defaults recipe.yaml:8:12"
    assert loaded.where(("tasks", "plain", "data", "limit")) == "defaults recipe.yaml:9:30"
    assert loaded.where(("tasks", "plain", "path", 0)) == "defaults recipe.yaml:6:10"
    assert loaded.where(("tasks", "plain", "pool")) == "defaults override 'defaults.pool=cls'"
    assert loaded.where(("tasks", "wins", "dropout")) == "recipe.yaml:12:41"
    assert loaded.where(("tasks", "plain", "weight")) == "not given"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("droput: 0.3", "8:3: no task type takes this key of `defaults`; found 'droput'; did you mean 'dropout'?"),
        ("clip: 0.3", "8:3: no task type takes this key of `defaults`; found 'clip'\n    'clip' belongs to training.clip"),
        ("use_defaults: false", "8:3: no task type takes this key of `defaults`; found 'use_defaults'"),
        ("type: tagging", "8:3: no task type takes this key of `defaults`; found 'type'"),
        ("dropout: 2", "8:12: `defaults.dropout` must be less than 1; found '2'"),
        ("dropout: x", "8:12: `defaults.dropout` must be a number; found 'x'"),
        ("metrics: [1]", "8:13: `defaults.metrics.0` must be text; found '1'"),
    ],
)
def test_a_mistake_in_defaults_is_told_once_and_there(refused: Refused, line: str, message: str) -> None:
    text = refused(DEFAULTS.replace("dropout: 0.3", line))
    assert text.startswith("recipe.yaml:" + message)
    assert text.count("recipe.yaml:") == 1


def test_a_key_in_a_section_of_defaults_is_told_once_and_there(refused: Refused) -> None:
    text = refused(DEFAULTS.replace("limit: 100", "limt: 100"))
    assert text == "recipe.yaml:9:23: `defaults.data` has no key of this name; found 'limt'; did you mean 'limit'?"


@pytest.mark.parametrize("value", ["3", "[a]", "null", "text"])
def test_defaults_that_are_no_mapping(refused: Refused, small: str, value: str) -> None:
    assert f"recipe.yaml:1:11: `defaults` must be a mapping of keys to values; found '{value}'" in refused(
        f"defaults: {value}\n{small}"
    ).replace("'[\"a\"]'", "'[a]'")


def test_a_default_that_no_task_takes_is_a_warning(load: Load, small: str) -> None:
    loaded = load("defaults: {separator: ';'}\n" + small)
    assert loaded.warnings == ("recipe.yaml:1:12: no task takes `defaults.separator`",)


def test_a_task_type_of_a_plugin_takes_what_all_tasks_take(load: Load, small: str) -> None:
    text = "defaults: {dropout: 0.3, label_smoothing: 0.1}\n" + small.replace("classification", "mine")
    task = load(text, plugins={"task": {"mine"}}).recipe.tasks["mood"]
    assert (task.type, task.dropout) == ("mine", 0.3)


# types --------------------------------------------------------------------------------------------------------------


def test_an_unknown_type_names_the_nearest_and_the_rest_is_checked_as_that(refused: Refused) -> None:
    text = refused(DEFAULTS.replace("type: tagging, data", "type: taging, schem: BIO, data").replace("pretrained", "pretraned"))
    module, task, key = text.splitlines()
    assert module.startswith(
        "recipe.yaml:2:19: no module type is called this; there are 'pretrained', 'adapter', 'ia3', 'pool'"
    )
    assert module.endswith("; found 'pretraned'; did you mean 'pretrained'?")
    assert task.startswith("recipe.yaml:13:16: no task type is called this; there are 'classification', 'binary'")
    assert task.endswith("; found 'taging'; did you mean 'tagging'?")
    assert key == "recipe.yaml:13:24: `tasks.tags` has no key of this name; found 'schem'; did you mean 'scheme'?"


def test_an_unknown_type_that_is_near_to_none(refused: Refused, small: str) -> None:
    text = refused(small.replace("pretrained, name: minilm", "quux, foo: 1"))
    assert text.startswith("recipe.yaml:2:19: no module type is called this; there are 'pretrained', 'adapter', 'ia3', 'pool'")
    assert text.endswith("; found 'quux'")
    assert len(text.splitlines()) == 1


def test_types_of_plugins(load: Load, refused: Refused, small: str) -> None:
    text = small.replace("pretrained, name: minilm", "stitch, options: {k: [1, null]}")
    loaded = load(text, plugins={"module": {"stitch"}})
    assert loaded.recipe.modules["encoder"].options == {"k": [1, None]}
    assert "did you mean 'stitch'?" in refused(text.replace("stitch", "stich"), plugins={"module": {"stitch"}})
    assert "found 'stitch'" in refused(text, plugins={"task": {"stitch"}})


@pytest.mark.parametrize(("written", "found"), [("3", "3"), ("[a]", '["a"]'), ("{}", "{}"), ("null", "null")])
def test_a_type_that_is_no_text(refused: Refused, small: str, written: str, found: str) -> None:
    text = refused(small.replace("type: classification", f"type: {written}"))
    assert f"recipe.yaml:5:11: `tasks.mood.type` must be text; found '{found}'" in text
