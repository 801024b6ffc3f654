"""Plug-in files: what they bring, what is refused, and what runs and artefacts remember of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import manyheads
from manyheads import api, plugins
from manyheads.cli.app import run
from manyheads.data.read import READERS
from manyheads.errors import RecipeError
from manyheads.facts import check_same, fingerprint
from manyheads.metrics import METRICS, SELECTIONS
from manyheads.nn.build import MODULES
from manyheads.task.base import TASKS

REGISTRIES = (METRICS, SELECTIONS, READERS, MODULES, TASKS)
OWN = """\
from manyheads.metrics import metric, selection


@metric("off_by", needs="numbers")
def off_by(gold, predicted, labels):
    distance = abs(gold - predicted)
    return {f"within_{n}": float((distance <= n).mean()) for n in (1, 2)}


@selection("mean_of_three")
def mean_of_three(scores):
    return (scores["mood/accuracy"] + scores["likeness/within_1"] + scores["names/span_f1"]) / 3
"""
USED = ("tasks.likeness.metrics=[off_by]", "training.select=mean_of_three")


@pytest.fixture
def own(forget: Callable[[], None], recipe: Path) -> Path:
    """A plug-in beside the recipe of three tasks, not loaded."""
    (recipe.parent / "own.py").write_text(OWN)
    return Path("own.py")


def refused(path: Path, text: str) -> str:
    path.write_text(text)
    before = {registry.kind: list(registry) for registry in REGISTRIES}
    with pytest.raises(RecipeError) as caught:
        plugins.load_plugin(path)
    assert {registry.kind: list(registry) for registry in REGISTRIES} == before
    assert plugins.loaded() == ()
    assert f"manyheads_plugin_{path.stem}" not in sys.modules
    return str(caught.value)


def test_what_a_plug_in_registers_is_known(own: Path) -> None:
    found = manyheads.load_plugin(own)
    assert found.provides == {"metric": ("off_by",), "selection": ("mean_of_three",)}
    assert api.load_recipe("recipe.yaml", USED).recipe.training.select == "mean_of_three"
    assert plugins.options() == ["--plugin", "own.py"]


def test_a_file_is_run_once(own: Path) -> None:
    own.write_text(OWN + "import builtins\nbuiltins.runs = getattr(builtins, 'runs', 0) + 1\n")
    first = manyheads.load_plugin(own)
    assert manyheads.load_plugin(own.absolute()) is first
    import builtins

    assert builtins.__dict__.pop("runs") == 1


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nothing_here\n", "own.py:1: the plug-in cannot be imported: ModuleNotFoundError: No module named"),
        ("x = 1\n\nx.nothing\n", "own.py:3: the plug-in cannot be imported: AttributeError"),
        ("def f(:\n", "own.py:1: the plug-in is not valid Python: invalid syntax; found 'def f(:'"),
        ("import sys\nsys.exit(3)\n", "own.py:2: the plug-in cannot be imported: SystemExit: 3"),
        (OWN + "1 / 0\n", "own.py:13: the plug-in cannot be imported: ZeroDivisionError"),
        (OWN.replace("off_by", "accuracy"), "own.py:4: two components want to be the metric 'accuracy': manyheads.metrics."),
    ],
)
def test_a_plug_in_that_fails_is_told_with_its_line_and_leaves_nothing(place: Path, text: str, told: str) -> None:
    assert told in refused(Path("own.py"), text)


@pytest.mark.usefixtures("forget")
def test_a_plug_in_that_is_not_there(place: Path) -> None:
    (place / "own.py").touch()
    with pytest.raises(RecipeError, match=r"onw\.py: the plug-in cannot be read: .*; did you mean 'own\.py'\?"):
        plugins.load_plugin("onw.py")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        plugins.load_plugin(place)


def test_a_plug_in_that_changed_in_the_process_or_has_the_name_of_another(own: Path) -> None:
    plugins.load_plugin(own)
    Path("further").mkdir()
    Path("further/own.py").write_text("x = 1\n")
    with pytest.raises(RecipeError, match=r"further/own\.py: a plug-in of this name is loaded already, from own\.py"):
        plugins.load_plugin("further/own.py")
    own.write_text("x = 1\n")
    with pytest.raises(RecipeError, match=r"own\.py: the plug-in has changed since it was loaded"):
        plugins.load_plugin(own)


# selections -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("mood/acuracy", "wants a score that no task reports; there are 'mood/accuracy', 'mood/loss', 'likeness/spearman'"),
        ("likeness/within_9", ""),  # a metric of a plug-in may have any values, known once it is computed
    ],
)
def test_a_selection_that_wants_what_is_not_there_is_told_before_training(own: Path, wrong: str, told: str, cli: Any) -> None:
    own.write_text(OWN.replace("mood/accuracy", wrong))
    code, _, err = cli("check", "recipe.yaml", "--plugin", own, *USED)
    assert code == (2 if told else 0)
    assert told in err


def test_a_selection_that_gives_no_number(own: Path, cli: Any) -> None:
    own.write_text(OWN.replace("/ 3", "and None"))
    code, _, err = cli("check", "recipe.yaml", "--plugin", own, *USED)
    assert code == 2
    assert "training.select=mean_of_three': the selection 'mean_of_three' failed: TypeError: float() argument" in err


def test_a_task_may_not_be_called_like_a_selection(own: Path, cli: Any) -> None:
    own.write_text(OWN.replace('"mean_of_three"', '"mood"'))
    code, _, err = cli("check", "recipe.yaml", "--plugin", own, "training.select=mood")
    assert code == 2
    assert "a task and a selection of a plug-in are called so" in err


# the command line, runs and artefacts ---------------------------------------------------------------------------------


@pytest.fixture
def cli(forget: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A command in a process of its own, as far as plug-ins go."""

    def call(*arguments: object) -> tuple[int, str, str]:
        forget()
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


