"""The recipes of docs/pytext.md are those of the configurations before them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.pytext.conftest import Convert
from tests.pytext.test_convert import loads

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pytext.md"
BLOCKS = re.findall(r"^```json\n(.*?)^```$.*?^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def body(text: str) -> str:
    """A recipe without the lists at its top."""
    return text[text.index("modules:") :]


@pytest.mark.parametrize("number", [0, 1])
def test_configurations_become_the_recipes_of_the_page(convert_json: Convert, number: int) -> None:
    before, after = BLOCKS[number]
    assert body(convert_json(json.loads(before)).text) == after


def test_the_first_one_loads(convert_json: Convert) -> None:
    found = loads(convert_json(json.loads(BLOCKS[0][0])))
    assert found.lost == ()


def test_the_second_one_loads(convert_json: Convert) -> None:
    loads(convert_json(json.loads(BLOCKS[1][0])))
