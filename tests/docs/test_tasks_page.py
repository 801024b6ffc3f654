"""docs/tasks.md: its snippets are recipes, and it names every type with the score that chooses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.docs.test_training_page import joined

from manyheads.config.fields import builtin
from manyheads.config.load import recipe_from
from manyheads.task.base import TASKS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = {"type": "classification", "path": ["encoder"], "data": {"train": "rows.csv"}}
WORDS = {"utterances": {"train": "rows.conll"}}


@pytest.mark.parametrize("text", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_holds_without_a_warning(text: str) -> None:
    given: dict[str, Any] = YAML(typ="safe").load(text)
    shared = "utterances" in text
    encoder = {} if "modules" in given else {"encoder": {"type": "pretrained", "name": "minilm"}}
    base: dict[str, Any] = {"modules": encoder, "data": WORDS if shared else {}}
    base["tasks"] = {name: {**FILES, "data": {}} if shared else FILES for name in given["tasks"]}
    loaded = recipe_from(joined(base, given))
    assert loaded.warnings == ()


def test_every_type_stands_in_the_table_with_its_score() -> None:
    rows = {
        name: [cell.strip() for cell in rest.split("|")]
        for name, rest in re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE, re.MULTILINE)
    }
    assert sorted(rows) == sorted(builtin("tasks"))
    for name, cells in rows.items():
        kind: Any = TASKS[name]
        if isinstance(getattr(kind, "metric", None), str):
            assert cells[2] == kind.metric, name
        assert ("states" in cells[3]) == (kind.wants == "states"), name
