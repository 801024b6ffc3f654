"""Choices and answers from the recipe to the served answer, beside a task of single texts, on one encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.config.spec.training import TrainingSpec
from manyheads.errors import DataError, RecipeError
from manyheads.predict import Predictor
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.engine import Engine
from manyheads.train.events import Finished
from manyheads.train.taught import ask
from manyheads.types import Record, by_row

RECIPE = """\
seed: 5
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 24}}}}
defaults: {{path: [encoder]}}
tasks:
  mood: {{type: classification, data: {{train: mood.csv, split: {{dev: 0.2}}}}}}
  where:
    type: multiple_choice
    data: {{train: where.jsonl, split: {{dev: 0.2}}, choices: choices}}
  who:
    type: question_answering
    data: {{train: who.json, format: squad, dev: who.json, stride: 4}}
    metrics: [exact_match]
training: {{epochs: 2, batch: {{rows: 6}}, optimizer: {{lr: 5.0e-3}}, checkpoint: {{every_minutes: null}}, device: cpu}}
mixture: {{tasks_per_step: all}}
"""


def squad(count: int = 18) -> dict[str, Any]:
    articles = []
    for i in range(count):
        name, town = ("anna", "omar")[i % 2], ("rome", "oslo")[i % 3 % 2]
        context = "the good film by the dog " * (i % 4) + f"{name} in {town} " + "a cat at the song " * (i % 3)
        answer = {"text": name, "answer_start": context.index(name)}
        asked = {"id": str(i), "question": "by anna ?", "answers": [] if i % 6 == 5 else [answer], "is_impossible": i % 6 == 5}
        articles.append({"title": str(i), "paragraphs": [{"context": context, "qas": [asked]}]})
    return {"version": "v2.0", "data": articles}


@pytest.fixture
def mixed(place: Path, tiny: Path) -> Path:
    (place / "mood.csv").write_text("text,label\n" + "".join(f"{('good', 'bad')[i % 2]} film,{i % 2}\n" for i in range(20)))
    rows = [{"text": f"{('anna', 'omar')[i % 2]} in", "choices": ["rome", "oslo", "a cat"][: 2 + i % 2]} for i in range(20)]
    (place / "where.jsonl").write_text("".join(json.dumps({**row, "label": i % 2}) + "\n" for i, row in enumerate(rows)))
    (place / "who.json").write_text(json.dumps(squad()))
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny))
    return place / "recipe.yaml"


def assembled(recipe: Path) -> Assembly:
    return assemble(load_recipe(recipe))


def finished(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


def test_one_run_trains_scores_and_serves_them(mixed: Path) -> None:
    last = finished(mixed)
    kept = {r.key: r.value for r in last.records if r.step == last.best and r.split == "dev"}
    assert {"mood/mood/dev/accuracy", "where/where/dev/accuracy", "who/who/dev/answer_f1", "who/who/dev/exact_match"} <= {*kept}
    assert "where/where/dev/accuracy@majority" in {r.key for r in last.records}
    artefact = load_artefact(last.artefact)
    again: list[Record] = rescore(artefact, load_recipe(last.artefact / "resolved.yaml"))[0]
    for record in again:
        assert record.value == pytest.approx(kept[record.key], abs=1e-6), record.key
    predictor = Predictor(artefact)
    assert predictor.tasks == {"mood": "text", "where": "choices", "who": "windows"}
    context = "the good film by the dog omar in rome a cat at the song at the film by anna"
    text, choice, answer = predictor(["good film", ("anna in", ["rome", "oslo"]), ("by anna ?", context)])
    assert (set(text.predictions), set(choice.predictions), set(answer.predictions)) == ({"mood"}, {"where"}, {"who"})
    said = answer.to_json()["tasks"]["who"]
    assert said["answer"] == context[said["start"] : said["stop"]]
    told = choice.to_json()["tasks"]["where"]
    assert told["text"] == ("rome", "oslo")[told["choice"]]
    assert sum(told["probabilities"]) == pytest.approx(1)
    card = (last.artefact / "README.md").read_text()
    assert '("A text", ["one choice", "another"]), ("A question?", "The text that holds the answer.")' in card


def test_what_is_served_is_what_was_scored(mixed: Path) -> None:
    """The answers to the dev rows, one by one, give the scores of the run."""
    last = finished(mixed)
    found = {r.key: r.value for r in last.records if r.step == last.best}
    predictor = Predictor.load(last.artefact)
    questions = [
        (asked["question"], paragraph["context"], [a["text"] for a in asked["answers"]])
        for article in squad()["data"]
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]
    answers = [predictor([(asked, context)])[0].predictions["who"].value for asked, context, _ in questions]
    right = [answer in (accepted or [""]) for answer, (_, _, accepted) in zip(answers, questions, strict=True)]
    assert sum(right) / len(right) == pytest.approx(found["who/who/dev/exact_match"])


def test_rows_of_several_sequences_share_a_round_with_others(mixed: Path) -> None:
    """Joined or apart, losses and gradients are the same; a forward pass is one for all batches of the round."""
    found = assembled(mixed)
    model = found.build().eval()
    batches = [found.train["mood"].batch([0, 1]), found.train["where"].batch([2, 3, 5]), found.train["who"].batch([7, 4])]
    assert [b.sequences for b in batches] == [2, sum(batches[1].parts or ()), sum(batches[2].parts or ())]
    passes: list[int] = []
    hook = model.pool["encoder"].register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    together = model.losses(batches)
    assert passes == [sum(b.sequences for b in batches)]
    hook.remove()
    for batch in batches:
        for task, loss in model.losses([batch]).items():
            torch.testing.assert_close(together[task], loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["where", "who"])
def test_rows_of_several_sequences_are_answered_twice(mixed: Path, name: str) -> None:
    """In one pass with the others, and each row beside itself: without dropout the two answers are one."""
    found = assemble(load_recipe(mixed, [f"tasks.{name}.consistency=2.0"]))
    model, plain = found.build().train(), found.build().eval()
    batches = [found.train[name].batch([2, 3, 5]), found.train["mood"].batch([0, 1]), found.train[name].batch([4, 1])]
    sequences = [sum(batch.parts or ()) for batch in batches]
    assert sequences[0] != 2 * sequences[2]
    passes: list[int] = []
    model.pool["encoder"].register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    torch.manual_seed(3)
    noisy = model.losses(batches)[name]
    assert passes == [2 * sequences[0] + 2 + 2 * sequences[2]]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    quiet, wanted = model.losses(batches), plain.losses(batches)
    assert quiet.keys() == {name, "mood"}
    for task, loss in quiet.items():
        torch.testing.assert_close(loss, wanted[task], rtol=1e-4, atol=1e-5)
    assert abs(float(noisy.detach()) - float(quiet[name].detach())) > 1e-3


def test_choices_are_learned_from_a_teacher(mixed: Path) -> None:
    """It says of each row what its predictor says; rows of three choices among those of two."""
    teacher = finished(mixed, "training.epochs=6", "output=teacher").artefact
    settings = ["tasks.where.teacher={from: teacher/artefact, weight: 1.0, temperature: 1}", "tasks.where.consistency=0.5"]
    assembly = assemble(load_recipe(mixed, settings))
    data = assembly.train["where"]
    [[task, scores]] = ask(assembly.teachers[0], assembly.train, Engine(TrainingSpec(device="cpu"))).items()
    assert (task, scores[0].shape) == ("where", (3,))
    predictor, lines = Predictor.load(teacher), (mixed.parent / "where.jsonl").read_text().splitlines()
    counts = set()
    for i, found in enumerate(scores):
        row = json.loads(lines[data.place(i).line - 1])
        [answer] = predictor([(row["text"], row["choices"])], ["where"])
        said = list(answer.predictions["where"].probabilities.values())
        assert found.softmax(-1).tolist()[: len(said)] == pytest.approx(said, abs=1e-6)
        assert found[len(said) :].isneginf().all()
        counts.add(len(said))
    assert counts == {2, 3}
    last = finished(mixed, *settings, "training.epochs=6")
    losses = [r.value for r in last.records if (r.task, r.split, r.metric) == ("where", "train", "loss")]
    assert len(losses) > 1
    assert 0 <= losses[-1] < losses[0]


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(mixed: Path, tmp_path: Path) -> None:
    agreeing = ["tasks.who.consistency=1.0", "tasks.who.perturbation={}", "tasks.where.consistency=0.5"]
    whole = finished(mixed, *agreeing, "output=whole")
    stopped = run(load_recipe(mixed, [*agreeing, "output=parted", "training.evaluate_every=2"]))
    steady = finished(mixed, *agreeing, "output=steady", "training.evaluate_every=2")
    for event in stopped:
        if type(event).__name__ == "Evaluated":
            break
    stopped.close()
    again = finished(mixed, *agreeing, "output=parted", "training.evaluate_every=2")
    assert (again.artefact / "model.safetensors").read_bytes() == (steady.artefact / "model.safetensors").read_bytes()
    assert whole.step == again.step


def test_whether_there_may_be_none_follows_from_the_rows(mixed: Path) -> None:
    assert assembled(mixed).blueprint.tasks["who"].options["no_answer"] is True
    (mixed.parent / "who.json").write_text(json.dumps(squad(5)))
    assert assembled(mixed).blueprint.tasks["who"].options["no_answer"] is False


def test_answers_as_the_hub_has_them(mixed: Path) -> None:
    rows = [
        {"question": "by ?", "context": "a cat by anna", "answers": {"text": ["anna"], "answer_start": [9]}},
        {"question": "by ?", "context": "a cat", "answers": {"text": [], "answer_start": []}},
    ]
    (mixed.parent / "who.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = mixed.read_text().replace("{train: who.json, format: squad, dev: who.json, stride: 4}", "{train: who.jsonl}")
    mixed.write_text(text)
    assert assembled(mixed).train["who"].batch([0, 1]).targets["who"].tolist() == [[[4, 4]], [[0, 0]]]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"answers": ["cat"], "starts": [3]}, "does not stand at offset 3: 'at' stands there; it stands at 2"),
        ({"answers": ["cat"], "starts": [2, 3]}, "there are 1 answers and 2 offsets"),
        ({"answers": "cat", "starts": [2]}, "answers come as a list; found text"),
        ({"answers": ["cat"], "starts": ["2"]}, "an answer is a text, and its offset a whole number"),
        ({"answers": ["e"], "context": "e\u0301 cat", "starts": [0]}, "offset 1 lies inside a character"),
    ],
)
def test_answers_that_are_not_in_their_text_are_told_with_their_line(mixed: Path, changes: dict[str, Any], rule: str) -> None:
    good = {"question": "by ?", "context": "a cat", "answers": ["cat"], "starts": [2]}
    (mixed.parent / "who.jsonl").write_text(json.dumps(good) + "\n" + json.dumps({**good, **changes}) + "\n")
    mixed.write_text(
        mixed.read_text().replace("{train: who.json, format: squad, dev: who.json, stride: 4}", "{train: who.jsonl}")
    )
    with pytest.raises(DataError, match=r"who\.jsonl:2.*task who: ") as caught:
        assembled(mixed)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        (5, "the row has 2 choices, numbered from 0; found '5'"),
        ("romme", "the number, from 0, or the text of one choice; found 'romme'; did you mean 'rome'?"),
        (-1, "the number, from 0"),
        (True, "the number, from 0"),
    ],
)
def test_labels_that_are_no_choice_are_told_with_their_line(mixed: Path, label: Any, rule: str) -> None:
    path = mixed.parent / "where.jsonl"
    path.write_text(path.read_text() + json.dumps({"text": "anna in", "choices": ["rome", "oslo"], "label": label}) + "\n")
    with pytest.raises(DataError, match=r"where\.jsonl:21") as caught:
        assembled(mixed)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("data", "kind", "rule"),
    [
        (
            {"train": "x.csv"},
            "multiple_choice",
            "tasks.t.type: the task learns one of several choices, and `tasks.t.data` names no",
        ),
        ({"train": "x.csv", "choices": "c"}, "classification", "tasks.t.type: rows of choices are learned by a task of type"),
        ({"train": "x.csv", "words": "w"}, "question_answering", "tasks.t.type: answers are found in texts"),
        ({"train": "x.csv", "words": "w", "choices": "c"}, "multiple_choice", "`words` and `choices` exclude each other"),
    ],
)
def test_data_that_a_task_cannot_learn_from(data: dict[str, Any], kind: str, rule: str) -> None:
    modules = {"encoder": {"type": "pretrained", "name": "x"}}
    with pytest.raises(RecipeError) as caught:
        recipe_from({"modules": modules, "tasks": {"t": {"type": kind, "path": ["encoder"], "data": data}}})
    assert rule in str(caught.value)


def test_answers_in_windows_are_not_compared_with_a_teachers(mixed: Path) -> None:
    with pytest.raises(RecipeError, match=r"'tasks\.who\.teacher=.*': `teacher` compares two answers to the same words"):
        load_recipe(mixed, ["tasks.who.teacher={from: x}"])


def test_windows_are_not_shared_with_tasks_that_cannot_read_them() -> None:
    task = {"path": ["encoder"], "data": {"from": "d"}}
    data = {
        "modules": {"encoder": {"type": "pretrained", "name": "x"}},
        "data": {"d": {"train": "x.json", "format": "squad"}},
        "tasks": {"who": {"type": "question_answering", **task}, "can": {"type": "classification", **task}},
    }
    with pytest.raises(RecipeError, match=r"tasks\.can\.type: the data set is read through windows for 'who'"):
        recipe_from(data)


def test_by_row_wants_numbers_of_every_sequence() -> None:
    with pytest.raises(ValueError, match="3 sequences went in, 2 came out"):
        by_row(torch.zeros(2, 1), (1, 2))
    with pytest.raises(TypeError, match="must end in numbers, found list"):
        by_row([1, 2, 3], (1, 2))
