"""Pairs, choices and windows through the commands: what of the rows is not read, and what is wrong with them, is told."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manyheads.api import load_recipe
from manyheads.run import run

Command = Callable[..., tuple[int, str, str]]

RECIPE = """\
seed: 5
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 16}}}}
defaults: {{path: [encoder]}}
tasks:
  likeness: {{type: classification, data: {{train: likeness.jsonl, text: one, pair: two, split: {{dev: 0.5}}}}}}
  where: {{type: multiple_choice, data: {{train: where.jsonl, choices: choices, split: {{dev: 0.5}}}}}}
  who: {{type: question_answering, data: {{train: who.jsonl, dev: who.jsonl, stride: 2}}}}
training: {{epochs: 1, batch: {{rows: 6}}, checkpoint: {{every_minutes: null}}, device: cpu}}
"""
ROWS: dict[str, list[dict[str, Any]]] = {
    "likeness": [{"one": "a cat", "two": ("a cat", "the dog")[i % 2], "label": ("yes", "no")[i % 2]} for i in range(12)],
    "where": [{"text": "anna in", "choices": ["rome", "oslo", "a cat"][: 2 + i % 2], "label": i % 2} for i in range(12)],
    "who": [{"question": "by ?", "context": "a cat by anna", "answers": ["anna"], "starts": [9]} for i in range(12)],
}


def written(name: str, *more: dict[str, Any]) -> None:
    """The rows of a data set, further ones behind them, in the current folder."""
    Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (*ROWS[name], *more)))


def prepared(folder: Path, encoder: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE.format(encoder=encoder))
    for name in ROWS:
        written(name)


@pytest.fixture
def here(place: Path, tiny: Path) -> Path:
    prepared(place, tiny)
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MANYHEADS_CACHE", str(folder / "cache"))
        prepared(folder, tiny)
        list(run(load_recipe(folder / "recipe.yaml")))
    return folder


@pytest.fixture
def trained(model: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(model, place / "copy"))
    monkeypatch.chdir(copy)
    return copy


def test_rows_that_are_read_whole_are_told_of_with_no_word(command: Command, here: Path) -> None:
    assert command("check", "recipe.yaml")[2] == ""


LONG = "a cat at the film at the song " * 3
ENDLESS = {"question": "by ?", "context": LONG, "answers": [LONG.strip()], "starts": [0]}


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        ("where", {"text": LONG, "choices": ["rome", "oslo"], "label": 0}, "rows ({}) are longer than the limit and are cut"),
        ("where", {"text": "in", "choices": ["rome", LONG], "label": 0}, "rows ({}) are longer than the limit and are cut"),
        ("likeness", {"one": "a", "two": LONG, "label": "no"}, "rows ({}) are longer than the limit and are cut"),
        ("who", {**ROWS["who"][0], "question": LONG}, "rows (8%) have questions over half of the limit and are cut"),
        ("who", ENDLESS, "rows (8%) have an answer that no window holds whole, so it cannot be found"),
    ],
)
def test_what_is_not_read_whole_is_counted_in_the_split_that_it_is_in(
    command: Command, here: Path, name: str, row: dict[str, Any], told: str
) -> None:
    """One long row is in training or dev, by lot; of `who` it is in both."""
    written(name, row)
    _, out, err = command("check", "recipe.yaml", "--json")
    counts = json.loads(out)["datasets"][name]
    shares = [f"{1 / counts['rows'][split]:.0%}" for split in ("train", "dev")]
    lines = [f"{name}: 1 {rows} {told.format(s)}" for rows, s in zip(("training", "dev"), shares, strict=True)]
    seen = [any(line in warning for warning in json.loads(out)["warnings"]) for line in lines]
    assert sum(seen) == (2 if name == "who" else 1)
    assert counts["cut"] == {
        split: int(told and row is not ENDLESS) for split, told in zip(("train", "dev"), seen, strict=True)
    }
    assert err == ""
    shown = command("check", "recipe.yaml")[2]
    assert [" ".join(line.split()) in " ".join(shown.split()) for line in lines] == seen


def test_answers_that_are_too_long_to_be_given_are_counted(command: Command, here: Path) -> None:
    """In one window and in several; of a row whose answer stands in no window whole only that is told."""
    far = {"question": "by ?", "context": f"a cat by anna {LONG}", "answers": ["cat by anna"], "starts": [2]}
    written("who", {**ROWS["who"][0], "answers": ["cat by anna"], "starts": [2]}, far, ENDLESS)
    told = "who: 2 {} rows (13%) have an answer of more than 2 pieces, and task who gives none; raise its `longest`"
    for longest, wanted in ((2, True), (3, False)):
        warnings = json.loads(command("check", "recipe.yaml", f"tasks.who.longest={longest}", "--json")[1])["warnings"]
        assert [told.format(split) in warnings for split in ("training", "dev")] == [wanted] * 2


def test_a_long_context_is_windows_and_nothing_of_it_is_cut(command: Command, here: Path) -> None:
    written("who", {**ROWS["who"][0], "context": f"a cat by anna {LONG}"})
    code, out, err = command("check", "recipe.yaml")
    assert (code, err) == (0, "")
    found = json.loads(command("check", "recipe.yaml", "--json")[1])["datasets"]
    windows, choices = found["who"]["sequences"], found["where"]["sequences"]
    assert windows > found["who"]["rows"]["train"] == 13
    assert f"who: the encoder reads {windows} windows or choices for 13 training rows" in out
    assert f"where: the encoder reads {choices} windows or choices for {found['where']['rows']['train']} training rows" in out
    assert "likeness: the encoder reads" not in out
    assert found["likeness"]["sequences"] == found["likeness"]["rows"]["train"]


def test_pairs_without_their_second_text(command: Command, here: Path) -> None:
    """One that is missing is an error; an empty one is a text, as in any data set, and counted."""
    written("likeness", {"one": "a", "two": " ", "label": "yes"}, {"one": "a", "two": "", "label": "yes"})
    code, _, err = command("check", "recipe.yaml")
    assert (code, err) == (0, "warning: likeness: 2 rows have no text in column 'two'\n")
    for row, told in (({}, "the row has no column 'two'"), ({"two": None}, "column 'two' must be text, not null")):
        written("likeness", {"one": "a", "label": "yes", **row})
        assert command("check", "recipe.yaml")[::2] == (3, f"error: likeness.jsonl:13: {told}\n")


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        ("where", {"text": "in", "choices": ["rome", "rome"], "label": "rome"}, "task where: several choices have this text; "),
        ("where", {"text": "in", "choices": ["rome"], "label": 0}, "column 'choices' holds one choice; a row needs two"),
        (
            "where",
            {"text": "in", "choices": "rome|oslo", "label": 0},
            "'rome|oslo'\n    the cells of csv and tsv are texts; jsonl",
        ),
        ("who", {"question": "?", "answers": ["a"], "starts": [0]}, "column 'context' must be text; found null"),
        ("who", {"question": "?", "context": "a", "answers": ["a"]}, "their offsets, in column 'starts', come as a list"),
        ("who", {"question": "?", "context": "a", "answers": {"text": ["a"]}}, "their offsets, in `answer_start`, come as"),
    ],
)
def test_labels_that_their_row_cannot_have(command: Command, here: Path, name: str, row: dict[str, Any], told: str) -> None:
    written(name, *[row] * 4)
    code, _, err = command("check", "recipe.yaml")
    assert code == 3
    assert f"{name}.jsonl:1" in err
    assert told in err


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("tasks.where.data.choices=choises", "where.jsonl: the input: no such column (there are: 'text', 'choices', 'label')"),
        ("tasks.who.data.pair=contxt", "who.jsonl: the input: no such column (there are: 'question', 'context', 'answers'"),
    ],
)
def test_a_column_that_is_not_there_is_told_once(command: Command, here: Path, override: str, told: str) -> None:
    code, _, err = command("check", "recipe.yaml", override)
    assert code == 3
    assert err.count("error: ") == 1
    assert told in err
    assert "did you mean 'cho" in err or "did you mean 'con" in err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"text": "a", "pair": null}', "`pair` is null"),
        ('{"question": "a"}', "`question` is there without `context`"),
        ('{"context": "a"}', "`context` is there without `question`"),
        ('{"pair": "a"}', "`pair` is there without `text`"),
        ('{"choices": ["a", "b"]}', "`choices` is there without `text`"),
        ('{"text": "a", "choices": ["b"]}', "`choices` has one choice"),
        ('{"text": "a", "choices": []}', "`choices` is empty"),
        ('{"text": "a", "choices": "b|c"}', "`choices` is not a list of texts"),
        ('{"words": ["a", 1]}', "`words` is not a list of texts"),
        ('{"txt": "a"}', "this one has 'txt'"),
        ("[]", "this is a list"),
        ('{"text": "a"}', "the tasks 'likeness', 'where', 'who' read pairs and texts with choices and questions"),
    ],
)
def test_lines_that_no_task_reads_say_what_is_amiss(command: Command, trained: Path, line: str, told: str) -> None:
    Path("in.jsonl").write_text(line + "\n")
    code, out, err = command("predict", "run", "--input", "in.jsonl")
    assert (code, out) == (3, "")
    assert err.startswith("error: in.jsonl:1: ")
    assert told in err


def test_choices_may_differ_in_number_and_answers_say_what_was_not_read(command: Command, trained: Path) -> None:
    lines = [
        {"text": "a", "choices": ["rome", "oslo", "cat", "dog"]},
        {"text": "a", "choices": ["rome", LONG]},
        {"question": LONG, "context": "by anna"},
        {"question": "by ?", "context": LONG},
        {"text": "a cat", "pair": LONG},
    ]
    Path("in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, out, _ = command("predict", "run", "--input", "in.jsonl")
    many, cut, asked, windows, pair = [json.loads(line) for line in out.splitlines()]
    assert len(many["tasks"]["where"]["probabilities"]) == 4
    assert [a.get("cut", 0) > 0 for a in (many, cut, asked, windows, pair)] == [False, True, True, True, True]
    assert windows["cut"] == pair["cut"] == 13, "as pairs they have 26 pieces, of which 13 fit"
    Path("in.jsonl").write_text(json.dumps(lines[3]))
    assert "cut" not in json.loads(command("predict", "run", "--input", "in.jsonl", "--task", "who")[1])


def test_predictions_of_rows_with_choices_and_windows(command: Command, trained: Path) -> None:
    code, _, err = command("evaluate", "run", "--predictions", "answers")
    assert code == 0, err
    found = {p.name: [json.loads(line) for line in p.read_text().splitlines()] for p in Path("answers").iterdir()}
    assert found.keys() == {"likeness.dev.jsonl", "where.dev.jsonl", "who.dev.jsonl"}
    assert {len(line["probabilities"]) for line in found["where.dev.jsonl"]} == {2, 3}
    assert [line["text"] in ROWS["where"][1]["choices"] for line in found["where.dev.jsonl"]].count(False) == 0
    assert len(found["who.dev.jsonl"]) == 12


def test_a_file_with_other_labels_is_told_which_the_model_has(command: Command, trained: Path) -> None:
    written("likeness", {"one": "a", "two": "b", "label": "maybe"}, {"one": "a", "two": "b", "label": "Yes"})
    code, out, err = command("evaluate", "run", "--data", "likeness=likeness.jsonl")
    assert (code, out) == (3, "")
    assert "likeness.jsonl:13: task likeness: the label is not in the schema; found 'maybe'" in err
    assert "the model answers with 'no', 'yes' and no others: correct the row, or score a file without it" in err
    assert "found 'Yes'; did you mean 'yes'?" in err
    assert "name the label under `labels`" not in err


def test_what_is_not_read_of_a_file_is_told_when_it_is_scored(command: Command, trained: Path) -> None:
    Path("long.jsonl").write_text(json.dumps({"one": LONG, "two": "b", "label": "no"}) + "\n")
    code, out, err = command("evaluate", "run", "--data", "likeness=long.jsonl", "--json")
    assert (code, err) == (0, "warning: long.jsonl: likeness: 1 test rows (100%) are longer than the limit and are cut\n")
    assert "likeness/likeness/long.jsonl/accuracy" in json.loads(out)["scores"]


def test_questions_without_an_answer_under_a_model_that_always_gives_one(command: Command, trained: Path) -> None:
    told = "have no answer, and task who always gives one; train it with `no_answer: true`"
    unanswered = {"question": "by ?", "context": "a cat", "answers": [], "starts": []}
    Path("dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (*ROWS["who"], unanswered)))
    assert command("check", "recipe.yaml", "tasks.who.data.dev=dev.jsonl")[2] == f"warning: who: 1 dev rows (8%) {told}\n"
    assert command("check", "recipe.yaml", "tasks.who.data.dev=dev.jsonl", "tasks.who.no_answer=true")[2] == ""
    code, _, err = command("evaluate", "run", "--data", "who=dev.jsonl")
    assert (code, err) == (0, f"warning: dev.jsonl: who: 1 test rows (8%) {told}\n")


@pytest.mark.parametrize(
    ("ids", "told"), [(["a", "b", "a"], "an earlier question has the same `id`"), (["a", "b", None], "no text as its `id`")]
)
def test_answers_by_id_want_an_id_of_each_question(command: Command, here: Path, ids: list[str | None], told: str) -> None:
    rows = [{**row, "id": i} for row, i in zip(ROWS["who"], ids, strict=False)]
    Path("who.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert command("train", "recipe.yaml", "training.steps=1")[0] == 0
    code, _, err = command("evaluate", "run", "--predictions", "answers")
    assert code == 3
    assert re.search(rf"who\.jsonl:3: no who\.dev\.json is written, which has an answer for each id: .*{told}", err)
