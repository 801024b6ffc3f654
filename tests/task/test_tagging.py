from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.errors import DataError, RecipeError
from manyheads.nn.crf import Lattice, log_likelihood
from manyheads.task.base import Reading
from manyheads.task.tagging import Tagging
from manyheads.text.tags import Span
from manyheads.types import IGNORE, cat_rows

LABELS = ("O", "B-PER", "I-PER")


def readings(*words: int) -> list[Reading]:
    return [Reading(words=n) for n in words]


def scores(*rows: list[int], width: int | None = None) -> Tensor:
    """Scores that say these tags; zeros after them, as a head gives for words without a piece."""
    width = width or max(map(len, rows))
    found = torch.zeros(len(rows), width, len(LABELS))
    for i, row in enumerate(rows):
        for j, tag in enumerate(row):
            found[i, j, tag] = 1.0
    return found


def test_predictions_have_a_tag_a_word_and_their_spans() -> None:
    found = Tagging(LABELS).predict("names", scores([1, 2, 0], [0, 1]), readings(3, 2))
    assert [p.value for p in found] == [("B-PER", "I-PER", "O"), ("O", "B-PER")]
    assert [p.spans for p in found] == [(Span("PER", 0, 2),), (Span("PER", 1, 2),)]
    assert all(p.probabilities == {} for p in found)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 3), st.integers(0, 99))
def test_there_is_one_prediction_for_every_word(counts: list[int], wider: int, seed: int) -> None:
    width = max(counts) + wider
    found = torch.randn(len(counts), width, len(LABELS), generator=torch.Generator().manual_seed(seed))
    answers = Tagging(LABELS).predict("names", found, readings(*counts))
    assert [len(p.value) for p in answers if isinstance(p.value, tuple)] == counts


def test_a_word_without_a_score_gets_o() -> None:
    (found,) = Tagging(LABELS).predict("names", scores([1], width=3), readings(3))
    assert found.value == ("B-PER", "O", "O")


def test_class_weights_and_smoothing_reach_the_loss_of_words() -> None:
    found = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1))
    target, weight = torch.tensor([[1, 2, 0], [0, 1, IGNORE]]), [0.5, 2.0, 4.0]
    flat = (found.reshape(-1, 3), target.reshape(-1), torch.tensor(weight))
    wanted = F.cross_entropy(*flat, ignore_index=IGNORE, reduction="sum", label_smoothing=0.2)
    assert_close(Tagging(LABELS, class_weights=weight, label_smoothing=0.2).loss(found, target), wanted)
    with pytest.raises(RecipeError, match="3 labels want as many class weights, found 1"):
        Tagging(LABELS, class_weights=[1.0])


def test_without_counts_every_place_is_a_word() -> None:
    assert [len(p.value) for p in Tagging(LABELS).predict("names", scores([1, 2, 0]), None) if isinstance(p.value, tuple)] == [
        3
    ]


def test_plain_classes_have_no_spans() -> None:
    kind = Tagging(("NOUN", "VERB"), "none")
    (found,) = kind.predict("pos", torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), readings(2))
    assert (found.value, found.spans) == (("VERB", "NOUN"), ())
    assert kind.metric == "accuracy"


def test_judging_keeps_sentences_and_leaves_out_words_without_a_tag() -> None:
    target = torch.tensor([[1, 2, IGNORE], [IGNORE] * 3, [0, IGNORE, 1]])
    judged = Tagging(LABELS).judge(scores([1, 0, 0], [1, 1, 1], [0, 2, 1]), target)
    assert judged.gold == [["B-PER", "I-PER"], ["O", "B-PER"]]
    assert judged.predicted == [["B-PER", "O"], ["O", "B-PER"]]


def test_a_word_that_was_cut_off_is_judged_as_o_against_its_gold_tag() -> None:
    judged = Tagging(LABELS).judge(scores([1], width=2), torch.tensor([[1, 1]]))
    assert (judged.gold, judged.predicted) == ([["B-PER", "B-PER"]], [["B-PER", "O"]])


def test_scores_of_a_joined_round_are_trimmed_to_the_target() -> None:
    kind, target = Tagging(LABELS), torch.tensor([[1, 2], [0, IGNORE]])
    narrow = torch.randn(2, 2, 3)
    wide = torch.cat([narrow, torch.randn(2, 3, 3)], 1)
    assert_close(kind.loss(wide, target), kind.loss(narrow, target))
    assert kind.judge(wide, target) == kind.judge(narrow, target)
    assert_close(kind.loss(narrow, target), F.cross_entropy(narrow.flatten(0, 1), target.flatten()) * 3)


@pytest.mark.parametrize(
    ("scheme", "labels", "spans"),
    [
        ("IOB1", ("O", "I-PER", "B-PER"), (Span("PER", 0, 1), Span("PER", 1, 2))),
        ("BIOUL", ("O", "B-PER", "L-PER"), (Span("PER", 0, 2),)),
        ("IOBES", ("O", "B-PER", "E-PER"), (Span("PER", 0, 2),)),
    ],
)
def test_every_scheme_spells_spans(scheme: str, labels: tuple[str, ...], spans: tuple[Span, ...]) -> None:
    (found,) = Tagging(labels, scheme).predict("names", scores([1, 2]), readings(2))
    assert found.spans == spans


