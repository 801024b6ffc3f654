import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data.readers.nested import BrokenRule, walk, want, want_objects
from manyheads.errors import DataError

scalar = st.none() | st.booleans() | st.integers() | st.text(st.characters(blacklist_categories=("Cs",)), max_size=5)
leaf = st.dictionaries(st.sampled_from(["x", "y", "z"]), scalar | st.lists(scalar, max_size=2), max_size=3)
middle = st.fixed_dictionaries({"inner": st.lists(leaf, max_size=3)}, optional={"x": scalar, "outer": scalar})
file = st.fixed_dictionaries({"outer": st.lists(middle, max_size=3)}, optional={"a": scalar, "inner": st.lists(scalar)})
PATH = ("outer", "inner")


def plain(nested, path):
    """The values again, without places."""
    inner = {key: [plain(part, path[1:]) for part in nested.values[key]] for key in path[:1]}
    return {**nested.values, **inner}


@given(file, st.sampled_from([None, 0, 2]), st.booleans())
def test_a_walk_gives_back_what_was_dumped(given_file, indent, backward):
    if backward:  # keys may stand in any order
        given_file = dict(reversed(given_file.items()))
    text = json.dumps(given_file, indent=indent)
    found = walk(f" {text}\n", "a.json", PATH)
    assert plain(found, PATH) == given_file
    for part in found.values["outer"]:
        for leaf_found in part.values["inner"]:
            assert json.loads(f" {text}"[leaf_found.start : leaf_found.stop]) == leaf_found.values


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("", "a.json:1", "{ is expected here"),
        ("\n[]", "a.json:2", "{ is expected here"),
        ('{"outer": 3}', "a.json:1", r"\[ is expected here"),
        ('{"outer": [\n3]}', "a.json:2", "{ is expected here"),
        ('{\n"a": 1}', "a.json:1", "the object that begins here lacks the list 'outer'"),
        ('{"outer": [\n{"x": 1}]}', "a.json:2", "lacks the list 'inner'"),
        ('{"outer": [\n{"inner": []},]}', "a.json:2", "{ is expected here"),
        ('{"outer": [],\n}', "a.json:2", "this is not JSON"),
        ('{"outer": []\n"a": 1}', "a.json:2", "} is expected here"),
        ('{"outer" []}', "a.json:1", ": is expected here"),
        ('{"outer": []} x', "a.json:1", "nothing may follow the object"),
        ('{"outer": [{"inner": []}\n', "a.json:2", r"\] is expected here"),
        ('{"outer": [], "a": "b\n', "a.json:1", "this is not JSON: "),
        ('{3: 4, "outer": []}', "a.json:1", "a key in double quotes is expected before this"),
        ('{"a": ' + "[" * 100_000, "a.json:1", "nested too deeply"),
    ],
)
def test_what_is_no_such_file_is_refused_at_its_line(text, place, rule):
    with pytest.raises(DataError, match=rule) as caught:
        walk(text, "a.json", PATH)
    assert caught.value.problems[0].place == place


@pytest.mark.parametrize("text", ['{"x": NaN}', '{"x": 1, "x": 2}', '{"x": 1e999}', '{"x": {"y": 1, "y": 1}}'])
def test_what_json_forbids_in_an_object_is_its_fault_alone(text):
    found = walk('{"outer": [{"inner": [{}, %s, {}]}]}' % text, "a.json", PATH)  # noqa: UP031  # full of braces
    (part,) = found.values["outer"]
    assert [bool(leaf_found.faults) for leaf_found in part.values["inner"]] == [False, True, False]
    assert not found.faults
    assert not part.faults


@pytest.mark.parametrize(
    ("value", "kind", "rule"),
    [
        (True, int, "'k' must be a whole number, not true or false"),
        (1, bool, "'k' must be true or false, not a number"),
        (1.5, int, "'k' must be a whole number, not a number"),
        (None, str, "'k' must be text, not null"),
        ("x", list, "'k' must be a list, not text"),
        ([], dict, "'k' must be a map, not a list"),
    ],
)
def test_values_have_the_type_that_is_wanted(value, kind, rule):
    with pytest.raises(BrokenRule, match=rule):
        want({"k": value}, "k", kind)


def test_keys_must_be_there_and_lists_of_objects_hold_objects():
    assert (want({"k": 3}, "k", int), want_objects({"k": [{}]}, "k")) == (3, [{}])
    with pytest.raises(BrokenRule, match="the key 'k' is missing"):
        want({}, "k", str)
    with pytest.raises(BrokenRule, match="'k' must be a list of maps, this one holds text"):
        want_objects({"k": [{}, "x"]}, "k")
