"""What training leaves: a folder that loads in plain transformers, and that says when a byte of it has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from manyheads.artefact import is_ours, load_artefact, reading, save_artefact
from manyheads.blueprint import Blueprint, ModulePlan, TaskPlan
from manyheads.data.labels import LabelMap
from manyheads.data.targets import target_from_json
from manyheads.errors import ArtefactError, MissingExtraError, Problem, RecipeError, ResourceError
from manyheads.folder import read_json, writing
from manyheads.graph import Step
from manyheads.predict import Predictor
from manyheads.types import Batch, Tokens


@pytest.fixture(scope="module")
def artefact(trained: Path) -> Path:
    return trained / "run" / "artefact"


def changed(source: Path, target: Path, change: Callable[[Path], None]) -> Path:
    """A copy of a saved folder, changed and sealed again, so that its manifest holds."""
    with writing(target, kind="artefact") as folder:
        for path in source.iterdir():
            if path.name != "manifest.json":
                shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy(path, folder / path.name)
        change(folder)
    return target


def edit(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        change(data)
        (folder / name).write_text(json.dumps(data))

    return write


def test_the_files(artefact: Path) -> None:
    names = {p.relative_to(artefact).as_posix() for p in artefact.rglob("*") if p.is_file()}
    texts = {
        "config.json",
        "labels.json",
        "data.json",
        "recipe.yaml",
        "resolved.yaml",
        "records.jsonl",
        "README.md",
        "manifest.json",
    }
    assert names == {
        *texts,
        "model.safetensors",
        "encoder/config.json",
        "encoder/model.safetensors",
        "encoder/tokenizer.json",
    }


def test_no_path_of_this_machine_is_in_the_description(artefact: Path, tiny: Path) -> None:
    assert str(tiny) not in (artefact / "config.json").read_text()
    assert str(tiny.parent) not in (artefact / "README.md").read_text()


@pytest.mark.parametrize("name", ["config.json", "labels.json", "manifest.json", "encoder/config.json"])
def test_json_is_strict(artefact: Path, name: str) -> None:
    assert isinstance(read_json(artefact / name), dict)


def test_labels_read_targets_without_the_data(artefact: Path) -> None:
    labels = read_json(artefact / "labels.json")
    mood = target_from_json(labels["mood"])
    assert mood.labels == LabelMap(("down", "up"))  # type: ignore[union-attr]
    assert target_from_json(labels["names"]).labels.names[0] == "O"  # type: ignore[union-attr]
    assert target_from_json(labels["likeness"]).column == "score"


def test_the_encoder_loads_in_plain_transformers_with_equal_states(artefact: Path) -> None:
    found = load_artefact(artefact)
    plain = AutoModel.from_pretrained(artefact / "encoder").eval()
    ids = torch.tensor([[2, 50, 60, 70, 3, 0], [2, 61, 62, 63, 64, 3]])
    mask = ids > 0
    with torch.inference_mode():
        ours = found.model.pool["encoder"](Tokens(ids, mask, torch.zeros_like(ids))).states
        theirs = plain(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert torch.equal(ours[mask], theirs[mask])


def test_the_tokenizer_loads_in_plain_transformers(artefact: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(artefact / "encoder")("the good film in rome")["input_ids"]
    ours = load_artefact(artefact).tokenizers["encoder"].encode_texts(["the good film in rome"], None, 32)[0].ids
    assert tuple(theirs) == ours


def test_a_loaded_model_answers_as_the_saved_one(artefact: Path, tmp_path: Path) -> None:
    found = load_artefact(artefact)
    again = load_artefact(save_artefact(tmp_path / "copy", found.model, found.blueprint, {}))
    assert again.blueprint.tasks == found.blueprint.tasks
    ids = torch.tensor([[2, 50, 60, 3]])
    tokens = Tokens(ids, ids > 0, torch.zeros_like(ids), torch.tensor([[1, 2]]))
    batch = Batch("x", {"text": tokens}, {}, [0])
    with torch.inference_mode():
        one, two = found.model.answer(batch), again.model.answer(batch)
    assert all(torch.equal(one[task].scores, two[task].scores) for task in found.model.tasks)
    assert not again.model.training


FAMILIES = (
    *("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra"),
    *("modernbert", "mpnet", "roberta", "xlm-roberta"),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_encoder_of_every_family_comes_back(families: Callable[[str], Path], tmp_path: Path, family: str) -> None:
    """Bit for bit, mixed layers and a pair of texts included."""
    modules = {
        "encoder": ModulePlan("pretrained", {"source": str(families(family)), "max_length": 16, "layers": True}),
        "mix": ModulePlan("scalar_mix", {"layers": [0, 1, 2]}),
        "mean": ModulePlan("pool", {}),
        "head": ModulePlan("row_head", {"width": 16, "classes": 2}),
    }
    task = TaskPlan("classification", tuple(map(Step, modules)), {"labels": ["no", "yes"]}, "pair")
    blueprint = Blueprint(modules, {"same": task})
    model = blueprint.build(seed=1).train()
    ids = torch.tensor([[2, 50, 60, 3, 70, 3], [2, 61, 3, 64, 3, 0]])
    tokens = Tokens(ids, ids > 0, torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]))
    batch = Batch("x", {"text": tokens}, {"same": torch.tensor([0, 1])}, [0, 1])
    model.losses([batch])["same"].backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    found = load_artefact(save_artefact(tmp_path / "artefact", model, blueprint, {}))
    with torch.inference_mode():
        assert torch.equal(found.model.answer(batch)["same"].scores, model.eval().answer(batch)["same"].scores)
    [answer] = Predictor(found)([("the good film", "a cat in rome")])
    assert sum(answer.predictions["same"].probabilities.values()) == pytest.approx(1)


def test_a_flipped_byte_is_named(artefact: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(artefact, tmp_path / "copy"))
    file = copy / "encoder" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"encoder/model\.safetensors.*sha256"):
        load_artefact(copy)


def test_weights_that_are_no_numbers_are_refused(artefact: Path, tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["pool.mood_head.linear.bias"][0] = torch.nan
        save_file(weights, folder / "model.safetensors")

    with pytest.raises(ArtefactError, match=r"not finite.*pool\.mood_head\.linear\.bias"):
        load_artefact(changed(artefact, tmp_path / "copy", spoil))


def test_weights_of_another_model_are_refused(artefact: Path, tmp_path: Path) -> None:
    def rename(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["pool.other.linear.bias"] = weights.pop("pool.mood_head.linear.bias")
        save_file(weights, folder / "model.safetensors")

    with pytest.raises(ArtefactError, match=r"missing 'pool\.mood_head.*unknown 'pool\.other"):
        load_artefact(changed(artefact, tmp_path / "one", rename))

    def widen(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["pool.mood_head.linear.bias"] = torch.zeros(5)
        save_file(weights, folder / "model.safetensors")

    with pytest.raises(ArtefactError, match=r"another shape: 'pool\.mood_head"):
        load_artefact(changed(artefact, tmp_path / "two", widen))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda c: c.update(format=99), "a model of format 1 is wanted"),
        (lambda c: c.pop("tasks"), "not a model description"),
        (lambda c: c["tasks"]["mood"].update(path=3), "not a model description"),
        (lambda c: c["tasks"]["mood"].update(surprise=3), "not a model description"),
        (lambda c: c["modules"].update({"../x": c["modules"].pop("encoder")}), "no folder inside the artefact"),
        (lambda c: c["modules"].update({"..": c["modules"].pop("encoder")}), "no folder inside the artefact"),
    ],
)
def test_a_description_that_is_none(artefact: Path, tmp_path: Path, change: Callable[[Any], None], rule: str) -> None:
    with pytest.raises(ArtefactError, match=rule):
        load_artefact(changed(artefact, tmp_path / "copy", edit("config.json", change)))


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("config.json", lambda c: c["tasks"]["mood"]["options"].update(labels=["up"]), "'mood' wants 1 scores, .* gives 2"),
        ("config.json", lambda c: c["modules"]["encoder"]["options"].update(max_length="abc"), "cannot be used: TypeError"),
        ("config.json", lambda c: c["modules"]["encoder"].update(options=[1]), "cannot be used: TypeError"),
        ("config.json", lambda c: c["tasks"]["mood"].update(options=["up", "down"]), "unknown option|cannot be used"),
        ("config.json", lambda c: c["tasks"]["mood"].update(options=7), "cannot be used: TypeError"),
        ("config.json", lambda c: c["tasks"]["mood"].update(weight="x"), "cannot be used: TypeError"),
        ("config.json", lambda c: c["tasks"]["mood"].update(type="other"), "no task is called 'other'"),
        ("config.json", lambda c: c["tasks"]["mood"].update(path=[]), "path"),
        ("config.json", lambda c: c["modules"]["mood_head"].update(type="other"), "no module is called 'other'"),
        ("config.json", lambda c: c["modules"]["mood_head"]["options"].update(classes=-1), "cannot be used|scores"),
        ("config.json", lambda c: c["modules"].pop("mood_head"), "not in the pool"),
        ("config.json", lambda c: c["modules"].pop("encoder"), "not in the pool"),
        ("encoder/config.json", lambda c: c.update(hidden_size="wide"), "config"),
        ("encoder/config.json", lambda c: c.update(num_attention_heads=7), "cannot be used"),
    ],
)
def test_a_description_that_does_not_fit_together(
    artefact: Path, tmp_path: Path, name: str, change: Callable[[Any], None], rule: str
) -> None:
    copy = changed(artefact, tmp_path / "copy", edit(name, change))
    with pytest.raises(ArtefactError, match=rule) as caught:
        load_artefact(copy)
    assert all(p.place.startswith(str(copy / "config.json")) for p in caught.value.problems)


@pytest.mark.parametrize("name", ["model.safetensors", "encoder/model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"torn"], ids=str)
def test_weights_that_are_torn_or_gone(artefact: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    def spoil(folder: Path) -> None:
        file = folder / name
        half = file.read_bytes()[: file.stat().st_size // 2]
        file.unlink() if content is None else file.write_bytes(half if content == b"torn" else content)

    with pytest.raises(ArtefactError) as caught:
        load_artefact(changed(artefact, tmp_path / "copy", spoil))
    assert str(tmp_path / "copy") in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "encoder/config.json", "encoder/tokenizer.json"])
def test_a_file_that_is_gone_is_named(artefact: Path, tmp_path: Path, name: str) -> None:
    copy = changed(artefact, tmp_path / "copy", lambda folder: (folder / name).unlink())
    with pytest.raises(ArtefactError, match=str(copy)):
        load_artefact(copy)


# what reading a file may raise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("mood"), "x/a.json: cannot be used: KeyError: 'mood'"),
        (IndexError("out of range"), "x/a.json: cannot be used: IndexError: out of range"),
        (FileNotFoundError(2, "No such file", "x/b.json"), "x/b.json: the file is missing"),
        (FileNotFoundError("no errno"), "x/a.json: the file is missing"),
        (RecipeError("no good"), "x/a.json: no good"),
        (ResourceError(Problem("gone", "modules.e")), "x/a.json: modules.e: gone"),
        (ArtefactError(Problem("broken", "a.json")), "x/a.json: broken"),
        (ArtefactError(Problem("broken", "x/b.json")), "x/b.json: broken"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_whatever_a_file_makes_its_reader_raise_has_its_name(error: Exception, told: str) -> None:
    with pytest.raises(ArtefactError) as caught, reading(Path("x/a.json")):
        raise error
    assert str(caught.value) == told
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), MissingExtraError("pip install x")], ids=repr)
def test_what_is_not_the_files_fault_stays_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, reading(Path("x/a.json")):
        raise error
    assert caught.value is error


# in the way -------------------------------------------------------------------------------------------------------------


def test_a_damaged_artefact_is_moved_aside_and_a_whole_one_replaced(artefact: Path, tmp_path: Path) -> None:
    found, target = load_artefact(artefact), tmp_path / "copy"
    for number, damage in enumerate([None, "manifest.json", "config.json"]):
        save_artefact(target, found.model, found.blueprint, {"note": str(number)})
        assert (target / "note").read_text() == str(number)
        if damage:
            (target / damage).unlink()
    save_artefact(target, found.model, found.blueprint, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "copy.damaged-1", "copy.damaged-2"]
    assert [(tmp_path / f"copy.damaged-{n}" / "note").read_text() for n in (1, 2)] == ["1", "2"]


def test_a_strangers_folder_is_in_the_way(artefact: Path, tmp_path: Path) -> None:
    found = load_artefact(artefact)
    (tmp_path / "thesis.tex").write_text("mine")
    assert not is_ours(tmp_path)
    with pytest.raises(ResourceError, match="in the way"):
        save_artefact(tmp_path, found.model, found.blueprint, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_description_that_is_no_mapping(artefact: Path, tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        (folder / "config.json").write_text("[1]")

    with pytest.raises(ArtefactError, match="a model of format 1"):
        load_artefact(changed(artefact, tmp_path / "copy", spoil))


def test_the_source_of_an_encoder_is_its_own_folder_whatever_is_written(artefact: Path, tmp_path: Path) -> None:
    def lead_away(config: Any) -> None:
        config["modules"]["encoder"]["options"]["source"] = "/nowhere/else"

    found = load_artefact(changed(artefact, tmp_path / "copy", edit("config.json", lead_away)))
    assert found.blueprint.modules["encoder"].options["source"] == str(tmp_path / "copy" / "encoder")
    assert found.model.pool["encoder"].width == 16


def test_code_of_an_encoder_is_never_run(artefact: Path, tmp_path: Path) -> None:
    def plant(folder: Path) -> None:
        edit("encoder/config.json", lambda c: c.update(auto_map={"AutoModel": "evil.Model"}, model_type="evil"))(folder)
        (folder / "encoder" / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\nclass Model: ...\n")

    with pytest.raises(ArtefactError):
        load_artefact(changed(artefact, tmp_path / "copy", plant))
    assert not (tmp_path / "canary").exists()
