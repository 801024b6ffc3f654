from __future__ import annotations

from collections.abc import Callable

import pytest

from manyheads.config.load import Loaded

Load = Callable[..., Loaded]
Refused = Callable[..., str]


def one(text: str) -> str:
    """The only problem of a message."""
    assert text.count("recipe.yaml:") == 1, text
    return text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # unknown keys
        ("name: minilm", "name: minilm, frez: true", "2:45: `modules.encoder` has no key of this name; found 'frez'"),
        ("label: mood", "lable: mood", "7:29: `tasks.mood.data` has no key of this name; found 'lable'; did you mean 'label'?"),
        (
            "label: mood",
            "labels: [a]",
            "'labels' belongs to tasks.mood.labels (type classification or binary or multilabel or tagging)",
        ),
        (
            "path: [encoder]\n    data: {train: n",
            "path: [{modul: encoder, module: encoder}]\n    data: {train: n",
            "did you mean 'module'?",
        ),
        (
            "tasks:",
            "epochs: 3\ntasks:",
            "3:1: the top level of the recipe has no key of this name; found 'epochs'\n    'epochs' belongs to training.epochs",
        ),
        # missing keys
        (", name: minilm", "", "2:3: `modules.encoder` needs the key 'name'"),
        ("    type: tagging\n", "", "8:3: `tasks.names` needs the key 'type'"),
        (
            "[encoder]\n    data: {train: n",
            "[{name: x}]\n    data: {train: n",
            "10:12: `tasks.names.path.0` needs the key 'module'",
        ),
        # wrong types
        ("train: mood.csv", "train: 3", "7:19: `tasks.mood.data.train` must be text or a list; found '3'"),
        ("train: mood.csv", "train: [a, 3]", "7:23: `tasks.mood.data.train.1` must be text; found '3'\n    put it in quotes"),
        ("train: mood.csv", "train: {a: b}", '`tasks.mood.data.train` must be text or a list; found \'{"a": "b"}\''),
        (
            "path: [encoder]\n    data: {train: n",
            "path: [3]\n    data: {train: n",
            "must be text or a mapping of keys to values",
        ),
        (
            "path: [encoder]\n    data: {train: n",
            "path: encoder\n    data: {train: n",
            "10:11: `tasks.names.path` must be a list",
        ),
        ("  encoder: {type: pretrained, name: minilm}", "  encoder: minilm", "2:12: `modules.encoder` must be a mapping"),
        ("name: minilm", "name: minilm, freeze: yes", "must be true or false; found 'yes'\n    YAML 1.2 writes true"),
        ("name: minilm", "name: minilm, freeze: 1", "must be true or false; found '1'"),
        ("name: minilm", "name: minilm, max_length: '8'", "must be a whole number; found '8'\n    write it without quotes"),
        ("name: minilm", "name: minilm, max_length: 8.0", "must be a whole number; found '8.0'"),
        ("name: minilm", "name: minilm, max_length: true", "must be a whole number; found 'true'"),
        ("name: minilm", "name: minilm, max_length: null", "must be a whole number; found 'null'"),
        # bounds
        ("name: minilm", "name: minilm, max_length: 7", "2:57: `modules.encoder.max_length` must be at least 8; found '7'"),
        ("name: minilm", "name: minilm, dropout: 1", "must be less than 1; found '1'"),
        ("type: tagging", "type: tagging\n    weight: -1e-3", "10:13: `tasks.names.weight` must be at least 0; found '-1e-3'"),
        # names
        ("  names:", "  na mes:", "8:3: the name 'na mes' in `tasks` must be at most 64 letters"),
        ("train: names.conll", "train: x, split: {dve: 0.1}", "must be one of 'dev', 'test'; found 'dve'; did you mean 'dev'?"),
    ],
)
def test_each_mistake_has_its_place_its_words_and_what_was_meant(
    refused: Refused, small: str, old: str, new: str, message: str
) -> None:
    assert old in small
    assert message in one(refused(small.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("training: {precision: bf61}", "must be one of 'fp32', 'bf16'; found 'bf61'; did you mean 'bf16'?"),
        ("training: {optimizer: {betas: [0.9]}}", "`training.optimizer.betas` needs one value more"),
        ("training: {optimizer: {betas: [0.9, 0.9, 0.9]}}", "`training.optimizer.betas` must be of length at most 2"),
        ("training: {optimizer: {betas: 3}}", "`training.optimizer.betas` must be a list"),
        ("training: {optimizer: {lr: 0}}", "must be greater than 0; found '0'"),
        ("training: {optimizer: {lr: 1e9}}", "must be at most 100; found '1e9'"),
        ("mixture: {tasks_per_step: some}", "must be a whole number or 'all'; found 'some'"),
        ("mixture: {tasks_per_step: 0}", "must be at least 1, or 'all'; found '0'"),
        ("mixture: {shares: {mood: -1}}", "`mixture.shares.mood` must be at least 0; found '-1'"),
        ("version: 2", "`version` must be 1; found '2'"),
        ("seed: -1", "`seed` must be at least 0; found '-1'"),
        ("data: []", "`data` must be a mapping of keys to values; found '[]'"),
    ],
)
def test_mistakes_outside_modules_and_tasks(refused: Refused, small: str, line: str, message: str) -> None:
    text = one(refused(small + line + "\n"))
    assert message in text
    assert text.startswith("recipe.yaml:12:")


def test_no_tasks(refused: Refused, small: str) -> None:
    assert refused("seed: 1\n") == "recipe.yaml:1:1: the recipe needs the key 'tasks'"
    assert "`tasks` must be of length at least 1; found '{}'" in refused("tasks: {}\n")


def test_keys_that_are_called_like_types(refused: Refused, small: str) -> None:
    text = refused(small.replace("  names:", "  own:").replace("type: tagging", "type: tagging\n    own: 1\n    tagging: 1"))
    places = [line.partition(": ")[0] for line in text.splitlines() if line.startswith("recipe")]
    assert places == ["recipe.yaml:10:5", "recipe.yaml:11:5"]


def test_names_of_pydantic_never_show(refused: Refused, small: str) -> None:
    text = refused(
        small.replace("name: minilm", "nme: 3").replace("label: mood", "label: 3, x: 4") + "training: 3\nseed: [b]\n"
    )
    for word in ("pydantic", "http", "Spec", "Module", "classification.", "own", "str", "int", "Input"):
        assert word not in text
    assert len(text.splitlines()) == 7


def test_all_mistakes_are_told_in_the_order_of_the_file(refused: Refused, small: str) -> None:
    text = refused("sed: 1\n" + small.replace("path: [encoder]", "path: [encodr]") + "training: {epochs: x, select: moood}\n")
    assert [line.partition(": ")[0] for line in text.splitlines()] == [
        "recipe.yaml:1:1",
        "recipe.yaml:7:12",
        "recipe.yaml:11:12",
        "recipe.yaml:13:20",
    ]


def test_a_rule_waits_for_the_keys_of_its_section(refused: Refused, small: str) -> None:
    text = refused(small.replace("train: mood.csv", "trian: mood.csv"))
    assert one(text).endswith("did you mean 'train'?")


def test_at_most_twenty_are_shown(refused: Refused, small: str) -> None:
    text = refused(small + "training:\n" + "".join(f"  zz{i}: 1\n" for i in range(30)))
    assert len(text.splitlines()) == 21
    assert text.endswith("and 10 more")


def test_control_characters_are_shown_as_escapes(refused: Refused, small: str) -> None:
    assert "found '\\x1b[31m'" in refused(small + '"\\e[31m": 1\n')