def test_an_unknown_scheme_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"a scheme is one of 'BIO', .* 'none'; found 'IOBEZ'; did you mean 'IOBES'"):
        Tagging(LABELS, "IOBEZ")


def test_labels_that_the_scheme_does_not_have_are_refused_at_once() -> None:
    with pytest.raises(DataError, match="found 'PER'"):
        Tagging(("O", "PER"))


def test_o_leads_since_words_without_a_score_get_the_first_label() -> None:
    with pytest.raises(RecipeError, match="`O` must be the first label"):
        Tagging(("B-PER", "I-PER", "O"))
    with pytest.raises(RecipeError, match=r"`O` must be the first label.*found 'B-PER, I-PER'"):
        Tagging(("B-PER", "I-PER"))
    assert Tagging(("NOUN", "VERB"), "none").labels == ("NOUN", "VERB")


def test_what_the_type_says_of_itself() -> None:
    kind = Tagging(list(LABELS))
    assert (kind.wants, kind.metric, kind.scheme, kind.labels, kind.outputs) == ("states", "span_f1", "BIO", LABELS, 3)


# a head that scores paths ------------------------------------------------------------------------------------------------


def lattice(emissions: Tensor, lengths: list[int]) -> Lattice:
    """A chain whose neighbours have no scores of their own."""
    rows, width, classes = emissions.shape
    mask = torch.arange(width) < torch.tensor(lengths).unsqueeze(1)
    return Lattice(emissions, mask, torch.zeros(rows, classes, classes), torch.zeros(rows, classes), torch.zeros(rows, classes))


def test_the_best_path_keeps_to_the_scheme_where_single_tags_do_not() -> None:
    given = scores([2, 2, 0], [0, 2])  # I-PER begins a span
    kind = Tagging(LABELS)
    assert [p.spans for p in kind.predict("names", given, readings(3, 2))] == [(), ()]
    found = kind.predict("names", lattice(given + torch.tensor([0.0, 0.5, 0.0]), [3, 2]), readings(3, 2))
    assert [p.value for p in found] == [("B-PER", "I-PER", "O"), ("O", "B-PER")]
    assert [p.spans for p in found] == [(Span("PER", 0, 2),), (Span("PER", 1, 2),)]
    free = Tagging(("NOUN", "VERB", "ADJ"), "none").predict("pos", lattice(given, [3, 2]), readings(3, 2))
    assert [p.value for p in free] == [("ADJ", "ADJ", "NOUN"), ("NOUN", "ADJ")]


def test_words_after_the_chain_are_o() -> None:
    kind, given = Tagging(LABELS), lattice(torch.ones(1, 3, 3) * torch.tensor([0.0, 9.0, 0.0]), [1])
    assert kind.predict("names", given, readings(3))[0].value == ("B-PER", "O", "O")
    judged = kind.judge(given, torch.tensor([[1, 1, IGNORE]]))
    assert (judged.gold, judged.predicted) == ([["B-PER", "B-PER"]], [["B-PER", "O"]])


def test_the_loss_of_a_row_is_that_of_its_whole_path_and_a_row_may_have_a_weight() -> None:
    kind, target = Tagging(LABELS, "BIO"), torch.tensor([[1, 2], [0, IGNORE], [IGNORE, IGNORE]])
    given = lattice(torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(1)), [2, 1, 2])
    rows = torch.stack([kind.loss(given.part(i, i + 1), target[i : i + 1]) for i in range(3)])
    assert_close(kind.loss(given, target), rows.sum())
    weights = torch.tensor([2.0, 0.5, 3.0])
    assert_close(kind.loss(given, target, weights), (rows * weights).sum())
    assert rows[2] == 0
    assert (rows[:2] > 0).all()


def test_without_scores_of_neighbours_and_a_scheme_a_path_is_its_words() -> None:
    kind, target = Tagging(("NOUN", "VERB", "ADJ"), "none"), torch.tensor([[1, 2], [0, IGNORE]])
    given = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(1))
    assert_close(kind.loss(lattice(given, [2, 1]), target), kind.loss(given, target))


def test_lattices_of_a_joined_round_are_trimmed_to_the_target() -> None:
    kind, target = Tagging(LABELS), torch.tensor([[1, 2], [0, IGNORE]])
    narrow, longer = lattice(torch.randn(2, 2, 3), [2, 1]), lattice(torch.randn(1, 5, 3), [5])
    wide = cat_rows([narrow, longer]).part(0, 2)
    assert wide.mask.shape == (2, 5)
    assert torch.equal(kind.loss(wide, target), kind.loss(narrow, target))
    assert kind.judge(wide, target) == kind.judge(narrow, target)
    assert_close(kind.loss(narrow, torch.full((2, 2), IGNORE)), torch.tensor(0.0))
    assert (log_likelihood(wide.narrow(2), target) < 0).all()
