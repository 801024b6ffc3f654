"""docs/training.md: its snippets are recipes, and it names all there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from manyheads.config.load import recipe_from
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.training import OPTIMIZER_KEYS, SCHEDULE_KEYS, ScheduleSpec

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BASE: dict[str, Any] = {
    "modules": {"encoder": {"type": "pretrained", "name": "minilm"}, "deeper": {"type": "feedforward", "width": 64}},
    "data": {"reviews": {"train": "reviews.csv"}},
    "tasks": {
        "mood": {"type": "classification", "path": ["encoder", "deeper"], "data": {"from": "reviews"}},
        "names": {"type": "tagging", "path": ["encoder"], "data": {"train": "names.conll"}},
    },
}


def joined(low: Any, high: Any) -> Any:
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    return {key: joined(low.get(key), high[key]) if key in high else low[key] for key in {**low, **high}}


def rows(title: str) -> dict[str, str]:
    """The table of a section: first cell to the whole row."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return {name: line for line, name in re.findall(r"^(\| `(\w+)` \|.*)$", section, re.MULTILINE) if name != "name"}


@pytest.mark.parametrize("text", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_holds_without_a_warning(text: str) -> None:
    loaded = recipe_from(joined(BASE, YAML(typ="safe").load(text)))
    assert loaded.warnings == ()
    assert loaded.recipe != recipe_from(BASE).recipe


def test_every_section_has_a_snippet() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections if "```yaml" not in section] == ["The loss of a step"]


def test_every_optimizer_is_in_the_table_with_what_it_takes() -> None:
    found = rows("The optimizer")
    assert {name: re.findall(r"`(\w+)`", row)[1:] for name, row in found.items()} == {
        name: list(keys) for name, keys in OPTIMIZER_KEYS.items()
    }


def test_every_schedule_is_in_the_table_with_what_it_takes() -> None:
    found = rows("The schedule")
    assert set(found) == set(get_args(ScheduleSpec.model_fields["name"].annotation))
    for name, keys in SCHEDULE_KEYS.items():
        assert set(keys) <= set(re.findall(r"`(\w+)`", found[name]))


def test_every_key_of_a_module_is_told() -> None:
    assert all(re.search(rf"\b{key}: ", PAGE) for key in ModuleBase.model_fields)
