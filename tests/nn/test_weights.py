from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from manyheads.api import recipe_from
from manyheads.assemble import assemble
from manyheads.cli.app import run as command
from manyheads.config.rebase import rebase
from manyheads.errors import ArtefactError, ManyheadsError, RecipeError, ResourceError
from manyheads.model import Model
from manyheads.nn.feedforward import FeedForward
from manyheads.nn.trunk import load_trunk
from manyheads.nn.weights import Saved, load_weights
from manyheads.run import run
from manyheads.train.events import Finished


def saved(source: Path, module: str = "top") -> Saved:
    return Saved(source, module, "modules.top.load")


def layer(seed: int = 0, width: int = 3) -> FeedForward:
    torch.manual_seed(seed)
    return FeedForward("vector", 2, width)


def same(one: nn.Module, two: nn.Module) -> bool:
    states = one.state_dict(), two.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# files ------------------------------------------------------------------------------------------------------------------


def test_a_file_of_the_module_alone_and_one_of_a_whole_model(tmp_path: Path) -> None:
    wanted = layer(1)
    save_file(wanted.state_dict(), tmp_path / "alone.safetensors")
    whole = {f"pool.{name}.{key}": t + (name != "top") for name in ("top", "other") for key, t in wanted.state_dict().items()}
    save_file(whole, tmp_path / "whole.safetensors")
    for name in ("alone", "whole"):
        found = layer(2)
        load_weights(found, saved(tmp_path / f"{name}.safetensors"))
        assert same(found, wanted)
    found = layer(2)
    load_weights(found, saved(tmp_path / "whole.safetensors", "other"))
    assert torch.equal(found.layers[0].bias, wanted.layers[0].bias + 1)


