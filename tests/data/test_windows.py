"""Rows of several sequences: windows over a long text and choices beside a text, from the row to the batch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.data.conftest import MakeRows

from manyheads.data.cache import schema, to_table
from manyheads.data.dataset import TextDataset
from manyheads.data.encode import InputSpec, encode
from manyheads.data.targets import AnswerTarget, ChoiceTarget
from manyheads.data.windows import spans_in
from manyheads.errors import DataError, RecipeError
from manyheads.text.tokenize import Pieces, Tokenizer
from manyheads.types import IGNORE, Row

WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=40)
CHOICES = InputSpec("text", choices="choices")
WINDOWS = InputSpec("question", "context", stride=2)


def table(rows: list[Row], inputs: InputSpec, tokenizer: Tokenizer, target: Any, limit: int = 12) -> TextDataset:
    targets = {"t": target}
    found = to_table(encode(rows, inputs, tokenizer, targets, limit), schema(targets, inputs))
    return TextDataset("d", "train", found)


def context_of(window: Pieces) -> list[tuple[int, int]]:
    """Characters of the pieces of the text."""
    return [window.offsets[i] for i in window.words[1:]]


class TestWindows:
    @given(WORDS, st.lists(st.sampled_from("abcdefgh"), max_size=12), st.integers(5, 14), st.integers(0, 6))
    def test_every_piece_is_read_in_order_within_the_limit(
        self, letters: Tokenizer, words: list[str], asked: list[str], limit: int, stride: int
    ) -> None:
        text = "  ".join(words)
        (windows,) = letters.encode_windows([" ".join(asked)], [text], limit, stride)
        seen = [c for window in windows for c in context_of(window)]
        assert sorted(set(seen)) == [(3 * i, 3 * i + 1) for i in range(len(words))]
        for window in windows:
            assert len(window.ids) <= limit
            assert window.ids[window.words[0]] == 2
            assert [window.types[i] for i in window.words[1:]] == [1] * (len(window.words) - 1)
            assert [text[a:b] for a, b in context_of(window)] == ["abcdefgh"[window.ids[i] - 4] for i in window.words[1:]]
        asked_here = [len(w.ids) - len(w.words) - 2 for w in windows]
        assert asked_here == [len(asked) - windows[0].cut] * len(windows)
        assert len(asked) - windows[0].cut >= min(len(asked), (limit - 3) // 2)

    @given(WORDS, st.integers(8, 14), st.integers(0, 9))
    def test_neighbours_share_the_stride_or_half_a_window(
        self, letters: Tokenizer, words: list[str], limit: int, stride: int
    ) -> None:
        (windows,) = letters.encode_windows(["a"], [" ".join(words)], limit, stride)
        width = limit - 4
        for one, two in pairwise(windows):
            assert len(set(context_of(one)) & set(context_of(two))) == min(stride, width // 2)
        assert all(len(context_of(w)) == width for w in windows[:-1])

    def test_what_fits_is_the_pair_as_it_is(self, letters: Tokenizer) -> None:
        ((window,),) = letters.encode_windows(["a b"], ["c d e"], 12, 4)
        (pair,) = letters.encode_texts(["a b"], ["c d e"], 12)
        assert (window.ids, window.types, window.cut) == (pair.ids, pair.types, 0)

    def test_a_text_without_a_piece_has_one_window(self, letters: Tokenizer) -> None:
        ((window,),) = letters.encode_windows(["a"], [" "], 12, 4)
        assert (window.ids, window.words) == ((2, 4, 3, 3), (0,))

    def test_a_limit_without_room(self, letters: Tokenizer) -> None:
        with pytest.raises(RecipeError, match="room for a piece of each text"):
            letters.encode_windows(["a"], ["b"], 4, 0)

    @given(st.data())
    def test_an_answer_is_found_wherever_it_is_whole(self, letters: Tokenizer, data: st.DataObject) -> None:
        words = data.draw(st.lists(st.sampled_from(["a", "bb", "c"]), min_size=1, max_size=20))
        first = data.draw(st.integers(0, len(words) - 1))
        last = data.draw(st.integers(first, min(first + 4, len(words) - 1)))
        text = " ".join(words)
        starts = [sum(len(w) + 1 for w in words[:i]) for i in range(len(words))]
        start, stop = starts[first], starts[last] + len(words[last])
        (windows,) = letters.encode_windows(["a"], [text], 10, 3)
        shown = [((0, 0), *context_of(w)) for w in windows]
        for window, (a, b) in zip(shown, spans_in(shown, start, stop), strict=True):
            whole = any(c[0] == start for c in window[1:]) and any(c[1] == stop for c in window[1:])
            assert (a > 0) == whole
            if whole:
                assert (window[a][0], window[b][1]) == (start, stop)

    def test_spaces_at_the_ends_of_an_answer_do_not_hide_it(self) -> None:
        windows = [((0, 0), (1, 4), (5, 8)), ((0, 0), (5, 8), (9, 12))]
        assert spans_in(windows, 0, 5) == [(1, 1), (0, 0)]
        assert spans_in(windows, 4, 8) == [(2, 2), (0, 0)], "of the second window the left edge might hide a piece"
        assert spans_in(windows, 8, 13) == [(0, 0), (2, 2)]


class TestAnswers:
    ROWS: ClassVar[dict[str, list[Any]]] = {
        "question": ["a", "b", "c"],
        "context": ["a b c d e f g h a b c", "a b", "a"],
        "answers": [["h a"], [], None],
        "starts": [[14], [], None],
    }

    def made(self, make_rows: MakeRows, letters: Tokenizer) -> TextDataset:
        return table(make_rows(**self.ROWS), WINDOWS, letters, AnswerTarget("t", "answers", context="context"), 10)

    def test_a_batch(self, make_rows: MakeRows, letters: Tokenizer) -> None:
        data = self.made(make_rows, letters)
        batch = data.batch([0, 1, 2])
        tokens = batch.fields["text"]
        assert batch.parts == (3, 1, 1)
        assert (len(batch), batch.sequences, len(tokens)) == (3, 5, 5)
        assert tokens.words.shape == (5, 7)
        assert tokens.words[3].tolist() == [0, 3, 4, -1, -1, -1, -1]
        window = (IGNORE, IGNORE)
        assert batch.targets["t"].tolist() == [[[0, 0], [4, 5], [0, 0]], [[0, 0], [*window], [*window]], [[*window]] * 3]
        assert data.items("t").tolist() == [1, 1, 0]
        assert data.lengths.tolist() == [27, 6, 5]

    def test_gold_is_the_passage_with_what_is_accepted(self, make_rows: MakeRows, letters: Tokenizer) -> None:
        one, none, unknown = self.made(make_rows, letters).gold("t", [0, 1, 2])
        assert (one.accepted, none.accepted, unknown) == (("h a",), (), None)
        assert one.text[slice(one.windows[1][4][0], one.windows[1][5][1])] == "h a"

    def test_rows_in_any_order_are_the_rows(self, make_rows: MakeRows, letters: Tokenizer) -> None:
        data = self.made(make_rows, letters)
        whole, turned = data.batch([0, 1, 2]), data.batch([2, 0])
        assert turned.parts == (1, 3)
        assert torch.equal(turned.fields["text"].ids[1:], whole.fields["text"].ids[:3])
        assert torch.equal(turned.targets["t"][1], whole.targets["t"][0])


class TestChoices:
    def test_a_batch(self, make_rows: MakeRows, letters: Tokenizer) -> None:
        rows = make_rows(text=["a b", "c"], choices=[["d", "e f"], ["g", "h", "a"]], label=["e f", 0])
        data = table(rows, CHOICES, letters, ChoiceTarget("t", "label", choices="choices"))
        batch = data.batch([1, 0])
        assert batch.parts == (3, 2)
        assert batch.fields["text"].ids.tolist()[2:4] == [[2, 6, 3, 4, 3, 0, 0], [2, 4, 5, 3, 7, 3, 0]]
        assert batch.fields["text"].words is None
        assert batch.targets["t"].tolist() == [0, 1]
        assert data.items("t").tolist() == [1, 1]

    def test_a_text_between_leads_each_choice(self, make_rows: MakeRows, letters: Tokenizer) -> None:
        rows = make_rows(text=["a"], between=["b"], choices=[["c", "d"]])
        (found,) = encode(rows, InputSpec("text", "between", choices="choices"), letters, {}, 12)
        assert (found.ids, found.parts) == ((2, 4, 3, 5, 6, 3, 2, 4, 3, 5, 7, 3), (6, 6))

    @pytest.mark.parametrize(
        ("choices", "rule"),
        [
            (["a"], "holds one choice; a row needs two or more"),
            ([], "holds no choice"),
            ("a b", "must be a list of choices, not text"),
            (["a", None], "choice 2 in column 'choices' must be text, not null"),
        ],
    )
    def test_what_are_no_choices(self, make_rows: MakeRows, letters: Tokenizer, choices: Any, rule: str) -> None:
        with pytest.raises(DataError, match=rule):
            list(encode(make_rows(text=["a"], choices=[choices]), CHOICES, letters, {}, 12))
