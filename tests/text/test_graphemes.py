"""Offsets that fall inside what a reader sees as one character."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from manyheads.text.graphemes import splits_grapheme

SIGNS = [
    "a",
    "é",
    "e\u0301",
    "\u0308",
    "\u200d",
    "👩",
    "💻",
    "🏽",
    "❤",
    "\ufe0f",
    "🇩",
    "🇪",
    "\r",
    "\n",
    "\t",
    " ",
    "नि",
    "한",
    "1",
]


@given(st.lists(st.sampled_from(SIGNS), max_size=8).map("".join))
def test_offsets_inside_are_those_that_are_no_boundary(text):
    boundaries = {found.start() for found in regex.finditer(r"\X", text)} | {len(text)}
    assert [i for i in range(len(text) + 1) if splits_grapheme(text, i)] == [
        i for i in range(len(text) + 1) if i not in boundaries
    ]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("plain", []),
        ("cafe\u0301s", [4]),
        ("👩🏽\u200d💻 x", [1, 2, 3]),
        ("🇩🇪🇫🇷", [1, 3]),
        ("a\r\nb", [2]),
        ("🏴\U000e0067\U000e0062\U000e007f!", [1, 2, 3]),
        ("\u0301a", []),
        ("", []),
    ],
)
def test_offsets_inside(text, inside):
    assert [offset for offset in range(-1, len(text) + 2) if splits_grapheme(text, offset)] == inside
