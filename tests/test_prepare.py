"""Files become rows, rows are set aside, labels are fitted on what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manyheads.config.recipe import Recipe
from manyheads.config.spec.data import DataSpec
from manyheads.data.cache import Cache
from manyheads.data.number_target import NumberTarget
from manyheads.data.targets import ClassTarget, MultilabelTarget, TagTarget
from manyheads.errors import DataError
from manyheads.prepare import Source, _target, encoded, prepare, read_splits, sources
from manyheads.text.tokenize import Tokenizer

ENCODER = {"encoder": {"type": "pretrained", "name": "x"}}


def recipe_of(tasks: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.model_validate(
        {"modules": ENCODER, "tasks": {n: {"path": ["encoder"], **t} for n, t in tasks.items()}, **more}
    )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("task", "target", "column"),
    [
        ({"type": "classification", "data": {"train": "r.jsonl"}}, ClassTarget, "label"),
        ({"type": "multilabel", "data": {"train": "r.jsonl"}}, MultilabelTarget, "label"),
        ({"type": "regression", "low": 0.0, "data": {"train": "r.jsonl", "label": "stars"}}, NumberTarget, "stars"),
        ({"type": "tagging", "data": {"train": "r.jsonl", "words": "words"}}, TagTarget, "tags"),
    ],
)
def test_each_type_reads_its_label_column(tmp_path: Path, task: dict[str, Any], target: type, column: str) -> None:
    rows = [{"text": "x", "label": label, "stars": 1.5, "words": ["x"], "tags": ["O"]} for label in ("a", "b")]
    write(tmp_path / "r.jsonl", rows)
    [source] = sources(recipe_of({"t": task}))
    found = prepare(source, tmp_path, 1)
    assert isinstance(found.targets["t"], target)
    assert found.targets["t"].column == column
    assert [fact.path for fact in found.read["train"].files] == ["r.jsonl"]


def test_inputs_that_are_not_named() -> None:
    tagging = {"type": "tagging", "data": {"train": "a.jsonl"}}
    plain = {"type": "classification", "data": {"train": "a.jsonl"}}
    pair = {"type": "classification", "data": {"train": "a.jsonl", "pair": "second"}}
    found = {s.name: s for s in sources(recipe_of({"tags": tagging, "plain": plain, "pair": pair}))}
    assert {name: source.reads for name, source in found.items()} == {"tags": "words", "plain": "text", "pair": "pair"}
    assert found["pair"].inputs.columns == ("text", "second")


@pytest.mark.parametrize(
    ("data", "columns", "tags"),
    [
        ({"train": "a.conll"}, ("words",), "tags"),
        ({"train": "a", "format": "conll"}, ("words",), "tags"),
        ({"train": ["a.conllu.gz", "b.txt"]}, ("form",), "upos"),
        ({"dev": "a.conllu"}, ("form",), "upos"),
        ({"train": "a", "format": "slots"}, ("words",), "tags"),
        ({"train": "a.json", "format": "squad"}, ("question", "context"), None),
        ({"train": "a.json", "format": "squad", "text": "title"}, ("title",), None),
        ({"train": "a.json", "format": "squad", "pair": "title"}, ("question", "title"), None),
        ({"train": "a.conllu", "words": "lemma"}, ("lemma",), "upos"),
        ({"train": "a.conllu", "text": "text"}, ("text",), None),
        ({"train": "a.csv"}, ("text",), None),
        ({"train": "a.unknown"}, ("text",), None),
        ({"train": "a", "format": "of_a_plug_in"}, ("text",), None),
    ],
    ids=str,
)
def test_a_format_has_its_own_columns(data: dict[str, Any], columns: tuple[str, ...], tags: str | None) -> None:
    source = one_source(data)
    assert source.inputs.columns == columns
    if tags is not None:
        assert _target("t", one_source(data, "tagging").tasks["t"], source).column == tags


def test_words_and_their_tags_are_found_in_conllu(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text("1\tAnna\tAnna\tPROPN\t_\t_\t2\tnsubj\t_\t_\n2\tsang\tsing\tVERB\t_\t_\t0\troot\t_\t_\n")
    found = prepare(one_source({"train": "a.conllu"}, "tagging", scheme="none"), tmp_path, 1)
    assert found.targets["t"].target(found.rows["train"][0]) == (0, 1)
    assert found.targets["t"].labels.names == ("PROPN", "VERB")  # type: ignore[union-attr]


def test_pairs_without_agreement_have_no_label(tmp_path: Path) -> None:
    """As SNLI has them: its annotators' label is `-` where they did not agree."""
    labels = ("entailment", "-", "neutral")
    write(tmp_path / "snli.jsonl", [{"sentence1": "A", "sentence2": "B", "gold_label": label} for label in labels])
    data = {"train": "snli.jsonl", "text": "sentence1", "pair": "sentence2", "label": "gold_label"}
    found = prepare(one_source({**data, "missing": ["-"]}), tmp_path, 1)
    assert found.targets["t"].labels.names == ("entailment", "neutral")  # type: ignore[union-attr]
    assert [found.targets["t"].target(row) for row in found.rows["train"]] == [0, None, 1]


