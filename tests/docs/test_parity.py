"""docs/parity.md: each row once, and each test that it names is there."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| [A-Z].*\|$", PAGE, re.MULTILINE)]
CLAIMS = [row for row in ROWS if row[0] != "ID"]


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
    assert all(re.fullmatch(r"[A-Z]{2}-D?\d+|[A-Z]\d\d", i) for i in ids)


@pytest.mark.parametrize("row", CLAIMS, ids=lambda row: row[0])
def test_the_test_of_a_row_is_there(row: list[str]) -> None:
    named = re.fullmatch(r"`(tests/[\w/]+\.py)::([\w:]+)`", row[2])
    assert named is not None, row[2]
    assert named[2] in names_in(named[1])
    assert named[2].split("::")[-1].startswith("test_")


def test_a_test_that_is_not_there_is_seen() -> None:
    tree = ast.parse("class TestA:\n def test_b(self): ...\ndef test_c(): ...\n")
    assert defined(tree.body) == {"TestA::test_b", "test_c"}
