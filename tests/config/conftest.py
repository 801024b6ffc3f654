"""A recipe that holds, and a way to load one from text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from manyheads.config.load import Loaded, load_recipe
from manyheads.errors import RecipeError

SMALL = """\
modules:
  encoder: {type: pretrained, name: minilm}
tasks:
  mood:
    type: classification
    path: [encoder]
    data: {train: mood.csv, label: mood}
  names:
    type: tagging
    path: [encoder]
    data: {train: names.conll}
"""


@pytest.fixture
def small() -> str:
    return SMALL


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    """Load a text as recipe.yaml; the places are those of that name."""
    monkeypatch.chdir(tmp_path)

    def call(text: str | bytes, *overrides: str, plugins: dict[str, set[str]] | None = None) -> Loaded:
        content = text.encode() if isinstance(text, str) else text
        Path("recipe.yaml").write_bytes(content)
        return load_recipe("recipe.yaml", overrides, plugins or {})

    return call


@pytest.fixture
def refused(load: Callable[..., Loaded]) -> Callable[..., str]:
    """The message with which a text is refused."""

    def call(text: str | bytes, *overrides: str, plugins: dict[str, set[str]] | None = None) -> str:
        with pytest.raises(RecipeError) as caught:
            load(text, *overrides, plugins=plugins)
        assert caught.value.exit_code == 2
        return str(caught.value)

    return call
