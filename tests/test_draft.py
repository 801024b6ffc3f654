"""`init` looks at files and writes recipes that hold as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from manyheads.api import load_recipe
from manyheads.assemble import assemble
from manyheads.config.recipe import Recipe
from manyheads.draft import _yaml, draft, guess
from manyheads.errors import DataError


def recipe_of(place: Path, tiny: Path, *names: str) -> Recipe:
    """The drafted recipe, after it was read and put together with its data, unchanged."""
    (place / "recipe.yaml").write_text(draft([place / name for name in names], str(tiny), place), encoding="utf-8")
    loaded = load_recipe(place / "recipe.yaml")
    assert loaded.warnings == ()
    assemble(loaded)
    return loaded.recipe


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_three_files_are_three_tasks(recipe: Path, tiny: Path) -> None:
    found = recipe_of(recipe.parent, tiny, "mood.csv", "pairs.jsonl", "names.conll")
    assert {name: task.type for name, task in found.tasks.items()} == {
        "mood": "classification",
        "pairs": "regression",
        "names": "tagging",
    }
    assert found.tasks["mood"].labels == ["down", "up"]
    assert found.tasks["names"].labels == ["B-LOC", "B-PER", "O"]
    assert found.tasks["mood"].data.split == {"dev": 0.1, "test": 0.1}


def test_pairs_are_found_by_name(place: Path, tiny: Path) -> None:
    jsonl(place / "sts.jsonl", [{"sentence1": f"a {i}", "sentence2": f"b {i}", "score": i / 7} for i in range(12)])
    data = recipe_of(place, tiny, "sts.jsonl").tasks["sts"].data
    assert (data.text, data.pair, data.label) == ("sentence1", "sentence2", "score")


@pytest.mark.parametrize(
    ("values", "kind", "labels"),
    [
        (["a", "b"] * 6, "classification", ["a", "b"]),
        ([0, 1, 2] * 4, "classification", ["0", "1", "2"]),
        ([True, False] * 6, "classification", ["false", "true"]),
        ([0.5, 1.5] * 6, "regression", None),
        (list(range(30)), "regression", None),
        ([["x"], ["x", "y"], []] * 4, "multilabel", ["x", "y"]),
        (["x|y", "y", "x"] * 4, "multilabel", ["x", "y"]),
        (["a", "", "b"] * 5, "classification", ["a", "b"]),
        (["a", None, "b"] * 5, "classification", ["a", "b"]),
        (["yes", "no", "null", "1e3", "- x", "#1", "a: b", "'", '"', "é\u2028"] * 2, "classification", ...),
    ],
    ids=str,
)
def test_the_type_follows_the_labels(place: Path, tiny: Path, values: list[Any], kind: str, labels: Any) -> None:
    jsonl(place / "set.jsonl", [{"text": f"film {i}", "label": v} for i, v in enumerate(values)])
    task = recipe_of(place, tiny, "set.jsonl").tasks["set"]
    assert task.type == kind
    assert getattr(task, "labels", None) == (sorted(set(values)) if labels is ... else labels)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["B-X", "I-X", "O"], "BIO"),
        (["U-X", "O", "O"], "BIOUL"),
        (["B-X", "L-X", "O"], "BIOUL"),
        (["S-X", "O", "O"], "IOBES"),
        (["B-X", "E-X", "S-Y"], "IOBES"),
        (["NOUN", "VERB", "O"], "none"),
        (["O", "O", "O"], "none"),
        (["I-X", "I-X", "O"], "none"),
    ],
)
def test_the_scheme_follows_the_tags(place: Path, tiny: Path, tags: list[str], scheme: str) -> None:
    (place / "tags.conll").write_text("\n".join("".join(f"w{i} {t}\n" for i, t in enumerate(tags)) for _ in range(12)))
    task = recipe_of(place, tiny, "tags.conll").tasks["tags"]
    assert task.scheme == scheme  # type: ignore[union-attr]


def test_words_and_tags_in_jsonl(place: Path, tiny: Path) -> None:
    jsonl(place / "ner.jsonl", [{"id": i, "tokens": ["anna", "in"], "ner": ["B-PER", "O"]} for i in range(12)])
    task = recipe_of(place, tiny, "ner.jsonl").tasks["ner"]
    assert (task.type, task.data.words, task.data.label) == ("tagging", "tokens", "ner")


def test_a_label_that_is_rare_is_written_out(place: Path, tiny: Path) -> None:
    """Else it might be set aside and be unknown to the training rows."""
    jsonl(
        place / "rare.jsonl", [{"text": f"t {i}", "label": "rare" if i == k else "usual"} for k in range(3) for i in range(10)]
    )
    assert recipe_of(place, tiny, "rare.jsonl").tasks["rare"].labels == ["rare", "usual"]  # type: ignore[union-attr]


def test_many_labels_go_over_several_lines(place: Path, tiny: Path) -> None:
    names = [f"a label of some length {i}" for i in range(40)]
    jsonl(place / "many.jsonl", [{"text": "x", "label": name} for name in names])
    text = draft([place / "many.jsonl"], str(tiny), place)
    assert max(map(len, text.splitlines())) < 128 + len(str(tiny))
    assert recipe_of(place, tiny, "many.jsonl").tasks["many"].labels == sorted(names)  # type: ignore[union-attr]


def test_too_many_labels_are_doubted(place: Path) -> None:
    jsonl(place / "ids.jsonl", [{"text": "x", "label": f"row {i}"} for i in range(60)])
    found = guess(place / "ids.jsonl", place)
    assert "is this a label column?" in found.notes[0]
    assert found.settings == ()


def test_few_rows_are_not_split(place: Path, tiny: Path) -> None:
    jsonl(place / "few.jsonl", [{"text": "x", "label": c} for c in "abc"])
    assert recipe_of(place, tiny, "few.jsonl").tasks["few"].data.split == {}


def test_bad_rows_are_left_out_and_told(place: Path, tiny: Path) -> None:
    (place / "set.csv").write_text("text,label\n" + "fine,a\nbad,b\n" * 6 + "a,row,too long\n")
    assert "1 rows break a rule" in draft([place / "set.csv"], str(tiny), place)
    assert recipe_of(place, tiny, "set.csv").tasks["set"].data.bad_rows == "skip"


@pytest.mark.parametrize(
    "name", ["my file.v2.csv", "2024.csv", ".csv", "é.csv", "x" * 90 + ".csv", "a'b.csv", "- .csv", "#.csv"]
)
def test_any_file_name_gives_a_task_and_is_found_again(place: Path, tiny: Path, name: str) -> None:
    file = place / name
    file.write_text("text,label\n" + "fine,a\nbad,b\n" * 6)
    if name == ".csv":  # a hidden file has no ending
        with pytest.raises(Exception, match="format cannot be told"):
            draft([file], str(tiny), place)
        return
    [(task, spec)] = recipe_of(place, tiny, name).tasks.items()
    assert spec.data.train == name
    assert len(task) < 65


def test_columns_cannot_break_out_of_a_comment(place: Path, tiny: Path) -> None:
    rows = [{"text": f"fine {i}", "a\nseed: 99": "x", "label": "ab"[i % 2]} for i in range(12)]
    jsonl(place / "set.jsonl", rows)
    assert recipe_of(place, tiny, "set.jsonl").seed == 13


def test_two_files_of_one_name(place: Path) -> None:
    for folder in ("a", "b"):
        (place / folder).mkdir()
        (place / folder / "x.csv").write_text("text,label\nfine,a\nbad,b\n")
    with pytest.raises(DataError, match="tasks of the same name"):
        draft([place / "a" / "x.csv", place / "b" / "x.csv"], "minilm", place)


def test_a_file_of_one_column(place: Path) -> None:
    (place / "x.csv").write_text("text\nfine\n")
    with pytest.raises(DataError, match="a text and a label column are wanted"):
        guess(place / "x.csv", place)


@pytest.mark.parametrize(
    "value", ["a", "../x/y.csv", ".inf", ".5", "-", "1", "null", "True", "a b", "a#b", "é", "a\nb", "", "~", "a: b"]
)
def test_text_as_yaml(value: str) -> None:
    assert YAML(typ="safe").load(f"key: {_yaml(value)}   # note\n") == {"key": value}
