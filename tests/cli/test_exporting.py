"""`manyheads export`: a trained run to folders that plain transformers loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import pipeline

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fitting(command: Command, recipe: Path) -> Path:
    """The recipe of all these tests, its row tasks read as a plain BERT reads rows, trained for a step into `run`."""
    text = recipe.read_text().replace("tasks:\n", "  dense: {type: feedforward, width: 16, activation: tanh}\ntasks:\n")
    text = text.replace("type: classification, path: [encoder]", "type: classification, pool: cls, path: [encoder, dense]")
    text = text.replace("    path: [encoder]", "    path: [encoder, dense]\n    pool: cls\n    low: 0")
    recipe.write_text(text.replace("epochs: 2", "steps: 3"))
    assert command("train", recipe)[0] == 0
    return recipe


def test_pipelines_of_transformers_answer_as_predict_does(command: Command, fitting: Path) -> None:
    code, out, err = command("export", "run", "out")
    assert (code, err) == (0, "warning: likeness: numbers are not clipped; manyheads answers at least 0\n")
    assert out == (
        "out/mood: BertForSequenceClassification\n"
        "out/likeness: BertForSequenceClassification\n"
        "out/names: BertForTokenClassification\n"
    )
    _, answers, _ = command("predict", "run", "--json", "the good film in rome", "the bad song at oslo")
    for text, line in zip(("the good film in rome", "the bad song at oslo"), answers.splitlines(), strict=True):
        answer = json.loads(line)["tasks"]
        [theirs] = pipeline("text-classification", "out/mood", top_k=None)([text])
        assert {t["label"]: t["score"] for t in theirs} == pytest.approx(answer["mood"]["probabilities"], abs=1e-6)
        tags = pipeline("token-classification", "out/names", ignore_labels=[])(text)
        assert [t["entity"] for t in tags] == answer["names"]["tags"]


def test_a_task_alone(command: Command, fitting: Path) -> None:
    code, out, err = command("export", fitting.parent / "run" / "artefact", "out", "--task", "names")
    assert (code, out, err) == (0, "out/names: BertForTokenClassification\n", "")
    assert {p.name for p in Path("out").iterdir()} == {"names", "manifest.json"}


def test_paths_without_a_plain_form_are_told_together(command: Command, trained: Path, place: Path) -> None:
    code, out, err = command("export", trained / "run", "out")
    assert (code, out) == (2, "")
    assert [line.split(": ")[1] for line in err.splitlines() if line.startswith("error")] == [
        "tasks.mood.path",
        "tasks.likeness.path",
    ]
    assert "step 'mean_pool', a Pool (mean), has no place in a plain BertForSequenceClassification" in err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("source", "told"), [("nowhere", "there is no such folder"), ("recipe.yaml", "there is no such folder")]
)
def test_what_is_no_artefact(command: Command, recipe: Path, source: str, told: str) -> None:
    code, _, err = command("export", source, "out")
    assert code == 5
    assert err == f"error: {source}: {told}\n"


def test_the_example_of_the_page(command: Command, fitting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
    code = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert command("export", "run", "OUT", "-t", "mood")[0] == 0
    exec(code, {})  # noqa: S102  # our own page
    assert "'label': " in capsys.readouterr().out
