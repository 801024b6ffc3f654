"""The vocabularies of a recipe: modules that read the same data sets read by one, and so do data sets that share a module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manyheads.config.recipe import Recipe
from manyheads.config.spec.words import CharactersModule, ElmoModule, EmbeddingModule, ReadingModule, VocabularySpec
from manyheads.errors import Problem, WiringError
from manyheads.prepare import Prepared, Source
from manyheads.text.tokenize import Tokenizer
from manyheads.text.vectors import Vectors, read_vectors
from manyheads.text.vocabulary import Wanted, count, read_list, vocabulary


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that some modules read, and what is known of them.

    modules   names of the modules that read by it, in the order of the recipe
    sources   the data sets that they read
    vectors   of a module that begins with vectors of a file: numbers of the words found there (N,), their vectors (N, D)
    words     how many different words the training rows have, folded as the vocabulary folds them
    unknown   data set to the share of its training rows' words that are not in the vocabulary
    """

    modules: tuple[str, ...]
    sources: tuple[str, ...]
    tokenizer: Tokenizer
    vectors: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    words: int = 0
    unknown: Mapping[str, float] = field(default_factory=dict)


def readers(source: Source, recipe: Recipe) -> list[str]:
    """The modules by which tasks of a data set read words, in the order of their paths."""
    steps = (s if isinstance(s, str) else s.module for task in source.tasks.values() for s in task.path)
    return list(dict.fromkeys(name for name in steps if isinstance(recipe.modules.get(name), ReadingModule)))


def find_vocabularies(recipe: Recipe, found: Sequence[Prepared], base: Path) -> dict[str, Vocabulary]:
    """Module to the vocabulary that it reads by, counted over the training rows of all data sets that it is used for.

    Raises WiringError for modules of one vocabulary that describe it differently, RecipeError for a vocabulary without a word,
    ResourceError and DataError for its files.
    """
    by_module: dict[str, Vocabulary] = {}
    for modules, members in _groups(recipe, found):
        made = _vocabulary(recipe, modules, members, base)
        by_module |= dict.fromkeys(modules, made)
    return by_module


def _groups(recipe: Recipe, found: Sequence[Prepared]) -> Iterator[tuple[tuple[str, ...], list[Prepared]]]:
    """Modules that share a data set, and theirs, transitively."""
    groups: list[tuple[set[str], list[Prepared]]] = []
    for prepared in found:
        names, members = set(readers(prepared.source, recipe)), [prepared]
        apart = []
        for others, theirs in groups:
            if names & others:
                names, members = names | others, [*theirs, *members]
            else:
                apart.append((others, theirs))
        groups = [*apart, (names, members)] if names else groups
    for names, members in groups:
        yield tuple(name for name in recipe.modules if name in names), members


def _vocabulary(recipe: Recipe, modules: tuple[str, ...], members: Sequence[Prepared], base: Path) -> Vocabulary:
    embeddings = {n: m for n, m in ((n, recipe.modules[n]) for n in modules) if isinstance(m, EmbeddingModule)}
    owner, spec = _described(embeddings)
    counted = {p.source.name: count(_inputs(p)) for p in members}
    total: Counter[str] = sum(counted.values(), Counter())
    listed = read_list(base / spec.file, f"modules.{owner}.vocabulary.file") if spec.file else ()
    wanted = {*total, *(word.lower() for word in total), *listed} if spec.lower else {*total, *listed}
    files = {
        name: read_vectors(m.vectors, base, wanted, spec.lower, spec.vectors if name == owner else 0, f"modules.{name}.vectors")
        for name, m in embeddings.items()
        if m.vectors is not None
    }
    top = files[owner].top if owner in files else ()
    tokenizer = vocabulary(total, Wanted(spec.lower, spec.min_count, spec.size, (*listed, *top)))
    if any(isinstance(recipe.modules[name], CharactersModule | ElmoModule) for name in modules):
        tokenizer = tokenizer.spelling()
    return Vocabulary(
        modules=modules,
        sources=tuple(p.source.name for p in members),
        tokenizer=tokenizer,
        vectors={name: _rows(tokenizer, found) for name, found in files.items()},
        words=len({word.lower() for word in total} if spec.lower else total),
        unknown={name: _unknown(counts, tokenizer) for name, counts in counted.items()},
    )


def _described(embeddings: Mapping[str, EmbeddingModule]) -> tuple[str, VocabularySpec]:
    """The module whose description of the vocabulary holds, and that; WiringError where two are there that differ."""
    said = [(name, m.vocabulary) for name, m in embeddings.items() if m.vocabulary is not None]
    for name, spec in said[1:]:
        if spec != said[0][1]:
            rule = f"modules that read the same data sets read by one vocabulary, and {said[0][0]!r} describes another"
            remedy = f"describe it at one of the two, here or at modules.{said[0][0]}.vocabulary"
            raise WiringError(Problem(rule, f"modules.{name}.vocabulary", remedy=remedy))
    return said[0] if said else (next(iter(embeddings), ""), VocabularySpec())


def _inputs(prepared: Prepared) -> Iterator[str | Sequence[str]]:
    """All texts, and lists of words, of the training rows; what is no text is told when rows are encoded."""
    inputs = prepared.source.inputs
    for row in prepared.rows["train"]:
        for column in inputs.columns:
            value = row.values.get(column)
            if isinstance(value, str):
                yield value
            elif isinstance(value, Sequence):
                words = [word for word in value if isinstance(word, str)]
                yield from [words] if column == inputs.words else words


def _unknown(counts: Counter[str], tokenizer: Tokenizer) -> float:
    known = sum(times for word, times in counts.items() if tokenizer.number(word) is not None)
    return 1 - known / (counts.total() or 1)


def _rows(tokenizer: Tokenizer, found: Vectors) -> tuple[np.ndarray, np.ndarray]:
    numbered = sorted((number, word) for word in found.rows if (number := tokenizer.number(word)) is not None)
    numbers = {number: found.rows[word] for number, word in numbered}
    rows = np.stack(list(numbers.values())) if numbers else np.zeros((0, found.width), np.float32)
    return np.array(list(numbers), np.int64), rows
