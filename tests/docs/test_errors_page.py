"""docs/errors.md: every exit code is there, and each message is what is really said."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from torch import nn

import manyheads as mh
from manyheads import errors, packages
from manyheads.cli.app import app, run
from manyheads.config.spec.training import TrainingSpec
from manyheads.errors import ManyheadsError
from manyheads.folder import writing
from manyheads.train.checkpoint import require_space
from manyheads.train.engine import Engine

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (?:`(\w+)`)?", PAGE, re.MULTILINE)
CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ManyheadsError)]
WRONG = """\
version: 1
modules:
  encoder: {type: pretrained, name: minilm}
tasks:
  sentiment:
    type: clasification
    path: [encodr]
    data: {train: tweets.csv, text: text}
training:
  epochs: 0
  learning_rate: 1e-5
"""
GOOD = """\
version: 1
modules: {encoder: {type: pretrained, name: minilm}}
tasks: {sentiment: {type: classification, path: [encoder], data: {train: tweets.csv, text: text}}}
"""


def examples(title: str) -> list[str]:
    """The messages under a heading."""
    part = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^```text\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def test_every_exit_code_is_listed_with_its_class() -> None:
    assert {(str(c.exit_code), c.__name__) for c in CLASSES} == {(code, c) for code, c in ROWS if c}
    assert {code for code, c in ROWS if not c} == {"0", "130"}


def test_the_help_lists_the_same_codes() -> None:
    assert set(re.findall(r"\b(\d+) ", app.info.epilog or "")) == {code for code, _ in ROWS}


def test_every_class_has_an_example_or_is_the_base() -> None:
    assert all(examples(c.__name__) for c in CLASSES if c is not ManyheadsError)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tweets.csv").write_text("text,label\ngood,positive\nbad,negative\n")
    Path("wrong.yaml").write_text(WRONG)
    Path("recipe.yaml").write_text(GOOD)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """What a command that fails says, without the word `error`."""
    assert run(list(arguments)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return re.sub("^error: ", "", captured.err, flags=re.MULTILINE)


@pytest.mark.usefixtures("folder")
def test_recipe_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert [said(capsys, 2, "check", "wrong.yaml").replace("wrong.yaml", "recipe.yaml")] == examples("RecipeError")


@pytest.mark.usefixtures("folder")
def test_data_errors(capsys: pytest.CaptureFixture[str]) -> None:
    column = said(capsys, 3, "check", "recipe.yaml", "tasks.sentiment.data.text=txt")
    label = said(capsys, 3, "check", "recipe.yaml", "tasks.sentiment.labels=[positve,negative]")
    assert [column, label] == examples("DataError")


@pytest.mark.usefixtures("folder")
def test_a_missing_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(packages, "distribution", absent)
    assert [said(capsys, 4, "check", "recipe.yaml")] == examples("MissingExtraError")


@pytest.mark.usefixtures("folder")
def test_a_changed_artefact(capsys: pytest.CaptureFixture[str]) -> None:
    with writing(Path("artefact"), kind="artefact") as inside:
        (inside / "config.json").write_text("{}")
    Path("artefact/config.json").write_text("[]")
    assert [said(capsys, 5, "predict", "artefact", "hello")] == examples("ArtefactError")


def wire_what_is_not_there() -> None:
    mh.Model({"trunk": nn.Linear(2, 2), "head": nn.Linear(2, 2)}, [mh.Task("circle", ["trnk", "head"], mh.Classification())])


def train_on_what_is_no_number() -> None:
    model = mh.Model({"head": nn.Linear(2, 2)}, [mh.Task("circle", ["head"], mh.Classification())])
    mh.fit(model, [mh.TensorDataset({"x": torch.full((4, 2), torch.nan)}, {"circle": [0, 1, 0, 1]}, name="points")])


def save_where_nothing_is_free() -> None:
    require_space(Path(), 2**62)


def train_twice_at_once() -> None:
    engine = Engine(TrainingSpec(device="cpu"))
    with engine.alone(Path("runs/tweets")), engine.alone(Path("runs/tweets")):
        pass


PROVOKED = [
    ("WiringError", [wire_what_is_not_there]),
    ("NumericsError", [train_on_what_is_no_number]),
    ("ResourceError", [save_where_nothing_is_free, train_twice_at_once]),
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("title", "provoked"), PROVOKED)
def test_what_python_raises(title: str, provoked: list[Callable[[], None]]) -> None:
    said = []
    for provoke in provoked:
        with pytest.raises(getattr(errors, title)) as caught:
            provoke()
        said.append(re.sub(r"\d+ are free", "0 are free", f"{caught.value}\n"))
    assert said == examples(title)
