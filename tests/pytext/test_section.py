"""Nothing of a configuration is dropped in silence, and what is no configuration is refused at its place."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pytext.conftest import Convert, document, tsv
from tests.pytext.test_convert import both, tutorial

from manyheads.errors import DataError, RecipeError
from manyheads.pytext import Conversion, convert


def configurations() -> list[dict[str, Any]]:
    """One of each kind, with sections at every depth."""
    lstm = {"BiLSTMDocAttention": {"lstm": {"lstm_dim": 8}, "pooling": {"MaxPool": {}}}}
    trainer = {"optimizer": {"SGD": {"lr": 0.1}}, "scheduler": {"StepLR": {"step_size": 2}}, "epochs": 5}
    single = {**document(representation=lstm, decoder={"hidden_dims": [4]}), "trainer": trainer}
    slots = {"data": tsv("a", "label", "slots", "text"), "model": {"IntentSlotModel": {"decoder": {"doc_decoder": {}}}}}
    bert = {
        "data": tsv("a", "label", "text"),
        "model": {"encoder": {"HuggingFaceBertSentenceEncoder": {"pooling": "cls_token"}}},
    }
    kinds = {"DocumentClassificationTask": single, "IntentSlotTask": slots, "NewBertClassificationTask": bert}
    return [both(data={"sampler": {"NaturalBatchSampler": {}}}), tutorial(), *({"task": {k: v}} for k, v in kinds.items())]


def sections(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all mappings."""
    if not isinstance(value, dict):
        return []
    return [path, *(found for key, inner in value.items() for found in sections(inner, (*path, key)))]


PLACES = [(i, path) for i, values in enumerate(configurations()) for path in sections(values)]
SCALARS = st.one_of(st.integers(-5, 5), st.booleans(), st.text("ab", max_size=3), st.floats(0, 1), st.lists(st.integers(0, 3)))


def converted(values: Any) -> Conversion:
    """As `convert_json`, for properties, which have no fixtures."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conf.json"
        file.write_text(json.dumps(values))
        return convert(file)


@given(place=st.sampled_from(PLACES), name=st.from_regex(r"zz_[a-z_]{0,8}", fullmatch=True), value=SCALARS)
def test_an_unknown_key_is_listed_wherever_it_stands(place: tuple[int, tuple[str, ...]], name: str, value: Any) -> None:
    number, path = place
    values = copy.deepcopy(configurations()[number])
    inside = values
    for part in path:
        inside = inside[part]
    inside[name] = value
    listed = {remark.path for remark in converted(values).lost}
    assert ".".join((*path, name)) in listed


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Values with nothing below, by path."""
    if isinstance(value, dict) and value:
        return {p: v for k, inner in value.items() for p, v in leaves(inner, f"{path}.{k}" if path else k).items()}
    return {path: value}


@pytest.mark.parametrize("number", range(len(configurations())))
def test_every_leaf_that_changes_nothing_in_the_recipe_is_listed(convert_json: Convert, number: int) -> None:
    values = configurations()[number]
    whole = convert_json(values)
    told = {remark.path for remark in (*whole.lost, *whole.idle)}
    for path, value in leaves(values).items():
        if not isinstance(value, str | float | int) or isinstance(value, bool) or path in told:
            continue
        *parts, last = path.split(".")
        other = copy.deepcopy(values)
        inside = other
        for part in parts:
            inside = inside[part]
        inside[last] = value + 1 if not isinstance(value, str) else f"{value}x"
        try:
            changed = convert_json(other)
        except RecipeError:
            continue  # it is read: another value is refused
        noted = {(remark.path, remark.why) for remark in changed.lost} - {(remark.path, remark.why) for remark in whole.lost}
        assert changed.recipe != whole.recipe or noted, path


def test_what_has_no_meaning_here_is_listed_apart(convert_json: Convert) -> None:
    task = {"task": {"DocumentClassificationTask": document(decoder={"layer_norm": False})}}
    found = convert_json({**task, "save_snapshot_path": "/tmp/x", "use_tensorboard": True, "use_fp16": True, "debug_pth": 1})
    assert {remark.path for remark in found.idle} == {
        "save_snapshot_path",
        "use_tensorboard",
        "task.DocumentClassificationTask.model.DocModel.decoder.layer_norm",
    }
    assert {remark.path: remark.why for remark in found.lost} == {
        "use_fp16": "there is bf16, not fp16: `training.precision: bf16`",
        "debug_pth": "no key that is known here",
    }
    assert "#   use_fp16 = true: there is bf16, not fp16: `training.precision: bf16`\n" in found.text


