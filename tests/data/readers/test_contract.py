from pathlib import Path

import pytest

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import BadRow, Source, refuse_columns, repeated
from manyheads.errors import RecipeError
from manyheads.types import Place


def test_a_source_is_relative_to_its_base_unless_it_is_absolute():
    assert Source("a/b.tsv", Path("/data")).path == Path("/data/a/b.tsv")
    assert Source("/other/b.tsv", Path("/data")).path == Path("/other/b.tsv")


def test_a_bad_row_as_a_problem_shows_place_rule_and_sample_on_one_line():
    problem = BadRow(Place("a.tsv", 3), "a rule", "one\ttwo\x1b[31m\n").problem()
    assert str(problem) == r"a.tsv:3: a rule; found 'one\ttwo\x1b[31m\n'"


def test_repeated_names():
    assert repeated(["a", "b", "a", "c", "b", "a"]) == ["a", "b"]
    assert repeated([]) == repeated(["a"]) == []


def test_columns_are_refused_only_where_they_are_given():
    refuse_columns(DataSpec(), "JSON")
    with pytest.raises(RecipeError, match=r"columns: `columns` is for files without a header; JSON names its own columns"):
        refuse_columns(DataSpec(columns=["a"]), "JSON")
