"""Vocabularies of words, and the tokenizers that they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manyheads.errors import DataError, RecipeError, ResourceError
from manyheads.text.tokenize import Tokenizer
from manyheads.text.vocabulary import SPECIAL, Wanted, count, read_list, vocabulary

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.lists(st.sampled_from([*SPECIAL, "a", "B."])).map(
    " ".join
)
TEXTS = ["A film, a Film!", "a bad one"]


def of(rows: Iterable[str | Sequence[str]], wanted: Wanted | None = None) -> Tokenizer:
    wanted = wanted or Wanted()
    return vocabulary(count(rows, wanted), wanted)


def pieces(tokenizer: Tokenizer) -> list[str | None]:
    return [tokenizer.piece(i) for i in range(len(tokenizer))]


def test_words_of_texts_and_of_lists_are_counted() -> None:
    rows = [*TEXTS, ["New York", "a"]]
    assert count(rows, Wanted()) == {"a": 4, "film": 2, ",": 1, "!": 1, "bad": 1, "one": 1, "new york": 1}
    cased = count(rows, Wanted(lower=False, split="spaces"))
    assert cased == {"A": 1, "film,": 1, "a": 3, "Film!": 1, "bad": 1, "one": 1, "New York": 1}


@given(texts, st.booleans(), st.sampled_from(["words", "spaces"]))
@example("हिन्दी में cafe\u0301 ① ΟΔΟΣ İstanbul <pad> </s> <unk>", True, "words")
@example("हिन्दी में cafe\u0301 ① ΟΔΟΣ İstanbul <pad> </s> <unk>", True, "spaces")
def test_what_was_counted_is_known_where_it_is_read(text: str, lower: bool, split: Literal["words", "spaces"]) -> None:
    tokenizer = of([f"a {text}"], Wanted(lower, split))
    words = [text[a:b] for a, b in tokenizer.spans(text)]
    strange = [tokenizer.number(word) in (None, 1) for word in words]
    assert strange == [(word.lower() if lower else word) in SPECIAL for word in words]
    if words:
        [found], [listed] = tokenizer.encode_texts([text], None, 99), tokenizer.encode_words([words], 99)
        assert [number == 1 for number in found.ids] == strange
        assert min(found.ids) > 0
        assert listed.ids == found.ids


def test_a_word_that_is_spelled_as_a_piece_between_is_unknown() -> None:
    rows = [["<pad>", "a", "<s>"], ["</s>", "<sep>", "b", "x<s>", "a <s>"]]
    [found] = of(rows).encode_words([[*rows[0], *rows[1]]], 9)
    assert found.ids == (1, 5, 1, 1, 1, 7, 8, 6)
    [found] = (
        of(["<unk> the <PAD> end </s>"], Wanted(split="spaces")).bounded().encode_texts(["<unk> the <PAD> end </s>"], None, 9)
    )
    assert found.ids == (3, 1, 6, 1, 5, 1, 4)


def test_the_commonest_words_come_first_and_equals_by_name() -> None:
    assert pieces(of(TEXTS)) == [*SPECIAL, "a", "film", "!", ",", "bad", "one"]
    assert pieces(of(TEXTS, Wanted(lower=False)))[5:] == ["a", "!", ",", "A", "Film", "bad", "film", "one"]
    assert pieces(of(TEXTS, Wanted(least=2)))[5:] == ["a", "film"]
    assert pieces(of(TEXTS, Wanted(most=3)))[5:] == ["a", "film", "!"]
    assert pieces(of(TEXTS, Wanted(least=2, listed=("Rome", "FILM"))))[5:] == ["rome", "film", "a"]


def test_an_empty_vocabulary() -> None:
    with pytest.raises(RecipeError, match="no word is left in the vocabulary: of 6 different words none comes 9 times"):
        of(TEXTS, Wanted(least=9))


def test_a_text_is_read_a_word_a_piece() -> None:
    tokenizer = of(TEXTS)
    found, empty, strange = tokenizer.encode_texts(["Film, bad", "", "zzz"], None, 9, offsets=True)
    assert (found.ids, found.offsets) == ((6, 8, 9), ((0, 4), (4, 5), (6, 9)))
    assert empty.ids == strange.ids == (1,)
    [pair] = tokenizer.encode_texts(["a film"], ["a bad one"], 5)
    assert (pair.ids, pair.types, pair.cut) == ((5, 6, 2, 5, 9), (0, 0, 0, 1, 1), 1)


def test_a_list_of_words_is_read_as_it_stands() -> None:
    tokenizer = of([["New York", "o'clock", "\u200b"]])
    [found] = tokenizer.encode_words([["new york", "York", "O'CLOCK", "\u200b", "end"]], 4)
    assert (found.ids, found.words, found.cut) == ((tokenizer.number("New York"), 1, tokenizer.number("o'clock"),
                                                    tokenizer.number("\u200b")), (0, 1, 2, 3, -1), 1)  # fmt: skip


def test_a_text_of_a_language_model_has_both_ends() -> None:
    tokenizer = of(TEXTS).bounded()
    long, empty = tokenizer.encode_texts(["a bad one", ""], None, 4)
    assert (long.ids, long.cut, empty.ids) == ((3, 5, 9), 1, (3, 4))
    [long] = of(TEXTS).bounded().spelling().encode_words([["a", "bad", "one"]], 4)
    assert (long.ids, long.types, long.words, long.spelled, long.cut) == ((3, 5, 9), (0, 0, 0), (1, 2, -1), ("", "a", "bad"), 1)


@given(words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), min_size=1, max_size=9))
def test_pieces_are_spelled_as_they_stand(words: list[str]) -> None:
    tokenizer = vocabulary(Counter({"a": 1}), Wanted()).spelling()
    [found] = tokenizer.encode_words([words], len(words))
    assert list(found.spelled) == words
    text = " ".join(words)
    [found] = tokenizer.encode_texts([text], None, 99)
    [placed] = tokenizer.encode_texts([text], None, 99, offsets=True)
    assert list(found.spelled) == [text[a:b] for a, b in placed.offsets]
    assert len(found.spelled) == len(found.ids)


def test_spelling_of_what_was_cut_and_of_what_stands_between() -> None:
    tokenizer = of(TEXTS).spelling()
    [pair] = tokenizer.encode_texts(["A FILM here"], ["Bad One here"], 5)
    assert pair.spelled == ("A", "FILM", "", "Bad", "One")
    assert tokenizer.fingerprint != of(TEXTS).fingerprint


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    tokenizer = of(TEXTS, Wanted(lower=False))
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    again = Tokenizer.load(tmp_path)
    assert again.encode_texts(TEXTS, None, 9) == tokenizer.encode_texts(TEXTS, None, 9)
    assert again.encode_words([["A", "o'clock"]], 9) == tokenizer.encode_words([["A", "o'clock"]], 9)


def test_a_list_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("Rome 12\n\nfilm\n")
    assert read_list(file, "x") == ("Rome", "film")
    file.write_text("\n")
    with pytest.raises(RecipeError, match="the list of words is empty"):
        read_list(file, "x")
    with pytest.raises(ResourceError, match="cannot be read"):
        read_list(tmp_path / "none.txt", "x")
    file.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"words\.txt:1: a list of words is text in UTF-8: .* at byte 4"):
        read_list(file, "x")


def test_a_line_of_a_list_is_one_word_whatever_letters_it_has(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeffRome 12\r\n\tone\u2028word\t3\r\n \r\nb\u0085c\nd\u00a0e".encode())
    assert read_list(file, "x") == ("Rome", "one\u2028word", "b\u0085c", "d\u00a0e")
