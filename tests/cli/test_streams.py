"""What happens when nobody reads standard output or standard error any more, or the disk behind them is full."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from manyheads.cli import app
from manyheads.cli.streams import outliving_readers, unread
from manyheads.errors import ResourceError

Command = Callable[..., tuple[int, str, str]]
PYTHON = [sys.executable, "-W", "error", "-m", "manyheads"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")


@pytest.fixture
def unheard() -> Iterator[TextIO]:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        yield stream


@pytest.fixture
def full() -> Iterator[TextIO]:
    with FULL.open("w") as stream:
        yield stream


def leads_nowhere(stream: TextIO) -> bool:
    return os.path.sameopenfile(stream.fileno(), os.open(os.devnull, os.O_WRONLY))


# the streams themselves -------------------------------------------------------------------------------------------------


def test_streams_that_are_read_are_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with outliving_readers():
        print("a result")
        print("a message", file=sys.stderr)
        assert sys.stdout.encoding == before[0].encoding
        assert not unread()
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("a result\n", "a message\n")


def test_without_the_block_nothing_is_known_of_readers() -> None:
    assert not unread()


def test_results_that_nobody_reads(unheard: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", unheard)
    with outliving_readers():
        for _ in range(3):
            print("x" * 100_000)
            sys.stdout.flush()
            assert unread()
    unheard.flush()  # as the interpreter does at its end
    assert leads_nowhere(unheard)


def test_messages_that_nobody_reads(unheard: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", unheard)
    with outliving_readers():
        print("a message", file=sys.stderr, flush=True)
        assert not unread()
    assert leads_nowhere(unheard)


@needs_full
def test_results_that_no_disk_takes_are_an_error_each_time(full: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", full)
    with outliving_readers():
        for _ in range(2):
            with pytest.raises(ResourceError, match="standard output cannot be written: No space left"):
                print("x" * 100_000)
    full.flush()


@needs_full
def test_messages_that_no_disk_takes_are_dropped(full: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", full)
    with outliving_readers():
        print("x" * 100_000, file=sys.stderr, flush=True)
    full.flush()


def test_a_stream_of_python_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Broken())
    with outliving_readers():
        print("a result")
        assert unread()


# commands ---------------------------------------------------------------------------------------------------------------


def test_training_goes_on_without_a_listener(
    recipe: Path, unheard: TextIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", unheard)
    assert app.run(["train", str(recipe), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["artefact"] == "run/artefact"
    assert (recipe.parent / "run" / "artefact" / "manifest.json").is_file()


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_training_without_a_reader_still_leaves_its_model(
    recipe: Path, unheard: TextIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", unheard)
    assert app.run(["train", str(recipe), "training.epochs=1", *option]) == 0
    assert "saved run/checkpoints/step-00000010" in capsys.readouterr().err
    assert (recipe.parent / "run" / "artefact" / "manifest.json").is_file()


def test_predict_stops_when_nobody_reads_on(trained: Path, unheard: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = io.BytesIO(b"good\n" * 2000)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(texts, encoding="utf-8"))
    monkeypatch.setattr(sys, "stdout", unheard)
    assert app.run(["predict", str(trained / "run")]) == 0
    assert texts.read(5) == b"good\n"  # not all were read


@pytest.mark.parametrize("arguments", [["schema"], ["--help"], ["--version"], ["inspect", "run"], ["evaluate", "run"]], ids=str)
def test_other_commands_without_a_reader(
    trained: Path, unheard: TextIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "stdout", unheard)
    assert app.run(arguments) == 0
    assert capsys.readouterr().err == ""


def test_an_error_that_nobody_reads_keeps_its_code(unheard: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", unheard)
    assert app.run(["check", "absent.yaml"]) == 2
    assert app.run(["check", "--loud"]) == 2


@needs_full
@pytest.mark.parametrize(
    "arguments", [["schema"], ["--help"], ["predict", "run", "good"], ["evaluate", "run", "--json"]], ids=str
)
def test_results_on_a_full_disk_are_7(
    trained: Path, full: TextIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "stdout", full)
    assert app.run(arguments) == 7
    assert capsys.readouterr().err == "error: standard output cannot be written: No space left on device\n"


def test_streams_that_were_closed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert app.run(["predict", str(trained / "run"), "good"]) == 0
    assert app.run(["predict", str(trained / "run"), "good", "--json"]) == 0
    assert app.run(["inspect", "absent"]) == 2
    assert (sys.stdout, sys.stderr) == (None, None)


def test_a_broken_pipe_elsewhere_is_an_error(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("manyheads.config.dump.schema_text", fail)
    assert command("schema") == (7, "", "error: a file or a connection failed: Broken pipe\n")


# real processes ---------------------------------------------------------------------------------------------------------


def test_head_is_no_error() -> None:
    with subprocess.Popen([*PYTHON, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()  # the text is longer than any pipe
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("left", ["stdout", "stderr", "both"])
def test_a_real_run_outlives_its_readers(recipe: Path, left: str) -> None:
    """`train 2>&1 | head -1` and its kind: a reader takes one line and leaves."""
    reader, writer = os.pipe()
    streams: dict[str, Any] = {n: writer if left in (n, "both") else subprocess.DEVNULL for n in ("stdout", "stderr")}
    with subprocess.Popen([*PYTHON, "train", str(recipe), "training.checkpoint.every_steps=1"], **streams) as process:
        os.close(writer)
        if left != "stdout":
            with open(reader) as file:
                assert file.readline() == "20 steps, in run\n"
        else:
            os.close(reader)
        assert process.wait(120) == 0
    assert (recipe.parent / "run" / "artefact" / "manifest.json").is_file()
    assert (recipe.parent / "run" / "checkpoints" / "step-00000020").is_dir()


@pytest.mark.slow
def test_a_real_ctrl_c_says_that_it_stopped(trained: Path, place: Path) -> None:
    os.mkfifo(place / "texts")
    command = [sys.executable, "-m", "manyheads", "predict", str(trained / "run"), "-i", "texts"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with (place / "texts").open("wb"):  # waits until the command reads it
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped; what was saved before is intact\n"
