"""What a recipe cannot ask of modules that read words, found before any data are read."""

from __future__ import annotations

from collections.abc import Callable

RECIPE = """\
modules:
  words: {type: embedding, width: 8, vocabulary: {vectors: 20}}
  other: {type: embedding, width: 8}
tasks:
  mood: {type: classification, path: [words, pool], data: {train: a.csv}}
"""


def test_words_of_a_file_of_vectors_need_one(refused: Callable[..., str]) -> None:
    place = "recipe.yaml:2:60: words from the top of a file of vectors are wanted, and 'words' has no `vectors`; found '20'"
    assert place in (told := refused(RECIPE))
    assert "give it `vectors`, or take this out" in told
    told = refused(RECIPE, "modules.other.vectors=v.txt")
    assert place in told
    assert "or describe the vocabulary at one that has some: 'other'" in told
    assert "are wanted" not in refused(RECIPE, "modules.words.vectors=v.txt")  # the path has another mistake
