"""`manyheads predict`: texts typed, piped and read from files."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.cli.predicting import _lines

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_folder(trained: Path, place: Path) -> Path:
    return trained / "run"


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def answers(out: str) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in out.split("\n") if line]


def test_typed_texts_are_shown_to_be_read(command: Command, run_folder: Path) -> None:
    code, out, err = command("predict", run_folder, "the good film in rome", "bad")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "the good film in rome"
    assert lines[1].startswith("  mood: ")
    assert lines[2].startswith("  names: ")
    assert lines[3] == "bad"


def test_a_typed_text_that_is_too_long_is_answered_and_told(command: Command, run_folder: Path) -> None:
    code, out, err = command("predict", run_folder, "good " * 40)
    assert (code, err) == (0, "warning: the text is longer than the encoder reads; 10 pieces at its end are not read\n")
    assert "mood: " in out
    assert command("predict", run_folder, "good")[2] == ""


def test_typed_texts_as_json(command: Command, run_folder: Path) -> None:
    code, out, _ = command("predict", run_folder, "--json", "the good film")
    [answer] = answers(out)
    assert code == 0
    assert answer["input"] == "the good film"
    assert set(answer["tasks"]) == {"mood", "names"}


@pytest.mark.parametrize("option", [[], ["--input", "-"]])
def test_lines_of_standard_input(
    command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    feed(monkeypatch, "\ufeffgood\r\n\n  \nbad é\u2028x\n\n".encode())
    code, out, _ = command("predict", run_folder, *option)
    assert code == 0
    assert [a["input"] for a in answers(out)] == ["good", "", "  ", "bad é\u2028x", ""]


@given(st.lists(st.sampled_from(["", " ", "good", "{", "{}x", "[1]", "the cat"]), min_size=1, max_size=6), st.booleans())
def test_a_plain_line_is_an_answer(lines: list[str], ended: bool) -> None:
    content = "\n".join(lines) + "\n" * (ended or not lines[-1])
    found = list(_lines(io.BytesIO(content.encode()), "texts"))
    assert [line.input for line in found] == lines
    assert [line.place for line in found] == [f"texts:{n}" for n in range(1, len(lines) + 1)]


def test_texts_that_look_like_json_are_texts(command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b'{good} film\n{"text": "bad"}\n')
    code, out, _ = command("predict", run_folder)
    assert code == 0
    assert [a["input"] for a in answers(out)] == ["{good} film", '{"text": "bad"}']


def test_objects_on_standard_input(command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b'\n{"text": "good"}\n{"text": "a cat", "pair": "a dog"}\n{"words": ["anna", "in", "rome"], "id": 3}\n')
    code, out, _ = command("predict", run_folder)
    assert code == 0
    assert [set(a["tasks"]) for a in answers(out)] == [{"mood", "names"}, {"likeness"}, {"mood", "names"}]
    assert len(answers(out)[2]["tasks"]["names"]["tags"]) == 3


def test_an_answer_repeats_the_id_of_its_object(command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["a-1", 7, 0, 2.5, "", 10**30]
    lines = [json.dumps({"text": f"good {i}", "id": i}) for i in ids]
    feed(monkeypatch, "\n\n".join([*lines, '{"text": "bad", "id": null}', '{"text": "poor"}']).encode())
    code, out, err = command("predict", run_folder)
    assert (code, err) == (0, "")
    assert [a.get("id", "none") for a in answers(out)] == [*ids, "none", "none"]
    assert [a["input"] for a in answers(out)] == [*(f"good {i}" for i in ids), "bad", "poor"]
    assert list(answers(out)[0]) == ["id", "input", "tasks"]


@pytest.mark.parametrize("value", ["true", "[1]", "{}", "NaN", "1e999"])
def test_an_id_that_could_not_be_repeated(
    command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    feed(monkeypatch, f'{{"text": "good", "id": 1}}\n{{"text": "bad", "id": {value}}}\n'.encode())
    code, out, err = command("predict", run_folder)
    assert code == 3
    assert err.startswith("error: standard input:2: `id` must be a text or a number; found ")
    assert [a["id"] for a in answers(out)] == [1]


def test_nothing_on_standard_input(command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"")
    assert command("predict", run_folder) == (0, "", "")


def test_whoever_types_gets_an_answer_a_line(command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(b"good\n\xff\n")))
    code, out, err = command("predict", run_folder)
    assert code == 3
    assert [a["input"] for a in answers(out)] == ["good"]  # before the bad line was read
    assert err.startswith("one text a line")


def test_a_file_of_lines_and_one_of_objects(command: Command, run_folder: Path, place: Path) -> None:
    (place / "texts.txt").write_text("good\nbad\n")
    (place / "rows.JSONL").write_text('{"text": "good", "label": "not read"}\n')
    assert [a["input"] for a in answers(command("predict", run_folder, "-i", place / "texts.txt")[1])] == ["good", "bad"]
    assert [a["input"] for a in answers(command("predict", run_folder, "-i", place / "rows.JSONL")[1])] == ["good"]


def test_some_tasks(command: Command, run_folder: Path) -> None:
    _, out, _ = command("predict", run_folder, "good", "--json", "-t", "names")
    assert list(answers(out)[0]["tasks"]) == ["names"]
    code, out, err = command("predict", run_folder, "good", "-t", "name")
    assert (code, out) == (2, "")
    assert "did you mean 'names'" in err


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        (b'{"text": "a"}\n{"text": \n', 2, "a JSON object is wanted"),
        (b'{"text": 3}\n', 1, "an object with text"),
        (b'{"text": "a", "pair": 3}\n', 1, "an object with text"),
        (b'{"words": ["a", 3]}\n', 1, "a list of words"),
        (b'{"text": "a"}\n\n["a"]\n', 3, "an object with text"),
        (b'{"text": "a \\ud800"}\n', 1, "half of a character"),
        (b'{"text": "a"}\n{"x": ' + b"[" * 100_000 + b"\n", 2, "a JSON object is wanted"),
        (b'\n{"text": "a"}\n{"text": "b"\n', 3, "a JSON object is wanted"),
        (b'{"text": "a", "x": ' + b"[" * 100_000 + b"\n", 1, "a JSON object is wanted: maximum recursion depth exceeded"),
        (b'{"text": "a", "id": ' + b"7" * 5000 + b"}\n", 1, "a JSON object is wanted: Exceeds the limit (4300 digits)"),
        (b"fine\nna\xefve\n", 2, "is not UTF-8 at byte 3 of the line"),
    ],
    ids=lambda v: ascii(v)[:30],
)
def test_bad_lines_are_located(
    command: Command, run_folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, line: int, told: str
) -> None:
    feed(monkeypatch, content)
    code, _, err = command("predict", run_folder)
    assert code == 3
    assert f"standard input:{line}: " in err
    assert told in err
    file = place / "inputs.txt"
    file.write_bytes(content)
    code, _, err = command("predict", run_folder, "-i", file)
    assert code == 3
    assert f"{file}:{line}: " in err


@pytest.mark.parametrize(("good", "bad"), [(b"fine\n", b"na\xefve\n"), (b'{"text": "fine"}\n', b'{"text": 3}\n')], ids=str)
def test_what_stands_before_a_bad_line_is_answered(
    command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch, good: bytes, bad: bytes
) -> None:
    feed(monkeypatch, good * 515 + bad + good)  # more than are in memory at a time
    code, out, err = command("predict", run_folder)
    assert code == 3
    assert len(answers(out)) == 515
    assert err.startswith("error: standard input:516: ")
    assert err.count("error: ") == 1


def test_an_input_that_no_asked_task_reads_is_located(
    command: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, b'{"text": "good"}\n\n{"text": "a", "pair": "b"}\n{"text": "bad"}\n')
    code, out, err = command("predict", run_folder, "-t", "mood")
    assert code == 3
    assert [a["input"] for a in answers(out)] == ["good"]
    assert err.startswith("error: standard input:3: the tasks 'mood' read single texts, but the input is a pair; found ")


def test_inputs_that_cannot_be_read(command: Command, run_folder: Path, place: Path) -> None:
    for path in (place / "absent.txt", place):
        code, out, err = command("predict", run_folder, "-i", path)
        assert (code, out) == (3, "")
        assert str(path) in err


def test_texts_and_a_file_exclude_each_other(command: Command, run_folder: Path) -> None:
    assert command("predict", run_folder, "a text", "-i", "x.txt")[0] == 2


def test_a_text_that_only_pairs_could_answer(command: Command, run_folder: Path) -> None:
    code, out, err = command("predict", run_folder, "a text", "-t", "likeness")
    assert (code, out) == (2, "")
    assert "read pairs" in err


def test_a_folder_that_is_no_artefact(command: Command, place: Path) -> None:
    for path in (place, place / "nowhere"):
        code, _, err = command("predict", path, "x")
        assert code == 5
        assert str(path) in err


def test_every_kind_of_answer_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    from manyheads.cli.predicting import _show
    from manyheads.predict import Answer
    from manyheads.task.base import Prediction
    from manyheads.text.tags import Span

    predictions = {
        "mood": Prediction("mood", "u[p]", {"u[p]": 0.75}),
        "stars": Prediction("stars", 2.5),
        "topics": Prediction("topics", ("a", "b"), {"a": 0.9, "b": 0.8, "c": 0.1}),
        "none": Prediction("none", (), {"a": 0.1}),
        "names": Prediction("names", ("B-X", "O"), spans=(Span("X", 0, 1),)),
    }
    _show(Answer("an\x07na ran", predictions, ((0, 5), (6, 9))))
    assert capsys.readouterr().out.splitlines() == [
        "an\\x07na ran",
        "  mood: u[p] (0.75)",
        "  stars: 2.500",
        "  topics: a, b",
        "  none: none",
        "  names: an\\x07na [X]",
    ]
