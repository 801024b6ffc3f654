"""The file of scores: strict, append-only, cut when a run goes back to a checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from manyheads.errors import ArtefactError, ResourceError
from manyheads.journal import Journal, dumps, number
from manyheads.types import Record


def record(step: int, value: float = 0.5, task: str = "mood") -> Record:
    return Record(step, task, "reviews", "dev", "accuracy", value)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "records.jsonl")


def test_what_is_added_is_read(journal: Journal) -> None:
    journal.add([record(1), record(2, 1 / 3)])
    journal.add([record(3)])
    assert journal.read() == [record(1), record(2, 1 / 3), record(3)]
    assert journal.lines == 3


def test_a_journal_that_was_never_written_is_empty(journal: Journal) -> None:
    assert journal.read() == []
    journal.rewind(0)
    assert not journal.path.exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(journal: Journal, value: float) -> None:
    journal.add([record(1, value)])
    assert json.loads(journal.path.read_text(), parse_constant=pytest.fail)["value"] is None
    assert math.isnan(journal.read()[0].value)


@pytest.mark.parametrize("name", ["a\nb", "\u2028", "\r", '"', "é"], ids=ascii)
def test_a_name_stays_on_its_line(journal: Journal, name: str) -> None:
    journal.add([record(1, task=name), record(2)])
    assert [r.task for r in journal.read()] == [name, "mood"]
    again = Journal(journal.path)
    again.rewind(1)
    assert [r.task for r in again.read()] == [name]


def test_rewinding_forgets_what_came_after(journal: Journal) -> None:
    journal.add(record(step) for step in range(5))
    before = journal.path.read_bytes()
    again = Journal(journal.path)
    again.rewind(3)
    assert again.lines == 3
    assert before.startswith(journal.path.read_bytes())
    again.add([record(3), record(4)])
    assert journal.path.read_bytes() == before


def test_half_a_line_is_forgotten(journal: Journal) -> None:
    journal.add([record(1), record(2)])
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"step": 3, "ta')
    assert len(Journal(journal.path).read()) == 2
    Journal(journal.path).rewind(2)
    assert journal.path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[1]",
        "null",
        "[" * 100_000,
        '{"step": 1, "task": "a", "dataset": "b", "split": "dev", "metric": "loss"}',
        '{"step": 1, "task": "a", "dataset": "b", "split": "dev", "metric": "loss", "value": 1, "more": 2}',
        '{"step": "1", "task": "a", "dataset": "b", "split": "dev", "metric": "loss", "value": 1}',
        '{"step": 1, "task": "a", "dataset": "b", "split": "dev", "metric": "loss", "value": true}',
        '{"step": 1, "task": null, "dataset": "b", "split": "dev", "metric": "loss", "value": 1}',
    ],
    ids=lambda line: line[-30:],
)
def test_a_line_that_is_no_record_is_named(journal: Journal, line: str) -> None:
    journal.add([record(1)])
    with journal.path.open("a") as file:
        file.write(line + "\n")
    for read in (journal.read, lambda: journal.rewind(2)):
        with pytest.raises(ArtefactError, match="is no record") as caught:
            read()
        assert caught.value.problems[0].place == f"{journal.path}:2"
    journal.rewind(1)  # what is cut off need not be one
    assert journal.read() == [record(1)]


def test_bytes_that_are_no_text_are_no_record(journal: Journal) -> None:
    journal.path.write_bytes(b"\xff\n")
    with pytest.raises(ArtefactError, match="is no record"):
        journal.read()


def test_records_come_back_from_a_copy(journal: Journal, tmp_path: Path) -> None:
    journal.add([record(1), record(2)])
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(journal.path.read_bytes())
    assert not journal.restore(copy)
    for damage in (lambda: journal.path.unlink(), lambda: journal.path.write_text("{}\n")):
        damage()
        assert journal.restore(copy)
        assert journal.path.read_bytes() == copy.read_bytes()


def test_lost_lines_are_a_warning(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.add([record(1)])
    journal.rewind(4)
    assert journal.lines == 1
    assert "some were lost" in caplog.text


def test_json_is_strict() -> None:
    assert dumps({"a": "é"}) == '{"a": "é"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": math.nan})
    assert [number(v) for v in (1.5, math.nan, math.inf)] == [1.5, None, None]


def test_a_disk_that_takes_no_records_is_told_with_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "records.jsonl")
    journal.path.symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="No space left on device") as caught:
        journal.add([record(1)])
    assert caught.value.problems[0].place == str(journal.path)