@given(place=st.sampled_from(PLACES), name=st.sampled_from(["delimiter", "output_path", "use_fp16", "bias"]))
def test_familiar_keys_in_an_unknown_section_are_unknown(place: tuple[int, tuple[str, ...]], name: str) -> None:
    number, path = place
    values = copy.deepcopy(configurations()[number])
    inside = values
    for part in path:
        inside = inside[part]
    inside["zz"] = {name: False, "Aa": {name: ""}}
    if path and path[-1] == "tasks":
        return  # a task is wanted there, which is an error
    listed = {remark.path for remark in converted(values).lost}
    assert {".".join((*path, "zz", name)), ".".join((*path, "zz", "Aa", name))} <= listed


def test_a_key_with_a_slip_shows_the_nearest(convert_json: Convert) -> None:
    task = {**document(), "trainer": {"epoch": 3}}
    [remark] = convert_json({"task": {"DocumentClassificationTask": task}}).lost
    assert remark.why == "no key that is known here; did you mean 'epochs'?"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"task": ', "conf.json:1:10: not valid JSON: Expecting value"),
        ("[1]", "conf.json:1:1: this is no configuration of PyText"),
        ('{"tasks": {}}', "there is no key `task`, only 'tasks'; did you mean 'task'?"),
        ('{"task": {}}', "conf.json:1:10: a task is wanted, {Class: {…}}"),
        (
            '{"task": {\n  "DocumentClasificationTask": {}}}',
            "'DocumentClasificationTask'; did you mean 'DocumentClassificationTask'?",
        ),
        (
            '{"task": {"SemanticParsingTask": {}}}',
            "no task of this configuration can be carried over; found 'SemanticParsingTask'",
        ),
        ('{"task": {"DocumentClassificationTask": {}}}', "a task needs training rows"),
        ('{"task": {"NewDisjointMultitask": {"tasks": {"a": {"LMTsk": {}}}}}}', "found 'LMTsk'; did you mean 'LMTask'?"),
        ('{"a": 1,\n "a": 2}', "conf.json:2:2"),
    ],
)
def test_what_is_no_configuration(place: Path, text: str, told: str) -> None:
    Path("conf.json").write_text(text)
    with pytest.raises(RecipeError) as caught:
        convert(Path("conf.json"))
    assert told in str(caught.value)


def test_values_of_another_type_are_found_all_at_once(convert_json: Convert) -> None:
    task = {**document(decoder={"hidden_dims": [1.5]}), "trainer": {"epochs": "many"}}
    with pytest.raises(RecipeError) as caught:
        convert_json({"task": {"DocumentClassificationTask": task}, "random_seed": True, "use_cuda_if_available": 1})
    text = str(caught.value)
    assert "`epochs` is a whole number; found 'many'" in text
    assert "`random_seed` is a whole number; found 'true'" in text
    assert "`use_cuda_if_available` is true or false; found '1'" in text
    assert "a list of a whole number each is wanted; found '[1.5]'" in text
    assert all(line.startswith("conf.json:") for line in text.splitlines())


def test_files_that_cannot_be_read(place: Path) -> None:
    with pytest.raises(DataError, match=r"no\.json: cannot be read"):
        convert(Path("no.json"))
    Path("latin.json").write_bytes(b'{"task": "\xe9"}')
    with pytest.raises(DataError, match="a configuration is UTF-8"):
        convert(Path("latin.json"))


def test_tabs_and_a_byte_order_mark(place: Path) -> None:
    text = json.dumps({"task": {"DocumentClassificationTask": document()}}, indent="\t")
    Path("conf.json").write_text(f"\ufeff{text}")
    assert convert(Path("conf.json")).lost == ()


def test_a_version_after_the_last_known_one_is_told(convert_json: Convert) -> None:
    found = convert_json({"version": 30, "task": {"DocumentClassificationTask": document()}, "random_seed": None})
    assert [(remark.path, remark.value) for remark in found.lost] == [("version", "30")]
    assert found.recipe["seed"] == 0
