from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.load import Loaded
from manyheads.config.node import from_python
from manyheads.config.overrides import apply_overrides
from manyheads.errors import RecipeError

Load = Callable[..., Loaded]
Refused = Callable[..., str]

DATA = {
    "seed": 1,
    "modules": {"encoder": {"type": "pretrained"}},
    "tasks": {"a": {"path": ["encoder", {"module": "deeper", "name": "top"}, {"module": "last"}], "labels": ["x", "y"]}},
    "training": None,
}


def applied(*overrides: str) -> dict:
    return apply_overrides(from_python(DATA), overrides).plain()


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=2", ("seed",), 2),
        ("seed=1e-5", ("seed",), 1e-5),
        ("output=a=b", ("output",), "a=b"),
        ("output=", ("output",), ""),
        ("output==", ("output",), "="),
        ("output=naïve – 😀", ("output",), "naïve – 😀"),
        ("output='7'", ("output",), "7"),
        ("output=no", ("output",), "no"),
        ("output=null", ("output",), None),
        ("mixture.shares={a: 1, b: 2}", ("mixture", "shares"), {"a": 1, "b": 2}),
        ("training.batch.rows=8", ("training", "batch", "rows"), 8),
        ("tasks.a.labels.1=z", ("tasks", "a", "labels"), ["x", "z"]),
        ("tasks.a.labels=[p, q]", ("tasks", "a", "labels"), ["p", "q"]),
        ("tasks.a.path.0=other", ("tasks", "a", "path", 0), "other"),
        ("tasks.a.path.encoder=other", ("tasks", "a", "path", 0), "other"),
        ("tasks.a.path.top.inputs=[encoder]", ("tasks", "a", "path", 1, "inputs"), ["encoder"]),
        ("tasks.a.path.last.name=end", ("tasks", "a", "path", 2, "name"), "end"),
        ("tasks.b={type: regression}", ("tasks", "b"), {"type": "regression"}),
        ("modules.encoder.name=x", ("modules", "encoder", "name"), "x"),
    ],
)
def test_a_value_is_put_in_its_place(override: str, path: tuple[str | int, ...], value: object) -> None:
    found = applied(override)
    for part in path:
        found = found[part]
    assert (found, type(found)) == (value, type(value))


def test_nothing_else_changes() -> None:
    assert applied("tasks.a.path.top.name=z") != DATA
    assert applied("tasks.a.path.top.name=top") == DATA


@pytest.mark.parametrize("null", ["null", "~"])
def test_null_takes_a_module_a_data_set_or_a_task_away(null: str) -> None:
    assert applied(f"tasks.a={null}") == {**DATA, "tasks": {}}
    assert applied("tasks.b={type: regression}", f"tasks.b={null}", f"modules.encoder={null}") == {**DATA, "modules": {}}
    assert applied(f"tasks.a.labels={null}")["tasks"]["a"]["labels"] is None
    assert applied("tasks.a=null", "tasks.a={type: regression}")["tasks"] == {"a": {"type": "regression"}}


def test_the_later_one_wins() -> None:
    assert applied("seed=2", "seed=3")["seed"] == 3
    assert applied("mixture={epoch: 2}", "mixture.epoch=3")["mixture"] == {"epoch": 3}


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("seed", "is written key.path=value"),
        ("=1", "is written key.path=value"),
        ("a..b=1", "is written key.path=value"),
        ("a" + ".a" * 100 + "=1", "is written key.path=value"),
        ("seed.x=1", "`seed` holds a single value, so it has no keys; found 'x'"),
        ("tasks.aa.weight=1", "`tasks` has no entry of this name; there are 'a'; found 'aa'; did you mean 'a'?"),
        ("modules.encodr.name=x", "did you mean 'encoder'?"),
        ("tasks.aa=null", "`tasks` has no entry of this name; there are 'a'; found 'aa'; did you mean 'a'?"),
        ("data.x=null", "there are none; found 'x'"),
        ("data.x.train=y", "there are none; found 'x'"),
        ("tasks.a.labels.2=z", "`tasks.a.labels` has no such element; there are '0', '1'; found '2'"),
        ("tasks.a.labels.x=z", "`tasks.a.labels` has no such element"),
        ("tasks.a.labels.-1=z", "`tasks.a.labels` has no such element"),
        ("tasks.a.path.tpo=z", "there are '0', '1', '2', 'encoder', 'top', 'last'; found 'tpo'; did you mean 'top'?"),
        ("tasks.a.path.encoder.inputs=[x]", "`tasks.a.path.0` holds a single value"),
        ("seed=[1", "not valid YAML"),
        ("seed=!!python/name:os.system x", "tags cannot stand"),
        ("seed=.inf", "finite"),
        ("extends=other.yaml", "`extends` stands in a file"),
    ],
)
def test_what_cannot_be_placed_is_refused(override: str, rule: str) -> None:
    with pytest.raises(RecipeError) as caught:
        applied(override)
    (problem,) = caught.value.problems
    assert problem.place == f"override '{override}'"
    assert rule in str(problem)


