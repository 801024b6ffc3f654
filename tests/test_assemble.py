"""A recipe becomes data sets and a blueprint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from manyheads.api import load_recipe, recipe_from
from manyheads.assemble import Assembly, assemble
from manyheads.errors import DataError, ManyheadsError, RecipeError, ResourceError, WiringError


def built(tiny: Path, tasks: dict[str, Any], modules: dict[str, Any] | None = None, **more: Any) -> Assembly:
    """Tasks of which each has a path of the encoder alone unless it says otherwise."""
    encoder = {"type": "pretrained", "name": str(tiny), "max_length": 16}
    tasks = {name: {"path": ["encoder"], **task} for name, task in tasks.items()}
    return assemble(recipe_from({"modules": {"encoder": encoder, **(modules or {})}, "tasks": tasks, **more}))


def rows(path: Path, *rows: dict[str, Any]) -> dict[str, str]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"train": path.name}


MOODS = [{"text": "good film", "label": "up"}, {"text": "bad film", "label": "down"}, {"text": "poor", "label": "down"}]


def path_of(assembly: Assembly, task: str) -> list[str]:
    return [step.module for step in assembly.blueprint.tasks[task].path]


def test_heads_are_added_and_sized(recipe: Path) -> None:
    found = assemble(load_recipe(recipe))
    assert path_of(found, "mood") == ["encoder", "mean_pool", "mood_head"]
    assert path_of(found, "names") == ["encoder", "names_head"]
    modules = found.blueprint.modules
    assert modules["mood_head"].options == {"width": 16, "classes": 2, "dropout": 0.1}
    assert modules["likeness_head"].options["classes"] == 1
    assert modules["names_head"].type == "word_head"
    assert {name: plan.reads for name, plan in found.blueprint.tasks.items()} == {
        "mood": "text",
        "likeness": "pair",
        "names": "words",
    }


def test_rows_files_and_labels(recipe: Path) -> None:
    found = assemble(load_recipe(recipe))
    assert found.rows["mood"] == {"train": 24, "dev": 8, "test": 8}
    assert set(found.files) == {"mood.csv", "pairs.jsonl", "names.conll"}
    assert all(len(digest) == 64 for digest in (*found.files.values(), *found.label_hashes.values()))
    assert found.labels["mood"]["labels"]["names"] == ["down", "up"]
    assert found.cut == {name: {"train": 0, "dev": 0, "test": 0} for name in ("mood", "likeness", "names")}


def test_no_row_is_in_two_splits(recipe: Path) -> None:
    found = assemble(load_recipe(recipe))
    for name in found.train:
        splits = [found.train[name], found.dev[name], found.test[name]]
        lines = [data.place(i).line for data in splits for i in range(len(data))]
        assert len(lines) == len(set(lines))


def test_modules_between_encoder_and_head_tell_their_width(place: Path, tiny: Path) -> None:
    wide = {"type": "feedforward", "width": 24}
    narrow = {"type": "feedforward", "width": 6, "activation": "tanh"}
    data = {**rows(place / "m.jsonl", *MOODS)}
    modules = {"wide": wide, "narrow": narrow, "top": {"type": "pool", "how": "max"}}
    found = built(
        tiny, {"mood": {"type": "classification", "path": ["encoder", "wide", "top", "narrow"], "data": data}}, modules
    )
    assert path_of(found, "mood") == ["encoder", "wide", "top", "narrow", "mood_head"]
    options = {name: plan.options for name, plan in found.blueprint.modules.items()}
    assert (options["wide"]["kind"], options["wide"]["width_in"]) == ("states", 16)
    assert (options["narrow"]["kind"], options["narrow"]["width_in"]) == ("vector", 24)
    assert options["mood_head"]["width"] == 6
    found.blueprint.build()


def test_steps_written_out(place: Path, tiny: Path) -> None:
    steps = [{"module": "encoder", "inputs": ["batch.text"], "name": "read"}, {"module": "wide", "inputs": ["read"]}]
    task = {"type": "classification", "path": steps, "data": rows(place / "m.jsonl", *MOODS)}
    found = built(tiny, {"mood": task}, {"wide": {"type": "feedforward", "width": 24}})
    assert [step.result for step in found.blueprint.tasks["mood"].path][:2] == ["read", "wide"]
    found.blueprint.build()


def test_modules_that_no_path_uses_are_left_out(place: Path, tiny: Path) -> None:
    task = {"type": "classification", "data": rows(place / "m.jsonl", *MOODS)}
    assert "spare" not in built(tiny, {"mood": task}, {"spare": {"type": "pool"}}).blueprint.modules


def test_class_weights(place: Path, tiny: Path) -> None:
    data = rows(place / "m.jsonl", *MOODS)
    plain = {"type": "classification", "data": data}

    def weights(value: Any) -> Any:
        return built(tiny, {"mood": {**plain, "class_weights": value}}).blueprint.tasks["mood"].options["class_weights"]

    assert weights(None) is None
    assert weights("balanced") == [3 / (2 * 2), 3 / (2 * 1)]
    data |= rows(place / "w.jsonl", *({**mood, "w": w} for mood, w in zip(MOODS, (0.5, 2, 4), strict=True))) | {"weight": "w"}
    assert weights("balanced") == [6.5 / (2 * 6), 6.5 / (2 * 0.5)]
    assert weights({"up": 3.0}) == [1.0, 3.0]
    with pytest.raises(RecipeError, match="no label is called this; there are 'down', 'up'; found 'upp'; did you mean 'up'"):
        weights({"upp": 3.0})


def test_task_types_keep_their_settings(place: Path, tiny: Path) -> None:
    data = rows(place / "m.jsonl", *({"text": f"film {i}", "label": "a|b" if i % 2 else "b", "n": i} for i in range(8)))
    tasks = {
        "topics": {"type": "multilabel", "threshold": 0.3, "focal": 2.0, "data": data, "metrics": ["f1_macro"], "weight": 2.0},
        "stars": {
            "type": "regression",
            "low": 0.0,
            "high": 9.0,
            "loss": "absolute",
            "data": {**data, "label": "n"},
            "patience": 2,
        },
    }
    plans = built(tiny, tasks).blueprint.tasks
    loss = {"class_weights": None, "label_smoothing": 0.0, "focal": 2.0}
    assert plans["topics"].options == {"labels": ["a", "b"], "threshold": 0.3, "top": None, **loss}
    assert (plans["topics"].metric, plans["topics"].metrics, plans["topics"].weight) == ("f1_micro", ("f1_macro",), 2.0)
    assert plans["stars"].options == {"low": 0.0, "high": 9.0, "loss": "absolute"}
    assert plans["stars"].patience == 2


def test_a_shared_data_set_is_read_once(place: Path, tiny: Path) -> None:
    named = {"both": rows(place / "m.jsonl", *({"text": "x", "a": "u", "b": i} for i in range(4)))}
    tasks = {
        "one": {"type": "classification", "data": {"from": "both", "label": "a"}},
        "two": {"type": "regression", "data": {"from": "both", "label": "b"}},
    }
    found = built(tiny, tasks, data=named)
    assert found.train["both"].tasks == ("one", "two")
    assert list(found.train) == ["both"]


def test_pools_of_two_kinds_may_stand_side_by_side(place: Path, tiny: Path) -> None:
    data = rows(place / "m.jsonl", *MOODS)
    tasks = {how: {"type": "classification", "pool": how, "data": data} for how in ("mean", "cls", "max")}
    found = built(tiny, tasks)
    assert [path_of(found, how)[1] for how in tasks] == ["mean_pool", "cls_pool", "max_pool"]


def test_attention_has_weights_of_its_own_in_each_task(place: Path, tiny: Path) -> None:
    data = rows(place / "m.jsonl", *MOODS)
    tasks = {name: {"type": "classification", "pool": "attention", "data": data} for name in ("a", "b")}
    tasks["c"] = {"type": "classification", "path": ["encoder", "top"], "data": data}
    tasks["d"] = {"type": "classification", "path": ["encoder", "top"], "data": data}
    found = built(tiny, tasks, {"top": {"type": "pool", "how": "attention"}})
    assert [path_of(found, name)[1] for name in tasks] == ["a_pool", "b_pool", "top", "top"]
    model = found.build()
    assert model.graph.shared() == ("encoder", "top")
    assert {found.blueprint.modules[name].type for name in ("a_pool", "b_pool", "top")} == {"attention_pool"}
    assert not torch.equal(*(model.get_parameter(f"pool.{name}.query.weight") for name in ("a_pool", "b_pool")))


def test_each_task_has_dropout_of_its_own(place: Path, tiny: Path) -> None:
    data = rows(place / "m.jsonl", *MOODS)
    tasks = {f"t{i}": {"type": "classification", "dropout": rate, "data": data} for i, rate in enumerate((0.0, 0.4))}
    model = built(tiny, tasks, defaults={"dropout": 0.2}).build()
    drops = {name: m.p for name, m in model.pool.named_modules() if name.startswith("t") and isinstance(m, nn.Dropout)}
    assert drops == {"t0_head.dropout": 0.0, "t1_head.dropout": 0.4}


# refusals ---------------------------------------------------------------------------------------------------------------


def test_a_recipes_module_with_the_name_of_a_head(place: Path, tiny: Path) -> None:
    task = {"type": "classification", "path": ["encoder", "mood_head"], "data": rows(place / "m.jsonl", *MOODS)}
    with pytest.raises(WiringError, match="'mood_head' is wanted twice"):
        built(tiny, {"mood": task}, {"mood_head": {"type": "feedforward", "width": 4}})


def test_two_pools_that_want_one_name(place: Path, tiny: Path) -> None:
    data = rows(place / "m.jsonl", *MOODS)
    task = {"type": "classification", "data": data}
    with pytest.raises(WiringError, match="'mean_pool' is wanted twice: for a pool and for attention_pool"):
        built(tiny, {"other": task, "mean": {**task, "pool": "attention"}})


def test_tags_need_states(place: Path, tiny: Path) -> None:
    data = rows(place / "t.jsonl", {"words": ["a"], "tags": ["O"]}, {"words": ["b"], "tags": ["B-X"]})
    task = {"type": "tagging", "path": ["encoder", "top"], "data": data}
    with pytest.raises(WiringError, match=r"reads states, but the path gives vector of width 16"):
        built(tiny, {"names": task}, {"top": {"type": "pool"}})


def test_tags_need_words(place: Path, tiny: Path) -> None:
    data = {**rows(place / "t.jsonl", {"text": "a", "tags": ["O"]}), "text": "text"}
    with pytest.raises(DataError, match="no column of words"):
        built(tiny, {"names": {"type": "tagging", "data": data}})


def test_a_path_begins_with_an_encoder(place: Path, tiny: Path) -> None:
    task = {"type": "classification", "path": ["wide"], "data": rows(place / "m.jsonl", *MOODS)}
    with pytest.raises(WiringError, match=r"reads states or vectors|must begin with one pretrained module"):
        built(tiny, {"mood": task}, {"wide": {"type": "feedforward", "width": 4}})


def test_tasks_of_one_data_set_begin_with_one_encoder(place: Path, tiny: Path) -> None:
    other = {"type": "pretrained", "name": str(tiny)}
    named = {"both": rows(place / "m.jsonl", *MOODS)}
    tasks = {
        "one": {"type": "classification", "data": {"from": "both"}},
        "two": {"type": "classification", "path": ["other"], "data": {"from": "both"}},
    }
    with pytest.raises(WiringError, match=r"one pretrained module, or all with modules of words, found \['encoder', 'other'\]"):
        built(tiny, tasks, {"other": other}, data=named)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"train": "absent.csv"}, "absent.csv"),
        ({"train": "m.jsonl", "text": "txt"}, "'txt'"),
        ({"train": "m.jsonl", "label": "lable"}, "did you mean 'label'"),
    ],
)
def test_files_and_columns_that_are_not_there(place: Path, tiny: Path, data: dict[str, str], rule: str) -> None:
    rows(place / "m.jsonl", *MOODS)
    with pytest.raises(DataError, match=rule):
        built(tiny, {"mood": {"type": "classification", "data": data}})


def test_a_label_that_only_dev_rows_have(place: Path, tiny: Path) -> None:
    data = {**rows(place / "m.jsonl", *MOODS), "dev": "d.jsonl"}
    rows(place / "d.jsonl", {"text": "x", "label": "upp"})
    with pytest.raises(DataError, match=r"d\.jsonl:1.*'upp'; did you mean 'up'"):
        built(tiny, {"mood": {"type": "classification", "data": data}})


def test_an_encoder_that_is_nowhere(place: Path, tiny: Path) -> None:
    task = {"type": "classification", "path": ["far"], "data": rows(place / "m.jsonl", *MOODS)}
    with pytest.raises(ResourceError, match="no encoder is found"):
        built(tiny, {"mood": task}, {"far": {"type": "pretrained", "name": "no/such-model"}})


def test_a_metric_that_does_not_fit(place: Path, tiny: Path) -> None:
    task = {"type": "classification", "metric": "span_f1", "data": rows(place / "m.jsonl", *MOODS)}
    with pytest.raises(ManyheadsError, match="span_f1"):
        built(tiny, {"mood": task})


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        ({"type": "classification", "metrics": ["sentence_accuracy"]}, "needs sentences"),
        ({"type": "binary", "metrics": ["sentence_accuracy"]}, "needs sentences"),
        ({"type": "multilabel", "metrics": ["mcc"]}, "needs labels"),
        ({"type": "classification", "metrics": ["group_accuracy"]}, r"needs groups.*\n.*`data\.group`"),
    ],
)
def test_a_metric_of_other_items_is_told_before_training(place: Path, tiny: Path, task: dict[str, Any], rule: str) -> None:
    with pytest.raises(RecipeError, match=rf"tasks\.mood\.metrics\.0: the metric {rule}"):
        built(tiny, {"mood": {**task, "data": rows(place / "m.jsonl", *MOODS)}})


@pytest.mark.parametrize("type_", ["classification", "binary", "multilabel"])
def test_metrics_of_labels_and_their_probabilities_fit(place: Path, tiny: Path, type_: str) -> None:
    metrics = ["accuracy", "f1", "roc_auc", "coverage"]
    built(tiny, {"mood": {"type": type_, "metrics": metrics, "data": rows(place / "m.jsonl", *MOODS)}})


def test_numbers_have_no_accuracy(place: Path, tiny: Path) -> None:
    data = rows(place / "n.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": 2})
    with pytest.raises(RecipeError, match=r"tasks\.stars\.metrics\.1: the metric needs label sets"):
        built(tiny, {"stars": {"type": "regression", "metrics": ["mse", "accuracy"], "data": data}})


def test_what_only_the_data_can_tell_is_told_of_all_tasks_at_once_with_places(place: Path, tiny: Path) -> None:
    rows(place / "m.jsonl", *MOODS)
    (place / "recipe.yaml").write_text(
        f"modules: {{encoder: {{type: pretrained, name: {tiny}}}}}\n"
        "defaults: {path: [encoder], data: {train: m.jsonl}}\n"
        "tasks:\n"
        "  a: {type: classification, metric: pearson}\n"
        "  b: {type: classification, metrics: [f1, mse]}\n"
        "  c:\n"
        "    type: classification\n"
        "    class_weights: {up: 2, upp: 1, a.b: 3}\n"
    )
    with pytest.raises(RecipeError) as caught:
        assemble(load_recipe("recipe.yaml", ["tasks.a.metrics=[rmse]"]))
    assert [(p.place, p.value) for p in caught.value.problems] == [
        ("recipe.yaml:4:37", "pearson"),
        ("override 'tasks.a.metrics=[rmse]'", "rmse"),
        ("recipe.yaml:5:43", "mse"),
        ("recipe.yaml:8:28", "upp"),
        ("recipe.yaml:8:5", "a.b"),
    ]
    assert caught.value.problems[-1].rule.startswith("`tasks.c.class_weights.a.b`: no label is called this")


def test_wiring_that_only_the_data_can_tell_has_the_place_of_its_task(place: Path, tiny: Path) -> None:
    rows(place / "m.jsonl", *MOODS)
    (place / "recipe.yaml").write_text(
        f"modules:\n  encoder: {{type: pretrained, name: {tiny}}}\n  mood_head: {{type: feedforward, width: 4}}\n"
        "tasks:\n  mood: {type: classification, path: [encoder, mood_head], data: {train: m.jsonl}}\n"
    )
    with pytest.raises(WiringError) as caught:
        assemble(load_recipe("recipe.yaml"))
    assert caught.value.problems[0].place == "recipe.yaml:3:3"


def test_unknown_plug_in_option(place: Path, tiny: Path) -> None:
    task = {"type": "classification", "path": ["encoder", "own"], "data": rows(place / "m.jsonl", *MOODS)}
    with pytest.raises(RecipeError, match="no module type is called this"):
        built(tiny, {"mood": task}, {"own": {"type": "nothing"}})


def test_a_sampling_that_reckons_with_epochs_takes_those_of_the_training(recipe: Path) -> None:
    annealed = ["mixture.sampling=annealed", "mixture.temperature=5", "training.epochs=4"]
    taken = assemble(load_recipe(recipe, annealed)).stream()
    said = assemble(load_recipe(recipe, [*annealed, "mixture.over=4"])).stream()
    other = assemble(load_recipe(recipe, [*annealed, "mixture.over=9"])).stream()
    assert [taken.asked(e, {}) for e in range(4)] == [said.asked(e, {}) for e in range(4)]
    assert [taken.asked(e, {}) for e in range(4)] != [other.asked(e, {}) for e in range(4)]
    with pytest.raises(RecipeError, match="over"):
        assemble(load_recipe(recipe, [*annealed, "training.steps=9"])).stream()


def test_thresholds_are_for_labels_that_there_are(place: Path, tiny: Path) -> None:
    data = rows(place / "m.jsonl", *({"text": f"film {i}", "label": "a|b" if i % 2 else "b"} for i in range(8)))

    def options(**more: Any) -> Any:
        return built(tiny, {"topics": {"type": "multilabel", "data": data, **more}}).blueprint.tasks["topics"].options

    assert options(threshold={"a": 0.25})["threshold"] == {"a": 0.25}
    assert options(top=2)["top"] == 2
    for declared in ({}, {"labels": ["a", "b"]}):
        with pytest.raises(RecipeError, match=r"no label is called this; there are 'a', 'b'; found 'c'"):
            options(threshold={"c": 0.25}, **declared)
    with pytest.raises(RecipeError, match="so no threshold is looked at"):
        options(top=2, threshold=0.4)


def test_balanced_weights_of_several_labels_and_of_words(place: Path, tiny: Path) -> None:
    """Of several labels: the rows that lack one over those that have it, 1 where none or all have it; of tags their words."""
    labels = ("a", "a|b", "b", "b", None, "b|c|d|a")
    topics = rows(place / "t.jsonl", *({"text": "film", "label": label, "w": 1 + (label == "a")} for label in labels))
    tags = (["O", "O", "B-X"], ["O", None, "O"])
    names = rows(place / "n.jsonl", *({"words": ["a", "cat", "film"], "tags": found} for found in tags))
    tasks: dict[str, Any] = {
        "topics": {"type": "multilabel", "labels": ["a", "b", "c", "d", "e"], "data": topics},
        "names": {"type": "tagging", "data": names},
    }
    for task in tasks.values():
        task |= {"class_weights": "balanced", "label_smoothing": 0.1}

    def weights(task: str) -> Any:
        return built(tiny, tasks).blueprint.tasks[task].options["class_weights"]

    assert weights("topics") == [2 / 3, 1 / 4, 4, 4, 1]
    assert weights("names") == [5 / (2 * 4), 5 / (2 * 1)]
    topics["weight"] = "w"
    assert weights("topics") == [2 / 4, 2 / 4, 5, 5, 1]
    tasks["names"]["class_weights"] = {"B-X": 3}
    assert weights("names") == [1, 3]
    found = built(tiny, tasks)
    model = found.build()
    losses = model.losses([data.batch(range(2)) for data in found.train.values()])
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(
    ("task", "blamed", "told"),
    [
        (
            "type: multilabel, threshold: {upp: 0.3}, data: {train: m.jsonl}",
            "upp:",
            "found 'upp'; did you mean 'up'",
        ),
        ("type: classification, data: {format: glue, columns: [a, b], train: RTE.tsv}", "[a, b]", "remove `columns`"),
    ],
)
def test_what_only_reading_finds_has_the_place_of_its_key(place: Path, tiny: Path, task: str, blamed: str, told: str) -> None:
    rows(place / "m.jsonl", *MOODS)
    (place / "RTE.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
    text = f"modules: {{encoder: {{type: pretrained, name: {tiny}}}}}\ntasks:\n  mood: {{path: [encoder], {task}}}\n"
    (place / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        assemble(load_recipe("recipe.yaml"))
    [problem] = caught.value.problems
    assert problem.place == f"recipe.yaml:3:{text.splitlines()[2].index(blamed) + 1}"
    assert told in str(problem)


def test_columns_of_a_shared_data_set_are_refused_there(place: Path, tiny: Path) -> None:
    data = {"both": {**rows(place / "m.jsonl", *MOODS), "columns": ["text", "label"]}}
    with pytest.raises(RecipeError, match=r"data\.both\.columns: `columns` is for files without a header"):
        built(tiny, {"mood": {"type": "classification", "data": {"from": "both"}}}, data=data)


def test_shares_of_soft_labels_count_for_balanced_weights(place: Path, tiny: Path) -> None:
    soft = [
        {"text": "good", "label": {"up": 0.75, "down": 0.25}},
        {"text": "bad", "label": "down"},
        {"text": "so", "label": None},
    ]
    task = {"soft_labels": True, "class_weights": "balanced", "data": rows(place / "s.jsonl", *soft)}
    for kind in ("classification", "binary"):
        found = built(tiny, {"mood": {"type": kind, **task}})
        assert found.blueprint.tasks["mood"].options["class_weights"] == [2 / (2 * 1.25), 2 / (2 * 0.75)]
        assert found.train["mood"].items("mood").tolist() == [1, 1, 0]
        assert found.labels["mood"]["soft"] is True


@pytest.mark.usefixtures("bert_tiny")
def test_another_encoder_is_one_name_in_one_place(recipe: Path) -> None:
    """Weights, the width of every head and the pieces of every data set follow."""
    found = assemble(load_recipe(recipe, ["modules.encoder.name=bert-tiny"]))
    assert {found.blueprint.modules[f"{task}_head"].options["width"] for task in found.blueprint.tasks} == {128}
    first = {name: data.batch([0]).fields["text"].ids[0, 0].item() for name, data in found.train.items()}
    assert first == dict.fromkeys(["mood", "likeness", "names"], 101), "[CLS] of BERT; of the tiny one it is 2"
    assert found.build().answer(found.train["mood"].batch([0]), ["mood"])["mood"].scores.shape == (1, 2)
