import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError, RecipeError

CONTEXT = "Anna lives in Oslo. She likes Oslo a lot, and the cafe\u0301 👩🏽\u200d💻 there."


def question(name="q1", *answers, **more):
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": f"{name}?", "answers": found, **more}


def squad(*questions, context=CONTEXT, indent=None, **article):
    paragraph = {"qas": list(questions), "context": context}
    data = [{"title": "Oslo", "paragraphs": [paragraph], **article}]
    return json.dumps({"version": "v2.0", "data": data}, indent=indent)


def rows(found):
    return [dict(row.values) for row in found.rows]


def test_a_row_a_question(read):
    one = question("q1", ("Oslo", 14), ("Oslo", 30))
    two = question("q2", is_impossible=True, plausible_answers=[{"text": "nowhere", "answer_start": 3}])
    found = read("a.json", squad(one, two), format="squad")
    assert rows(found) == [
        {
            "id": "q1",
            "title": "Oslo",
            "question": "q1?",
            "context": CONTEXT,
            "answers": ["Oslo", "Oslo"],
            "starts": [14, 30],
            "impossible": False,
        },
        {
            "id": "q2",
            "title": "Oslo",
            "question": "q2?",
            "context": CONTEXT,
            "answers": [],
            "starts": [],
            "impossible": True,
        },
    ]
    assert [fact.path for fact in found.files] == ["a.json"]


def test_paragraphs_share_their_context_and_places_are_lines(read):
    text = squad(question("q1", ("Anna", 0)), question("q2", ("Anna", 0)), indent=1)
    found = read("a.json", text, format="squad")
    assert found.rows[0].values["context"] is found.rows[1].values["context"]
    lines = text.splitlines()
    assert [lines[row.place.line - 1].strip() for row in found.rows] == ["{", "{"]
    assert [f'"{row.values["id"]}"' in lines[row.place.line] for row in found.rows] == [True, True]


def test_a_title_may_be_missing(read):
    data = [{"paragraphs": [{"context": "x y", "qas": [question("q1", ("y", 2))]}]}]
    assert rows(read("a.json", json.dumps({"data": data}), format="squad"))[0]["title"] is None


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (
            question("q", ("Bergen", 14)),
            "question 'q': the answer 'Bergen' does not stand at offset 14: 'Oslo. ' stands there, and it stands nowhere",
        ),
        (question("q", ("Oslo", 15)), "'slo.' stands there; it stands at 14"),
        (question("q", ("Oslo", 28)), "'s Os' stands there; it stands at 30"),
        (question("q", ("Oslo", 900)), f"the context has {len(CONTEXT)} characters; it stands at 30"),
        (question("q", ("Oslo", -4)), "the offset of the answer 'Oslo' is -4"),
        (question("q", ("", 3)), "an answer is empty"),
        (question("q", ("cafe", 50)), "offset 54 lies inside a character"),
        (question("q", ("\u0301 ", 54)), "offset 54 lies inside a character"),
        (question("q", ("👩", 56)), "offset 57 lies inside a character"),
        (question("q", ("💻 there", 59)), "offset 59 lies inside a character"),
        (question("q", ("Anna", 0), is_impossible=True), "it is said to be impossible, and has answers"),
        (question("good", ("Anna", 0)), "question 'good': an earlier question has the same id"),
        ({"id": "q", "question": "?"}, "question 'q': the key 'answers' is missing"),
        ({"question": "?", "answers": []}, "question without an id: the key 'id' is missing"),
        ({"id": "q", "answers": []}, "the key 'question' is missing"),
        ({"id": 7, "question": "?", "answers": []}, "question without an id: 'id' must be text, not a number"),
        ({"id": "q", "question": "?", "answers": ["Anna"]}, "'answers' must be a list of maps, this one holds text"),
        ({"id": "q", "question": "?", "answers": [{"text": "Anna"}]}, "the key 'answer_start' is missing"),
        (question("q", ("Anna", 0.0)), "'answer_start' must be a whole number"),
        (question("q", is_impossible="no"), "'is_impossible' must be true or false, not text"),
        (question("q", score=float("nan")), "NaN is not JSON"),
    ],
)
def test_a_question_that_breaks_a_rule_is_a_bad_row(read, bad, rule):
    good = question("good", ("Anna", 0))
    found = read("a.json", squad(good, bad, question("last")), format="squad", bad_rows="skip")
    assert [row["id"] for row in rows(found)] == ["good", "last"]
    assert rule in found.bad[0].rule
    assert found.bad[0].sample == json.dumps(bad)
    assert str(found.bad[0].place) == "a.json:1"


def test_whole_characters_may_be_answers(read):
    found = read("a.json", squad(question("q", ("cafe\u0301", 50), ("👩🏽\u200d💻", 56))), format="squad")
    assert rows(found)[0]["starts"] == [50, 56]


def test_what_is_wrong_around_a_question_is_wrong_with_it(read):
    paragraphs = [{"qas": [question("q1"), question("q2")]}, {"context": "x", "qas": [question("q3")]}]
    text = json.dumps({"data": [{"paragraphs": paragraphs}]})
    found = read("a.json", text, format="squad", bad_rows="skip")
    assert [bad.rule for bad in found.bad] == [f"question 'q{i}': the key 'context' is missing" for i in (1, 2)]
    twice = text.replace('"context": "x"', '"context": "x", "context": "y"')
    with pytest.raises(DataError, match="question 'q3': the key 'context' stands twice"):
        read("a.json", twice, format="squad")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"data": [{"title": "x"}]}', "a.json:1: the object that begins here lacks the list 'paragraphs'"),
        ('{"version": "1.1"}', "lacks the list 'data'"),
        ('[{"id": 1}]', "{ is expected here"),
        (squad(question())[:-1], "a.json:1: } is expected here"),
        ("", "no rows"),
        ('{"data": []}', "no rows"),
    ],
)
def test_what_is_no_such_file_is_refused(read, text, rule):
    with pytest.raises(DataError, match=rule):
        read("a.json", text, format="squad")


def test_columns_are_the_formats_own(read):
    with pytest.raises(RecipeError, match="SQuAD names its own columns"):
        read("a.json", squad(question()), format="squad", columns=["x"])


@given(st.text(st.sampled_from("ab e\u0301👩\u200d\n"), min_size=1, max_size=12), st.data())
def test_every_row_that_is_good_holds_its_answers(read, context, data):
    start = data.draw(st.integers(-2, len(context) + 1))
    answer = data.draw(st.sampled_from([context[max(start, 0) :][:3], "a", "e"]))
    text = squad(question("q", (answer, start)), question("always"), context=context)
    found = read("a.json", text, format="squad", bad_rows="skip")
    assert len(found.rows) + len(found.bad) == 2
    for row in rows(found):
        for text, offset in zip(row["answers"], row["starts"], strict=True):
            assert text
            assert row["context"][offset : offset + len(text)] == text


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "count"),
    [("squad/dev-v1.1.json", 10_570), ("squad/train-17articles.json", 3_939), ("squad/xquad.en.json", 1_190)],
)
def test_public_sets_have_the_published_numbers(public_data, name, count):
    found = read_rows(DataSpec(format="squad", train=name), "train", public_data)
    assert (len(found.rows), found.bad) == (count, ())
    assert len({row.values["id"] for row in found.rows}) == count
    assert all(row.values["answers"] for row in found.rows)
