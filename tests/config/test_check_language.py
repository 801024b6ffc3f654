"""What a recipe of a language model cannot have, found before any data are read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from manyheads.config.load import Loaded

RECIPE = """\
modules:
  words: {type: embedding, width: 8}
  other: {type: embedding, width: 8}
  reader: {type: recurrent, width: 8, bidirectional: false}
tasks:
  lm: {type: language_modelling, path: [words, reader], data: {train: a.txt, format: lines}}
"""


@pytest.mark.parametrize(
    ("more", "data", "rule"),
    [
        ("tied: wrods", "", "no embedding of the task's path is called this; there are 'words'; found 'wrods'"),
        ("tied: reader", "", "no embedding of the task's path is called this; there are 'words'; found 'reader'"),
        ("tied: other", "", "no embedding of the task's path is called this; there are 'words'; found 'other'"),
        ("softmax: adaptive", "", "the adaptive softmax needs `cutoffs`; found 'adaptive'"),
        ("cutoffs: [5]", "", "only the adaptive softmax has `cutoffs`"),
        ("softmax: adaptive, cutoffs: [5, 5]", "", "cutoffs rise, and the one before is 5; found '5'"),
        ("tied: words, softmax: adaptive, cutoffs: [5]", "", "none that could be the embedding's"),
        ("consistency: 1.0", "", "`consistency` compares two answers, and a language model has none to compare"),
        ("teacher: {from: somewhere}", "", "`teacher` compares two answers"),
        ("direction: backward", "stream: {}", "words of a `stream` are told forward"),
        ("direction: sideways", "", "forward"),
        ("lr: 0.1", "label: text", "a language model learns the words of the text themselves and has no label column"),
        ("lr: 0.1", "pair: text", "a language model reads single texts or words; found 'text'"),
        ("lr: 0.1", "stream: {}, batch: {rows: 3}", "`stream` says how long chunks are and how many a batch has, not `batch`"),
        ("lr: 0.1", "stream: {}, weight: w", "rows that are one text (`stream`) have no weights"),
        ("lr: 0.1", "stream: {rows: 0}", "1"),
    ],
)
def test_what_is_refused(refused: Callable[..., str], more: str, data: str, rule: str) -> None:
    """Each at its line and column: at the key that is wrong, or at its value."""
    line = f"  lm: {{type: language_modelling, path: [words, reader], {more}, data: {{train: a.txt, format: lines, {data}}}}}"
    found = refused(RECIPE.replace(RECIPE.splitlines()[5], line))
    told = next(part for part in found.splitlines() if rule in part)
    number, column = map(int, told.split(":")[1:3])
    assert number == 6
    assert column > line.index(more if not data or more.startswith("direction") else data)


def test_a_shared_data_set_that_is_one_text(refused: Callable[..., str]) -> None:
    text = """\
modules:
  words: {type: embedding, width: 8}
data:
  book: {train: a.txt, format: lines, stream: {rows: 4}, max_length: 9}
tasks:
  lm: {type: language_modelling, path: [words], data: {from: book}}
  mood: {type: classification, path: [words], data: {from: book}}
"""
    found = refused(text)
    assert "recipe.yaml:4:39" in found
    assert "task 'mood' is none" in found
    assert "`stream` says how long chunks are and how many a batch has, not `max_length`" in found


def test_what_holds(load: Callable[..., Loaded]) -> None:
    loaded = load(RECIPE, "tasks.lm.tied=words", "tasks.lm.data.stream={rows: 4}")
    assert loaded.warnings == ("recipe.yaml:3:3: no task's path uses the module; found 'other'",)
    spec = loaded.recipe.tasks["lm"].data.stream
    assert spec is not None
    assert (spec.rows, spec.words) == (4, 35)


MASKED = """\
modules:
  encoder: {type: pretrained, name: minilm}
  words: {type: embedding, width: 8}
tasks:
  mlm: {type: masked_language_modelling, path: [encoder], data: {train: a.txt, format: lines}}
"""


@pytest.mark.parametrize(
    ("more", "data", "rule"),
    [
        ("consistency: 1.0", "", "`consistency` compares two answers, and a language model has none to compare"),
        ("teacher: {from: somewhere}", "", "`teacher` compares two answers"),
        ("share: 1.5", "", "1"),
        ("share: 0", "", "0"),
        (
            "path: [words]",
            "",
            "begins with a `pretrained` module, an `adapter` or `ia3`; found 'words'",
        ),
        ("lr: 0.1", "label: text", "a language model learns the words of the text themselves and has no label column"),
        ("lr: 0.1", "choices: text", "rows of choices are learned by a task of type 'multiple_choice' or 'ranking'"),
        ("lr: 0.1", "stream: {}", "the rows of the data set are one text (`stream`), which only language models read"),
        ("tied: words", "", "tied"),
    ],
)
def test_what_is_refused_of_a_masked_one(refused: Callable[..., str], more: str, data: str, rule: str) -> None:
    path = "" if more.startswith("path") else "path: [encoder], "
    line = f"  mlm: {{type: masked_language_modelling, {path}{more}, data: {{train: a.txt, format: lines, {data}}}}}"
    found = refused(MASKED.replace(MASKED.splitlines()[4], line))
    told = next(part for part in found.splitlines() if rule in part)
    assert int(told.split(":")[1]) == 5