def test_all_bad_overrides_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        applied("seed", "output=x", "seed.x=1")
    assert len(caught.value.problems) == 2


@given(st.text(max_size=40))
def test_any_text_is_applied_or_refused(text: str) -> None:
    try:
        applied(text)
    except RecipeError as error:
        places = {problem.place for problem in error.problems}
    else:
        places = set()
    assert places <= {f"override '{text}'"}


def test_what_is_left_must_be_a_recipe(load: Load, refused: Refused, small: str) -> None:
    assert list(load(small, "tasks.mood=null").recipe.tasks) == ["names"]
    assert "`tasks` must be of length at least 1" in refused(small, "tasks.mood=null", "tasks.names=null")
    assert "'encoder'" in refused(small, "modules.encoder=null", "tasks.mood=null")


# through the schema -------------------------------------------------------------------------------------------------


def test_the_schema_types_what_an_override_wrote(load: Load, small: str) -> None:
    recipe = load(small, "tasks.mood.labels=[0, 1e5, true]", "output=007", "training.optimizer.lr=3e-5").recipe
    assert recipe.tasks["mood"].labels == ["0", "1e5", "true"]
    assert (recipe.output, recipe.training.optimizer.lr) == ("007", 3e-5)


def test_a_number_in_the_file_is_not_taken_for_text(refused: Refused, small: str) -> None:
    assert "recipe.yaml:1:9: `output` must be text; found '007'\n    put it in quotes: \"007\"" in refused(
        "output: 007\n" + small
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainig.epochs=3", "top level of the recipe has no key of this name; found 'trainig'; did you mean 'training'?"),
        ("training.epoch=3", "`training` has no key of this name; found 'epoch'; did you mean 'epochs'?"),
        ("training.epochs=3.5", "`training.epochs` must be a whole number; found '3.5'"),
        ("training.epochs=", "`training.epochs` must be a whole number; found ''"),
        ("training.lr=1", "found 'lr'\n    'lr' belongs to training.optimizer.lr"),
        ("tasks.mood.path.encoder=encodr", "no module has this name; there are 'encoder'; found 'encodr'"),
        ("tasks.new={type: regression}", "`tasks.new.data` has no rows to train on"),
        ("tasks.ä={type: regression}", "the name 'ä' in `tasks` must be at most 64 letters"),
    ],
)
def test_what_the_schema_refuses_is_placed_at_the_override(refused: Refused, small: str, override: str, message: str) -> None:
    text = refused(small, override)
    assert text.startswith(f"override '{override}': ")
    assert message in text


def test_where_names_the_override(load: Load, small: str) -> None:
    loaded = load(small, "training.batch.rows=4", "tasks.mood={type: regression, data: {train: x.csv}}")
    assert loaded.where(("training", "batch", "rows")) == "override 'training.batch.rows=4'"
    assert loaded.where(("tasks", "mood", "data", "train")).startswith("override 'tasks.mood=")
    assert loaded.where(("tasks", "names", "type")) == "recipe.yaml:9:11"
