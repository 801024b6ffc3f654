"""`init` looks at files and writes recipes that hold as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from manyheads.api import load_recipe, recipe_from
from manyheads.assemble import assemble
from manyheads.config.compose import compose
from manyheads.config.recipe import Recipe
from manyheads.draft import Guess, _yaml, draft, families, guess
from manyheads.errors import DataError, RecipeError


def recipe_of(place: Path, tiny: Path, *names: str) -> Recipe:
    """The drafted recipe, after it was read and put together with its data, unchanged."""
    (place / "recipe.yaml").write_text(draft([place / name for name in names], str(tiny), place), encoding="utf-8")
    loaded = load_recipe(place / "recipe.yaml")
    assert loaded.warnings == ()
    assemble(loaded)
    return loaded.recipe


def guessed(place: Path, *names: str) -> Guess:
    """What is guessed from files that are one task."""
    [family] = families([place / name for name in names])
    return guess(family, place)


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
        (
            ["a\x7f", "b\x80", "c\x85d", "\x85", "\ufeff", "\uffff", "\U0001fffe", "\u00a0", "\\u", "😀"] * 2,
            "classification",
            ...,
        ),
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


def test_words_and_parts_of_speech_in_conllu(place: Path, tiny: Path) -> None:
    words = [
        f"{i}\t{form}\t{form}\t{tag}\t_\t_\t0\troot\t_\t_\n"
        for i, (form, tag) in enumerate([("anna", "PROPN"), ("sang", "VERB")], 1)
    ]
    (place / "tree.conllu").write_text("\n".join(["".join(words)] * 12))
    task = recipe_of(place, tiny, "tree.conllu").tasks["tree"]
    assert (task.type, task.data.words, task.data.label, task.scheme) == ("tagging", "form", "upos", "none")  # type: ignore[union-attr]


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
    found = guessed(place, "ids.jsonl")
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


def test_rows_whose_label_can_be_none_are_left_out_and_told(place: Path, tiny: Path) -> None:
    values = ["a", "b"] * 6 + [{"a": 1}, 1.5]
    jsonl(place / "set.jsonl", [{"text": f"film {i}", "label": v} for i, v in enumerate(values)])
    assert "2 rows break a rule" in draft([place / "set.jsonl"], str(tiny), place)
    assert recipe_of(place, tiny, "set.jsonl").tasks["set"].labels == ["a", "b"]  # type: ignore[union-attr]


def test_single_labels_stand_beside_lists_of_them(place: Path, tiny: Path) -> None:
    jsonl(place / "set.jsonl", [{"text": "x", "label": v} for v in [["x", "y"], [], "z", ["x"]] * 3])
    assert recipe_of(place, tiny, "set.jsonl").tasks["set"].labels == ["x", "y", "z"]  # type: ignore[union-attr]


def test_rows_whose_text_is_none_are_left_out_and_told(place: Path, tiny: Path) -> None:
    jsonl(place / "set.jsonl", [{"text": 3 if i == 4 else f"film {i}", "label": "ab"[i % 2]} for i in range(12)])
    assert "1 rows break a rule" in draft([place / "set.jsonl"], str(tiny), place)
    recipe_of(place, tiny, "set.jsonl")


@given(st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=4, unique=True))
def test_any_text_as_yaml_is_that_text(values: list[str]) -> None:
    text = f"[{', '.join(map(_yaml, values))}]\n"
    assert compose(text, "x").plain() == values


def test_columns_cannot_break_out_of_a_comment(place: Path, tiny: Path) -> None:
    rows = [{"text": f"fine {i}", "a\nseed: 99": "x", "label": "ab"[i % 2]} for i in range(12)]
    jsonl(place / "set.jsonl", rows)
    assert recipe_of(place, tiny, "set.jsonl").seed == 13


def test_two_files_of_one_name(place: Path) -> None:
    for folder in ("a", "b"):
        (place / folder).mkdir()
        (place / folder / "x.csv").write_text("text,label\nfine,a\nbad,b\n")
    with pytest.raises(DataError, match="tasks of the same name; found 'x'\n    rename one of them"):
        draft([place / "a" / "x.csv", place / "b" / "x.csv"], "minilm", place)


# files of several splits --------------------------------------------------------------------------------------------


def split_files(folder: Path, *names: str, count: int = 12) -> list[Path]:
    """Files of as many rows, with the labels a and b."""
    folder.mkdir(exist_ok=True)
    for name in names:
        mark = "\t" if ".tsv" in name else ","
        (folder / name).write_text(f"text{mark}label\n" + f"fine{mark}a\nbad{mark}b\n" * (count // 2))
    return [folder / name for name in names]


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["train.tsv", "dev.tsv", "test.tsv"], "sst2"),
        (["test.tsv", "dev.tsv", "train.tsv"], "sst2"),
        (["Train.csv", "VALID.csv", "Test.csv"], "sst2"),
        (["mood.train.csv", "mood.validation.csv", "mood.test.csv"], "mood"),
        (["mood_train.csv", "mood_val.csv", "mood_test.csv"], "mood"),
        (["train-mood.csv", "eval-mood.csv", "test-mood.csv"], "mood"),
        (["en_ewt-ud-train.csv", "en_ewt-ud-dev.csv", "en_ewt-ud-test.csv"], "en_ewt_ud"),
        (["train.mood.v2.csv", "dev.mood.v2.csv", "test.mood.v2.csv"], "mood"),
        (["2024.train.csv", "2024.dev.csv", "2024.test.csv"], "task_2024"),
    ],
)
def test_files_that_differ_in_the_word_of_their_split_are_one_task(
    place: Path, tiny: Path, names: list[str], task: str
) -> None:
    folder = place / "sst2"
    files = split_files(folder, *names)
    [(name, spec)] = recipe_of(place, tiny, *(f"sst2/{n}" for n in names)).tasks.items()
    by_word = sorted(files, key=lambda f: ("test" in f.name.lower(), "train" not in f.name.lower()))
    assert name == task
    assert [spec.data.train, spec.data.dev, spec.data.test] == [f"sst2/{f.name}" for f in by_word]
    assert spec.data.split == {}
    text = (place / "recipe.yaml").read_text()
    assert "# One task of 3 files, whose names differ only in the word for train, dev, test." in text
    assert "# Guessed from 12 train, 12 dev, 12 test rows" in text


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (["train.csv"], {"dev": 0.1, "test": 0.1}),
        (["train.csv", "dev.csv"], {"test": 0.1}),
        (["train.csv", "test.csv"], {"dev": 0.1}),
    ],
)
def test_what_no_file_gives_is_set_aside(place: Path, tiny: Path, names: list[str], split: dict[str, float]) -> None:
    split_files(place / "sst2", *names)
    task = recipe_of(place, tiny, *(f"sst2/{name}" for name in names)).tasks["sst2"]
    assert task.data.split == split


def test_of_few_rows_none_is_set_aside(place: Path, tiny: Path) -> None:
    split_files(place / "sst2", "train.csv", "dev.csv", count=4)
    assert recipe_of(place, tiny, "sst2/train.csv", "sst2/dev.csv").tasks["sst2"].data.split == {}


def test_folders_and_names_keep_tasks_apart(place: Path) -> None:
    files = [
        *split_files(place / "a", "train.csv", "dev.csv", "x.train.csv", "x.dev.csv", "x.dev.tsv", "other.csv"),
        *split_files(place / "b", "train.csv", "dev.csv", "training.csv", "mood-trainer.csv"),
    ]
    found = {family.name: {split: [f.name for f in part] for split, part in family.files.items()} for family in families(files)}
    assert found == {
        "a": {"train": ["train.csv"], "dev": ["dev.csv"]},
        "x": {"train": ["x.train.csv"], "dev": ["x.dev.csv"]},
        "x_dev": {"train": ["x.dev.tsv"]},
        "other": {"train": ["other.csv"]},
        "b": {"train": ["train.csv"], "dev": ["dev.csv"]},
        "training": {"train": ["training.csv"]},
        "mood_trainer": {"train": ["mood-trainer.csv"]},
    }


def test_the_folder_is_found_where_the_command_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_files(place / "sst2", "train.csv", "dev.csv")
    monkeypatch.chdir(place / "sst2")
    [family] = families([Path("train.csv"), Path("./dev.csv"), Path("train.csv")])
    assert (family.name, family.files) == ("sst2", {"train": (Path("train.csv"),), "dev": (Path("dev.csv"),)})


@pytest.mark.parametrize("names", [["dev.csv"], ["test.csv", "dev.csv"], ["mood_test.csv", "mood_eval.csv"]])
def test_without_training_rows_each_file_stays_a_task_with_a_note(place: Path, tiny: Path, names: list[str]) -> None:
    split_files(place / "sst2", *names)
    found = recipe_of(place, tiny, *(f"sst2/{name}" for name in names)).tasks
    assert {name: task.data.train for name, task in found.items()} == {n.removesuffix(".csv"): f"sst2/{n}" for n in names}
    text = (place / "recipe.yaml").read_text()
    assert text.count("# Named like dev or test rows, but no train file was given beside it") == len(names)


def test_two_files_of_one_split_are_a_list(place: Path, tiny: Path) -> None:
    split_files(place / "x", "train.csv", "dev.csv", "eval.csv")
    [spec] = recipe_of(place, tiny, "x/train.csv", "x/dev.csv", "x/eval.csv").tasks.values()
    assert spec.data.dev == ["x/dev.csv", "x/eval.csv"]


def test_labels_of_all_files_are_written_out(place: Path, tiny: Path) -> None:
    split_files(place / "x", "train.csv")
    (place / "x" / "dev.csv").write_text("text,label\nfine,a\nso so,c\nbad,\n")
    [spec] = recipe_of(place, tiny, "x/train.csv", "x/dev.csv").tasks.values()
    assert (spec.labels, spec.data.missing) == (["a", "b", "c"], [""])  # type: ignore[union-attr]


def test_tags_of_all_files_are_written_out(place: Path, tiny: Path) -> None:
    (place / "ner.train.conll").write_text("anna B-PER\n\n" * 12)
    (place / "ner.test.conll").write_text("rome B-LOC\nin O\n")
    [(name, spec)] = recipe_of(place, tiny, "ner.train.conll", "ner.test.conll").tasks.items()
    assert (name, spec.labels, spec.data.test) == ("ner", ["B-LOC", "B-PER", "O"], "ner.test.conll")  # type: ignore[union-attr]


def test_a_file_without_labels_is_left_out_and_told(place: Path, tiny: Path) -> None:
    split_files(place / "sst2", "train.tsv", "dev.tsv")
    (place / "sst2" / "test.tsv").write_text("index\ttext\n0\tfine\n")
    [spec] = recipe_of(place, tiny, "sst2/train.tsv", "sst2/dev.tsv", "sst2/test.tsv").tasks.values()
    assert (spec.data.test, spec.data.split) == (None, {"test": 0.1})
    [line] = [line for line in (place / "recipe.yaml").read_text().splitlines() if "# Left out" in line]
    assert line.endswith("test.tsv', without the column 'label'.")


def test_bad_rows_of_all_files_are_counted(place: Path) -> None:
    split_files(place / "x", "train.csv", "dev.csv")
    for name in ("train.csv", "dev.csv"):
        with (place / "x" / name).open("a") as file:
            file.write("one,two,three\n")
    assert [line for line in guessed(place / "x", "train.csv", "dev.csv").data if "2 rows break a rule" in line]


# numbers as labels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "note"),
    [
        ([1, 2, 3, 4, 5] * 3, "classification", "Or regression: if the numbers are amounts"),
        (["1", "2.5", "4"] * 4, "regression", "Or classification: if the numbers are names of classes"),
        (list(range(30)), "regression", "Or classification"),
        ([0, 1] * 6, "classification", None),
        (["a", "b", "c"] * 4, "classification", None),
        ([0.25, 0.5, 0.75] * 4, "regression", None),
        ([i / 4 for i in range(120)], "regression", None),
        ([[1, 2, 3]] * 12, "multilabel", None),
    ],
    ids=str,
)
def test_numbers_may_be_classes_or_amounts(place: Path, values: list[Any], kind: str, note: str | None) -> None:
    jsonl(place / "stars.jsonl", [{"text": f"film {i}", "label": v} for i, v in enumerate(values)])
    found = guessed(place, "stars.jsonl")
    assert found.type == kind
    assert [text.startswith(note or "Or") for text in found.notes[1:]] == ([True] if note else [])


def test_the_other_type_works_as_the_note_says(place: Path, tiny: Path) -> None:
    jsonl(place / "stars.jsonl", [{"text": f"film {i}", "label": 1 + i % 5} for i in range(12)])
    recipe_of(place, tiny, "stars.jsonl")
    file = place / "recipe.yaml"
    lines = [line for line in file.read_text().splitlines() if "labels:" not in line]
    file.write_text("\n".join(lines).replace("type: classification", "type: regression"))
    loaded = load_recipe(file)
    assemble(loaded)
    assert loaded.recipe.tasks["stars"].type == "regression"


# what init cannot take ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.tsv", "TRAIN.TSV"])
def test_a_first_line_that_looks_like_data_is_told(place: Path, name: str) -> None:
    lines = [f"gj04\t{i % 2}\t{'*' * (i % 2)}\tSentence number {i}." for i in range(1, 30)]
    (place / name).write_text("\n".join(lines) + "\n")
    [note] = [note for note in guessed(place, name).notes if "looks like data" in note]
    assert note.startswith("The first line looks like data ('gj04', '1', '*'): if it is no header, write `columns: […]`")
    assert "4 names" in note


def test_with_columns_as_the_note_says_no_row_is_lost(place: Path, tiny: Path) -> None:
    (place / "t.tsv").write_text("".join(f"{i % 2}\tgood film {i}\n" for i in range(30)))
    text = draft([place / "t.tsv"], str(tiny), place)
    assert "# The first line looks like data ('0'): " in text
    data = {"train": "t.tsv", "columns": ["label", "text"], "text": "text", "label": "label"}
    task = {"type": "classification", "path": ["encoder"], "data": data}
    module = {"type": "pretrained", "name": str(tiny)}
    found = assemble(recipe_from({"modules": {"encoder": module}, "tasks": {"t": task}}))
    assert found.rows["t"] == {"train": 30}


@pytest.mark.parametrize(("name", "head"), [("a.csv", ",text,label"), ("a.jsonl", "")])
def test_names_that_are_none_of_the_values_are_a_header(place: Path, name: str, head: str) -> None:
    if head:
        (place / name).write_text(head + "\n" + "".join(f"{i},good film,{i % 2}\n" for i in range(20)))
    else:
        jsonl(place / name, [{"text": "text", "1": "a"} for _ in range(20)])
    assert not any("looks like data" in note for note in guessed(place, name).notes)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([{"a": 1}, {"b": 2}], "set.jsonl:1: task set: a label is text, a whole number, true or false"),
        ([None, None], "task set: no row has a label in column 'label'"),
        (["a", 1, "b"], "write all labels of a column as one type"),
    ],
    ids=["maps", "nothing", "several types"],
)
def test_labels_that_no_recipe_could_learn(place: Path, tiny: Path, values: list[Any], rule: str) -> None:
    jsonl(place / "set.jsonl", [{"text": f"film {i}", "label": v} for i, v in enumerate(values * 6)])
    with pytest.raises(DataError, match=re.escape(rule)):
        draft([place / "set.jsonl"], str(tiny), place)


def test_a_file_of_one_column(place: Path) -> None:
    (place / "x.csv").write_text("text\nfine\n")
    with pytest.raises(DataError) as caught:
        guessed(place, "x.csv")
    assert str(caught.value) == f"{place / 'x.csv'}: a text and a label column are wanted; found 'text'"


def test_plain_lines_are_told_what_they_may_be(place: Path) -> None:
    (place / "ner.txt").write_text("anna B-PER\n")
    with pytest.raises(DataError, match=r"for a word and its tag a line name it \.conll"):
        guessed(place, "ner.txt")


def test_another_separator_is_told(place: Path) -> None:
    (place / "x.csv").write_text("text;label\nfine;a\n")
    with pytest.raises(DataError, match="parted by semicolons: write it with commas"):
        guessed(place, "x.csv")


def test_folders_are_told_what_is_wanted(place: Path) -> None:
    (place / "news").mkdir()
    with pytest.raises(RecipeError) as caught:
        draft([place / "news", place], "minilm", place)
    assert [p.place for p in caught.value.problems] == [str(place / "news"), str(place)]
    assert "data files are wanted" in str(caught.value)
    assert "`format: folders`" in str(caught.value)


# text in YAML -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["a", "../x/y.csv", ".inf", ".5", "-", "1", "null", "True", "a b", "a#b", "é", "a\nb", "", "~", "a: b"]
)
def test_text_as_yaml(value: str) -> None:
    assert YAML(typ="safe").load(f"key: {_yaml(value)}   # note\n") == {"key": value}
