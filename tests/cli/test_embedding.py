"""`manyheads embed`: vectors of texts, as lines and as a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Command

from manyheads.predict import Predictor

RECIPE = """\
seed: 5
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 24}}}}
defaults: {{path: [encoder]}}
tasks:
  like: {{type: matching, data: {{train: like.csv}}}}
  mood: {{type: classification, data: {{train: mood.csv}}}}
training: {{steps: 2, batch: {{rows: 4}}, checkpoint: {{every_minutes: null}}, device: cpu}}
"""
TEXTS = ["rome", "a good film by anna", "", "the bad song"]


@pytest.fixture
def model(place: Path, tiny: Path, command: Command) -> Path:
    (place / "like.csv").write_text("text,pair,label\nrome,oslo,0\nrome,rome,1\nanna,omar,0.5\na cat,a cat,1\n")
    (place / "mood.csv").write_text("text,label\ngood film,1\nbad film,0\n")
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny))
    assert command("train", place / "recipe.yaml")[0] == 0
    return place / "run"


def vectors(model: Path) -> np.ndarray:
    return Predictor.load(model / "artefact").embed(TEXTS)


def test_typed_texts_are_lines(model: Path, command: Command) -> None:
    code, out, err = command("embed", model, *TEXTS)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["input"] for line in lines] == TEXTS
    assert np.array([line["vector"] for line in lines], np.float32) == pytest.approx(vectors(model), abs=1e-6)


def test_a_file_of_vectors(model: Path, command: Command, place: Path) -> None:
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    code, out, err = command("embed", model, "--input", "texts.txt", "--output", "vectors.npy", "--task", "like")
    assert (code, out) == (0, "")
    assert err == "wrote vectors.npy: 4 vectors of 16\n"
    found = np.load(place / "vectors.npy", allow_pickle=False)
    assert found.dtype == np.float32
    assert found == pytest.approx(vectors(model), abs=1e-6)


def test_what_is_not_read_of_a_text_is_told(model: Path, command: Command, place: Path) -> None:
    long = "a good film " * 10
    _, out, _ = command("embed", model, "rome", long)
    assert [json.loads(line).get("cut") for line in out.splitlines()] == [None, 30 - 22]
    (place / "texts.txt").write_text(f"rome\n{long}\n")
    _, _, err = command("embed", model, "--input", "texts.txt", "--output", "vectors.npy")
    assert err.splitlines()[1:] == ["1 of them are of texts that are longer than the limit, of which the beginning was read"]


def test_more_texts_than_are_read_at_a_time(model: Path, command: Command, place: Path) -> None:
    (place / "texts.jsonl").write_text("".join(json.dumps({"id": n, "text": TEXTS[n % 4]}) + "\n" for n in range(1030)))
    code, out, _ = command("embed", model, "--input", "texts.jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["id"] for line in lines] == list(range(1030))
    assert np.array(lines[-1]["vector"]) == pytest.approx(vectors(model)[1029 % 4], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["rome", "--task", "mood"], 2, "vectors come from a task of type matching (there are: 'like'); found 'mood'"),
        (["rome", "--output", "vectors.txt"], 2, "vectors are written to a file that ends in .npy; found 'vectors.txt'"),
        (["rome", "--input", "pairs.jsonl"], 2, "texts are given here and by --input"),
        (["--input", "pairs.jsonl"], 3, "pairs.jsonl:2: vectors are those of single texts"),
        (["rome", "--output", "nowhere/vectors.npy"], 7, "nowhere/vectors.npy"),
    ],
)
def test_what_cannot_be_done_is_told(
    model: Path, command: Command, place: Path, arguments: list[str], code: int, told: str
) -> None:
    (place / "pairs.jsonl").write_text('{"text": "rome"}\n{"text": "rome", "pair": "oslo"}\n')
    found, out, err = command("embed", model, *arguments)
    assert (found, out) == (code, "")
    assert told in err
    assert not (place / "vectors.npy").exists()


def test_a_model_without_such_a_task(model: Path, command: Command, place: Path) -> None:
    text = (place / "recipe.yaml").read_text()
    (place / "other.yaml").write_text("".join(line for line in text.splitlines(True) if "  like:" not in line))
    assert command("train", "other.yaml", "output=other")[0] == 0
    code, _, err = command("embed", "other", "rome")
    assert code == 2
    assert "the model has no task of type matching" in err
