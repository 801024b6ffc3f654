"""Orders of candidates from the recipe to the served answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import ndcg_score

from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.cli.app import run as command
from manyheads.config.spec.training import TrainingSpec
from manyheads.errors import DataError, RecipeError
from manyheads.predict import Predictor
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.engine import Engine
from manyheads.train.events import Finished
from manyheads.train.taught import ask

RECIPE = """\
seed: 5
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 24}}}}
defaults: {{path: [encoder]}}
tasks:
  best:
    type: ranking
    loss: {loss}
    data: {{train: train.jsonl, dev: dev.jsonl, choices: candidates, label: relevance}}
    metrics: ["hits@1", ndcg, "ndcg@10"]
training: {{epochs: 6, batch: {{rows: 6}}, optimizer: {{lr: 5.0e-3}}, checkpoint: {{every_minutes: null}}, device: cpu}}
"""
WORTH = {"rome": 2, "oslo": 0, "a cat": 0.5, "a dog": 0}
TEXTS = list(WORTH)


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Each text has its worth, whoever asks; every fifth row has no order."""
    found = []
    for i in range(first, first + count):
        candidates = [TEXTS[(i * 3 + j) % 4] for j in range(2 + i % 3)]
        relevance = [0 if i % 5 == 4 else WORTH[text] for text in candidates]
        found.append({"text": f"{('anna', 'omar')[i % 2]} in", "candidates": candidates, "relevance": relevance})
    return found


def write(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))


@pytest.fixture
def recipe(place: Path, tiny: Path) -> Path:
    write(place / "train.jsonl", rows(20))
    write(place / "dev.jsonl", rows(9, 20))
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny, loss="listwise"))
    return place / "recipe.yaml"


