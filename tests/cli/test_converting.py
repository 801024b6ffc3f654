"""`manyheads convert`, and the recipes that it writes, checked and trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pytext.conftest import document, tsv
from tests.pytext.test_convert import both, tutorial

from manyheads.predict import Predictor

Command = Callable[..., tuple[int, str, str]]
REVIEWS = ("good\ta good film", "bad\ta poor song", "good\tfine and good", "bad\tbad and poor")
ALARMS = (
    "alarm/set\t14:17:datetime\twake me up at six",
    "alarm/show\t\tshow my alarms",
    "alarm/set\t14:27:datetime\tset alarm for ten o'clock am",
    "alarm/show\t5:13:datetime\tshow tomorrow alarms",
)
PAIRS = ("yes\ta dog runs\tan animal runs", "no\ta dog runs\ta cat sleeps")


def write(folder: str, rows: tuple[str, ...]) -> None:
    """The three files of `tsv`."""
    Path(folder).mkdir()
    for split in ("train", "eval", "test"):
        Path(folder, f"{split}.tsv").write_text("".join(f"{row}\n" for row in rows * 4))


def put(values: Any) -> str:
    """The configuration as a file."""
    Path("conf.json").write_text(json.dumps(values, indent=2))
    return "conf.json"


def test_three_kinds_of_tasks_over_one_lstm_are_checked_trained_and_asked(command: Command, place: Path) -> None:
    write("reviews", REVIEWS)
    write("alarms", ALARMS)
    write("pairs", PAIRS)
    lstm = {"shared_module_key": "LSTM", "lstm_dim": 8}
    words = {"shared_module_key": "WORDS", "embed_dim": 8}
    rep = {"BiLSTMDocAttention": {"lstm": lstm}}
    slots = {"word_embedding": words, "representation": {"BiLSTMDocSlotAttention": {"lstm": {"BiLSTM": lstm}}}}
    tasks = {
        "mood": {"DocumentClassificationTask": document("reviews", embedding=words, representation=rep)},
        "alarm": {"IntentSlotTask": {"data": tsv("alarms", "label", "slots", "text"), "model": {"IntentSlotModel": slots}}},
        "pair": {
            "PairwiseClassificationTask": {
                "data": tsv("pairs", "label", "text1", "text2"),
                "model": {"PairwiseModel": {"embedding": words, "representation": rep}},
            }
        },
    }
    trainer = {"epochs": 30, "optimizer": {"Adam": {"lr": 0.05}}}
    put({"task": {"NewDisjointMultitask": {"tasks": tasks, "trainer": trainer, "target_task_name": "alarm"}}})
    code, out, err = command("convert", "pytext", "conf.json", "--to", "recipe.yaml")
    assert (code, out) == (0, ""), err
    assert "manyheads train recipe.yaml" in err
    code, out, err = command("check", "recipe.yaml")
    assert (code, err) == (0, "")
    code, _, err = command("train", "recipe.yaml", "training.epochs=30", "modules.WORDS.dropout=0.1")
    assert code == 0, err
    predictor = Predictor.load("runs/recipe/artefact")
    assert set(predictor.model.tasks) == {"mood", "alarm_intent", "alarm_slots", "pair"}
    answer = predictor(["wake me up at six"])[0].predictions
    assert answer["alarm_intent"].value == "alarm/set"
    assert predictor(["a good film"])[0].predictions["mood"].value == "good"


def test_a_configuration_over_public_data_is_checked(command: Command, place: Path, shared_data: Path) -> None:
    files = {
        f"{split}_filename": str(shared_data / "glue" / "RTE" / f"{name}.tsv")
        for split, name in (("train", "train"), ("eval", "dev"))
    }
    model = {"inputs": {"tokens": {"column": "sentence1"}}, "representation": {"DocNNRepresentation": {}}}
    put({"task": {"DocumentClassificationTask": {"data": {"source": {"TSVDataSource": files}}, "model": {"DocModel": model}}}})
    assert command("convert", "pytext", "conf.json", "--to", "recipe.yaml")[0] == 0
    code, out, err = command("check", "recipe.yaml", "--json")
    assert (code, err) == (0, "")
    assert "2490" in out


def test_every_setting_that_is_lost_is_told(command: Command, place: Path) -> None:
    values = {"task": {"DocumentClassificationTask": document()}, "use_fp16": True, "save_snapshot_path": "x.pt"}
    code, out, err = command("convert", "pytext", put(values))
    assert code == 0
    assert out.startswith("# Made by `manyheads convert pytext` from conf.json, a DocumentClassificationTask.")
    assert err == (
        "not carried over: use_fp16 = true: there is bf16, not fp16: `training.precision: bf16`\n"
        "1 setting is not carried over, 1 has no meaning or effect here\n"
    )
    code, out, _ = command("convert", "pytext", "conf.json", "--json")
    found = json.loads(out)
    assert [remark["path"] for remark in found["lost"]] == ["use_fp16"]
    assert [remark["path"] for remark in found["idle"]] == ["save_snapshot_path"]
    assert set(found["recipe"]["tasks"]) == {"document_classification"}


def test_files_are_named_from_the_recipe(command: Command, place: Path) -> None:
    (place / "inner").mkdir()
    embedding = {"pretrained_embeddings_path": "glove.txt", "load_path": "words.safetensors"}
    put({"task": {"DocumentClassificationTask": document(embedding=embedding)}})
    assert command("convert", "pytext", "conf.json", "--to", "inner/recipe.yaml")[0] == 0
    text = Path("inner/recipe.yaml").read_text()
    assert 'train: "../reviews/train.tsv"' in text
    assert 'vectors: "../glove.txt"' in text
    assert 'load: "../words.safetensors"' in text


def test_a_recipe_that_is_there_is_kept(command: Command, place: Path) -> None:
    put(both())
    Path("recipe.yaml").write_text("mine")
    code, _, err = command("convert", "pytext", "conf.json", "--to", "recipe.yaml")
    assert code == 2
    assert "--force overwrites it, --to names another" in err
    assert Path("recipe.yaml").read_text() == "mine"
    assert command("convert", "pytext", "conf.json", "--to", "recipe.yaml", "--force")[0] == 0


def test_a_value_that_no_recipe_holds_is_told_at_the_recipe(command: Command, place: Path) -> None:
    put({"task": {"DocumentClassificationTask": document(embedding={"embed_dim": 0})}})
    code, _, err = command("convert", "pytext", "conf.json", "--to", "recipe.yaml")
    assert code == 2
    assert Path("recipe.yaml").exists()
    assert "error: recipe.yaml:" in err
    assert "greater than or equal to 1" in err or "at least 1" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ("pytex", "conf.json"),
            2,
            "known are those of 'pytext'; found 'pytex'; did you mean 'pytext'?",
        ),
        (("pytext", "no.json"), 3, "no.json: cannot be read"),
        (("pytext", "bad.json"), 2, "bad.json:1:2: not valid JSON"),
        (("pytext", "conf.json", "--to", "nowhere/recipe.yaml"), 2, "nowhere: there is no such folder"),
    ],
)
def test_what_cannot_be_converted(command: Command, place: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    put(tutorial())
    Path("bad.json").write_text("{")
    found, _, err = command("convert", *arguments)
    assert found == code
    assert told in err
