"""An ELMo in a recipe: mixed for one task, read by itself for another, saved whole, served without its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from tests.nn.test_elmo import written
from tests.test_vocabularies import MOODS, TAGGED
from torch.testing import assert_close

from manyheads.api import recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.errors import ArtefactError, ManyheadsError, MissingExtraError
from manyheads.nn.elmo import Elmo
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.train.groups import groups_of

MODULES: dict[str, Any] = {
    "elmo": {"type": "elmo", "options": "elmo/options.json", "weights": "elmo/weights.hdf5"},
    "mix": {"type": "scalar_mix"},
    "lowest": {"type": "layer", "index": 0},
}


@pytest.fixture
def data(place: Path) -> Path:
    written(place / "elmo")
    (place / "moods.jsonl").write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in MOODS))
    (place / "tags.jsonl").write_text("".join(json.dumps({"words": w, "tags": t}) + "\n" for w, t in TAGGED))
    return place


def made(modules: dict[str, Any] = MODULES, **more: Any) -> dict[str, Any]:
    files = {"train": "moods.jsonl", "dev": "moods.jsonl"}
    tasks = {
        "mood": {"type": "classification", "path": ["elmo", "mix"], "data": files},
        "plain": {"type": "classification", "path": ["elmo"], "data": files},
        "names": {"type": "tagging", "path": ["elmo", "lowest"], "data": {"train": "tags.jsonl", "dev": "tags.jsonl"}},
    }
    training = {"epochs": 2, "batch": {"rows": 2}, "threads": 1, "device": "cpu", "optimizer": {"lr": 1e-3, "head_lr": 0.1}}
    return {"seed": 3, "output": "run", "modules": modules, "tasks": tasks, "training": training, **more}


def weights_of(folder: Path | str) -> dict[str, torch.Tensor]:
    return load_artefact(folder).model.pool["elmo"].state_dict()


def test_from_file_to_answer_without_the_file(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = {**MODULES, "elmo": {**MODULES["elmo"], "freeze": True}}
    before = assemble(recipe_from(made(frozen))).build().pool["elmo"].state_dict()
    list(run(recipe_from(made(frozen))))
    monkeypatch.setitem(sys.modules, "h5py", None)
    for file in (data / "elmo").iterdir():
        file.unlink()
    after = weights_of("run/artefact")
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    told = json.loads((data / "run/artefact/config.json").read_text())["modules"]["elmo"]["options"]
    assert (told["cells"], told["kernels"], told["layers"]) == (5, [[1, 2], [3, 4]], True)
    predictor = Predictor(load_artefact("run/artefact"))
    texts = ["a Good film in Rome", "naïve", ""]
    answers = predictor(texts)
    for text, answer in zip(texts, answers, strict=True):
        assert set(answer.predictions) == {"mood", "plain", "names"}
        [alone] = predictor([text])
        assert alone.predictions["mood"].value == answer.predictions["mood"].value


def test_the_spelling_counts_though_no_vocabulary_has_the_word(data: Path) -> None:
    found = assemble(recipe_from(made()))
    model = found.build().eval()
    batch = found.train["names"].batch([0, 1])
    letters = batch.fields["text"].letters
    assert bytes(letters[0, 0][letters[0, 0] > 0].tolist()) == b"Rome"  # capitals are read, whatever the vocabulary folds
    states = model.pool["elmo"](batch.fields["text"])
    assert len(states.below) == 3
    assert states.states.shape[-1] == 8


def test_it_trains_at_the_rate_of_what_is_pretrained_and_goes_on_bit_for_bit(data: Path) -> None:
    model = assemble(recipe_from(made())).build()
    of_elmo = [group for group in groups_of(model) if "elmo" in group.modules]
    assert of_elmo
    assert all(group.pretrained for group in of_elmo)
    list(run(recipe_from(made())))
    whole = weights_of("run/artefact")
    assert not torch.equal(whole["words.table.weight"], model.pool["elmo"].state_dict()["words.table.weight"])
    again = made(output="other", training={**made()["training"], "checkpoint": {"every_steps": 1}})
    for number, _ in enumerate(run(recipe_from(again))):
        if number == 5:
            break
    list(run(recipe_from(again)))
    found = weights_of("other/artefact")
    assert all(torch.equal(found[name], weight) for name, weight in whole.items())


def test_a_new_run_begins_with_a_trained_one(data: Path) -> None:
    list(run(recipe_from(made())))
    loaded = {**MODULES, "elmo": {**MODULES["elmo"], "load": "run/artefact"}}
    model = assemble(recipe_from(made(loaded, output="next"))).build()
    assert all(torch.equal(weight, model.pool["elmo"].state_dict()[n]) for n, weight in weights_of("run/artefact").items())


def test_a_step_that_several_batches_share(data: Path) -> None:
    found = assemble(recipe_from(made()))
    model = found.build().eval()
    batches = [found.train[name].batch([0, 1]) for name in ("mood", "plain", "names")]
    together = model.losses(batches)
    for batch in batches:
        for name, loss in model.losses([batch]).items():
            assert_close(together[name], loss)


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"lowest": {"type": "layer", "index": 3}}, r"modules\.lowest\.index: the layers of 'elmo' are 0 .* to 2.*found '3'"),
        ({"elmo": {**MODULES["elmo"], "options": "no.json"}}, r"modules\.elmo\.options: no options of an ELMo are found"),
        ({"elmo": {**MODULES["elmo"], "weights": "no.hdf5"}}, r"modules\.elmo\.weights: no weights of an ELMo are found"),
        ({"mix": {"type": "scalar_mix", "layers": [0, 0]}}, r"modules\.mix\.layers\.1: the layer is named twice"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be(data: Path, modules: dict[str, Any], told: str) -> None:
    with pytest.raises(ManyheadsError, match=told):
        assemble(recipe_from(made({**MODULES, **modules}))).build()


def test_without_h5py_the_recipe_tells_where(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"modules\.elmo\.weights: .*\n +pip install 'manyheads\[elmo\]'"):
        assemble(recipe_from(made()))


def test_weights_of_another_elmo(data: Path) -> None:
    with h5py.File(data / "elmo/weights.hdf5", "a") as file:
        del file["CNN_proj"]
    with pytest.raises(ArtefactError, match=r"elmo/weights\.hdf5: the weights of an ELMo have 'CNN_proj/W_proj'"):
        assemble(recipe_from(made())).build()


def test_an_elmo_beside_vectors_of_words(data: Path) -> None:
    """As the paper has it: ELMo's states beside vectors of a vocabulary, one reading of the text for both."""
    modules = {**MODULES, "words": {"type": "embedding", "width": 3}, "both": {"type": "concat"}}
    path = [
        {"module": "elmo", "inputs": ["batch.text"]},
        {"module": "mix", "inputs": ["elmo"]},
        {"module": "words", "inputs": ["batch.text"]},
        {"module": "both", "inputs": ["mix", "words"]},
    ]
    task = {"type": "classification", "path": path, "data": {"train": "moods.jsonl", "dev": "moods.jsonl"}}
    found = assemble(recipe_from(made(modules, tasks={"mood": task})))
    assert found.blueprint.modules["mood_head"].options["width"] == 11
    model = found.build()
    assert isinstance(model.pool["elmo"], Elmo)
    assert torch.isfinite(model.losses([found.train["mood"].batch([0, 1])])["mood"])


def test_the_widths_of_a_hierarchical_model_add_up(data: Path) -> None:
    """Vectors of words that are trained, an ELMo that is not, and letters: what a hierarchy of tasks reads at its bottom."""
    (data / "v.txt").write_text("good 1 2 3\nfilm 4 5 6\n")
    modules = {
        "words": {"type": "embedding", "vectors": "v.txt"},
        "elmo": {**MODULES["elmo"], "freeze": True},
        "letters": {"type": "characters", "width": 16, "filters": 64, "kernels": [3], "dropout": 0.1},
        "all": {"type": "concat"},
    }
    read = ["words", "elmo", "letters"]
    path = [*({"module": name, "inputs": ["batch.text"]} for name in read), {"module": "all", "inputs": read}]
    task = {"type": "tagging", "path": path, "data": {"train": "tags.jsonl"}}
    found = assemble(recipe_from(made(modules, tasks={"names": task})))
    assert found.blueprint.modules["names_head"].options["width"] == 3 + 8 + 64
    model = found.build()
    model.losses([found.train["names"].batch([0, 1])])["names"].backward()
    moved = {name for name, module in model.pool.items() if any(p.grad is not None for p in module.parameters())}
    assert moved == {"words", "letters", "names_head"}
