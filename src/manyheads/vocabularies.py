"""The vocabularies of a recipe: modules that read the same data sets read by one, and so do data sets that share a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import nn

from manyheads.config.recipe import Recipe
from manyheads.config.spec.words import CharactersModule, ElmoModule, EmbeddingModule, ReadingModule, VocabularySpec
from manyheads.data.read import Split
from manyheads.errors import Problem, RecipeError, WiringError
from manyheads.nn.embedding import Embedding
from manyheads.packages import digest
from manyheads.prepare import Prepared, Source
from manyheads.text.tokenize import Tokenizer
from manyheads.text.vectors import GLOVE, Vectors, find_vectors, read_vectors
from manyheads.text.vocabulary import SPECIAL, UNKNOWN, Wanted, count, read_list, vocabulary
from manyheads.text.words import without_capitals

_UNKNOWN = SPECIAL.index(UNKNOWN)


@dataclass(frozen=True, slots=True)
class VocabularyFacts:
    """What a vocabulary has, and has not, of the words of its data sets.

    modules    names of the modules that read by it, in the order of the recipe
    words      how many different words the training rows have, folded as the vocabulary folds them
    known      how many words it has
    vectors    module that begins with vectors of a file to the share of the known words that the file has
    unknown    data set and split to the share of the words there that it has not
    strangers  data set and split to the number of rows that have words, none of which it has
    letters    whether words are read by their letters as well, or by these alone
    """

    modules: tuple[str, ...]
    words: int
    known: int
    vectors: Mapping[str, float]
    unknown: Mapping[str, Mapping[str, float]]
    strangers: Mapping[str, Mapping[str, int]]
    letters: bool


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that some modules read, and what is known of them.

    tokenizer  what reads by it
    vectors    of a module that begins with vectors of a file: numbers of the words found there (N,), their vectors (N, D)
    facts      what it has of the words of the data sets that the modules read
    """

    tokenizer: Tokenizer
    vectors: Mapping[str, tuple[np.ndarray, np.ndarray]]
    facts: VocabularyFacts


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


def first_vectors(module: nn.Module, vocabulary: Vocabulary | None, name: str) -> None:
    """Vectors of a file into the table of an embedding; words that the file does not have keep what the seed gave them."""
    if vocabulary is not None and isinstance(module, Embedding) and name in vocabulary.vectors:
        numbers, rows = vocabulary.vectors[name]
        with torch.no_grad():
            module.table.weight[torch.from_numpy(numbers)] = torch.from_numpy(rows)


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
    listed = read_list(base / spec.file, f"modules.{owner}.vocabulary.file") if spec.file else ()
    wanted = Wanted(spec.lower, spec.split, spec.min_count, spec.size)
    total = count(chain.from_iterable(row for p in members for row in _inputs(p, "train")), wanted)
    sought = {*total, *(map(without_capitals, listed) if spec.lower else listed)}
    files = {
        name: read_vectors(
            m.vectors, base, sought, spec.lower, m.vocabulary.vectors if m.vocabulary else 0, f"modules.{name}.vectors"
        )
        for name, m in embeddings.items()
        if m.vectors is not None
    }
    top = chain.from_iterable(found.top for found in files.values())
    try:
        tokenizer = vocabulary(total, replace(wanted, listed=(*listed, *top)))
    except RecipeError as error:
        rare = total and embeddings and embeddings[owner].vocabulary  # else the rows have no word, and no key is wrong
        place = f"modules.{owner}.vocabulary.min_count" if rare else f"modules.{modules[0]}"
        raise RecipeError(*(replace(problem, place=place) for problem in error.problems)) from error
    if any(isinstance(recipe.modules[name], CharactersModule | ElmoModule) for name in modules):
        tokenizer = tokenizer.spelling()
    vectors = {name: _rows(tokenizer, found) for name, found in files.items()}
    known, missing = len(tokenizer) - len(SPECIAL), {p.source.name: _missing(p, tokenizer, wanted) for p in members}
    facts = VocabularyFacts(
        modules=modules,
        words=len(total),
        known=known,
        vectors={name: len(numbers) / known for name, (numbers, _) in vectors.items()},
        unknown={name: {split: share for split, (share, _) in found.items()} for name, found in missing.items()},
        strangers={name: {split: rows for split, (_, rows) in found.items()} for name, found in missing.items()},
        letters=tokenizer.spells,
    )
    return Vocabulary(tokenizer, vectors, facts)


def _described(embeddings: Mapping[str, EmbeddingModule]) -> tuple[str, VocabularySpec]:
    """The module whose description of the vocabulary holds, and that; WiringError where two are there that differ."""
    said = [(name, m.vocabulary) for name, m in embeddings.items() if m.vocabulary is not None]
    for name, spec in said[1:]:
        if spec != said[0][1]:
            rule = f"modules that read the same data sets read by one vocabulary, and {said[0][0]!r} describes another"
            remedy = f"describe it at one of the two, here or at modules.{said[0][0]}.vocabulary"
            raise WiringError(Problem(rule, f"modules.{name}.vocabulary", remedy=remedy))
    return said[0] if said else (next(iter(embeddings), ""), VocabularySpec())


def _inputs(prepared: Prepared, split: Split) -> Iterator[list[str | Sequence[str]]]:
    """The texts, and lists of words, of each row of a split; what is no text is told when rows are encoded."""
    inputs = prepared.source.inputs
    for row in prepared.rows[split]:
        found: list[str | Sequence[str]] = []
        for column in inputs.columns:
            value = row.values.get(column)
            if isinstance(value, str):
                found.append(value)
            elif isinstance(value, Sequence):
                words = [word for word in value if isinstance(word, str)]
                found += [words] if column == inputs.words else words
        yield found


def _missing(prepared: Prepared, tokenizer: Tokenizer, wanted: Wanted) -> dict[str, tuple[float, int]]:
    """Of each split the share of words that are not known, and the number of rows that have no other."""
    found: dict[str, tuple[float, int]] = {}
    known = cache(lambda word: tokenizer.number(word) not in (None, _UNKNOWN))
    for split in prepared.rows:
        words = unknown = strangers = 0
        for row in _inputs(prepared, split):
            counts = count(row, wanted)
            lacking = sum(times for word, times in counts.items() if not known(word))
            words, unknown = words + counts.total(), unknown + lacking
            strangers += 0 < lacking == counts.total()
        found[split] = (unknown / max(words, 1), strangers)
    return found


def _rows(tokenizer: Tokenizer, found: Vectors) -> tuple[np.ndarray, np.ndarray]:
    numbered = sorted((number, word) for word in found.rows if (number := tokenizer.number(word)) is not None)
    numbers = {number: found.rows[word] for number, word in numbered}
    rows = np.stack(list(numbers.values())) if numbers else np.zeros((0, found.width), np.float32)
    return np.array(list(numbers), np.int64), rows


def files_of(recipe: Recipe, base: Path) -> dict[str, str]:
    """sha256 of each file that modules begin from: vectors, lists of words, weights of ELMo. Packages are pinned elsewhere."""
    found: dict[str, str] = {}
    for name, spec in recipe.modules.items():
        files: tuple[str | None, ...] = ()
        if isinstance(spec, EmbeddingModule):
            files = (None if spec.vectors == GLOVE else spec.vectors, spec.vocabulary.file if spec.vocabulary else None)
        elif isinstance(spec, ElmoModule):
            files = (spec.options, spec.weights)
        places = {file: find_vectors(file, base) for file in files if file}
        found |= {f"{file} of modules.{name}": digest(place) for file, place in places.items() if place}
    return found
