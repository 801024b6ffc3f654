from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import precision_score, recall_score
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from manyheads.errors import DataError
from manyheads.text.tags import Span, invalid_moves, legal_moves, spans, tags

SCHEMES = {"BIO": (IOB2, "BI"), "IOB1": (IOB1, "BI"), "BIOUL": (BILOU, "BIUL"), "IOBES": (IOBES, "BIES")}
scheme = st.sampled_from(sorted(SCHEMES))
label = st.sampled_from(["PER", "LOC", "a-b"])


@st.composite
def sentences(draw):
    """A scheme and any tags of it, legal in their order or not."""
    name = draw(scheme)
    tag = st.just("O") | st.builds("{}-{}".format, st.sampled_from(SCHEMES[name][1]), label)
    return name, draw(st.lists(tag, max_size=10))


@st.composite
def layouts(draw):
    """Spans that do not overlap, and a length that holds them."""
    found, at = [], 0
    for name, gap, width in draw(st.lists(st.tuples(label, st.integers(0, 2), st.integers(1, 4)), max_size=6)):
        found.append(Span(name, at + gap, at + gap + width))
        at += gap + width
    return found, at + draw(st.integers(0, 3))


@given(layouts(), scheme)
def test_spans_survive_tags(layout, name):
    found, length = layout
    written = tags(found, length, name)
    assert len(written) == length
    assert spans(written, name) == found
    assert invalid_moves(written, name) == []
    assert tags(reversed(found), length, name) == written


@given(sentences())
def test_strict_reading_equals_seqevals(sentence):
    name, given_tags = sentence
    expected = [Span(e.tag, e.start, e.end) for e in Entities([given_tags], SCHEMES[name][0]).entities[0]]
    assert spans(given_tags, name) == expected


@given(st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"]), min_size=1, max_size=8), st.data())
def test_counts_equal_those_of_seqevals_strict_score(gold, data):
    predicted = data.draw(st.permutations(gold))
    true, found = set(spans(gold, "BIO")), set(spans(predicted, "BIO"))
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert precision_score([gold], [predicted], **strict) == pytest.approx(len(true & found) / max(len(found), 1))
    assert recall_score([gold], [predicted], **strict) == pytest.approx(len(true & found) / max(len(true), 1))


@given(sentences())
def test_no_move_is_invalid_exactly_when_tags_survive_spans(sentence):
    name, given_tags = sentence
    assert (invalid_moves(given_tags, name) == []) == (tags(spans(given_tags, name), len(given_tags), name) == given_tags)


@given(sentences())
def test_legal_moves_are_those_that_are_not_invalid(sentence):
    name, given_tags = sentence
    labels = ["O", *sorted({tag for tag in given_tags if tag != "O"})]
    between, first, last = legal_moves(labels, name)
    path = [labels.index(tag) for tag in given_tags]
    moves = [between[a][b] for a, b in pairwise(path)]
    ends = [first[path[0]], *moves, last[path[-1]]] if path else []
    assert [i for i, legal in enumerate(ends) if not legal] == invalid_moves(given_tags, name)


@pytest.mark.parametrize(
    ("name", "given_tags", "expected"),
    [
        ("BIO", "B-x I-x O B-x B-x", []),
        ("BIO", "I-x O I-x B-x I-y", [0, 2, 4]),
        ("IOB1", "I-x B-x I-y O I-x", []),
        ("IOB1", "B-x I-x B-y O B-x", [0, 2, 4]),
        ("BIOUL", "U-x B-x I-x L-x O B-y L-y", []),
        ("BIOUL", "B-x O L-x I-x", [1, 2, 3, 4]),
        ("BIOUL", "O B-x I-x", [3]),
        ("BIOUL", "B-x L-y U-x L-x", [1, 3]),
        ("IOBES", "S-x B-x E-x", []),
        ("IOBES", "B-x S-x E-x B-y", [1, 2, 4]),
        ("BIO", "", []),
    ],
)
def test_invalid_moves_by_hand(name, given_tags, expected):
    assert invalid_moves(given_tags.split(), name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BIO", "B-x I-x B-x O B-y"),
        ("IOB1", "I-x I-x B-x O I-y"),
        ("BIOUL", "B-x L-x U-x O U-y"),
        ("IOBES", "B-x E-x S-x O S-y"),
    ],
)
def test_each_scheme_by_hand(name, expected):
    found = [Span("x", 0, 2), Span("x", 2, 3), Span("y", 4, 5)]
    assert tags(found, 5, name) == expected.split()
    assert spans(expected.split(), name) == found


def test_a_scheme_is_changed_by_way_of_spans():
    bio = ["B-x", "I-x", "O", "B-y"]
    assert tags(spans(bio, "BIO"), len(bio), "BIOUL") == ["B-x", "L-x", "O", "U-y"]


def test_a_label_may_hold_hyphens():
    assert spans(["B-creative-work", "I-creative-work"], "BIO") == [Span("creative-work", 0, 2)]


@pytest.mark.parametrize("tag", ["", "B", "B-", "-x", "x", "b-x", "S-x", "BI-x", "O-x", "o", "Bx", " O", "E-x"])
def test_a_tag_that_the_scheme_does_not_have_is_refused(tag):
    for function in (spans, invalid_moves):
        with pytest.raises(DataError, match="BIO has the tags 'O', 'B-…', 'I-…'") as caught:
            function(["O", tag], "BIO")
        assert caught.value.problems[0].value == tag


@pytest.mark.parametrize(
    "wrong",
    [
        [Span("x", 0, 2), Span("y", 1, 3)],
        [Span("x", 0, 1), Span("y", 0, 1)],
        [Span("x", 2, 1)],
        [Span("x", 1, 1)],
        [Span("x", -1, 1)],
        [Span("x", 3, 5)],
        [Span("", 0, 1)],
    ],
)
def test_spans_that_cannot_be_written_are_refused(wrong):
    with pytest.raises(DataError, match="spans need a label, a word, and words of their own among 4"):
        tags(wrong, 4, "BIO")
