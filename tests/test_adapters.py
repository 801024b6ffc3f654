"""Recipes with adapters: planned, trained, resumed, saved, loaded, merged."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoModel

from manyheads.api import load_recipe
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.cli.app import run as command
from manyheads.errors import ArtefactError, DataError, MissingExtraError, RecipeError
from manyheads.merge import merge
from manyheads.model import Model
from manyheads.nn.trunk import load_trunk, weights_under_adapters
from manyheads.plan import plan
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.train.checkpoint import checkpoint_bytes
from manyheads.train.events import Finished, Saved
from manyheads.train.groups import groups_of
from manyheads.train.layout import layout_of
from manyheads.train.optim import make_optimizer

TEXTS = ["the film in rome", "a good song at oslo", "omar"]
OFTEN = ["training.checkpoint.every_steps=4"]
SHARED = "max_length: 32, lora: {rank: 4, dropout: 0.1}}"
OWN = """max_length: 32}
  one: {type: adapter, of: encoder, rank: 4, dropout: 0.1}
  two: {type: adapter, of: encoder, rank: 2, targets: [query, output.dense], lr: 0.01}"""

IA3 = "outputs: [key, value], inputs: [0.output.dense]"


@pytest.fixture
def shared(recipe: Path) -> Path:
    """All tasks over one encoder with adapters."""
    recipe.write_text(recipe.read_text().replace("max_length: 32}", SHARED))
    return recipe


@pytest.fixture
def own(recipe: Path) -> Path:
    """Two tasks with one set of adapters, a third with another."""
    text = recipe.read_text().replace("max_length: 32}", OWN).replace("path: [encoder]", "path: [one]")
    recipe.write_text(text.replace("tagging, path: [one]", "tagging, path: [two]"))
    return recipe


@pytest.fixture
def multiplied(own: Path) -> Path:
    """The third task with vectors by which outputs and inputs are multiplied."""
    text = (
        own.read_text()
        .replace("two: {type: adapter", "two: {type: ia3")
        .replace("rank: 2, targets: [query, output.dense]", IA3)
    )
    own.write_text(text)
    return own


def finish(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


def built(recipe: Path, *overrides: str) -> Model:
    return assemble(load_recipe(recipe, overrides)).build()


def contents(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.suffix == ".safetensors" or p.name == "records.jsonl"]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def answers(folder: Path) -> list[dict[str, torch.Tensor]]:
    predictor = Predictor.load(folder)
    found = predictor(TEXTS)
    return [
        {
            f"{task}/{label}": torch.tensor(share)
            for task, p in a.predictions.items()
            for label, share in p.probabilities.items()
        }
        for a in found
    ]


# before training --------------------------------------------------------------------------------------------------------


def test_only_adapters_and_heads_count_as_trained(shared: Path) -> None:
    loaded = load_recipe(shared)
    assembly = assemble(loaded)
    model = assembly.build()
    found = plan(loaded.recipe, assembly, model)
    adapters = 2 * (16 * 4 + 4 * 16)  # query and value of one layer, A and B
    heads = sum(p.numel() for name, module in model.pool.items() if name.endswith("_head") for p in module.parameters())
    assert found.trainable == adapters + heads
    assert found.parameters == found.trainable + sum(p.numel() for p in load_trunk(shared_base(shared)).parameters())
    assert found.passes == {"encoder": ("mood", "likeness", "names")}
    held = {p for group in make_optimizer(model, loaded.recipe.training.optimizer).param_groups for p in group["params"]}
    assert held == {p for p in model.parameters() if p.requires_grad}


def shared_base(recipe: Path) -> Path:
    return Path(load_recipe(recipe).recipe.modules["encoder"].name)  # type: ignore[union-attr]


def test_check_tells_the_passes_that_a_text_takes(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check", str(own)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "all answers for a text take 2 passes through an encoder: one for mood, likeness; two for names" in told


def test_weights_of_the_encoder_are_there_once(own: Path) -> None:
    model = built(own)
    base = load_trunk(shared_base(own))
    frozen = {p for p in model.parameters() if not p.requires_grad}
    assert sum(p.numel() for p in frozen) == sum(p.numel() for p in base.parameters())


def test_what_tasks_share_are_the_adapters_they_share(own: Path) -> None:
    model = built(own)
    layout = layout_of(model, model.tasks)
    trained = {name: {p for p in module.parameters() if p.requires_grad} for name, module in model.pool.items()}
    assert set(layout.shared) == trained["one"] != set()
    assert trained["two"] <= set(layout.own["names"])
    assert trained["encoder"] == set()


def test_rates_of_modules_and_layers_hold_for_adapters(recipe: Path, bert_tiny: Path) -> None:
    text = recipe.read_text().replace("max_length: 32}", "max_length: 32, layer_decay: 0.5, lr: 0.004, lora: {}}")
    recipe.write_text(text)
    loaded = load_recipe(recipe, [f"modules.encoder.name={bert_tiny}"])
    model = assemble(loaded).build()
    optimizer = make_optimizer(model, loaded.recipe.training.optimizer, loaded.recipe.modules, loaded.recipe.tasks)
    rates = {p: group["peak"] for group in optimizer.param_groups for p in group["params"]}
    found = {name.split(".layer.")[1][0]: rates[p] for name, p in model.pool["encoder"].named_parameters() if p.requires_grad}
    assert found == {"0": 0.002, "1": 0.004}
    assert {group.pretrained for group in groups_of(model) if "encoder" in group.modules} == {True}


def test_frozen_adapters_stand_still_until_their_step(shared: Path) -> None:
    start = {n: t.clone() for n, t in built(shared).pool["encoder"].state_dict().items()}
    moved = []
    for event in run(load_recipe(shared, ["modules.encoder.unfreeze_at=8", *OFTEN])):
        if isinstance(event, Saved):
            weights = load_file(event.path / "model.safetensors")
            inside = {n.removeprefix("pool.encoder."): t for n, t in weights.items() if n.startswith("pool.encoder.")}
            moved.append({n for n, t in inside.items() if not torch.equal(start[n], t)})
    assert moved[:2] == [set(), set()]
    assert moved[2] == {n for n in start if ".lora_" in n}


def test_a_recipe_that_asks_for_adapters_needs_peft(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    (shared.parent / "mood.csv").unlink()  # told before data are read
    with pytest.raises(MissingExtraError, match=r"recipe\.yaml:5:\d+: adapters need the package peft"):
        assemble(load_recipe(shared))


def test_a_wrong_target_is_told_once_with_its_place(own: Path) -> None:
    own.write_text(own.read_text().replace("of: encoder, rank: 4", "of: encoder, targets: [querry]"))
    with pytest.raises(RecipeError, match=r"recipe\.yaml:6:\d+: no linear layer .* did you mean 'query'") as caught:
        assemble(load_recipe(own))
    assert len(caught.value.problems) == 1


# runs -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["shared", "own", "multiplied"])
def test_a_run_that_was_left_ends_in_the_same_bits(kind: str, request: pytest.FixtureRequest) -> None:
    recipe: Path = request.getfixturevalue(kind)
    more = ["training.average.type=ema", *OFTEN]
    whole = contents(finish(recipe, *more, "output=whole").artefact)
    for event in run(load_recipe(recipe, [*more, "output=left"])):
        if isinstance(event, Saved) and event.step >= 8:
            break
    assert contents(finish(recipe, *more, "output=left").artefact) == whole
    assert any(name.startswith("adapters/") for name in whole)


def test_only_what_trains_moves_and_only_it_has_moments_and_an_average(own: Path) -> None:
    start = built(own).state_dict()
    folder = finish(own, "training.average.type=ema", "balance.aggregation.type=pcgrad").folder
    last = sorted((folder / "checkpoints").iterdir())[-1]
    trained = {n for n, p in built(own).named_parameters() if p.requires_grad}
    weights = load_file(last / "model.safetensors")
    assert {n for n, t in weights.items() if not torch.equal(start[n], t)} == trained
    assert {n.partition("/")[2] for n in load_file(last / "optimizer.safetensors")} == trained
    assert {n.partition("/")[2] for n in load_file(last / "extra.safetensors")} == trained


def test_a_checkpoint_holds_no_weights_under_adapters_and_continues_on_no_others(own: Path, tiny: Path) -> None:
    copy = own.parent / "encoder"
    shutil.copytree(tiny, copy)
    for event in run(load_recipe(own, [f"modules.encoder.name={copy}", *OFTEN])):
        if isinstance(event, Saved):
            break
    names = set(load_file(event.path / "model.safetensors"))
    model = built(own)
    assert names == {n for n, p in model.named_parameters() if p.requires_grad}
    size = sum(p.stat().st_size for p in event.path.iterdir())
    assert size <= checkpoint_bytes(model, weights_under_adapters(model)) <= size + (1 << 20)
    assert checkpoint_bytes(model) - checkpoint_bytes(model, weights_under_adapters(model)) > 4 * 5000
    weights = load_file(copy / "model.safetensors")
    save_file({n: t + 1e-3 for n, t in weights.items()}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises((DataError, RecipeError), match="the encoder's weights under adapters"):
        finish(own, f"modules.encoder.name={copy}", *OFTEN)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert finish(own, f"modules.encoder.name={copy}", *OFTEN).step == 20


def test_adapters_serve_one_data_set_and_learn_from_layers(own: Path) -> None:
    text = own.read_text().replace("tasks:", "  mix: {type: scalar_mix}\ntasks:").replace("path: [two]", "path: [two, mix]")
    shared = "  again: {type: classification, path: [two], data: {from: moods, label: label}}\n  likeness:"
    text = text.replace("data: {train: mood.csv, split: {dev: 0.2, test: 0.2}}", "data: {from: moods, label: label}")
    text = text.replace("tasks:", "data:\n  moods: {train: mood.csv, split: {dev: 0.2, test: 0.2}}\ntasks:")
    own.write_text(text.replace("  likeness:", shared))
    found = finish(own)
    assert {r.task for r in found.records if r.split == "test"} == {"mood", "again", "likeness", "names"}
    assert command(["evaluate", str(found.artefact), "--json"]) == 0
    [answer] = Predictor.load(found.artefact)(["a good film"])
    assert set(answer.predictions) == {"mood", "again", "likeness", "names"} - {"likeness"}


# artefacts --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers by the old name
def test_an_artefact_keeps_the_encoder_once_and_each_adapter_alone(own: Path) -> None:
    folder = finish(own).artefact
    found = load_artefact(folder)
    assert sorted(p.parent.name for p in folder.rglob("adapter_model.safetensors")) == ["one", "two"]
    assert len(list(folder.rglob("encoder/model.safetensors"))) == len(list(folder.rglob("tokenizer.json"))) == 1
    ids = torch.tensor([[2, 50, 60, 70, 3]])
    for name in ("one", "two"):
        base = AutoModel.from_pretrained(folder / "encoder", add_pooling_layer=False)
        theirs = PeftModel.from_pretrained(base, folder / "adapters" / name).eval()
        with torch.inference_mode():
            ours = found.model.pool[name].encoder(input_ids=ids).last_hidden_state
            assert_close(ours, theirs(input_ids=ids).last_hidden_state, atol=1e-6, rtol=0)
    assert str(own.parent) not in (folder / "adapters" / "one" / "adapter_config.json").read_text()


def test_a_changed_adapter_is_refused(shared: Path) -> None:
    folder = finish(shared).artefact
    file = folder / "adapters" / "encoder" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ArtefactError, match=r"adapters/encoder/adapter_model\.safetensors"):
        load_artefact(folder)


@pytest.mark.parametrize("kind", ["shared", "own", "multiplied"])
def test_a_merged_artefact_answers_alike_without_peft(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    folder = finish(request.getfixturevalue(kind), "training.epochs=6").artefact
    before = answers(folder)
    target = place / "deep" / "merged"
    names = merge(load_artefact(folder), target)
    assert names == (["encoder"] if kind == "shared" else ["one", "two"])
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match="manyheads merge"):
        load_artefact(folder)
    after = answers(target)
    assert [list(a) for a in after] == [list(b) for b in before]
    for one, two in zip(before, after, strict=True):
        assert_close(one, two, atol=1e-5, rtol=0)
    assert not (target / "adapters").exists()
    assert sorted(p.parent.name for p in target.rglob("tokenizer.json")) == names
    assert command(["evaluate", str(target), "--json"]) == 0


def test_merge_refuses_what_it_cannot_do(shared: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finish(shared).artefact
    assert command(["merge", str(trained / "run"), "out"]) == 2
    assert "the model has no adapters" in capsys.readouterr().err
    assert command(["merge", str(folder.parent), str(folder)]) == 2
    assert "the folder is not empty" in capsys.readouterr().err
    assert command(["merge", str(folder.parent), "out"]) == 0
    assert "merged the adapters of encoder; the model is in out" in capsys.readouterr().err
    assert json.loads((Path("out") / "config.json").read_text())["modules"]["encoder"].get("options", {}).get("lora") is None


# first weights ----------------------------------------------------------------------------------------------------------


def test_vectors_do_not_decay_and_matrices_of_adapters_do(multiplied: Path) -> None:
    """Their neutral value is 1, so what pulls weights to 0 would pull them away from it."""
    model = built(multiplied)
    optimizer = make_optimizer(
        model, load_recipe(multiplied, ["training.optimizer.weight_decay=0.1"]).recipe.training.optimizer
    )
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decay[id(p)] for name, p in model.named_parameters() if ".lora_" in name or ".ia3_l." in name}
    assert {rate for name, rate in found.items() if ".ia3_l." in name} == {0.0}
    assert {rate for name, rate in found.items() if ".lora_" in name} == {0.1}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_vectors_are_saved_alone_as_peft_does(multiplied: Path) -> None:
    """Two for the attention of the one layer and one for what goes into its last, and each learned."""
    folder = finish(multiplied).artefact
    found = load_artefact(folder)
    tensors = load_file(folder / "adapters" / "two" / "adapter_model.safetensors")
    assert sorted(tuple(t.shape) for t in tensors.values()) == [(1, 32), (16, 1), (16, 1)]
    assert all((t != 1).any() for t in tensors.values())
    base = AutoModel.from_pretrained(folder / "encoder", add_pooling_layer=False)
    theirs = PeftModel.from_pretrained(base, folder / "adapters" / "two").eval()
    ids = torch.tensor([[2, 50, 60, 70, 3]])
    with torch.inference_mode():
        ours = found.model.pool["two"].encoder(input_ids=ids).last_hidden_state
        assert_close(ours, theirs(input_ids=ids).last_hidden_state, atol=1e-6, rtol=0)
    again = built(multiplied, f"modules.two.load={folder}").pool["two"].state_dict()
    assert all(torch.equal(again[name], t) for name, t in found.model.pool["two"].state_dict().items())


def test_adapters_of_another_kind_do_not_load(multiplied: Path) -> None:
    folder = finish(multiplied).artefact
    file = folder / "adapters" / "two" / "adapter_model.safetensors"
    with pytest.raises(RecipeError, match=r"has no '[\w.]*query\.lora_A\.weight', which this one needs"):
        built(multiplied, f"modules.one.load={file}")
    with pytest.raises(RecipeError, match="the saved module has adapters, and this one none") as caught:
        built(multiplied, f"modules.encoder.load={file}")
    assert "give this one a module of type `ia3` over it" in str(caught.value)


def test_adapters_are_merged_before_an_export(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All tasks are refused at once, each in a line with what to do, which then does it."""
    finish(own)
    assert command(["export", "run", "out"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("a plain model has no adapters") == 3
    assert "tasks.names.path: a plain model has no adapters, and those of 'two' are beside its weights" in told
    assert "`manyheads merge RUN MERGED`" in told
    assert command(["merge", "run", "merged"]) == 0
    assert command(["export", "merged", "out", "--task", "names"]) == 0
    assert (Path("out") / "names" / "config.json").is_file()


def test_first_weights_of_adapters_come_from_an_artefact_or_a_file_of_peft(own: Path) -> None:
    folder = finish(own).artefact
    saved = load_artefact(folder).model.pool["one"].state_dict()
    for source in (folder, folder / "adapters" / "one" / "adapter_model.safetensors"):
        found = built(own, f"modules.one.load={source}").pool["one"].state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in saved.items())
    checkpoint = sorted((folder.parent / "checkpoints").iterdir())[-1] / "model.safetensors"
    found = built(own, f"modules.one.load={checkpoint}").pool["one"].state_dict()
    wanted = {n.removeprefix("pool.one."): t for n, t in load_file(checkpoint).items() if n.startswith("pool.one.")}
    assert wanted
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_adapters_begin_on_an_encoder_that_was_trained_whole(shared: Path, trained: Path) -> None:
    folder = trained / "run" / "artefact"
    model = built(shared, f"modules.encoder.load={folder}")
    ids = torch.tensor([[2, 50, 60, 70, 3]])
    with torch.inference_mode():
        wanted = load_artefact(folder).model.pool["encoder"].encoder(input_ids=ids).last_hidden_state
        assert torch.equal(model.pool["encoder"].eval().encoder(input_ids=ids).last_hidden_state, wanted)


def test_adapters_do_not_load_into_an_encoder_without_any(shared: Path) -> None:
    folder = finish(shared).artefact
    with pytest.raises(RecipeError, match="the saved module has adapters, and this one none") as caught:
        built(shared, "modules.encoder.lora=null", f"modules.encoder.load={folder}")
    assert "manyheads merge" in str(caught.value)
    again = built(shared, f"modules.encoder.load={folder}").pool["encoder"].state_dict()
    wanted = load_artefact(folder).model.pool["encoder"].state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in wanted.items())
