import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.errors import DataError, RecipeError

text = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
record = st.dictionaries(
    text, st.recursive(scalar, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=2), max_leaves=4)
)


def values(rows):
    return [dict(row.values) for row in rows.rows]


@given(st.lists(record, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_jsonl_gives_back_what_was_dumped(read, records, end, ascii_only):
    found = read("a.jsonl", end.join(json.dumps(r, ensure_ascii=ascii_only) for r in records))
    assert values(found) == records
    assert [list(map(type, r.values())) for r in values(found)] == [list(map(type, r.values())) for r in records]
    assert [r.place.line for r in found.rows] == list(range(1, len(records) + 1))


@given(st.lists(record, min_size=1, max_size=4), st.sampled_from([None, 0, 2]))
def test_json_gives_back_what_was_dumped_with_the_line_of_each_object(read, records, indent):
    dumped = json.dumps(records, indent=indent)
    found = read("a.json", dumped)
    assert values(found) == records
    places = [r.place.line for r in found.rows]
    assert places == sorted(places)
    if indent == 0:
        assert places[0] == 2
    if indent is None:
        assert set(places) == {1}


def test_types_stay_as_json_gives_them(read):
    line = '{"a": "1", "b": 1, "c": 1.0, "d": true, "e": null, "f": ["x", 2], "g": "007"}'
    row = values(read("a.jsonl", line))[0]
    assert [type(v) for v in row.values()] == [str, int, float, bool, type(None), list, str]
    assert row["g"] == "007"


def test_blank_lines_are_skipped_and_lines_counted(read):
    found = read("a.ndjson", '\n {"a": 1} \n\t\n{"a": 2}\n')
    assert [(r.values["a"], r.place.line) for r in found.rows] == [(1, 2), (2, 4)]


def test_rows_need_not_have_equal_keys(read):
    assert values(read("a.jsonl", '{"a": 1}\n{"b": 2}')) == [{"a": 1}, {"b": 2}]


BAD = {
    "{": "this is not JSON: Expecting property name",
    "one": "this is not JSON: Expecting value in column 1",
    '{"a": 1,}': "this is not JSON",
    "{'a': 1}": "this is not JSON",
    '{"a": "tab\there"}': "Invalid control character",
    '{"a": 1} {"a": 2}': "one object a line; more follows in column 10",
    '{"a": 1} # said': "more follows",
    "[1]": "a row is an object, this is a list",
    '"text"': "this is a string",
    "1": "this is a number",
    "1.5": "this is a number",
    "true": "this is true or false",
    "null": "this is null",
    '{"a": NaN}': "NaN is not JSON",
    '{"a": [-Infinity]}': "-Infinity is not JSON",
    '{"a": 1e999}': "the number 1e999 is too large",
    '{"a": 1, "a": 2}': "the key 'a' stands twice",
    '{"x": {"b": 1, "c": 2, "b": 1}}': "the key 'b' stands twice",
    '{"a": ' + "1" * 5000 + "}": "this is not JSON that can be read",
    '{"a": ' + "[" * 100_000 + "}": "it is nested too deeply",
    '{"a": "\\ud800"}': "column 'a' holds NUL or half of a surrogate pair",
    '{"a": ["x", {"y": "\\u0000"}]}': "column 'a' holds NUL",
    '{"\\u0000": 1}': "holds NUL",
}


@pytest.mark.parametrize(("line", "rule"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_line_is_a_bad_row_in_its_place(read, line, rule):
    file = f'{{"a": 0}}\n{line}\n{{"a": 3}}\n'
    with pytest.raises(DataError, match=r"a\.jsonl:2: ") as caught:
        read("a.jsonl", file)
    assert len(caught.value.problems) == 1
    assert rule in caught.value.problems[0].rule
    skipped = read("a.jsonl", file, bad_rows="skip")
    assert [r.place.line for r in skipped.rows] == [1, 3]
    assert (skipped.bad[0].place.line, rule in skipped.bad[0].rule) == (2, True)


def test_faults_do_not_pass_to_the_next_row(read):
    found = read("a.json", '[{"a": NaN},\n{"a": 1}, 7,\n\n{"a": 2}]', bad_rows="skip")
    assert [(r.values["a"], r.place.line) for r in found.rows] == [(1, 2), (2, 4)]
    assert [(b.place.line, b.sample) for b in found.bad] == [(1, '{"a": NaN}'), (2, "7")]


def test_a_pair_of_surrogate_escapes_is_one_character(read):
    assert values(read("a.jsonl", '{"a": "\\ud83d\\ude00"}')) == [{"a": "\U0001f600"}]


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ('{"a": [1]}', 1, "one list of objects"),
        ('\n\n{"a": 1}\n{"a": 2}', 3, "one list of objects"),
        ('[{"a": 1}\n{"a": 2}]', 2, "a comma between two objects"),
        ('[{"a": 1}', 1, "closing bracket"),
        ('[{"a": 1},\n]', 2, "this is not JSON"),
        ('[{"a": 1},\r\n{"a" 2}]', 2, "Expecting ':'"),
        ('[{"a": 1}]\nmore', 2, "nothing may follow the list"),
        ("[", 1, "this is not JSON"),
        ("[]]", 1, "nothing may follow the list"),
        ("[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_broken_json_is_located_whatever_the_policy(read, text, line, rule):
    for policy in ("error", "skip"):
        with pytest.raises(DataError) as caught:
            read("a.json", text, bad_rows=policy)
        (problem,) = caught.value.problems
        assert problem.place == f"a.json:{line}"
        assert rule in problem.rule


def test_json_lines_under_the_wrong_name_are_explained(read):
    with pytest.raises(DataError, match="format: jsonl"):
        read("a.json", '{"a": 1}\n{"a": 2}')
    assert values(read("a.json", '{"a": 1}\n{"a": 2}', format="jsonl")) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("name", "text"), [("a.jsonl", ""), ("a.jsonl", "\n \n"), ("a.json", ""), ("a.json", " \n"), ("a.json", "[ \n]")]
)
def test_no_rows(read, name, text):
    with pytest.raises(DataError, match=f"{name}: no rows"):
        read(name, text)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_columns_are_the_files_own(read, name):
    with pytest.raises(RecipeError, match="JSON names its own columns"):
        read(name, '{"a": 1}', columns=["a"])
