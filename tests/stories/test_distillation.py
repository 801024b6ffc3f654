"""A real teacher, and a small student with random weights and few labels: taught, it says what the teacher says."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers

from manyheads.api import load_recipe
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.train.events import Answered, Finished

pytestmark = pytest.mark.slow

ROWS, LABELLED = 6000, 300
RECIPE = """\
version: 1
seed: 3
modules:
  encoder: {{type: pretrained, name: {encoder}, max_length: 48}}
tasks:
  mood: {{type: classification, path: [encoder], data: {{train: {train}, text: sentence, missing: [""]}}, labels: ["0", "1"]}}
training: {{epochs: 3, batch: {{rows: 32}}, optimizer: {{lr: {rate}}}, device: cpu}}
"""


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def write(file: Path, rows: Sequence[dict[str, str]], labelled: int) -> None:
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["sentence", "label"])
        writer.writerows([row["sentence"], row["label"] if i < labelled else ""] for i, row in enumerate(rows))


def small_encoder(like: Path, folder: Path) -> Path:
    """A BERT of two layers, 64 wide, with random weights and the tokenizer of another."""
    config = transformers.AutoConfig.from_pretrained(like)
    for name, value in (("hidden_size", 64), ("intermediate_size", 128), ("num_attention_heads", 2), ("num_hidden_layers", 2)):
        setattr(config, name, value)
    torch.manual_seed(11)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (like / name).is_file():
            shutil.copyfile(like / name, folder / name)
    return folder


def train(place: Path, name: str, text: str, *overrides: str) -> tuple[Predictor, list[Answered]]:
    (place / f"{name}.yaml").write_text(text)
    events = list(run(load_recipe(place / f"{name}.yaml", [f"output={name}", *overrides])))
    assert isinstance(events[-1], Finished)
    return Predictor.load(events[-1].artefact), [e for e in events if isinstance(e, Answered)]


def test_a_student_of_few_labels_says_what_its_teacher_says(shared_data: Path, bert_tiny: Path, place: Path) -> None:
    rows, dev = (read(shared_data / "glue" / "SST-2" / f"{split}.tsv") for split in ("train", "dev"))
    write(place / "all.csv", rows[:ROWS], ROWS)
    write(place / "few.csv", rows[:ROWS], LABELLED)
    teacher, _ = train(place, "teacher", RECIPE.format(encoder=bert_tiny, train="all.csv", rate=5e-4))
    recipe = RECIPE.format(encoder=small_encoder(bert_tiny, place / "small"), train="few.csv", rate=2e-3)
    alone, asked = train(place, "alone", recipe)
    assert asked == []
    taught, asked = train(place, "taught", recipe, "tasks.mood.teacher.from=teacher/artefact", "tasks.mood.consistency=0.1")
    assert [dict(event.rows) for event in asked] == [{"mood": ROWS}]
    texts, gold = [row["sentence"] for row in dev], [row["label"] for row in dev]
    said = {
        name: [a.predictions["mood"].value for a in one(texts)]
        for name, one in (("teacher", teacher), ("alone", alone), ("taught", taught))
    }

    def agree(one: Sequence[object], two: Sequence[object]) -> float:
        return sum(a == b for a, b in zip(one, two, strict=True)) / len(two)

    print({name: (agree(values, said["teacher"]), agree(values, gold)) for name, values in said.items()})
    assert agree(said["teacher"], gold) > 0.7
    assert agree(said["taught"], said["teacher"]) > agree(said["alone"], said["teacher"]) + 0.05
    assert agree(said["taught"], gold) > agree(said["alone"], gold) + 0.03
