"""docs/parity.md: each row once, each test that it names is there, and what is left out has its reason."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
ID = r"[A-Z]{2}-D?\d+|[A-Z]\d\d"


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row of its tables, heads left out."""
    lines = re.findall(r"^\| [A-Z].*\|$", text, re.MULTILINE)
    return [row for row in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines) if row[0] != "ID"]


SHOWN, LEFT_OUT = PAGE.split("\n## Left out\n")
CLAIMS = rows_of(SHOWN)
OMITTED = rows_of(LEFT_OUT)


def defined(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """Names of test functions, those in classes with the class before them."""
    found = set()
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found.add(prefix + node.name)
        elif isinstance(node, ast.ClassDef):
            found |= defined(node.body, f"{node.name}::")
    return found


@functools.cache
def names_in(path: str) -> set[str]:
    return defined(ast.parse((ROOT / path).read_text(encoding="utf-8")).body)


def test_every_id_stands_once() -> None:
    ids = [row[0] for row in CLAIMS]
    assert len(ids) > 80
    assert sorted(ids) == sorted(set(ids))
    assert all(re.fullmatch(ID, i) for i in ids)


def test_what_is_left_out_is_told_once_with_a_reason_and_is_not_shown() -> None:
    ids = [row[0] for row in OMITTED]
    assert ids
    assert ids == list(dict.fromkeys(ids))
    assert not {row[0] for row in CLAIMS}.intersection(ids)
    assert all(re.fullmatch(ID, row[0]) and len(row) == 3 and row[1] and len(row[2].split()) > 2 for row in OMITTED)
    assert "tests/" not in LEFT_OUT


ROWS = {"PT": 60, "SL": 9, "DP": 60, "MD": 16, "ST": 7}
FAULTS = {"PT": 9, "DP": 12, "MD": 6}
NEVER = {"PT-40", "PT-50", "PT-58", "PT-59", "DP-44"}  # numbers that those lists never had


def test_every_row_of_these_systems_is_shown_or_left_out() -> None:
    told = {row[0] for row in (*CLAIMS, *OMITTED)}
    wanted = {f"{system}-{n:02}" for system, count in ROWS.items() for n in range(1, count + 1)}
    wanted |= {f"{system}-D{n}" for system, count in FAULTS.items() for n in range(1, count + 1)}
    assert wanted - NEVER - told == set()


@pytest.mark.parametrize("row", CLAIMS, ids=lambda row: row[0])
def test_the_test_of_a_row_is_there(row: list[str]) -> None:
    named = re.fullmatch(r"`(tests/[\w/]+\.py)::([\w:]+)`", row[2])
    assert named is not None, row[2]
    assert named[2] in names_in(named[1])
    assert named[2].split("::")[-1].startswith("test_")


def test_a_test_that_is_not_there_is_seen() -> None:
    tree = ast.parse("class TestA:\n def test_b(self): ...\ndef test_c(): ...\n")
    assert defined(tree.body) == {"TestA::test_b", "test_c"}