def test_labels_are_fitted_on_training_rows_alone(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [{"text": "x", "label": "a"}, {"text": "y", "label": "b"}])
    write(tmp_path / "dev.jsonl", [{"text": "x", "label": "c"}])
    [source] = sources(recipe_of({"t": {"type": "classification", "data": {"train": "train.jsonl", "dev": "dev.jsonl"}}}))
    found = prepare(source, tmp_path, 1)
    assert found.targets["t"].labels.names == ("a", "b")  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"dev\.jsonl:1"):
        found.targets["t"].target(found.rows["dev"][0])


@pytest.mark.parametrize(
    ("data", "kept", "told"),
    [
        ({}, 2, [3, None]),
        ({"stream": {"rows": 1, "words": 4}}, 4, [3, 3]),  # one text, in which an empty line is an end
        ({"bad_rows": "skip"}, 2, [3, None]),
    ],
)
def test_rows_without_a_word_are_no_texts_of_a_language_model(
    tmp_path: Path, data: dict[str, Any], kept: int, told: list[int | None]
) -> None:
    (tmp_path / "t.txt").write_text("a b\n\n  \nc\n")
    (tmp_path / "d.txt").write_text("a\n \n")
    modules = {"words": {"type": "embedding", "width": 4}}
    task = {
        "type": "language_modelling",
        "direction": "both",
        "path": ["words"],
        "data": {"train": "t.txt", "dev": "d.txt", **data},
    }
    [source] = sources(Recipe.model_validate({"modules": modules, "tasks": {"lm": task}}))
    found = prepare(source, tmp_path, 1)
    assert len(found.rows["train"]) == kept
    warning = "lm: 3 rows have no text in column 'text', and nothing is asked of them"
    assert found.blank == (() if "stream" in data else (warning,))
    assert [found.targets["lm"].target(row) for row in found.rows["dev"]] == told


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_list_without_a_word_is_a_bad_row_of_a_language_model_too(tmp_path: Path, tiny: Path, policy: str) -> None:
    write(tmp_path / "t.jsonl", [{"words": ["x", "y"]}, {"words": []}])
    modules = {"words": {"type": "embedding", "width": 4}}
    data = {"train": "t.jsonl", "words": "words", "bad_rows": policy}
    task = {"type": "language_modelling", "path": ["words"], "data": data}
    [source] = sources(Recipe.model_validate({"modules": modules, "tasks": {"lm": task}}))
    found = prepare(source, tmp_path, 1)
    if policy == "skip":
        assert [str(bad.place).rpartition("/")[2] for bad in found.bad] == ["t.jsonl:2"]
    else:
        with pytest.raises(DataError, match=r"t\.jsonl:2: column 'words' holds no word"):
            encoded(found, Tokenizer.load(tiny), 8, None)


