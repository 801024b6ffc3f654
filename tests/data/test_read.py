import gzip
import hashlib
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads import registry
from manyheads.config.spec.data import DataSpec
from manyheads.data.read import READERS, Rows, columns_of, read_rows, split_rows
from manyheads.data.readers.contract import FileFact
from manyheads.errors import DataError, RecipeError
from manyheads.types import Place, Row


def spec(**keys):
    return DataSpec.model_validate(keys)


def made(count, path="a.tsv"):
    return [Row({"text": str(i)}, Place(path, i + 2)) for i in range(count)]


def numbers(rows):
    return [int(row.values["text"]) for row in rows]


# choosing a reader ---------------------------------------------------------------------------------------------------

ONE_ROW = {
    "a.csv": "text\none\n",
    "a.TSV": "text\none\n",
    "a.jsonl": '{"text": "one"}\n',
    "a.ndjson": '{"text": "one"}\n',
    "a.json": '[{"text": "one"}]',
    "a.txt": "one\n",
}


@pytest.mark.parametrize(("name", "text"), ONE_ROW.items())
@pytest.mark.parametrize("packed", [False, True])
def test_the_reader_goes_by_the_name_below_a_packed_ending(tmp_path, name, text, packed):
    name, data = (f"{name}.gz", gzip.compress(text.encode())) if packed else (name, text.encode())
    (tmp_path / name).write_bytes(data)
    assert [dict(r.values) for r in read_rows(spec(train=name), "train", tmp_path).rows] == [{"text": "one"}]


def test_a_format_overrules_the_name(tmp_path):
    (tmp_path / "ner.txt").write_text("one O\n")
    assert read_rows(spec(train="ner.txt", format="conll"), "train", tmp_path).rows[0].values["tags"] == ["O"]


@pytest.mark.parametrize("name", ["a", "a.dat", "a.gz", ".csv.d/a"])
def test_a_name_that_tells_no_format_lists_those_that_there_are(tmp_path, name):
    with pytest.raises(RecipeError, match="the format cannot be told") as caught:
        read_rows(spec(train=name), "train", tmp_path)
    assert "'conll', 'conllu', 'csv', 'folders', 'glue', 'hub'" in caught.value.problems[0].remedy


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(RecipeError, match=r"no reader is called 'parket' \(there are: .*\); did you mean 'parquet'"):
        read_rows(spec(train="a.x", format="parket"), "train", tmp_path)


def test_a_plug_in_adds_a_format(tmp_path, monkeypatch):
    import sys
    import types

    def read_one(source, spec):
        return Rows(
            [Row({"text": source.path.read_text().upper()}, Place(source.name, 1))], (), (FileFact(source.name, "", 0),)
        )

    module = types.ModuleType("shouting")
    module.read_one = read_one
    monkeypatch.setitem(sys.modules, "shouting", module)
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("shout", "shouting:read_one", group)])
    monkeypatch.setattr(READERS, "_known", dict(READERS._known))
    (tmp_path / "a.x").write_text("one")
    assert read_rows(spec(train="a.x", format="shout"), "train", tmp_path).rows[0].values["text"] == "ONE"


# several files, several problems -------------------------------------------------------------------------------------


def test_files_are_read_one_after_the_other_with_their_facts(tmp_path):
    for name, text in {"a.tsv": "text\n1\n2\n", "b.csv": "text\n3\n"}.items():
        (tmp_path / name).write_text(text)
    found = read_rows(spec(train=["a.tsv", "b.csv"], dev="b.csv"), "train", tmp_path)
    assert numbers(found.rows) == [1, 2, 3]
    assert [str(r.place) for r in found.rows] == ["a.tsv:2", "a.tsv:3", "b.csv:2"]
    assert [f.path for f in found.files] == ["a.tsv", "b.csv"]
    assert found.files[0].sha256 == hashlib.sha256(b"text\n1\n2\n").hexdigest()
    assert numbers(read_rows(spec(train="a.tsv", dev="b.csv"), "dev", tmp_path).rows) == [3]
    assert numbers(read_rows(spec(test="b.csv"), "test", tmp_path).rows) == [3]


def test_the_problems_of_all_files_are_told_at_once(tmp_path):
    (tmp_path / "a.tsv").write_text("x\ty\n1\n")
    (tmp_path / "b.tsv").write_text("")
    (tmp_path / "c.tsv").write_bytes(b"\xff")
    with pytest.raises(DataError) as caught:
        read_rows(spec(train=["a.tsv", "b.tsv", "c.tsv", "d.tsv"]), "train", tmp_path)
    assert sorted(p.place for p in caught.value.problems) == ["a.tsv:2", "b.tsv", "c.tsv:1", "d.tsv"]


def test_twenty_problems_are_shown_and_the_rest_counted(tmp_path):
    (tmp_path / "a.tsv").write_text("x\ty\n" + "1\n" * 50)
    with pytest.raises(DataError) as caught:
        read_rows(spec(train="a.tsv"), "train", tmp_path)
    assert len(caught.value.problems) == 21
    assert str(caught.value.problems[-1]) == "and 30 more problems like these"


@pytest.mark.parametrize("policy", ["skip", "quarantine"])
def test_bad_rows_are_left_out_and_given_with_their_text(tmp_path, policy):
    (tmp_path / "a.tsv").write_text("x\ty\n1\n2\t2\nt\0o\t3\n4\t5\t6\n")
    found = read_rows(spec(train="a.tsv", bad_rows=policy), "train", tmp_path)
    assert [r.values["x"] for r in found.rows] == ["2"]
    assert [(b.place.line, b.sample) for b in found.bad] == [(2, "1"), (4, "t\0o"), (5, "4\t5\t6")]
    (tmp_path / "b.tsv").write_text("x\ty\n1\n")
    with pytest.raises(DataError, match=r"b\.tsv: no rows \(1 bad rows were left out\)"):
        read_rows(spec(train="b.tsv", bad_rows=policy), "train", tmp_path)


