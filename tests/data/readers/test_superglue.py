import json

import pytest

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError, RecipeError


@pytest.fixture(scope="module")
def rows(read):
    """`rows(record, …)`: the rows of a file that holds the records, and `skip` to leave out bad ones."""

    def found(*records, **spec):
        text = "".join(json.dumps(record) + "\n" for record in records)
        return [dict(row.values) for row in read("a.jsonl", text, format="superglue", **spec).rows]

    return found


COPA = {"premise": "It rained.", "choice1": "I got wet.", "choice2": "I sang.", "question": "effect", "label": 0, "idx": 5}
BOOLQ = {"question": "is oslo a town", "passage": "Oslo -- Oslo is a town.", "idx": 0, "label": True}
CB = {"premise": "I doubt it rained.", "hypothesis": "it rained", "label": "contradiction", "idx": 3}
WIC = {"word": "bank", "sentence1": "A bank.", "sentence2": "The bank.", "idx": 1, "label": False, "start1": 2, "end1": 6}
WSC = {
    "text": 'Anna\'s brother  told Omar: "He sang well."',
    "target": {"span1_text": "Anna's  brother", "span1_index": 0, "span2_text": "he", "span2_index": 4},
    "idx": 2,
    "label": True,
}
MULTIRC = {
    "idx": 7,
    "passage": {
        "text": "Sent 1: Anna sang.",
        "questions": [
            {
                "question": "Who?",
                "idx": 2,
                "answers": [{"text": "Anna", "idx": 10, "label": 1}, {"text": "Omar", "idx": 11, "label": 0}],
            },
            {"question": "What?", "idx": 3, "answers": [{"text": "A song", "idx": 12, "label": 1}]},
        ],
    },
}
RECORD = {
    "source": "news",
    "passage": {
        "text": "Anna met Omar in Oslo.\n@highlight\nOslo was cold\n@highlight\nAnna left",
        "entities": [{"start": s, "end": e} for s, e in ((0, 3), (9, 12), (17, 20), (34, 37), (59, 62))],
    },
    "qas": [
        {"query": "@placeholder left.", "answers": [{"start": 0, "end": 3, "text": "Anna"}] * 2, "idx": 4},
        {"query": "They met in @placeholder.", "answers": [{"text": "Oslo"}, {"text": "Omar"}], "idx": 5},
    ],
    "idx": 9,
}


@pytest.mark.parametrize("record", [BOOLQ, CB, WIC], ids=["boolq", "cb", "wic"])
def test_tasks_of_one_or_two_texts_stay_as_they_are(rows, record):
    assert rows(record) == [record]


@pytest.mark.parametrize(("question", "asked"), [("effect", "What happened as a result?"), ("cause", "What was the cause?")])
def test_copa_has_choices_and_its_question_as_a_sentence(rows, question, asked):
    assert rows({**COPA, "question": question}) == [
        {
            "premise": "It rained.",
            "question": question,
            "asked": asked,
            "choices": ["I got wet.", "I sang."],
            "label": 0,
            "idx": 5,
        }
    ]


def test_both_spans_of_wsc_are_marked(rows):
    (row,) = rows(WSC)
    assert row == {
        "text": WSC["text"],
        "span1": "Anna's  brother",
        "span2": "he",
        "marked": '*Anna\'s brother*  told Omar: "#He# sang well."',
        "label": True,
        "idx": 2,
    }


@pytest.mark.parametrize(
    ("text", "first", "second", "marked"),
    [
        ("He saw his dog.", ("his", 2), ("He", 0), "#He# saw *his* dog."),
        ("Bob\nSmith ran.", ("bob smith", 0), ("ran.", 2), "*Bob\nSmith* #ran#."),
        ("It is it's turn", ("It", 0), ("it", 2), "*It* is #it#'s turn"),
        ("his dog ran", ("his dog", 0), ("his", 0), None),
    ],
)
def test_spans_stand_where_their_words_are(rows, text, first, second, marked):
    spans = {"span1_text": first[0], "span1_index": first[1], "span2_text": second[0], "span2_index": second[1]}
    (row,) = rows({"text": text, "target": spans})
    if marked is None:  # one inside the other: both are marked, and nothing of the text is lost
        assert (row["marked"].count("*"), row["marked"].count("#")) == (2, 2)
        assert row["marked"].replace("*", "").replace("#", "") == text
    else:
        assert row["marked"] == marked


def test_multirc_has_a_row_an_answer(rows):
    found = rows(MULTIRC)
    assert [(r["question"], r["answer"], r["label"], r["group"], r["idx"]) for r in found] == [
        ("Who?", "Anna", 1, "7-2", 10),
        ("Who?", "Omar", 0, "7-2", 11),
        ("What?", "A song", 1, "7-3", 12),
    ]
    assert {r["passage"] for r in found} == {"Sent 1: Anna sang."}
    assert [r["asked"] for r in found] == ["Who? Anna", "Who? Omar", "What? A song"]


