from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.compose import compose
from manyheads.config.dump import dump, main, plain, reference, schema_text
from manyheads.config.load import Loaded, load_recipe, recipe_from
from manyheads.config.reference import EXAMPLE

Load = Callable[..., Loaded]

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,9}", fullmatch=True)
HARD = """no 1e-5 null 0x1F ~ - : # {x} [ ' " \\ 😀 .inf = ! *a &a << @ ` %x --- ... ,""".split(" ")  # noqa: SIM905
TRAPS = [*HARD, "", "\n", "\t", "- a", "a: b", " a #", "\x7f", "\x85", "\u2028"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(TRAPS)
shares = st.floats(0.001, 0.999)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.filter("<<".__ne__), inner, max_size=3),
    max_leaves=6,
)
keys = texts.filter("<<".__ne__)


def some(fields: dict[str, st.SearchStrategy[Any]], **required: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=fields)


rows = some(
    {
        "split": st.just({"dev": 0.1}),
        "limit": st.integers(1, 9),
        "text": texts,
        "pair": texts,
        "missing": st.lists(texts),
        "bad_rows": st.just("skip"),
    },
    train=texts.filter(bool) | st.lists(texts, min_size=1, max_size=2),
)
lent = some({"label": texts, "weight": texts, "group": texts, "missing": st.lists(texts)}, **{"from": st.just("shared_rows")})
modules = st.one_of(
    some(
        {"max_length": st.integers(8, 99), "dropout": st.none() | shares},
        type=st.just("pretrained"),
        name=texts,
    ),
    some({"how": st.sampled_from(["cls", "attention"])}, type=st.just("pool")),
    some({}, type=st.just("layer"), index=st.integers(-9, 9)),
    some({"layers": st.none() | st.lists(st.integers(-9, 9), min_size=1), "norm": st.booleans()}, type=st.just("scalar_mix")),
    some({"options": st.dictionaries(keys, anything, max_size=3)}, type=st.just("mine")),
)
of_all = {"weight": shares | st.integers(1, 3), "metric": texts, "metrics": st.lists(texts), "patience": st.integers(1, 5)}
labels = st.lists(texts, min_size=1, max_size=4, unique=True)
tasks = st.one_of(
    some(of_all | {"labels": labels, "label_smoothing": shares}, type=st.just("classification"), data=rows | lent),
    some(of_all | {"class_weights": st.dictionaries(keys, shares, max_size=3)}, type=st.just("classification"), data=rows),
    some(of_all | {"separator": texts, "threshold": shares}, type=st.just("multilabel"), data=rows),
    some(of_all | {"low": st.floats(-9, 0), "high": st.floats(1, 9)}, type=st.just("regression"), data=rows),
    some(
        {"use_defaults": st.just(False), "scheme": st.just("IOBES"), "decoder": st.just("crf")},
        type=st.just("tagging"),
        data=rows,
    ),
)
training = some(
    {
        "epochs": st.integers(1, 9),
        "clip": st.none() | shares,
        "batch": some({"rows": st.integers(1, 99), "tokens": st.integers(8, 99)}),
        "optimizer": some({"lr": st.floats(1e-12, 100), "betas": st.tuples(shares, shares), "eps": st.floats(1e-300, 1)}),
        "checkpoint": some({"every_minutes": st.none() | shares, "every_steps": st.integers(1, 9)}),
    }
)
recipes = some(
    {
        "seed": st.integers(0, 2**63 - 1),
        "output": texts,
        "modules": st.dictionaries(names, modules, max_size=2),
        "defaults": some({"dropout": shares, "label_smoothing": shares, "metrics": st.lists(texts)}),
        "mixture": some({"sampling": st.just("uniform"), "tasks_per_step": st.sampled_from([1, "all"])})
        | st.fixed_dictionaries({"sampling": st.just("temperature"), "temperature": shares}),
        "training": training,
    },
    data=st.just({"shared_rows": {"train": "rows.csv"}}),
    tasks=st.dictionaries(names, tasks, min_size=1, max_size=2),
).filter(lambda data: any(task.get("weight", 1) for task in data["tasks"].values()))  # where no task counts, that is an error


@given(recipes)
def test_a_dump_loads_again_to_an_equal_recipe(data: dict[str, Any]) -> None:
    plugins = {"module": {"mine"}}
    made = recipe_from(data, plugins)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_text(dump(made.recipe), encoding="utf-8")
        again = load_recipe(path, plugins=plugins)
    assert again.recipe == made.recipe
    assert dump(again.recipe) == dump(made.recipe)


@pytest.mark.parametrize("task", [{"type": "multilabel", "top": 2}, {"type": "matching"}, {"type": "ranking"}], ids=str)
def test_a_default_that_is_written_out_is_none_that_was_set(task: dict[str, Any]) -> None:
    """Keys that exclude each other, one of them with a default."""
    data = {"train": "rows.jsonl", **({"choices": "candidates"} if task["type"] == "ranking" else {})}
    modules = {"encoder": {"type": "pretrained", "name": "minilm"}}
    made = recipe_from({"modules": modules, "tasks": {"t": {**task, "path": ["encoder"], "data": data}}})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_text(dump(made.recipe), encoding="utf-8")
        assert load_recipe(path).recipe == made.recipe


def test_the_example_comes_back(load: Load) -> None:
    recipe = load(EXAMPLE).recipe
    assert load(dump(recipe)).recipe == recipe


def test_a_dump_has_the_modeline_and_every_default(load: Load, small: str) -> None:
    text = dump(load(small).recipe, "../recipe.schema.json")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=../recipe.schema.json"
    found = compose(text, "f").plain()
    assert found["training"]["optimizer"]["lr"] == 5e-5
    assert found["tasks"]["mood"]["dropout"] == 0.1
    assert "revision" not in found["modules"]["encoder"]


def test_null_is_kept_where_it_says_something(load: Load, small: str) -> None:
    text = dump(load(small + "training: {clip: null, checkpoint: {every_minutes: null}}\n").recipe)
    assert "  clip: null\n" in text
    assert "    every_minutes: null\n" in text
    assert load(text).recipe.training.clip is None


@pytest.mark.parametrize("text", ["no", "on", "Y", "null", "1", "1e5", "-", "a b", "a#", "", "0x1", "naïve", "<<"])
def test_text_that_another_reader_could_mistake_is_quoted(load: Load, small: str, text: str) -> None:
    recipe = load(small, f"output='{text}'").recipe
    assert f'output: "{text}"\n' in dump(recipe)


def test_plain_values_of_steps_and_named_data(load: Load) -> None:
    found = plain(load(EXAMPLE).recipe)
    assert found["tasks"]["stars"]["data"] == {"from": "reviews", "label": "stars"}
    assert found["tasks"]["entities"]["path"][1] == {"module": "deeper", "inputs": ["encoder"], "name": "for_entities"}


def test_what_is_written_is_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main()
    root = Path(__file__).parents[2]
    for name, text in (("schema/recipe.schema.json", schema_text()), ("docs/recipe.md", reference())):
        assert Path(name).read_text(encoding="utf-8") == text
        assert (root / name).read_text(encoding="utf-8") == text, f"{name} is out of date: run `make schema`"
