from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads import errors
from manyheads.errors import DataError, ManyheadsError, Problem, RecipeError, WiringError, listed, nearest, shown

TREE = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, ManyheadsError)]


@pytest.mark.parametrize("error", TREE, ids=lambda e: e.__name__)
def test_the_tree_in_the_docstring_is_the_tree(error: type[ManyheadsError]) -> None:
    drawn = re.search(rf"{error.__name__} +(\d+) ", errors.__doc__ or "")
    assert drawn is not None
    assert int(drawn.group(1)) == error.exit_code
    assert error.__doc__


def test_codes_are_the_documented_ones() -> None:
    assert {e.exit_code for e in TREE} == {1, 2, 3, 4, 5, 6, 7, 75}
    assert issubclass(WiringError, RecipeError)


def test_a_problem_reads_place_rule_value_name_remedy() -> None:
    problem = Problem("unknown key", "recipe.yaml:3:5", "epoch", "epochs", "see docs/recipe.md")
    assert str(problem) == "recipe.yaml:3:5: unknown key; found 'epoch'; did you mean 'epochs'?\n    see docs/recipe.md"


def test_a_problem_leaves_out_what_it_does_not_have() -> None:
    assert str(Problem("no rows")) == "no rows"
    assert str(Problem("no rows", "a.csv")) == "a.csv: no rows"
    assert str(Problem("a name is needed", value="")) == "a name is needed; found ''"


def test_an_error_keeps_all_problems_and_turns_text_into_one() -> None:
    error = RecipeError(Problem("one", "a"), "two")
    assert [p.rule for p in error.problems] == ["one", "two"]
    assert str(error) == "a: one\ntwo"


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("epoch", ["epochs", "seed"], "epochs"),
        ("Encoder", ["encoder", "decoder"], "encoder"),
        ("STRASSE", ["straße"], "straße"),
        ("zzz", ["encoder"], None),
        ("x", [], None),
    ],
)
def test_nearest(name: str, known: list[str], found: str | None) -> None:
    assert nearest(name, known) == found


def test_nearest_takes_the_first_of_names_that_differ_in_case_only() -> None:
    assert nearest("A", iter(["a", "A "])) == "a"


@given(st.text())
def test_a_shown_value_is_one_printable_line(value: str) -> None:
    text = shown(value)
    assert text.startswith("'")
    assert text.endswith("'")
    assert text.isprintable()
    assert len(shown("a" * 500)) == 122


def test_control_characters_are_shown_as_escapes() -> None:
    assert shown("a\x1b[31m\n\u202e\ud800") == r"'a\x1b[31m\n\u202e\ud800'"


def test_listed() -> None:
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed([]) == "none"


def test_a_message_lists_25_problems_and_counts_the_rest() -> None:
    error = DataError(*(Problem(f"rule {i}") for i in range(30)))
    assert len(error.problems) == 30
    assert str(error).splitlines()[-2:] == ["rule 24", "and 5 more problems"]
    assert "more" not in str(DataError(*(Problem(f"rule {i}") for i in range(25))))
