"""`manyheads merge`."""

from __future__ import annotations

from pathlib import Path

from manyheads.artefact import load_artefact
from manyheads.cli.console import note
from manyheads.cli.predicting import find_artefact
from manyheads.merge import merge as fold


def merge(artefact: Path, output: Path) -> None:
    """Write an artefact whose encoders have their adapters in their weights."""
    merged = fold(load_artefact(find_artefact(artefact)), output)
    note(f"merged the adapters of {', '.join(merged)}; the model is in {output}")
    if len(merged) > 1:
        note(f"each of these {len(merged)} is now a whole encoder of its own")