def test_one_that_registers_nothing_is_warned_about(own: Path, cli: Any) -> None:
    own.write_text("x = 1\n")
    code, _, err = cli("check", "recipe.yaml", "--plugin", own)
    assert code == 0
    assert "warning: own.py: the plug-in registers nothing" in err


def test_a_run_and_its_artefact_remember_their_plug_ins(own: Path, cli: Any) -> None:
    command = ("train", "recipe.yaml", *USED)
    code, out, err = cli(*command, "--plugin", own, "--json")
    assert code == 0, err
    digest = plugins.load_plugin(own).sha256
    noted = {"own.py": {"sha256": digest, "provides": {"metric": ["off_by"], "selection": ["mean_of_three"]}}}
    assert json.loads(Path("run/run.json").read_text())["fingerprint"]["plugins"] == noted
    assert json.loads(Path("run/artefact/plugins.json").read_text()) == noted
    _best_is_by_the_selection(json.loads(out)["best"])
    assert cli(*command, "--plugin", own)[0] == 0
    needed = "give --plugin own.py, or in Python manyheads.load_plugin(path)"
    for lacking in (command, ("evaluate", "run")):
        code, _, err = cli(*lacking)
        assert code != 0
        assert needed in err, lacking
    assert "whose metric 'off_by', selection 'mean_of_three' is not known here" in err
    assert cli("evaluate", "run", "--plugin", own)[0] == 0
    assert cli("predict", "run", "the film at rome good")[0] == 0  # no score is asked for
    own.write_text(OWN + "# changed\n")
    code, _, err = cli(*command, "--plugin", own)
    assert code == 2
    assert "own.py: the plug-in has changed since the run in run began" in err


def _best_is_by_the_selection(best: int) -> None:
    """The step that training took is that of the function's greatest value over the recorded dev scores."""
    values: dict[int, dict[str, float]] = {}
    for line in Path("run/records.jsonl").read_text().splitlines():
        r = json.loads(line)
        if r["split"] == "dev" and "majority" not in r["metric"]:
            values.setdefault(r["step"], {})[f"{r['task']}/{r['metric']}"] = r["value"]
    chosen = {step: SELECTIONS["mean_of_three"](scores) for step, scores in values.items() if "names/span_f1" in scores}
    assert len(chosen) == 2
    assert max(chosen, key=lambda step: (chosen[step], -step)) == best


def test_a_task_type_of_a_plug_in_is_needed_to_load_the_model(own: Path, cli: Any) -> None:
    own.write_text(
        "from manyheads.task.base import TASKS\nfrom manyheads.task.regression import Regression\n\n\n"
        '@TASKS.register("stars")\nclass Stars(Regression):\n    target = "number"\n'
    )
    command = ("train", "recipe.yaml", "tasks.likeness.type=stars", "training.steps=1")
    code, _, err = cli(*command, "--plugin", own)
    assert code == 0, err
    code, _, err = cli("predict", "run", "a cat")
    assert code == 5
    assert "the model was trained with the plug-in 'own.py', whose task 'stars' is not known here" in err
    assert cli("inspect", "run", "--plugin", own)[0] == 0


def test_a_run_that_goes_on_with_a_further_plug_in_says_so(own: Path) -> None:
    recipe = api.load_recipe("recipe.yaml").recipe
    then = fingerprint(recipe, {}, {})
    plugins.load_plugin(own)
    now = fingerprint(recipe, {}, {})
    assert check_same(now, then, Path("run")) == ("the run began without the plug-in 'own.py', and goes on with it",)
    with pytest.raises(RecipeError, match=r"the run in run has the plug-in 'own\.py'\n    give --plugin own\.py"):
        check_same(then, now, Path("run"))
