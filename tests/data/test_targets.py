"""Each kind of target: what it makes of a label, what it refuses and where, what it keeps."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data.label_column import require_column
from manyheads.data.labels import LabelMap
from manyheads.data.number_target import NumberTarget
from manyheads.data.targets import (
    BinaryTarget,
    ClassTarget,
    KnownTarget,
    MultilabelTarget,
    TagTarget,
    target_from_json,
)
from manyheads.errors import ArtefactError, DataError, Problem, RecipeError
from manyheads.types import IGNORE, Place, Row, Value

AB = LabelMap(("a", "b"))


def row(label: Any, line: int = 2, **values: Any) -> Row:
    return Row({"label": label, **values}, Place("data.jsonl", line))


def rows(*labels: Any) -> list[Row]:
    return [row(label, line) for line, label in enumerate(labels, 1)]


def tagged(words: Any, tags: Any, line: int = 2) -> Row:
    return row(tags, line, words=words)


def problems(work: Any, *args: Any) -> list[Problem]:
    with pytest.raises(DataError) as caught:
        work(*args)
    return list(caught.value.problems)


# what all share -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        BinaryTarget("t", "label"),
        ClassTarget("t", "label"),
        MultilabelTarget("t", "label"),
        NumberTarget("t", "label"),
        TagTarget("t", "label", words="w"),
    ],
)
class TestAll:
    def test_a_column_that_is_not_there_names_the_nearest(self, target: KnownTarget) -> None:
        (problem,) = problems(target.fit, [Row({"labels": "a", "text": "b"}, Place("x.csv", 2))])
        assert (problem.place, problem.value, problem.nearest) == ("x.csv", "label", "labels")
        assert "'labels', 'text'" in problem.rule

    def test_no_label_at_all_is_an_error(self, target: KnownTarget) -> None:
        (problem,) = problems(target.fit, rows(None, None))
        assert problem.rule == "task t: no row has a label in column 'label'"
        assert problem.place == "data.jsonl"

    def test_null_and_an_absent_key_are_missing(self, target: KnownTarget) -> None:
        assert target.target(row(None)) is None
        assert target.target(Row({"text": "x"}, Place("x", 1))) is None


def test_require_column_is_content_with_one_row_that_has_it() -> None:
    require_column([Row({}, Place("x", 1)), Row({"a": None}, Place("x", 2))], "a", "the input")
    with pytest.raises(DataError, match="the input: no such column"):
        require_column([], "a", "the input")


# classes ------------------------------------------------------------------------------------------------------------


def test_classes_are_the_sorted_labels_of_the_rows() -> None:
    target = ClassTarget("t", "label").fit(rows("b", "a", None, "b"))
    assert target.labels == AB
    assert [target.target(r) for r in rows("a", "b", None)] == [0, 1, None]


def test_declared_labels_stay() -> None:
    declared = LabelMap(("a", "b", "c"))
    assert ClassTarget("t", "label", labels=declared).fit(rows("b", "zzz")).labels == declared


def test_declared_labels_are_sorted_like_others() -> None:
    assert ClassTarget("t", "label", labels=LabelMap(("b", "a"))).fit(rows("b")).labels == AB
    declared = LabelMap(("B-a", "I-a", "O"))
    assert TagTarget("t", "label", words="words", labels=declared).fit([tagged(["x"], ["O"])]).known.names == (
        "O",
        "B-a",
        "I-a",
    )


def test_labels_of_json_scalars() -> None:
    target = ClassTarget("t", "label").fit(rows(2, 1, 1.0, 10))
    assert target.known.names == ("1", "10", "2")
    assert [target.target(r) for r in rows(1, 1.0, "1", 10)] == [0, 0, 0, 1]
    assert ClassTarget("t", "label").fit(rows(True, False)).known.names == ("false", "true")


def test_text_stays_as_it_is_written() -> None:
    assert ClassTarget("t", "label").fit(rows("007", "7", "1e5", "NA")).known.names == ("007", "1e5", "7", "NA")


def test_declared_missing_texts_are_no_labels() -> None:
    target = ClassTarget("t", "label", missing=("", "-1", "NaN")).fit(rows("a", "", "-1", "NaN"))
    assert target.known.names == ("a",)
    assert [target.target(row(v)) for v in ("", "-1", -1, math.nan, "a")] == [None, None, None, None, 0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["1", 2], "are text at data.jsonl:1 and a number here"),
        ([1, "2"], "are a number at data.jsonl:1 and text here"),
        ([1, None, True], "are a number at data.jsonl:1 and true or false here"),
    ],
)
def test_labels_of_several_types_are_an_error_naming_both_rows(labels: list[Any], words: str) -> None:
    (problem,) = problems(ClassTarget("t", "label").fit, rows(*labels))
    assert words in problem.rule
    assert problem.place == f"data.jsonl:{len(labels)}"


@pytest.mark.parametrize("value", [1.5, math.nan, [1], {"a": 1}])
def test_what_is_no_label_is_refused_when_fitted_and_when_read(value: Any) -> None:
    (problem,) = problems(ClassTarget("t", "label").fit, rows("a", value))
    assert "a label is text, a whole number, true or false" in problem.rule
    assert problem.place == "data.jsonl:2"
    assert problems(ClassTarget("t", "label", labels=AB).target, row(value))[0].place == "data.jsonl:2"


def test_an_empty_label_is_refused_unless_declared_missing() -> None:
    (problem,) = problems(ClassTarget("t", "label").fit, rows("a", ""))
    assert "empty" in problem.rule
    assert "missing" in problem.remedy


def test_problems_of_all_rows_come_at_once_and_are_counted() -> None:
    found = problems(ClassTarget("t", "label").fit, rows("a", *[n + 0.5 for n in range(30)]))
    assert len(found) == 21
    assert found[0].place == "data.jsonl:2"
    assert found[-1].rule == "and 10 more such problems"


def test_an_unseen_label_names_task_place_and_nearest() -> None:
    target = ClassTarget("mood", "label", labels=LabelMap(("negative", "positive")))
    (problem,) = problems(target.target, row("Positive", 9))
    assert (problem.place, problem.value, problem.nearest) == ("data.jsonl:9", "Positive", "positive")
    assert problem.rule.startswith("task mood:")
    assert "case, space or Unicode form" in problem.remedy


@pytest.mark.parametrize(
    ("target", "values", "rule"),
    [
        (ClassTarget("t", "label", missing=("?",)), ["a", 1, None, "?", 1.5], "text, a whole number"),
        (ClassTarget("t", "label"), ["b", ""], "a label is empty"),
        (ClassTarget("t", "label", labels=AB), ["a", "b", None, "c"], "not in the schema"),
        (MultilabelTarget("t", "label"), ["a|b", "", [], "a||b"], "a label is empty"),
        (MultilabelTarget("t", "label", labels=AB), ["a|b", "a|c"], "not in the schema"),
        (NumberTarget("t", "label", low=0), ["0.5", 3, None, -1], "at least 0"),
        (NumberTarget("t", "label"), ["1.5", "1,5"], "a number is wanted"),
    ],
)
def test_check_tells_of_the_last_row_alone(target: KnownTarget, values: list[Value], rule: str) -> None:
    *good, bad = rows(*values)
    for one in good:
        target.check(one)
    (problem,) = problems(target.check, bad)
    assert rule in problem.rule
    assert problem.place == str(bad.place)


@pytest.mark.parametrize(
    ("tags", "rule"),
    [
        (["B-X", "O"], ""),
        (["B-X"], "there are 2 words and 1 tags"),
        (["X", "O"], "BIO has the tags"),
        (["S-X", "O"], "BIO has the tags"),
        ("O O", "tags are a list"),
    ],
)
def test_check_of_tags_needs_no_labels(tags: Value, rule: str) -> None:
    target = TagTarget("t", "tags", words="words")
    sentence = Row({"words": ["a", "b"], "tags": tags}, Place("x.conll", 4))
    if not rule:
        target.check(sentence)
        return
    assert rule in problems(target.check, sentence)[0].rule


def test_a_target_that_is_not_fitted_says_so() -> None:
    with pytest.raises(RecipeError, match="not known yet"):
        ClassTarget("t", "label").target(row("a"))


# several labels -----------------------------------------------------------------------------------------------------


def test_multilabel_text_and_lists_mean_the_same() -> None:
    target = MultilabelTarget("t", "label").fit(rows("b|a", "c", ""))
    assert target.known.names == ("a", "b", "c")
    assert [target.target(r) for r in rows("a|c", ["c", "a"], "", [], None)] == [
        (1, 0, 1),
        (1, 0, 1),
        (0, 0, 0),
        (0, 0, 0),
        None,
    ]


def test_multilabel_separator_missing_and_single_numbers() -> None:
    target = MultilabelTarget("t", "label", separator=", ", missing=("?",)).fit(rows("x, y", "?"))
    assert target.target(row("y")) == (0, 1)
    assert target.target(row("?")) is None
    assert MultilabelTarget("t", "label").fit(rows([1, 2], 3)).target(row(3)) == (0, 0, 1)


def test_multilabel_reports_every_unknown_label_of_a_row() -> None:
    found = problems(MultilabelTarget("t", "label", labels=AB).target, row("a|x|b|y"))
    assert [p.value for p in found] == ["x", "y"]


def test_multilabel_refuses_an_empty_part() -> None:
    assert "empty" in problems(MultilabelTarget("t", "label").fit, rows("a||b"))[0].rule


def test_multilabel_does_not_trim() -> None:
    (problem,) = problems(MultilabelTarget("t", "label", labels=AB).target, row("a| b"))
    assert (problem.value, problem.nearest) == (" b", "b")


def test_multilabel_lists_with_nested_lists_are_refused() -> None:
    assert "a label is text" in problems(MultilabelTarget("t", "label").fit, rows([["a"]]))[0].rule


@given(st.lists(st.sets(st.sampled_from("abcdef")), min_size=1))
def test_multilabel_inverts(sets: list[set[str]]) -> None:
    target = MultilabelTarget("t", "label", labels=LabelMap(tuple("abcdef"))).fit(rows(*("|".join(s) for s in sets)))
    for held, one in zip(sets, rows(*("|".join(s) for s in sets)), strict=True):
        found = target.target(one)
        assert found is not None
        assert {"abcdef"[i] for i, flag in enumerate(found) if flag} == held


# numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("3.5", 3.5),
        ("-2", -2.0),
        ("+1e-3", 0.001),
        (".5", 0.5),
        ("5.", 5.0),
        (3, 3.0),
        (2.5, 2.5),
        ("1E2", 100.0),
        ("007", 7.0),
    ],
)
def test_numbers(value: Any, number: float) -> None:
    assert NumberTarget("t", "label").fit(rows(value)).target(row(value)) == number


@pytest.mark.parametrize(
    "value", ["1,5", "abc", "", " 1", "1 ", "1_000", "0x1", "nan", "NaN", "inf", "٣", "1.2.3", True, [1.0], {"a": 1}]
)
def test_what_is_no_number_is_an_error_at_its_row(value: Any) -> None:
    (problem,) = problems(NumberTarget("t", "label").target, row(value, 5))
    assert problem.place == "data.jsonl:5"
    assert "a number is wanted" in problem.rule


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1e999", 1e39, "-1e39", 10**400])
def test_numbers_must_be_finite_floats_of_single_precision(value: Any) -> None:
    assert "finite" in problems(NumberTarget("t", "label").target, row(value))[0].rule


def test_a_decimal_comma_is_told() -> None:
    assert "not a comma" in problems(NumberTarget("t", "label").target, row("1,5"))[0].remedy
    assert "missing" in problems(NumberTarget("t", "label").target, row("n/a"))[0].remedy


def test_bounds() -> None:
    target = NumberTarget("t", "label", low=0, high=5)
    assert [target.target(r) for r in rows(0, 5, "2.5")] == [0.0, 5.0, 2.5]
    assert "at least 0" in problems(target.target, row(-0.1))[0].rule
    assert "at most 5" in problems(target.target, row("5.1"))[0].rule


def test_missing_numbers() -> None:
    target = NumberTarget("t", "label", missing=("-1", "NaN", ""))
    assert [target.target(r) for r in rows(-1, "-1", math.nan, "", "0")] == [None, None, None, None, 0.0]


def test_numbers_of_several_types_are_an_error_naming_both_rows() -> None:
    (problem,) = problems(NumberTarget("t", "label").fit, rows(1.5, None, "2.5"))
    assert "a number at data.jsonl:1 and text here" in problem.rule


# tags ---------------------------------------------------------------------------------------------------------------


def test_tags_are_sorted_with_o_first() -> None:
    target = TagTarget("t", "label", words="words").fit([tagged(["x", "y", "z"], ["B-a", "I-a", "O"])])
    assert target.known.names == ("O", "B-a", "I-a")
    assert target.target(tagged(["x", "y"], ["O", "I-a"])) == (0, 2)


def test_a_missing_tag_is_ignored_and_a_row_of_them_is_missing() -> None:
    target = TagTarget("t", "label", words="words", missing=("_",)).fit([tagged(["x", "y"], ["O", "_"])])
    assert target.target(tagged(["x", "y", "z"], ["O", "_", None])) == (0, IGNORE, IGNORE)
    assert target.target(tagged(["x"], ["_"])) is None
    assert target.known.names == ("O",)


@pytest.mark.parametrize(
    ("words", "tags", "rule"),
    [
        (["x", "y"], ["O"], "there are 2 words and 1 tags"),
        (["x"], "O", "tags are a list, one a word; found text"),
        ("x", ["O"], "column 'words' must be a list of words"),
        (None, ["O"], "column 'words' must be a list of words"),
        (["x"], ["S-a"], "BIO has the tags 'O', 'B-…', 'I-…'"),
        (["x"], ["B-"], "BIO has the tags"),
        (["x"], [1.5], "a label is text"),
    ],
)
def test_tags_that_do_not_fit_are_errors_at_their_row(words: Any, tags: Any, rule: str) -> None:
    (problem,) = problems(TagTarget("t", "label", words="words").fit, [tagged(words, tags, 7)])
    assert rule in problem.rule
    assert problem.place == "data.jsonl:7"


@pytest.mark.parametrize(("scheme", "tag"), [("BIOUL", "U-a"), ("IOBES", "S-a"), ("IOB1", "I-a"), ("none", "NOUN")])
def test_schemes_have_tags_of_their_own(scheme: str, tag: str) -> None:
    names = TagTarget("t", "label", words="words", scheme=scheme).fit([tagged(["x"], [tag])]).known.names
    assert names == ((tag,) if scheme == "none" else ("O", tag)), "spans always have an outside"


def test_every_unknown_tag_of_a_row_is_named_with_its_word() -> None:
    target = TagTarget("t", "label", words="words", labels=LabelMap(("O", "B-a")))
    found = problems(target.target, tagged(["x", "y", "z"], ["B-b", "O", "I-a"]))
    assert [p.value for p in found] == ["B-b", "I-a"]
    assert "word 3" in found[1].rule


def test_tags_as_tuples() -> None:
    target = TagTarget("t", "label", words="words", labels=LabelMap(("O",)))
    assert target.target(tagged(("x",), ("O",))) == (0,)


# what is kept -------------------------------------------------------------------------------------------------------

KEPT: list[KnownTarget] = [
    ClassTarget("t", "label", missing=("", "-1"), labels=AB),
    ClassTarget("t", "label"),
    MultilabelTarget("t", "label", separator=";", labels=AB),
    NumberTarget("t", "label", low=0.0, missing=("x",)),
    TagTarget("t", "label", words="words", scheme="none", labels=AB),
]


@pytest.mark.parametrize("target", KEPT)
def test_json_round_trip(target: KnownTarget) -> None:
    again = target_from_json(json.loads(json.dumps(target.to_json())))
    assert again == target
    assert again.fingerprint == target.fingerprint


def test_fingerprints_tell_targets_apart() -> None:
    others = [ClassTarget("t", "other", labels=AB), ClassTarget("u", "label"), NumberTarget("t", "label", low=1.0)]
    assert len({t.fingerprint for t in [*KEPT, *others]}) == len(KEPT) + len(others)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sequence"},
        {"kind": None},
        {"more": 1},
        {"task": 1},
        {"missing": "a"},
        {"missing": [1]},
        {"labels": ["a"]},
        {"labels": {**AB.to_json(), "sha256": "0"}},
    ],
)
def test_json_of_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtefactError):
        target_from_json({**KEPT[0].to_json(), **change})


def test_json_with_less_or_no_map_is_refused() -> None:
    kept = KEPT[0].to_json()
    del kept["missing"]
    for data in (kept, None, ["kind"]):
        with pytest.raises(ArtefactError):
            target_from_json(data)


@pytest.mark.parametrize("low", ["0", True, [0]])
def test_json_bounds_are_numbers(low: Any) -> None:
    with pytest.raises(ArtefactError):
        target_from_json({**NumberTarget("t", "label").to_json(), "low": low})


def test_json_of_a_whole_bound() -> None:
    kept = json.loads(json.dumps(NumberTarget("t", "label", high=5).to_json()))
    assert target_from_json(kept) == NumberTarget("t", "label", high=5)


# two labels ---------------------------------------------------------------------------------------------------------


def test_the_target_of_two_labels_is_how_likely_the_second_is() -> None:
    target = BinaryTarget("t", "label").fit(rows("b", "a", None))
    assert target.known.names == ("a", "b")
    assert [target.target(r) for r in rows("a", "b", None)] == [(0.0,), (1.0,), None]
    assert [target.shares(r) for r in rows("a", "b", None)] == [(1.0, 0.0), (0.0, 1.0), None]
    assert target.arrow.list_size == 1


@pytest.mark.parametrize("declared", [None, LabelMap(("a", "b")), LabelMap(("b", "a"))])
def test_the_positive_label_comes_second(declared: LabelMap | None) -> None:
    for positive, names in (("a", ("b", "a")), ("b", ("a", "b")), (None, ("a", "b"))):
        target = BinaryTarget("t", "label", positive=positive, labels=declared).fit(rows("b", "a"))
        assert target.known.names == names
        assert target.target(row("a")) == (float(names[1] == "a"),)
        assert target_from_json(json.loads(json.dumps(target.to_json()))) == target


def test_a_third_label_is_told_where_it_first_stands() -> None:
    (problem,) = problems(BinaryTarget("t", "label").fit, rows("b", "a", "b", "c", "a", "c"))
    assert (problem.place, problem.value) == ("data.jsonl:4", "c")
    assert problem.rule == "task t: a binary task has two labels, here 'b', 'a', and this is a third"
    assert "classification" in problem.remedy


def test_one_label_alone_wants_the_other_to_be_named() -> None:
    (problem,) = problems(BinaryTarget("t", "label").fit, rows("b", "b"))
    assert problem.rule.endswith("and the training rows have only 'b'")
    assert BinaryTarget("t", "label", labels=AB).fit(rows("b", "b")).known == AB


def test_a_positive_label_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match=r"tasks.t.positive: no label is called this; there are 'no', 'yes'.*mean 'yes'"):
        BinaryTarget("t", "label", positive="yess").fit(rows("no", "yes"))


# soft labels --------------------------------------------------------------------------------------------------------


def soft(*names: str, **more: Any) -> ClassTarget:
    """A target of soft labels that are declared in this order."""
    return ClassTarget("t", "label", soft=True, order=names, labels=LabelMap(names) if names else None, **more)


def test_a_soft_label_is_a_probability_for_each_label() -> None:
    target = ClassTarget("t", "label", soft=True).fit(rows({"b": 0.25, "a": 0.75}, "c", None, {"c": 1, "a": None}))
    assert target.known.names == ("a", "b", "c")
    assert [target.target(r) for r in rows({"b": 0.25, "a": 0.75}, "c", {"c": 1, "a": None}, None)] == [
        (0.75, 0.25, 0.0),
        (0.0, 0.0, 1.0),
        (0.0, 0.0, 1.0),
        None,
    ]
    assert (target.arrow.list_size, str(target.arrow.value_type)) == (3, "float")
    assert target_from_json(json.loads(json.dumps(target.to_json()))) == target


def test_a_list_follows_the_labels_as_the_recipe_has_them() -> None:
    target = soft("no", "yes", "maybe").fit(rows([0.5, 0.25, 0.25]))
    assert target.known.names == ("maybe", "no", "yes")
    assert target.target(row([0.5, 0.125, 0.375])) == (0.375, 0.5, 0.125)


def test_what_rounding_left_out_is_shared_out() -> None:
    found = soft("a", "b", "c").fit(rows("a")).target(row([0.333, 0.333, 0.333]))
    assert found == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert isinstance(found, tuple)
    assert math.fsum(found) == pytest.approx(1, abs=1e-12)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_a_map_and_a_list_are_one_label_and_keep_the_proportions(parts: list[float]) -> None:
    names = [chr(ord("f") - i) for i in range(len(parts))]
    shares = [part / sum(parts) for part in parts]
    target = soft(*names).fit(rows(names[0]))
    found = target.target(row(shares))
    assert found == target.target(row(dict(zip(names, shares, strict=True))))
    assert found == pytest.approx(shares[::-1])


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"a": 0.5, "b": 0.498}, "probabilities sum to 1, and these to 0.998"),
        ({"a": 0.5, "b": 0.502}, "probabilities sum to 1, and these to 1.002"),
        ({}, "probabilities sum to 1, and these to 0"),
        ({"a": 1.5, "b": -0.5}, "a probability is a number from 0 to 1"),
        ({"a": -0.5, "b": 1}, "a probability is a number from 0 to 1"),
        ({"a": math.nan, "b": 1}, "a probability is a number from 0 to 1"),
        ({"a": "1"}, "a probability is a number, not text"),
        ({"a": True}, "a probability is a number, not true or false"),
        ([0.5, None], "a probability is a number, not null"),
        ([0.5, 0.25, 0.25], "probabilities in a list are those of the declared `labels` in their order, of which there are 2"),
    ],
)
def test_probabilities_that_are_none_are_told_with_their_place(value: Any, rule: str) -> None:
    target = soft("a", "b")
    for found in (
        problems(target.fit, rows("a", value)),
        problems(target.check, row(value)),
        problems(target.target, row(value)),
    ):
        assert [(p.rule, p.place) for p in found] == [(f"task t: {rule}", "data.jsonl:2")]


def test_a_soft_label_names_what_it_does_not_know() -> None:
    found = problems(soft("sport", "law").fit(rows("law")).target, row({"sport": 0.5, "lawn": 0.5}))
    assert [(p.value, p.nearest) for p in found] == [("lawn", "law")]


def test_a_list_wants_declared_labels() -> None:
    (problem,) = problems(ClassTarget("t", "label", soft=True).fit, rows("a", [0.5, 0.5]))
    assert problem.rule.endswith("in their order, and none are declared")


@pytest.mark.parametrize("kind", [ClassTarget, BinaryTarget])
def test_probabilities_that_were_not_announced_are_no_label(kind: type[ClassTarget]) -> None:
    (problem,) = problems(kind("t", "label").fit, rows("a", "b", {"a": 0.5, "b": 0.5}))
    assert "`soft_labels: true`" in problem.remedy


def test_soft_labels_of_two() -> None:
    target = BinaryTarget("t", "label", soft=True, positive="a").fit(rows({"a": 0.25, "b": 0.75}))
    assert [target.target(r) for r in rows({"a": 0.25, "b": 0.75}, "a", "b")] == [(0.25,), (1.0,), (0.0,)]
    (problem,) = problems(BinaryTarget("t", "label", soft=True).fit, rows({"a": 0.25, "b": 0.75}, {"c": 1}))
    assert (problem.place, problem.value) == ("data.jsonl:2", "c")
