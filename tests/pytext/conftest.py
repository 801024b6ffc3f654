"""Configurations after PyText's documented form, and their conversion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manyheads.pytext import Conversion, convert

Convert = Callable[..., Conversion]


def tsv(name: str, *columns: str, **further: Any) -> dict[str, Any]:
    """A data section of three tab-separated files."""
    files = {f"{split}_filename": f"{name}/{split}.tsv" for split in ("train", "eval", "test")}
    return {"source": {"TSVDataSource": {"field_names": list(columns), **files, **further}}}


def document(name: str = "reviews", **model: Any) -> dict[str, Any]:
    """A `DocumentClassificationTask` over the columns label and text."""
    return {"data": tsv(name, "label", "text"), "model": {"DocModel": model}}


@pytest.fixture
def convert_json(place: Path) -> Convert:
    """The conversion of a configuration given as plain values, from a file conf.json in an empty folder."""

    def call(values: Any, base: Path | None = None) -> Conversion:
        (place / "conf.json").write_text(json.dumps(values, indent=2))
        return convert(Path("conf.json"), base)

    return call
