"""`manyheads embed`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from manyheads.cli.console import note, print_json
from manyheads.cli.predicting import Line, find_artefact, lines_of
from manyheads.cli.streams import unread
from manyheads.errors import DataError, Problem, RecipeError
from manyheads.folder import write_bytes
from manyheads.predict import Predictor

_CHUNK = 512  # texts in memory at a time


def embed(artefact: Path, texts: Sequence[str], source: Path | None, task: str | None, output: Path | None) -> None:
    """Vectors as JSON lines on standard output, or all of them in one .npy file, (N, D) float32, a row a text."""
    if output is not None and output.suffix != ".npy":
        raise RecipeError(Problem("vectors are written to a file that ends in .npy", "--output", str(output)))
    lines = lines_of(texts, source)
    predictor = Predictor.load(find_artefact(artefact))
    none = predictor.embed([], task)  # a task that is not there is told before anything is read
    size = 1 if not texts and output is None and sys.stdin.isatty() else _CHUNK  # whoever types wants an answer a line
    found = ((chunk, *_vectors(predictor, chunk, task)) for chunk in _chunks(lines, size))
    if output is not None:
        kept = list(found)
        _save(output, np.concatenate([vectors for _, vectors, _ in kept] or [none]))
        if long := sum(count > 0 for _, _, cut in kept for count in cut):
            note(f"{long:,} of them are of texts that are longer than the limit, of which the beginning was read")
        return
    for chunk, vectors, cut in found:
        for line, vector, unread_pieces in zip(chunk, vectors.tolist(), cut, strict=True):
            told = {"cut": unread_pieces} if unread_pieces else {}
            print_json({**line.repeated, "input": line.input, "vector": vector, **told})
        if unread():
            return


def _chunks(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    source = iter(lines)
    while chunk := list(islice(source, size)):
        yield chunk


def _vectors(predictor: Predictor, lines: Sequence[Line], task: str | None) -> tuple[np.ndarray, list[int]]:
    """(N, D), and how many pieces of each text did not fit. DataError, with its place, for a line that is no text."""
    texts = [line.input for line in lines if isinstance(line.input, str)]
    for line in lines:
        if not isinstance(line.input, str):
            raise DataError(Problem("vectors are those of single texts", line.place, str(line.input)))
    return predictor.vectors(texts, task)


def _save(path: Path, vectors: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    write_bytes(path, content.getvalue())
    note(f"wrote {path}: {len(vectors):,} vectors of {vectors.shape[1]}")