@pytest.mark.parametrize("loss", ["listwise", "pairwise"])
def test_what_is_served_is_what_was_scored(recipe: Path, loss: str) -> None:
    *_, last = run(load_recipe(recipe, [f"tasks.best.loss={loss}"]))
    assert isinstance(last, Finished)
    found = {r.key: r.value for r in last.records if r.step == last.best or r.key.endswith("@majority")}
    losses = [r.value for r in last.records if r.key == "best/best/train/loss"]
    assert losses[-1] < losses[0]
    assert found["best/best/dev/mrr"] > found["best/best/dev/mrr@majority"]
    predictor, ordered = Predictor.load(last.artefact), [row for row in rows(9, 20) if len(set(row["relevance"])) > 1]
    answers = [predictor([(row["text"], row["candidates"])])[0].to_json()["tasks"]["best"] for row in ordered]
    for row, answer in zip(ordered, answers, strict=True):
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        assert sorted(answer["ranking"]) == list(range(len(row["candidates"])))
        assert answer["text"] == row["candidates"][answer["ranking"][0]]
    gains = [[row["relevance"][i] for i in answer["ranking"]] for row, answer in zip(ordered, answers, strict=True)]
    ranks = [next(n for n, gain in enumerate(line, 1) if gain > 0) for line in gains]
    assert found["best/best/dev/mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    assert found["best/best/dev/hits@1"] == pytest.approx(ranks.count(1) / len(ranks))
    slow = [ndcg_score([line], [[-n for n in range(len(line))]]) for line in gains]
    assert found["best/best/dev/ndcg"] == pytest.approx(sum(slow) / len(slow))
    again = {r.key: r.value for r in rescore(load_artefact(last.artefact), load_recipe(last.artefact / "resolved.yaml"))[0]}
    assert again == pytest.approx({key: found[key] for key in again}, abs=1e-6)


def test_the_baseline_is_the_order_of_the_file(recipe: Path) -> None:
    *_, last = run(load_recipe(recipe, ["training.epochs=1"]))
    assert isinstance(last, Finished)
    found = {r.key: r.value for r in last.records}
    ordered = [row["relevance"] for row in rows(9, 20) if len(set(row["relevance"])) > 1]
    assert found["best/best/dev/hits@1@majority"] == pytest.approx(sum(line[0] > 0 for line in ordered) / len(ordered))


def test_rows_without_an_order_are_counted_as_unlabelled(recipe: Path) -> None:
    data = assemble(load_recipe(recipe)).train["best"]
    assert data.items("best").tolist() == [int(i % 5 != 4) for i in range(20)]
    assert data.batch([4, 3]).targets["best"].isnan().tolist() == [[True] * 2, [False] * 2]


def test_the_one_relevant_candidate_may_be_named(recipe: Path) -> None:
    found = [{**row, "relevance": row["candidates"][1] if i % 2 else 1} for i, row in enumerate(rows(6))]
    write(recipe.parent / "train.jsonl", found)
    write(recipe.parent / "dev.jsonl", found)
    targets = assemble(load_recipe(recipe)).train["best"].batch(range(6)).targets["best"]
    assert targets.nan_to_num().tolist() == [[0, 1, 0, 0]] * 6


def test_the_same_rows_as_choices_and_as_an_order_have_one_loss(recipe: Path) -> None:
    """Listwise is the cross-entropy over choices where one candidate is relevant."""
    found = [{**row, "relevance": i % 2} for i, row in enumerate(rows(12))]
    write(recipe.parent / "train.jsonl", found)
    write(recipe.parent / "dev.jsonl", found)
    lost = []
    for kind in (["tasks.best.type=ranking"], ["tasks.best.type=multiple_choice", "tasks.best.metrics=[]"]):
        text = recipe.read_text().replace("    loss: listwise\n", "")
        (recipe.parent / "other.yaml").write_text(text)
        *_, last = run(load_recipe(recipe.parent / "other.yaml", [*kind, f"output={kind[0][-5:]}"]))
        assert isinstance(last, Finished)
        lost.append([r.value for r in last.records if r.key in ("best/best/train/loss", "best/best/dev/loss")])
    assert lost[0] == pytest.approx(lost[1], rel=1e-5)


def test_an_order_is_learned_from_a_teacher(recipe: Path) -> None:
    """It says of each row what its predictor says, also where the file has no order; a student without labels comes near."""
    *_, teacher = run(load_recipe(recipe, ["training.epochs=12", "output=teacher"]))
    assert isinstance(teacher, Finished)
    asked = ["tasks.best.teacher={from: teacher/artefact, weight: 1.0, temperature: 1}", "tasks.best.consistency=0.5"]
    asked.append("tasks.best.perturbation={}")
    assembly = assemble(load_recipe(recipe, asked))
    [[task, scores]] = ask(assembly.teachers[0], assembly.train, Engine(TrainingSpec(device="cpu"))).items()
    predictor, file = Predictor.load(teacher.artefact), rows(20)
    assert (task, len(scores)) == ("best", 20)
    for i, found in enumerate(scores):
        row = file[assembly.train["best"].place(i).line - 1]
        [answer] = predictor([(row["text"], row["candidates"])])
        said = answer.predictions["best"]
        levels = torch.tensor([said.scores[said.ranking.index(j)] for j in range(len(row["candidates"]))])
        torch.testing.assert_close(found.exp()[: len(levels)], levels.softmax(-1), atol=1e-5, rtol=0)
        assert found[len(levels) :].isneginf().all()
    *_, student = run(load_recipe(recipe, [*asked, "training.epochs=12", "output=student"]))
    assert isinstance(student, Finished)
    losses = [r.value for r in student.records if r.key == "best/best/train/loss"]
    assert 0 <= losses[-1] < losses[0] / 2
    kept = [{r.key: r.value for r in last.records if r.step == last.best} for last in (teacher, student)]
    assert kept[1]["best/best/dev/mrr"] >= kept[0]["best/best/dev/mrr"] - 0.1


def test_copa_as_an_order_has_the_loss_of_copa_as_choices(place: Path, tiny: Path, shared_data: Path) -> None:
    copa = shared_data / "superglue/COPA/train.jsonl"
    data = {"format": "superglue", "train": str(copa), "text": "premise", "pair": "asked", "choices": "choices"}
    lost = []
    for kind in ("ranking", "multiple_choice"):
        recipe = {
            "modules": {"encoder": {"type": "pretrained", "name": str(tiny), "max_length": 64}},
            "tasks": {"copa": {"type": kind, "path": ["encoder"], "data": data}},
        }
        found = assemble(recipe_from(recipe))
        assert found.train["copa"].items("copa").sum() == len(found.train["copa"]) == 400
        lost.append(found.build().eval().losses([found.train["copa"].batch(range(64))])["copa"].item())
    assert lost[0] == pytest.approx(lost[1], rel=1e-6)
    assert lost[0] > 0


def test_record_is_an_order_of_its_entities(place: Path, tiny: Path) -> None:
    """A query may have several right choices; the share of queries whose best choice is right is `hits@1`."""
    names = ["Anna", "Omar", "Rome"]
    entities = [{"start": start, "end": start + 3} for start in (0, 9, 17)]
    right = [["Anna"], ["Omar", "Rome"], ["Rome"]]
    queries = [{"query": f"{i} @placeholder", "answers": [{"text": t} for t in right[i % 3]], "idx": i} for i in range(12)]
    record = {"passage": {"text": "Anna met Omar in Rome.", "entities": entities}, "qas": queries}
    write(place / "record.jsonl", [record])
    data = {"format": "superglue", "train": "record.jsonl", "dev": "record.jsonl", "text": "passage", "pair": "query"}
    recipe = {
        "modules": {"encoder": {"type": "pretrained", "name": str(tiny), "max_length": 48}},
        "tasks": {
            "record": {"type": "ranking", "path": ["encoder"], "metric": "hits@1", "data": {**data, "choices": "choices"}}
        },
        "training": {"steps": 2, "device": "cpu"},
    }
    assembly = assemble(recipe_from(recipe))
    wanted = [[float(name in right[i % 3]) for name in names] for i in range(12)]
    assert assembly.train["record"].batch(range(12)).targets["record"].tolist() == wanted
    *_, last = run(recipe_from(recipe))
    assert isinstance(last, Finished)
    found = {r.key: r.value for r in last.records if r.step == last.best}
    predictor = Predictor.load(last.artefact)
    best = [predictor([("Anna met Omar in Rome.", q["query"], names)])[0].to_json()["tasks"]["record"]["text"] for q in queries]
    accuracy = sum(text in right[i % 3] for i, text in enumerate(best)) / 12
    assert found["record/record/dev/hits@1"] == pytest.approx(accuracy)


def test_the_command_line_asks_and_answers(recipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["train", str(recipe)]) == 0
    (recipe.parent / "asked.jsonl").write_text('{"id": 7, "text": "anna in", "choices": ["rome", "oslo", "a cat"]}\n')
    capfd.readouterr()
    assert command(["predict", str(recipe.parent / "run/artefact"), "--input", str(recipe.parent / "asked.jsonl")]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["id"] == 7
    assert set(told["tasks"]["best"]) == {"ranking", "scores", "text"}


@pytest.mark.parametrize(
    ("relevance", "rule"),
    [
        ([1, 0, 0], "there are 2 candidates and 3 relevances"),
        ([1, -1], "a relevance is a finite number from 0 on; found '-1'"),
        ([1, None], "a relevance is a finite number from 0 on; found 'null'"),
        ([True, False], "a relevance is a finite number from 0 on; found 'true'"),
        ("romme", "the number, from 0, or the text of one choice; found 'romme'; did you mean 'rome'?"),
        (5, "the row has 2 choices, numbered from 0; found '5'"),
    ],
)
def test_labels_that_are_no_order_are_told_with_their_line(recipe: Path, relevance: Any, rule: str) -> None:
    bad = {"text": "anna in", "candidates": ["rome", "oslo"], "relevance": relevance}
    write(recipe.parent / "train.jsonl", [*rows(3), bad])
    with pytest.raises(DataError, match=r"train\.jsonl:4.*task best: ") as caught:
        assemble(load_recipe(recipe))
    assert rule in str(caught.value)


def test_rows_none_of_which_has_an_order_teach_nothing(recipe: Path) -> None:
    write(recipe.parent / "train.jsonl", [{**row, "relevance": [1] * len(row["candidates"])} for row in rows(3)])
    with pytest.raises(DataError, match="no row has two candidates that differ in relevance, so there is no order to learn"):
        assemble(load_recipe(recipe))


def test_an_order_needs_candidates_and_a_metric_of_orders(recipe: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"recipe\.yaml:7:11: .*the order of candidates.*`tasks\.best\.data` names no `choices`"
    ):
        load_recipe(recipe, ["tasks.best.data={train: train.jsonl}"])
    with pytest.raises(RecipeError, match="needs label sets, which this task does not give"):
        assemble(load_recipe(recipe, ["tasks.best.metric=accuracy"]))
    modules = {"encoder": {"type": "pretrained", "name": "x"}}
    task = {"type": "ranking", "path": ["encoder"], "data": {"train": "x.csv", "choices": "c"}, "loss": "pairwse"}
    with pytest.raises(RecipeError, match="did you mean 'pairwise'"):
        recipe_from({"modules": modules, "tasks": {"t": task}})
