import hashlib
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, LargeList, List, Value
from datasets import load as datasets_load

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError, RecipeError

FEATURES = Features(
    {
        "text": Value("string"),
        "label": ClassLabel(names=["neg", "pos"]),
        "tags": List(ClassLabel(names=["O", "B-x"])),
        "more": {"kind": LargeList(ClassLabel(names=["a", "b"])), "n": Value("int64")},
    }
)
VALUES = {
    "text": ["007", "two\u2028lines", "three"],
    "label": [1, -1, None],
    "tags": [[0, 1], [], [-1]],
    "more": [{"kind": [1], "n": 5}, {"kind": [0, 0], "n": None}, {"kind": None, "n": 7}],
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    base = tmp_path_factory.mktemp("hub")
    data = Dataset.from_dict(VALUES, features=FEATURES)
    data.save_to_disk(base / "one")
    DatasetDict({"train": data, "validation": data.select([0])}).save_to_disk(base / "two")
    return base


def read(base, hub, split="train", **spec):
    return read_rows(DataSpec.model_validate({"format": "hub", "hub": hub, "train": split, **spec}), "train", base)


@pytest.mark.parametrize("hub", ["one", "two"])
def test_class_numbers_become_names_and_the_rest_stays(saved, hub):
    found = read(saved, hub)
    assert [dict(r.values) for r in found.rows] == [
        {"text": "007", "label": "pos", "tags": ["O", "B-x"], "more": {"kind": ["b"], "n": 5}},
        {"text": "two\u2028lines", "label": None, "tags": [], "more": {"kind": ["a", "a"], "n": None}},
        {"text": "three", "label": None, "tags": [None], "more": {"kind": None, "n": 7}},
    ]
    assert [str(r.place) for r in found.rows] == [f"{hub}/train:{n}" for n in (1, 2, 3)]


def test_a_fact_for_every_arrow_file(saved):
    (fact,) = read(saved, "two", "validation").files
    (arrow,) = (saved / "two" / "validation").glob("*.arrow")
    data = arrow.read_bytes()
    assert (fact.path, fact.bytes) == (f"two/validation/{arrow.name}", len(data))
    assert fact.sha256 == hashlib.sha256(data).hexdigest()


def test_a_missing_split_names_those_that_there_are(saved):
    with pytest.raises(DataError, match=r"two: the data set has the splits 'train', 'validation'.*did you mean 'validation'"):
        read(saved, "two", "validatoin")


def test_a_folder_with_a_script_is_refused_and_the_script_not_run(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    with pytest.raises(DataError, match="scripts of a data set are never run"):
        read(tmp_path, "mine")
    assert not (tmp_path / "canary").exists()


def test_a_hub_data_set_with_a_script_is_refused(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: False if self.name == "mine" else real(self))  # as if it were on the hub
    with pytest.raises(DataError, match="needs a script of its own, and such scripts are never run"):
        read(tmp_path / "base", "mine")
    assert not (tmp_path / "canary").exists()


def test_a_path_of_the_working_folder_is_not_taken_for_a_hub_name(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="paths are relative to the recipe"):
        read(tmp_path / "base", "mine")


def test_no_network_says_what_is_missing(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets_load, "dataset_module_factory", unreachable)
    with pytest.raises(DataError, match="nobody/nothing: this data set is not in the local cache") as caught:
        read(tmp_path, "nobody/nothing")
    assert "load it once where there is a network" in caught.value.problems[0].remedy


@pytest.mark.parametrize("break_it", ["state", "arrow", "gone"])
def test_a_damaged_folder_is_a_data_error(tmp_path, break_it):
    Dataset.from_dict(VALUES, features=FEATURES).save_to_disk(tmp_path / "one")
    (arrow,) = (tmp_path / "one").glob("*.arrow")
    if break_it == "state":
        (tmp_path / "one" / "state.json").write_text("{")
    elif break_it == "arrow":
        arrow.write_bytes(arrow.read_bytes()[:100])
    else:
        arrow.unlink()
    with pytest.raises(DataError, match="one: this data set cannot be read"):
        read(tmp_path, "one")


def test_the_recipe_must_agree_with_itself(saved):
    with pytest.raises(RecipeError, match="needs the name of a data set"):
        read(saved, None)
    with pytest.raises(RecipeError, match="`hub` needs `format: hub`"):
        read(saved, "one", format="auto")
    with pytest.raises(RecipeError, match="names its own columns"):
        read(saved, "one", columns=["x"])