def test_record_has_a_row_a_query(rows):
    passage = "Anna met Omar in Oslo. Oslo was cold. Anna left"
    choices = ["Anna", "Omar", "Oslo"]
    assert rows(RECORD) == [
        {"passage": passage, "query": "@placeholder left.", "choices": choices, "label": [1, 0, 0], "idx": 4},
        {"passage": passage, "query": "They met in @placeholder.", "choices": choices, "label": [0, 1, 1], "idx": 5},
    ]


def without(record, *path):
    copy = json.loads(json.dumps(record))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return copy


@pytest.mark.parametrize("record", [COPA, BOOLQ, CB, WIC, WSC], ids=["copa", "boolq", "cb", "wic", "wsc"])
def test_rows_of_test_files_have_no_label(rows, record):
    assert [row["label"] for row in rows(without(record, "label"))] == [None]


def test_answers_of_test_files_have_no_label(rows):
    assert [row["label"] for row in rows(without(MULTIRC, "passage", "questions", 1, "answers", 0, "label"))] == [1, 0, None]
    assert [row["label"] for row in rows(without(RECORD, "qas", 0, "answers"))] == [None, [0, 1, 1]]


def changed(record, value, *path):
    copy = json.loads(json.dumps(record))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"text": "x", "label": 0}, "a line of SuperGLUE has one of the keys 'choice1', 'choice2', 'target', 'word'"),
        (without(COPA, "choice2"), "the key 'choice2' is missing"),
        (without(COPA, "choice1"), "the key 'choice1' is missing"),
        (changed(COPA, "why", "question"), "the question must be 'cause', 'effect', not 'why'"),
        (without(BOOLQ, "question"), "the key 'question' is missing"),
        (changed(CB, None, "premise"), "'premise' must be text, not null"),
        (without(WIC, "sentence2"), "the key 'sentence2' is missing"),
        (changed(WSC, 5, "target", "span2_index"), "'he' does not begin with word 5, 'sang'"),
        (changed(WSC, 9, "target", "span2_index"), "the text has 7 words, and 'he' begins with word 9"),
        (changed(WSC, "H", "target", "span2_text"), "'H' does not begin with word 4"),
        (changed(WSC, " ", "target", "span2_text"), "' ' does not begin with word 4"),
        (without(WSC, "target", "span1_index"), "the key 'span1_index' is missing"),
        (without(MULTIRC, "passage", "questions"), "the key 'questions' is missing"),
        (without(MULTIRC, "idx"), "the key 'idx' is missing"),
        (without(MULTIRC, "passage", "questions", 1, "answers", 0, "text"), "the key 'text' is missing"),
        (changed(RECORD, 99, "passage", "entities", 0, "end"), "an entity from 0 to 99 does not stand in a passage of 68"),
        (changed(RECORD, "Ola", "qas", 0, "answers", 0, "text"), "the answer 'Ola' is no entity of the passage"),
        (without(RECORD, "qas", 1, "query"), "the key 'query' is missing"),
    ],
)
def test_a_line_that_breaks_a_rule_is_one_bad_row(read, rows, record, rule):
    with pytest.raises(DataError) as caught:
        rows(COPA, record, COPA)
    (problem,) = caught.value.problems
    assert (problem.place, rule in problem.rule) == ("a.jsonl:2", True), problem.rule
    assert json.loads(problem.value) == record
    assert len(rows(COPA, record, COPA, bad_rows="skip")) == 2


def test_bad_rows_stand_in_the_order_of_the_file(read):
    text = "\n".join([json.dumps(COPA), json.dumps({"text": "x"}), "{", json.dumps({"text": "y"})])
    found = read("a.jsonl", text, format="superglue", bad_rows="skip")
    assert [bad.place.line for bad in found.bad] == [2, 3, 4]


def test_columns_are_the_formats_own(rows):
    with pytest.raises(RecipeError, match="names its own columns"):
        rows(COPA, columns=["x"])


@pytest.mark.data
@pytest.mark.parametrize(
    ("task", "split", "count", "labels"),
    [
        ("COPA", "train", 400, {0, 1}),
        ("COPA", "val", 100, {0, 1}),
        ("COPA", "test", 500, {None}),
        ("CB", "train", 250, {"contradiction", "entailment", "neutral"}),
        ("CB", "val", 56, {"contradiction", "entailment", "neutral"}),
        ("CB", "test", 250, {None}),
        ("BoolQ", "val", 3_270, {True, False}),
    ],
)
def test_public_sets_have_the_published_numbers(public_data, task, split, count, labels):
    found = read_rows(DataSpec(format="superglue", train=f"superglue/{task}/{split}.jsonl"), "train", public_data)
    assert (len(found.rows), found.bad) == (count, ())
    assert {row.values["label"] for row in found.rows} == labels
