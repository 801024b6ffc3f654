import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.errors import RecipeError
from manyheads.metrics import Accepted, Score
from manyheads.metrics.reading import answer_f1, exact_match, normal


def scores(gold: list[tuple[str, ...]], predicted: list[str]) -> tuple[float, float]:
    accepted = [Accepted(texts) for texts in gold]
    return exact_match(accepted, predicted, ()), answer_f1(accepted, predicted, ())


@pytest.mark.parametrize(
    ("answer", "compared"),
    [
        ("The Norman Conquest", "norman conquest"),
        ("an  apple, a day!", "apple day"),
        ("theatre", "theatre"),
        ("U.S.", "us"),
        ("$1,000", "1000"),
        ("a", ""),
        ("Zoë’s", "zoë’s"),
    ],
)
def test_case_articles_punctuation_and_spaces_do_not_count(answer: str, compared: str) -> None:
    assert normal(answer) == compared


@pytest.mark.parametrize(
    ("gold", "predicted", "exact", "f1"),
    [
        (("Denver Broncos",), "the Denver Broncos.", 1, 1),
        (("Denver Broncos", "Broncos"), "Broncos", 1, 1),
        (("Denver Broncos",), "Broncos", 0, 2 / 3),
        (("in the north of France",), "France and north of Spain", 0, 6 / 9),
        (("two two",), "two", 0, 2 / 3),
        (("one",), "two", 0, 0),
        (("one",), "", 0, 0),
        ((), "", 1, 1),
        ((), "one", 0, 0),
        (("the", "one"), "one", 1, 1),
        (("the",), "", 1, 1),
    ],
)
def test_the_nearest_accepted_answer_counts(gold: tuple[str, ...], predicted: str, exact: float, f1: float) -> None:
    assert scores([gold], [predicted]) == pytest.approx((exact, f1))


TEXTS = st.text("ab .,", max_size=8)


@given(st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS), min_size=1, max_size=6))
def test_scores_are_means_over_questions_and_f1_is_the_milder_one(rows: list[tuple[list[str], str]]) -> None:
    single = [scores([tuple(texts)], [found]) for texts, found in rows]
    exact, f1 = scores([tuple(texts) for texts, _ in rows], [found for _, found in rows])
    assert (exact, f1) == pytest.approx((sum(e for e, _ in single) / len(rows), sum(f for _, f in single) / len(rows)))
    assert 0 <= exact <= f1 <= 1
    assert all(scores([(text,)], [text]) == (1, 1) for texts, _ in rows for text in texts)


def test_answers_are_collected_and_merged() -> None:
    one, other = Score(["exact_match", "answer_f1"]), Score(["exact_match", "answer_f1"])
    one.add([Accepted(("Paris",)), None], ["paris", "Rome"])
    other.add([Accepted(())], ["Rome"])
    one.merge(other)
    assert one.compute() == {"exact_match": 0.5, "answer_f1": 0.5}


def test_answers_are_no_labels_and_labels_no_answers() -> None:
    score = Score(["accuracy"])
    score.add([Accepted(("Paris",))], ["Paris"])
    with pytest.raises(RecipeError, match="needs label sets, which this task does not give") as error:
        score.compute()
    assert "exact_match" in str(error.value)
    with pytest.raises(RecipeError, match="needs answers"):
        Score(["answer_f1"], ["no", "yes"])