def test_rows_without_a_word_stay_for_tasks_that_ask_something_else(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", [{"text": "x y", "label": "a"}, {"text": "", "label": "b"}])
    modules = {"words": {"type": "embedding", "width": 4}}
    tasks = {
        "t": {"type": "classification", "path": ["words"], "data": {"from": "d"}},
        "lm": {"type": "language_modelling", "path": ["words"], "data": {"from": "d"}},
    }
    [source] = sources(Recipe.model_validate({"modules": modules, "tasks": tasks, "data": {"d": {"train": "t.jsonl"}}}))
    found = prepare(source, tmp_path, 1)
    assert [found.targets[name].target(row) for row in found.rows["train"] for name in ("t", "lm")] == [0, 1, 1, None]


def test_bad_rows_of_all_splits_are_kept(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("text,label\nx,a\ny,b\none,two,three\n")
    data = {"train": "train.csv", "test": "test.csv", "bad_rows": "skip"}
    [source] = sources(recipe_of({"t": {"type": "classification", "data": data}}))
    assert [bad.place.path for bad in prepare(source, tmp_path, 1).bad] == ["train.csv", "test.csv"]


def test_a_missing_label_column_names_the_task(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", [{"text": "x", "lable": "a"}])
    [source] = sources(recipe_of({"mood": {"type": "classification", "data": {"train": "r.jsonl"}}}))
    with pytest.raises(DataError, match=r"task mood: no such column .*; did you mean 'lable'"):
        prepare(source, tmp_path, 1)


def test_a_missing_text_column_is_told_when_rows_are_encoded(tmp_path: Path, tiny: Path) -> None:
    write(tmp_path / "r.jsonl", [{"txt": "x", "label": "a"}])
    [source] = sources(recipe_of({"mood": {"type": "classification", "data": {"train": "r.jsonl"}}}))
    with pytest.raises(DataError, match=r"the input: no such column .*; did you mean 'txt'"):
        encoded(prepare(source, tmp_path, 1), Tokenizer.load(tiny), 16, None)


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_held_out_rows_need_no_label_column(tmp_path: Path, tiny: Path, split: str, policy: str) -> None:
    write(tmp_path / "train.jsonl", [{"text": "x", "label": "a", "stars": 1}, {"text": "y", "label": "b", "stars": 2}])
    write(tmp_path / "more.jsonl", [{"text": "z", "stars": 2}])
    tasks = {
        "one": {"type": "classification", "data": {"from": "set"}},
        "two": {"type": "regression", "data": {"from": "set", "label": "stars"}},
    }
    data = {"set": {"train": "train.jsonl", split: "more.jsonl", "bad_rows": policy}}
    [source] = sources(recipe_of(tasks, data=data))
    found = prepare(source, tmp_path, 1)
    assert found.bad == ()
    held_out = encoded(found, Tokenizer.load(tiny), 16, None)[split]  # type: ignore[index]  # dev or test
    assert {task: held_out.items(task).tolist() for task in held_out.tasks} == {"one": [0], "two": [1]}


# bad rows -----------------------------------------------------------------------------------------------------------


def one_source(data: dict[str, Any], task: str = "classification", **more: Any) -> Source:
    [source] = sources(recipe_of({"t": {"type": task, "data": data, **more}}))
    return source


LABELLED = [{"text": "x", "label": "a"}, {"text": 3, "label": "a"}, {"text": "y", "label": 1.5}, {"text": "z", "label": "b"}]


@pytest.mark.parametrize("policy", ["skip", "quarantine"])
def test_rows_whose_input_or_label_is_bad_are_left_out_with_their_rule(tmp_path: Path, tiny: Path, policy: str) -> None:
    write(tmp_path / "r.jsonl", LABELLED)
    write(tmp_path / "dev.jsonl", [{"text": "x", "label": "c"}, {"text": "x", "label": "b"}])
    found = prepare(one_source({"train": "r.jsonl", "dev": "dev.jsonl", "bad_rows": policy}), tmp_path, 1)
    assert {split: [row.place.line for row in rows] for split, rows in found.rows.items()} == {"train": [1, 4], "dev": [2]}
    assert found.targets["t"].labels.names == ("a", "b")  # type: ignore[union-attr]
    assert [(str(row.place), row.rule) for row in found.bad] == [
        ("r.jsonl:2", "column 'text' must be text, not a number; found '3'"),
        ("r.jsonl:3", "task t: a label is text, a whole number, true or false; found '1.5'"),
        ("dev.jsonl:1", "task t: the label is not in the schema; found 'c'"),
    ]
    assert {split: len(data) for split, data in encoded(found, Tokenizer.load(tiny), 16, None).items()} == {
        "train": 2,
        "dev": 1,
    }


def test_the_same_rows_are_errors_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", LABELLED)
    with pytest.raises(DataError, match=r"r\.jsonl:3"):
        prepare(one_source({"train": "r.jsonl"}), tmp_path, 1)


@pytest.mark.parametrize(
    ("task", "more", "bad"),
    [
        ("regression", {"low": 0.0, "high": 5.0}, 6),
        ("regression", {}, "much"),
        ("classification", {"labels": ["1", "2"]}, 3),
        ("multilabel", {"labels": ["1", "2"]}, [1, 3]),
    ],
)
def test_each_type_has_its_bad_labels(tmp_path: Path, task: str, more: dict[str, Any], bad: Any) -> None:
    labels = [["1"], ["2"], bad] if task == "multilabel" else [1, 2, bad]
    texts = ["1", "2", "much"] if bad == "much" else labels
    write(tmp_path / "r.jsonl", [{"text": "x", "label": label} for label in texts])
    found = prepare(one_source({"train": "r.jsonl", "bad_rows": "skip"}, task, **more), tmp_path, 1)
    assert [row.place.line for row in found.rows["train"]] == [1, 2]
    assert [row.place.line for row in found.bad] == [3]


def test_sentences_with_bad_tags_are_left_out_and_leave_no_tag_behind(tmp_path: Path) -> None:
    (tmp_path / "r.conll").write_text("anna B-PER\n\nrome Q-LOC\nin B-NEW\n\noslo B-LOC\n")
    found = prepare(one_source({"train": "r.conll", "bad_rows": "skip"}, "tagging"), tmp_path, 1)
    assert found.targets["t"].labels.names == ("O", "B-LOC", "B-PER")  # type: ignore[union-attr]
    [bad] = found.bad
    assert (str(bad.place), "BIO has the tags" in bad.rule) == ("r.conll:3", True)


def test_a_row_that_is_bad_for_one_task_is_left_out_for_all(tmp_path: Path) -> None:
    data = {"set": {"train": "r.jsonl", "bad_rows": "skip"}}
    tasks = {
        "one": {"type": "classification", "data": {"from": "set", "label": "a"}},
        "two": {"type": "regression", "high": 5.0, "data": {"from": "set", "label": "b"}},
    }
    write(
        tmp_path / "r.jsonl",
        [{"text": "x", "a": "p", "b": 1}, {"text": "x", "a": "q", "b": 9}, {"text": "x", "a": "r", "b": 2}],
    )
    [source] = sources(recipe_of(tasks, data=data))
    found = prepare(source, tmp_path, 1)
    assert found.targets["one"].labels.names == ("p", "r")  # type: ignore[union-attr]
    assert [row.place.line for row in found.bad] == [2]


# weights of rows ------------------------------------------------------------------------------------------------------


WEIGHED = [{"text": "x", "label": "a", "w": 2}, {"text": "y", "label": "b"}, {"text": "z", "label": "b", "w": 0.5}]


def test_rows_without_a_weight_are_errors_or_left_out(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", WEIGHED)
    with pytest.raises(DataError, match=r"r\.jsonl:2: task t: the row has a label and no weight in column 'w'"):
        prepare(one_source({"train": "r.jsonl", "weight": "w"}), tmp_path, 1)
    found = prepare(one_source({"train": "r.jsonl", "weight": "w", "bad_rows": "skip"}), tmp_path, 1)
    assert found.weights["t"].tolist() == [2, 0.5]
    assert [str(row.place) for row in found.bad] == ["r.jsonl:2"]


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_column_of_weights_that_is_not_there(tmp_path: Path, policy: str) -> None:
    write(tmp_path / "r.jsonl", WEIGHED)
    with pytest.raises(DataError, match=r"no such column .*; found 'ww'; did you mean 'w'"):
        prepare(one_source({"train": "r.jsonl", "weight": "ww", "bad_rows": policy}), tmp_path, 1)


def test_held_out_rows_need_no_weights_and_training_rows_take_theirs_along(tmp_path: Path, tiny: Path) -> None:
    """One data set, two tasks of which one has weights, rows encoded before with other weights."""
    write(tmp_path / "r.jsonl", [{"text": "x", "one": "a", "two": "b", "w": 1}, {"text": "y", "one": "b", "two": "a", "w": 3}])
    write(tmp_path / "dev.jsonl", [{"text": "x", "one": "b"}])
    names = {"one": {"label": "one", "weight": "w"}, "two": {"label": "two"}}
    tasks = {n: {"type": "classification", "data": {"from": "set", **more}} for n, more in names.items()}
    recipe = recipe_of(tasks, data={"set": {"train": "r.jsonl", "dev": "dev.jsonl"}})
    for first in (1, 5):
        text = (tmp_path / "r.jsonl").read_text()
        (tmp_path / "r.jsonl").write_text(text.replace('"w": 1}', f'"w": {first}}}'))
        found = encoded(prepare(sources(recipe)[0], tmp_path, 1), Tokenizer.load(tiny), 16, Cache(tmp_path / "cache"))
        batch = found["train"].batch([1, 0])
        assert {task: w.tolist() for task, w in batch.weights.items()} == {"one": [3, first]}
        assert found["train"].items("one").tolist() == [first, 3]
        assert found["train"].items("two").tolist() == [1, 1]
        assert found["dev"].batch([0]).weights == {}
    assert len(list((tmp_path / "cache").iterdir())) == 2, "other weights encode nothing anew"


# groups of rows -------------------------------------------------------------------------------------------------------


def test_rows_know_their_groups_in_every_split(tmp_path: Path, tiny: Path) -> None:
    last = {"text": "z", "label": "b", "q": "7"}
    write(tmp_path / "r.jsonl", [{"text": "x", "label": "a", "q": 7}, {"text": "y", "q": None}, last])
    write(tmp_path / "dev.jsonl", [{"text": "x", "label": "b", "q": "1-2"}, {"text": "y", "label": "a", "q": "1-3"}])
    data = {"train": "r.jsonl", "dev": "dev.jsonl", "group": "q"}
    found = encoded(prepare(one_source(data), tmp_path, 1), Tokenizer.load(tiny), 16, None)
    assert found["train"].groups["t"].tolist() == ["7", "", "7"]
    assert found["dev"].groups["t"].tolist() == ["1-2", "1-3"]
    drawn = found["train"].sample(2, 1)
    assert drawn.groups["t"].tolist() == [found["train"].groups["t"][drawn.place(i).line - 1] for i in range(2)]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (None, "r.jsonl:2: task t: the row has a label and no group in column 'q'"),
        ([1], "r.jsonl:2: task t: a group in column 'q': expected a text or a whole number, not a list"),
    ],
)
def test_what_is_no_group(tmp_path: Path, tiny: Path, value: Any, rule: str) -> None:
    write(tmp_path / "r.jsonl", [{"text": "x", "label": "a", "q": 7}, {"text": "y", "label": "b", "q": value}])
    for column, said in (("q", rule), ("qq", "no such column .*; found 'qq'; did you mean 'q'")):
        with pytest.raises(DataError, match=said):
            encoded(prepare(one_source({"train": "r.jsonl", "group": column}), tmp_path, 1), Tokenizer.load(tiny), 16, None)


def test_rows_without_a_group_are_left_out_where_bad_rows_are(tmp_path: Path) -> None:
    rows = [{"text": "x", "label": "a", "q": 7}, {"text": "y", "label": "b"}, {"text": "z", "label": "b", "q": 8}]
    for name in ("r.jsonl", "dev.jsonl"):
        write(tmp_path / name, rows)
    found = prepare(one_source({"train": "r.jsonl", "dev": "dev.jsonl", "group": "q", "bad_rows": "skip"}), tmp_path, 1)
    assert {split: [row.place.line for row in part] for split, part in found.rows.items()} == {"train": [1, 3], "dev": [1, 3]}
    assert [str(row.place) for row in found.bad] == ["r.jsonl:2", "dev.jsonl:2"]


def test_labels_of_several_types_are_no_matter_of_single_rows(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", [{"text": "x", "label": "a"}, {"text": "x", "label": 1}])
    with pytest.raises(DataError, match="write all labels of a column as one type"):
        prepare(one_source({"train": "r.jsonl", "bad_rows": "skip"}), tmp_path, 1)


def test_a_split_of_bad_rows_alone_is_an_error_that_shows_one(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", [{"text": "x", "label": "a"}])
    write(tmp_path / "dev.jsonl", [{"text": "x", "label": "b"}] * 3)
    with pytest.raises(DataError) as caught:
        prepare(one_source({"train": "r.jsonl", "dev": "dev.jsonl", "bad_rows": "skip"}), tmp_path, 1)
    assert str(caught.value) == (
        "dev.jsonl:1: data set t: no dev row is left, 3 break a rule; "
        "the first: task t: the label is not in the schema; found 'b'"
    )


# labels that only rows have which were set aside --------------------------------------------------------------------


def rare_label(tmp_path: Path, rare: str = "rare") -> int:
    """Rows of which one, that `split` sets aside for dev under seed 1, has a label of its own; the line of that row."""
    rows = [{"text": str(i), "label": "ab"[i % 2]} for i in range(20)]
    write(tmp_path / "r.jsonl", rows)
    line = prepare(one_source({"train": "r.jsonl", "split": {"dev": 0.2}}), tmp_path, 1).rows["dev"][0].place.line
    rows[line - 1]["label"] = rare
    write(tmp_path / "r.jsonl", rows)
    return line


def test_a_label_that_only_a_row_set_aside_has(tmp_path: Path) -> None:
    line = rare_label(tmp_path)
    with pytest.raises(DataError) as caught:
        prepare(one_source({"train": "r.jsonl", "split": {"dev": 0.2}}), tmp_path, 1)
    [problem] = caught.value.problems
    assert (problem.place, problem.value) == (f"r.jsonl:{line}", "rare")
    assert problem.remedy.startswith("no training row has this label, for `split` set this row aside: name all labels")


def test_declared_or_set_aside_otherwise_it_is_known(tmp_path: Path) -> None:
    rare_label(tmp_path)
    data = {"train": "r.jsonl", "split": {"dev": 0.2}}
    assert prepare(one_source(data, labels=["a", "b", "rare"]), tmp_path, 1).rows["dev"]
    assert prepare(one_source({**data, "bad_rows": "skip"}), tmp_path, 1).bad
    assert "rare" in prepare(one_source({**data, "split": {"dev": 0.05}}), tmp_path, 2).targets["t"].known  # type: ignore[union-attr]


def test_a_misspelt_label_is_told_as_that(tmp_path: Path) -> None:
    rare_label(tmp_path, "A")
    with pytest.raises(DataError, match="differ only in case") as caught:
        prepare(one_source({"train": "r.jsonl", "split": {"dev": 0.2}}), tmp_path, 1)
    assert caught.value.problems[0].nearest == "a"


def test_otherwise_the_remedy_is_to_correct_the_row(tmp_path: Path, tiny: Path) -> None:
    """Where all labels were declared, or the rows have a file of their own."""
    rare_label(tmp_path)
    write(tmp_path / "train.jsonl", [{"text": "x", "label": label} for label in "ab"])
    declared = one_source({"train": "r.jsonl", "split": {"dev": 0.2}}, labels=["a", "b"])
    for source in (declared, one_source({"train": "train.jsonl", "dev": "r.jsonl"})):
        found = prepare(source, tmp_path, 1)
        with pytest.raises(DataError, match="correct the row, or name the label under `labels`"):
            encoded(found, Tokenizer.load(tiny), 16, None)


def test_rows_that_were_set_aside_are_found_again_without_the_rest(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", [{"text": str(i)} for i in range(20)])
    spec = DataSpec.model_validate({"train": "r.jsonl", "split": {"dev": 0.2, "test": 0.1}})
    whole, _ = read_splits(spec, tmp_path, 4)
    aside, _ = read_splits(spec, tmp_path, 4, held_out=True)
    assert aside == {"dev": whole["dev"], "test": whole["test"]}
    assert sum(map(len, whole.values())) == 20


def test_training_files_are_not_read_for_nothing(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", [{"text": "x"}])
    spec = DataSpec(train="absent.jsonl", test="test.jsonl")
    rows, _ = read_splits(spec, tmp_path, 4, held_out=True)
    assert {split: len(found) for split, found in rows.items()} == {"test": 1}


def test_from_another_folder_the_same_rows_are_set_aside(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", [{"text": str(i)} for i in range(20)])
    (tmp_path / "inner").mkdir()
    here = DataSpec.model_validate({"train": "r.jsonl", "split": {"dev": 0.2}, "limit": 5})
    there = here.model_copy(update={"train": "../r.jsonl"})
    one, _ = read_splits(here, tmp_path, 4)
    two, _ = read_splits(there, tmp_path / "inner", 4)
    for split in ("train", "dev"):
        assert [r.place.line for r in one[split]] == [r.place.line for r in two[split]]


@pytest.mark.parametrize("cached", [False, True])
def test_encoded_rows_come_from_the_cache_or_from_memory(tmp_path: Path, tiny: Path, cached: bool) -> None:
    write(tmp_path / "r.jsonl", [{"text": "good film", "label": "a"}, {"text": "bad", "label": "b"}])
    [source] = sources(recipe_of({"t": {"type": "classification", "data": {"train": "r.jsonl"}}}))
    cache = Cache(tmp_path / "cache") if cached else None
    found = [encoded(prepare(source, tmp_path, 1), Tokenizer.load(tiny), 16, cache)["train"] for _ in range(2)]
    assert [len(data) for data in found] == [2, 2]
    assert found[0].batch([0, 1]).targets["t"].tolist() == found[1].batch([0, 1]).targets["t"].tolist() == [0, 1]
    assert (tmp_path / "cache").exists() == cached