def test_shapes_and_names_are_strict_and_all_are_told(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"layers.0.weight": torch.zeros(4, 2), "extra": torch.zeros(1)}, path)
    found = layer()
    before = {name: t.clone() for name, t in found.state_dict().items()}
    with pytest.raises(RecipeError) as caught:
        load_weights(found, saved(path))
    assert {problem.place for problem in caught.value.problems} == {"modules.top.load"}
    assert [problem.rule for problem in caught.value.problems] == [
        "the saved module has 'extra', which this one does not know",
        "the saved module has no 'layers.0.bias', which this one needs",
        "'layers.0.weight' is saved as (4, 2), and this module has (3, 2)",
    ]
    assert all(torch.equal(before[name], t) for name, t in found.state_dict().items())


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        (None, ResourceError, "no saved weights are found"),
        (b"nonsense", ArtefactError, "is not a safetensors file"),
        ({"layers.0.weight": torch.tensor([[0.0, float("nan")]])}, ArtefactError, "not finite: 'layers.0.weight'"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(
    tmp_path: Path, content: Any, error: type[ManyheadsError], told: str
) -> None:
    path = tmp_path / "w.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        save_file(content, path)
    with pytest.raises(error, match=told) as caught:
        load_weights(layer(), saved(path))
    [problem] = caught.value.problems
    assert (problem.place, problem.value) == ("modules.top.load", str(path))


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    torch.save(layer().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ResourceError, match="no saved weights are found"):
        load_weights(layer(), saved(tmp_path / "w.pt"))


# artefacts --------------------------------------------------------------------------------------------------------------


def test_an_encoder_of_an_artefact(trained: Path, tiny: Path) -> None:
    folder, found = trained / "run" / "artefact", load_trunk(tiny)
    assert not same(found, load_trunk(folder / "encoder"))
    load_weights(found, saved(folder, "encoder"))
    assert same(found, load_trunk(folder / "encoder"))


def test_a_head_of_an_artefact(trained: Path) -> None:
    folder = trained / "run" / "artefact"
    weights = load_file(folder / "model.safetensors")
    found = nn.ModuleDict({"linear": nn.Linear(16, 2)})
    load_weights(found, saved(folder, "mood_head"))
    assert torch.equal(found["linear"].weight, weights["pool.mood_head.linear.weight"])


def test_a_module_that_the_artefact_lacks_is_told_with_the_nearest(trained: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_weights(layer(), saved(trained / "run" / "artefact", "encodr"))
    [problem] = caught.value.problems
    assert (problem.place, problem.nearest) == ("modules.top.load", "encoder")


def test_a_folder_that_is_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError):
        load_weights(layer(), saved(tmp_path))


# recipes ----------------------------------------------------------------------------------------------------------------


def described(tiny: Path, **modules: Any) -> dict[str, Any]:
    """A recipe of one task over an encoder and a layer `top`, which have these keys beside their own."""
    encoder = {"type": "pretrained", "name": str(tiny), "max_length": 16, **modules.get("encoder", {})}
    top = {"type": "feedforward", "width": 4, **modules.get("top", {})}
    task = {"type": "classification", "path": ["encoder", "top"], "data": {"train": "rows.jsonl"}}
    training = {"steps": 3, "device": "cpu", "optimizer": {"lr": 0.01}, "checkpoint": {"every_minutes": None}}
    return {"output": "a", "modules": {"encoder": encoder, "top": top}, "tasks": {"mood": task}, "training": training}


def built(tiny: Path, **modules: Any) -> Model:
    return assemble(recipe_from(described(tiny, **modules))).build()


@pytest.fixture
def earlier(place: Path, tiny: Path) -> Path:
    """The artefact of a run, beside its rows."""
    rows = [{"text": f"a {word} film", "label": word} for word in ("good", "bad")] * 6
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    *_, last = run(recipe_from(described(tiny)))
    assert isinstance(last, Finished)
    return last.artefact


def test_a_new_run_begins_with_the_modules_of_an_earlier_one(earlier: Path, tiny: Path) -> None:
    before = load_trunk(earlier / "encoder")
    model = built(tiny, encoder={"load": "a/artefact"}, top={"load": {"from": "a/artefact", "module": "top"}})
    assert same(model.pool["encoder"], before)
    weights = load_file(earlier / "model.safetensors")
    assert torch.equal(model.pool["top"].layers[0].weight, weights["pool.top.layers.0.weight"])
    assert not torch.equal(model.pool["mood_head"].linear.weight, weights["pool.mood_head.linear.weight"])  # not asked for
    fresh = built(tiny)
    assert torch.equal(model.pool["mood_head"].linear.weight, fresh.pool["mood_head"].linear.weight)


def test_a_checkpoint_of_an_earlier_run(earlier: Path, tiny: Path) -> None:
    path = next(earlier.parent.glob("checkpoints/*/model.safetensors"))
    model = built(tiny, encoder={"load": str(path)}, top={"load": {"from": str(path)}})
    assert same(model.pool["encoder"], load_trunk(earlier / "encoder"))


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize(
    ("modules", "key", "told"),
    [
        ({"top": {"load": "b/artefact"}}, "modules.top.load", "no saved weights are found"),
        ({"top": {"load": {"from": "a/artefact", "module": "tap"}}}, "modules.top.load", "did you mean 'top'?"),
        ({"top": {"width": 5, "load": "a/artefact"}}, "modules.top.load", "is saved as (4,), and this module has (5,)"),
        ({"encoder": {"load": {"from": "a/artefact", "module": "top"}}}, "modules.encoder.load", "which this one needs"),
    ],
)
def test_what_does_not_fit_is_found_before_training(tiny: Path, modules: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(ManyheadsError) as caught:
        built(tiny, **modules)
    assert caught.value.problems[0].place == key
    assert told in str(caught.value)


def test_a_path_that_was_meant_from_the_working_folder_is_told_with_what_to_write(
    earlier: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`output` starts from the working folder and `load` from the recipe."""
    Path("sub").mkdir()
    given = described(tiny, top={"load": "a/artefact"})
    given["tasks"]["mood"]["data"]["train"] = "../rows.jsonl"
    Path("sub/recipe.yaml").write_text(json.dumps(given))
    assert command(["check", "sub/recipe.yaml"]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "no saved weights are found; found 'sub/a/artefact'" in told
    assert "it is there relative to the working folder; from the recipe it is ../a/artefact" in told
    assert command(["check", "sub/recipe.yaml", "modules.top.load=../a/artefact"]) == 0
    capsys.readouterr()
    given["modules"]["top"].pop("load")
    given["tasks"]["mood"]["teacher"] = {"from": "a/artefact"}
    Path("sub/recipe.yaml").write_text(json.dumps(given))
    assert command(["check", "sub/recipe.yaml"]) != 0
    assert "from the recipe it is ../a/artefact" in " ".join(capsys.readouterr().err.split())


def test_a_recipe_that_moves_names_the_weights_from_its_own_folder(tiny: Path) -> None:
    given = described(tiny, encoder={"load": "a/artefact"}, top={"load": {"from": "../a/artefact", "module": "top"}})
    moved = rebase(recipe_from(given).recipe, Path("x"), Path()).model_dump(by_alias=True)["modules"]
    assert moved["encoder"]["load"] == "x/a/artefact"
    assert moved["top"]["load"] == {"from": "a/artefact", "module": "top"}
