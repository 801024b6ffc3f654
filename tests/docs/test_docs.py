"""What the documentation says is so: its code runs, its links lead somewhere, its names are those of the program."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

import manyheads as mh
from manyheads.cli.app import app
from manyheads.config.load import load_recipe, recipe_from
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.train.events import Finished

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *(p for p in ROOT.glob("*.md") if p.name != "README.md"), *DOCS.rglob("*.md")])
COMMANDS: dict[str, click.Command] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """The fenced blocks of a language, each with its first line's number."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start(1)), found[1]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def section(page: str, title: str) -> str:
    """What stands under a heading, down to the next of its level."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


# code ---------------------------------------------------------------------------------------------------------------


def execute(page: Path) -> dict[str, Any]:
    """Run the python blocks of a page in order, in one namespace; line numbers in errors are the page's."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * line + code, name(page), "exec"), namespace)  # noqa: S102  # our own pages
    return namespace


@pytest.mark.usefixtures("forget")
@pytest.mark.usefixtures("place")
def test_the_tutorial_runs(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = DOCS / "tutorial.md"
    namespace = execute(page)
    assert set(namespace["scores"]) == {f"seen/counts/train/{m}" for m in ("loss", "mae", "within_1", "within_2")}
    [(_, printed)] = blocks(page, "text")
    assert capsys.readouterr().out == printed
    small = [
        f"modules.encoder.name={tiny}",
        "modules.top.options.width=16",
        "training.steps=1",
        "output=run",
        "training.device=cpu",
    ]
    *_, last = run(mh.load_recipe("reports.yaml", small))
    assert isinstance(last, Finished)
    assert Predictor.load(last.artefact)(["two dogs"])[0].predictions["dogs"].value > 0


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_the_tutorial_needs_no_lucky_seed(seed: int) -> None:
    (_, code), *_ = blocks(DOCS / "tutorial.md", "python")
    assert "torch.manual_seed(0)" in code
    namespace: dict[str, Any] = {}
    exec(code.replace("manual_seed(0)", f"manual_seed({seed})").replace("settings)", f"settings, seed={seed})"), namespace)  # noqa: S102
    assert min(namespace["scores"][f"{task}/{task}_points/test/accuracy"] for task in ("circle", "square")) > 0.9


def test_examples_of_the_tutorial_are_short() -> None:
    assert all(code.count("\n") <= 30 for _, code in blocks(DOCS / "tutorial.md", "python"))


def test_the_python_of_the_readme_is_about_15_lines() -> None:
    code = "".join(code for _, code in blocks(ROOT / "README.md", "python"))
    assert len([line for line in code.splitlines() if line.strip()]) <= 16


@pytest.mark.usefixtures("place")
def test_the_readme_runs(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_the_quick_start_in_small(tiny)
    namespace = execute(ROOT / "README.md")
    answer = namespace["answer"].to_json()["tasks"]
    assert set(answer) == {"sentiment", "entities"}
    assert 0 <= namespace["scores"]["circle/points/train/accuracy"] <= 1
    assert str(answer) in capsys.readouterr().out


def train_the_quick_start_in_small(encoder: Path) -> None:
    """quickstart/run/artefact, by one step over rows written here."""
    Path("tweets.csv").write_text("text,label\ngood,positive\nbad,negative\n")
    Path("entities.txt").write_text("Sony B-company\nfell O\n\nHello O\n")
    tasks = {
        "sentiment": {"type": "classification", "path": ["encoder"], "data": {"train": "tweets.csv"}},
        "entities": {"type": "tagging", "path": ["encoder"], "data": {"format": "conll", "train": "entities.txt"}},
    }
    recipe = {
        "output": "quickstart/run",
        "modules": {"encoder": {"type": "pretrained", "name": str(encoder)}},
        "tasks": tasks,
        "training": {"steps": 1, "device": "cpu"},
    }
    *_, last = run(recipe_from(recipe))
    assert isinstance(last, Finished)


RECIPES = [(page, line, text) for page in PAGES for line, text in blocks(page, "yaml") if text.startswith(("version:", "#"))]


@pytest.mark.parametrize(("page", "line", "text"), RECIPES, ids=[f"{name(p)}:{n}" for p, n, _ in RECIPES])
def test_recipes_of_the_pages_hold(page: Path, line: int, text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    loaded = load_recipe(tmp_path / "recipe.yaml")
    assert loaded.warnings == ()


def test_the_readme_has_a_recipe() -> None:
    assert any(page.name == "README.md" and page.parent == ROOT for page, _, _ in RECIPES)


# names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), target
        if anchor:
            assert anchor in headings(aim), target


def headings(page: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^ {4}|\$ |: )(?:python -m )?manyheads ([a-z]+)\b", text, re.MULTILINE)
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_that_pages_name_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)|^ {4}make ([a-z-]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {one or other for one, other in named} <= targets


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_of_a_command_is_in_the_docs_and_no_other(command: str) -> None:
    options = {o for p in COMMANDS[command].params if p.param_type_name == "option" for o in (*p.opts, *p.secondary_opts)}
    told = section("docs/cli.md", command)
    assert set(re.findall(r"`(--?[a-z-]+)`", told)) == options
    assert told.startswith(f"\n    manyheads {command}")


def test_every_command_has_a_section_and_a_line_in_the_readme() -> None:
    pages = {p: (ROOT / p).read_text(encoding="utf-8") for p in ("docs/cli.md", "README.md")}
    assert set(re.findall(r"^## (\w+)$", pages["docs/cli.md"], re.MULTILINE)) == set(COMMANDS)
    assert set(re.findall(r"^\| `manyheads ([a-z]+)", pages["README.md"], re.MULTILINE)) == set(COMMANDS)


def test_options_of_the_whole_command_line_are_in_the_docs() -> None:
    head = (DOCS / "cli.md").read_text(encoding="utf-8").partition("\n## ")[0]
    options = {o for p in typer.main.get_command(app).params for o in p.opts}
    assert options <= set(re.findall(r"--[a-z-]+", head))


# trees and layers ---------------------------------------------------------------------------------------------------


def tree(text: str) -> set[str]:
    """Paths of the files in an indented tree whose first line is its root."""
    root, *lines = text.splitlines()
    found, folders = set(), [root.rstrip("/")]
    for line in lines:
        depth, entry = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = folders[:depth]
        if entry.endswith("/"):
            folders.append(entry.rstrip("/"))
        else:
            found.add("/".join([*folders, entry]))
    return found


def test_the_tree_in_the_readme_is_the_tree() -> None:
    [(_, text)] = [block for block in blocks(ROOT / "README.md", "text") if block[1].startswith("src/")]
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / "src/manyheads").rglob("*.py")}
    packages = {f for f in files if f.endswith("/__init__.py") and f.count("/") > 2}
    assert tree(text) == files - packages
    assert all(re.match(r" *\S+ {2,}\S", line) for line in text.splitlines()[1:]), "every line says what it is"


def test_the_tree_test_sees_what_is_missing() -> None:
    assert tree("src/\n  a.py  one\n  b/  two\n    c.py  three\n  d.py  four\n") == {"src/a.py", "src/b/c.py", "src/d.py"}


def test_the_layers_are_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = settings["tool"]["importlinter"]["contracts"]
    wanted = [[n.strip(" ()") for n in layer.split("|")] for layer in contract["layers"]]
    rows = re.findall(r"^\| (`.+?) \|", section("docs/architecture.md", "Who may import whom"), re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == wanted


def test_every_name_on_the_reading_path_exists() -> None:
    names = re.findall(r"`([a-z]+(?:\.\w+)+)`", section("docs/architecture.md", "Follow one row"))
    assert len(names) > 30
    for dotted in names:
        assert resolve(dotted) is not None


def resolve(dotted: str) -> object:
    """What a name below the package stands for; AttributeError or ModuleNotFoundError when it is nothing."""
    found, parts = importlib.import_module("manyheads"), dotted.split(".")
    for i, part in enumerate(parts):
        try:
            found = importlib.import_module(".".join(["manyheads", *parts[: i + 1]]))
        except ModuleNotFoundError:
            found = getattr(found, part)
    return found


def test_modules_of_the_flow_exist() -> None:
    for dotted in re.findall(r"\| `([a-z.]+)` \|$", section("docs/architecture.md", "How data flow"), re.MULTILINE):
        importlib.import_module(f"manyheads.{dotted}")
