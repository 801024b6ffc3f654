"""SuperGLUE's MultiRC from its file to the score by question, which is worked out again from the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manyheads.api import load_recipe
from manyheads.artefact import load_artefact
from manyheads.errors import RecipeError
from manyheads.predict import Predictor
from manyheads.rescore import rescore, rescore_file
from manyheads.run import run
from manyheads.train.events import Finished
from manyheads.types import Record

RECIPE = """\
version: 1
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 24}}}}
tasks:
  multirc:
    type: binary
    path: [encoder]
    metric: f1
    metrics: [group_accuracy]
    data: {{format: superglue, train: train.jsonl, dev: dev.jsonl, text: passage, pair: asked, group: group}}
training: {{epochs: 2, batch: {{rows: 4}}, evaluate_train: 20, device: cpu}}
output: run
"""


def passages(numbers: range) -> list[dict[str, Any]]:
    """Two questions on each, three answers to each; of the last passage no answer has a label."""
    found = []
    for number in numbers:
        answers = [[{"text": f"film {i}", "idx": i, "label": (number + q + i) % 2} for i in range(3)] for q in range(2)]
        if number == numbers[-1]:
            answers = [[{"text": "song", "idx": 0}]] * 2
        questions = [{"question": f"is it {q}", "idx": q, "answers": some} for q, some in enumerate(answers)]
        found.append({"idx": number, "passage": {"text": f"the film at rome {number}", "questions": questions}})
    return found


@pytest.fixture
def recipe(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for split, numbers in (("train", range(8)), ("dev", range(8, 13))):
        Path(f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in passages(numbers)))
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(encoder=tiny))
    return path


def test_a_question_is_right_when_every_answer_is(recipe: Path) -> None:
    *_, last = run(load_recipe(recipe))
    assert isinstance(last, Finished)
    artefact = load_artefact(last.artefact)
    questions: dict[tuple[int, int], list[bool]] = {}
    for line in passages(range(8, 13))[:-1]:
        for question in line["passage"]["questions"]:
            asked = [(line["passage"]["text"], f"{question['question']} {a['text']}") for a in question["answers"]]
            said = [answer.predictions["multirc"].value for answer in Predictor(artefact)(asked)]
            wanted = [str(a["label"]) for a in question["answers"]]
            questions[line["idx"], question["idx"]] = [s == w for s, w in zip(said, wanted, strict=True)]
    found = sum(map(all, questions.values())) / len(questions)

    def told(records: list[Record], key: str) -> float:
        return next(r.value for r in records if r.key == key)

    assert told(list(last.records), "multirc/multirc/dev/group_accuracy") == found
    assert told(list(last.records), "multirc/multirc/dev/group_accuracy@majority") == 0
    resolved = load_recipe(last.artefact / "resolved.yaml")
    assert told(rescore(artefact, resolved)[0], "multirc/multirc/dev/group_accuracy") == found
    again, _ = rescore_file(artefact, resolved, "multirc", "dev.jsonl")
    assert told(again, "multirc/multirc/dev.jsonl/group_accuracy") == found


def test_a_score_of_groups_without_groups_is_told_before_training(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.yaml:8:15: the metric needs groups.*\n.*under `data\.group`"):
        list(run(load_recipe(recipe, ["tasks.multirc.data.group=null"])))
