"""Rules of modules that read words."""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.config.node import Finding
from manyheads.config.recipe import Recipe
from manyheads.config.spec.words import EmbeddingModule
from manyheads.errors import listed


def check_words(recipe: Recipe) -> Iterator[Finding]:
    """A vocabulary takes words from the file of vectors of the embedding that describes it, and from no other one's."""
    embeddings = {name: spec for name, spec in recipe.modules.items() if isinstance(spec, EmbeddingModule)}
    others = [name for name, spec in embeddings.items() if spec.vectors is not None]
    for name, spec in embeddings.items():
        if spec.vocabulary is not None and spec.vocabulary.vectors and spec.vectors is None:
            rule = f"words from the top of a file of vectors are wanted, and {name!r} has no `vectors`"
            remedy = f"give it `vectors`, or describe the vocabulary at one that has some: {listed(others)}" if others else ""
            path = ("modules", name, "vocabulary", "vectors")
            yield Finding(path, rule, str(spec.vocabulary.vectors), remedy=remedy or "give it `vectors`, or take this out")