@pytest.mark.parametrize("char", [0, 0xD800, 0xDFFF])
def test_what_is_no_text_is_found_at_any_depth_and_in_names(tmp_path, char):
    escape = f"\\u{char:04x}"
    for value in (f'"a{escape}"', f'["a", "{escape}b"]', f'{{"k": ["{escape}"]}}', f'{{"{escape}": 1}}'):
        (tmp_path / "a.jsonl").write_text(f'{{"ok": "x", "t": {value}}}\n{{"ok": "y", "t": 1}}\n')
        found = read_rows(spec(train="a.jsonl", bad_rows="skip"), "train", tmp_path)
        assert [r.values["ok"] for r in found.rows] == ["y"]
        assert found.bad[0].rule == "column 't' holds NUL or half of a surrogate pair"


def test_keys_that_contradict_each_other_are_recipe_errors(tmp_path):
    for keys, rule in (
        ({"dev": "a.tsv"}, "train: no file is named for this split"),
        ({"train": []}, "train: no file is named for this split"),
        ({"train": "a.tsv", "dev": "b.tsv", "split": {"dev": 0.1}}, "split.dev: dev has files of its own"),
        ({"train": "a.tsv", "test": "b.tsv", "split": {"test": 0.1}}, "split.test: test has files of its own"),
    ):
        with pytest.raises(RecipeError, match=rule):
            read_rows(spec(**keys), "train", tmp_path)


# columns -------------------------------------------------------------------------------------------------------------


def test_columns_in_the_order_in_which_they_are_met():
    place = Place("a.jsonl", 1)
    assert columns_of([Row({"b": 1, "a": 2}, place), Row({"c": 3, "a": 1}, place)]) == ["b", "a", "c"]
    assert columns_of([]) == []


# setting rows aside --------------------------------------------------------------------------------------------------

percent = st.integers(5, 45)


@given(st.integers(20, 200), percent, percent, st.integers(0, 2**63 - 1))
def test_splits_part_the_rows_exactly_and_keep_file_order(count, dev, test, seed):
    rows, keys = made(count), spec(split={"dev": dev / 100, "test": test / 100})
    parts = split_rows(rows, keys, seed)
    assert list(parts) == ["train", "dev", "test"]
    assert sorted(n for part in parts.values() for n in numbers(part)) == list(range(count))
    assert all(numbers(part) == sorted(numbers(part)) for part in parts.values())
    assert (len(parts["dev"]), len(parts["test"])) == (dev * count // 100, test * count // 100)
    assert split_rows(rows, keys, seed) == parts


@pytest.mark.parametrize(("part", "count", "expected"), [(0.29, 100, 29), (0.1, 30, 3), (0.57, 100, 57), (0.1, 19, 1)])
def test_shares_are_counted_as_they_are_written(part, count, expected):
    assert len(split_rows(made(count), spec(split={"dev": part}), 13)["dev"]) == expected


def test_a_split_depends_on_the_seed_and_the_file_alone():
    keys = spec(split={"dev": 0.2})
    first = numbers(split_rows(made(100), keys, 1)["dev"])
    assert numbers(split_rows(made(100), keys, 2)["dev"]) != first
    assert numbers(split_rows(made(100, "b.tsv"), keys, 1)["dev"]) != first
    other_text = [Row({"text": r.values["text"], "more": "x"}, r.place) for r in made(100)]
    assert numbers(split_rows(other_text, spec(split={"dev": 0.2, "test": 0.3}), 1)["dev"]) == first


def test_a_file_that_grows_keeps_most_rows_where_they_were():
    before, after = (set(numbers(split_rows(made(n), spec(split={"dev": 0.2}), 1)["dev"])) for n in (1000, 1010))
    assert len(before - after) <= 10


def test_without_shares_all_rows_train():
    assert split_rows(made(3), spec(), 13) == {"train": made(3)}


@given(st.integers(1, 120), st.integers(1, 60))
def test_a_limit_takes_a_stable_part_of_the_training_rows(count, limit):
    few, more = (numbers(split_rows(made(count), spec(limit=n), 5)["train"]) for n in (limit, limit + 1))
    assert len(few) == min(limit, count)
    assert few == sorted(few)
    assert set(few) <= set(more)


def test_a_limit_does_not_touch_what_is_set_aside():
    whole = split_rows(made(100), spec(split={"dev": 0.2}), 5)
    limited = split_rows(made(100), spec(split={"dev": 0.2}, limit=10), 5)
    assert limited["dev"] == whole["dev"]
    assert len(limited["train"]) == 10
    assert set(numbers(limited["train"])) <= set(numbers(whole["train"]))


@pytest.mark.parametrize(
    ("count", "shares", "name"),
    [
        (5, {"dev": 0.1}, "dev"),
        (9, {"test": 0.1}, "test"),
        (10, {"dev": 0.5, "test": 0.5}, "train"),
        (10, {"dev": 0.7, "test": 0.7}, "train"),
    ],
)
def test_a_share_of_no_row_is_refused(count, shares, name):
    with pytest.raises(DataError, match=rf"a\.tsv: {count} rows are too few for `split`: none is left for {name}"):
        split_rows(made(count), spec(split=shares), 13)


def test_no_rows_cannot_be_split():
    with pytest.raises(DataError, match="0 rows are too few"):
        split_rows([], spec(), 13)
