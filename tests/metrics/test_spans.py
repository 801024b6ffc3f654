"""Strict span scores against seqeval's own, and against spans counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES

from manyheads.errors import DataError, RecipeError
from manyheads.metrics import Score
from manyheads.metrics.spans import extract

NAMES = ("span_f1", "span_precision", "span_recall")
SCHEMES = {"BIO": IOB2, "IOB1": IOB1, "BIOUL": BILOU, "IOBES": IOBES}


def tags(scheme):
    letters = {"BIO": "BI", "IOB1": "BI", "BIOUL": "BIUL", "IOBES": "BIES"}[scheme]
    return ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC"))]


def scores(gold, predicted, scheme="BIO"):
    score = Score(NAMES, tags(scheme), scheme)
    score.add(gold, predicted)
    return score.compute()


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_equal_seqeval_strict_on_any_tags(scheme, data):
    sentence = st.lists(st.tuples(*[st.sampled_from(tags(scheme))] * 2), min_size=1, max_size=9)
    pairs = data.draw(st.lists(sentence, min_size=1, max_size=6))
    gold, predicted = ([[pair[side] for pair in sentence] for sentence in pairs] for side in (0, 1))
    how = {"mode": "strict", "scheme": SCHEMES[scheme], "average": "micro", "zero_division": 0}
    found = scores(gold, predicted, scheme)
    assert found["span_f1"] == pytest.approx(f1_score(gold, predicted, **how))
    assert found["span_precision"] == pytest.approx(precision_score(gold, predicted, **how))
    assert found["span_recall"] == pytest.approx(recall_score(gold, predicted, **how))


def test_by_hand():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O", "O", "O"]]
    predicted = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "O", "B-LOC", "O"]]  # wrong end, right, wrong type, made up
    assert scores(gold, predicted) == {"span_f1": 2 / 7, "span_precision": 1 / 4, "span_recall": 1 / 3}


@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [
        ("BIO", ["B-PER", "I-PER", "O", "B-LOC"]),
        ("IOB1", ["I-PER", "I-PER", "O", "I-LOC"]),
        ("BIOUL", ["B-PER", "L-PER", "O", "U-LOC"]),
        ("IOBES", ["B-PER", "E-PER", "O", "S-LOC"]),
    ],
)
def test_each_scheme_spells_the_same_spans(scheme, sentence):
    found, _ = extract([sentence], [sentence], scheme)
    assert found == [{("PER", 0, 2), ("LOC", 3, 4)}]
    assert scores([sentence], [sentence], scheme) == dict.fromkeys(NAMES, 1.0)


@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [("BIO", ["O", "I-PER"]), ("BIOUL", ["B-PER", "I-PER"]), ("IOBES", ["B-PER", "O"]), ("IOBES", ["E-PER", "O"])],
)
def test_tags_that_break_the_scheme_spell_no_span(scheme, sentence):
    assert extract([sentence], [sentence], scheme) == ([set()], [set()])


def test_the_same_words_in_two_sentences_are_two_spans():
    gold = [["B-PER"], ["B-PER"], ["B-PER"]]
    assert scores(gold, [["B-PER"], ["O"], ["O"]])["span_recall"] == pytest.approx(1 / 3)


def test_no_spans_at_all_score_0():
    assert scores([["O", "O"]], [["O", "O"]]) == dict.fromkeys(NAMES, 0.0)


def test_sentences_and_words_without_gold_do_not_count():
    gold = [None, ["B-PER", None], ["B-LOC", "O"]]
    predicted = [["B-PER", "O"], ["B-PER", "B-LOC"], ["B-LOC", "O"]]
    assert scores(gold, predicted)["span_f1"] == 1


def test_only_missing_sentences_are_undefined():
    found = scores([None], [["O"]])
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("tag", ["E-PER", "PER", "B_PER", "B-", "Other"])
def test_a_tag_of_another_scheme_is_an_error(tag):
    with pytest.raises(DataError, match="the scheme BIO has the tags O and B-type, I-type"):
        extract([[tag]], [["O"]], "BIO")


def test_an_unknown_scheme_is_an_error_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'IOBES'"):
        extract([["O"]], [["O"]], "IOBE")
