"""Tasks that read other layers of the encoder than the last, from the recipe to the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.balance.aggregation.plain import Sum
from manyheads.balance.backward import OnePass, Part, Trunk
from manyheads.balance.weighting import Moment
from manyheads.errors import RecipeError, WiringError
from manyheads.model import Model
from manyheads.nn.feedforward import FeedForward
from manyheads.nn.pool import Pool
from manyheads.nn.trunk import load_trunk
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.summary import summary
from manyheads.task.base import Task
from manyheads.task.regression import Regression
from manyheads.train.groups import groups_of
from manyheads.train.layout import layout_of, trunk_of
from manyheads.train.optim import make_optimizer
from manyheads.types import Batch, Tokens

LAYERS = (
    "modules.below={type: layer, index: 0}",
    "modules.mix={type: scalar_mix, norm: true}",
    "tasks.mood.path=[encoder, mix]",
    "tasks.mood.pool=attention",
    "tasks.names.path=[encoder, below]",
    "training.epochs=1",
)
TASKS = ("mood", "likeness", "names")


def assembled(recipe: Path, *overrides: str) -> Assembly:
    return assemble(load_recipe(recipe, [*LAYERS, *overrides]))


def one_round(found: Assembly) -> list[Batch]:
    return [found.train[name].batch(range(rows)) for name, rows in zip(TASKS, (3, 5, 4), strict=True)]


@contextmanager
def encoder_calls(model: Model) -> Iterator[list[int]]:
    """The number of rows of each pass through the encoder."""
    rows: list[int] = []
    hook = model.pool["encoder"].register_forward_hook(lambda _m, given, _made: rows.append(len(given[0])))
    yield rows
    hook.remove()


def test_the_encoder_gives_its_layers_only_where_a_path_reads_them(recipe: Path) -> None:
    assert assembled(recipe).blueprint.modules["encoder"].options["layers"] is True
    plain = assemble(load_recipe(recipe))
    assert "layers" not in plain.blueprint.modules["encoder"].options
    read = plain.build().pool["encoder"](one_round(plain)[0].fields["text"])
    assert read.below == ()


def test_a_round_of_tasks_that_read_several_layers_takes_one_pass(recipe: Path) -> None:
    found = assembled(recipe)
    model, batches = found.build().eval(), one_round(found)
    with encoder_calls(model) as rows, torch.no_grad():
        together = model(batches)
        assert rows == [12]
        for batch, outputs in zip(batches, together, strict=True):
            for task, output in model([batch])[0].items():
                scores = outputs[task].scores
                assert_close(scores[:, : output.scores.shape[1]], output.scores, atol=1e-5, rtol=0)


def gradients(model: Model, way: OnePass | Trunk, batches: Sequence[Batch]) -> dict[str, Tensor | None]:
    way.start(Moment(1, 0, 0, TASKS))
    node = trunk_of(model.graph, TASKS)
    assert node is not None
    way.add(Part(*model.losses_behind(node, batches)) if way.tapped else Part(model.losses(batches)))
    way.finish(Alone())
    found = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return found


class Alone:
    """One process."""

    main = True

    def sum(self, values: Tensor) -> Tensor:
        return values


def test_the_sum_at_the_trunk_is_the_plain_gradient(recipe: Path) -> None:
    """Layers lie one upon the other: what goes down from the last reaches the first, and is there once."""
    found = assembled(recipe)
    model, batches = found.build().eval(), one_round(found)
    plain = gradients(model, OnePass(), batches)
    other = gradients(model, Trunk(Sum(), layout_of(model, TASKS)), batches)
    for name, gradient in plain.items():
        twin = other[name]
        assert (gradient is None) == (twin is None), name
        if gradient is not None and twin is not None:
            assert_close(twin, gradient, atol=1e-6, rtol=1e-4)


def test_what_is_mixed_is_trained_saved_and_served(recipe: Path) -> None:
    list(run(load_recipe(recipe, LAYERS)))
    artefact = load_artefact(Path("run/artefact"))
    assert artefact.model.get_parameter("pool.mix.scalars").abs().max() > 0
    assert artefact.blueprint.modules["mix"].options == {"layers": [0, 1], "norm": True}
    predictor = Predictor(artefact)
    with encoder_calls(predictor.model) as rows:
        (answer,) = predictor(["the film in rome good"])
    assert rows == [1]
    assert set(answer.predictions) == {"mood", "names"}
    batch = next(iter(assembled(recipe).dev.values())).batch([0, 1])
    again = load_artefact(Path("run/artefact")).model
    found, wanted = (model.answer(batch, ["mood"])["mood"].scores for model in (again, artefact.model))
    assert torch.equal(found, wanted)


def test_mixes_and_poolers_have_the_rate_of_heads_and_the_encoder_that_of_its_layers(recipe: Path) -> None:
    found = assembled(recipe, "training.optimizer.head_lr=0.5", "modules.encoder.layer_decay=0.5")
    model = found.build()
    optimizer = make_optimizer(model, found.recipe.training.optimizer, found.recipe.modules, found.recipe.tasks)
    peaks = {id(p): group["peak"] for group in optimizer.param_groups for p in group["params"]}
    for name in ("mix.scalars", "mix.gamma", "mood_pool.query.weight", "mood_pool.key.bias"):
        assert peaks[id(model.get_parameter(f"pool.{name}"))] == 0.5
    assert {p for group in groups_of(model) for p in [group.depth] if group.pretrained} == {0, 1}


def test_the_drawing_shows_the_steps(recipe: Path) -> None:
    text = summary(assembled(recipe).build())
    assert "encoder* -> mix -> mood_pool -> mood_head" in text
    assert "encoder* -> below -> names_head" in text
    assert "ScalarMix" in text


def test_a_pooler_of_two_steps_is_there_once(bert_tiny: Path) -> None:
    """BERT's own, for two heads: the first piece, a linear map, tanh."""
    trunk, dense = load_trunk(bert_tiny), FeedForward("vector", 128, 128, "tanh")
    dense.layers[0].load_state_dict(trunk.encoder.pooler.dense.state_dict())
    modules = {"encoder": trunk, "cls": Pool("cls"), "dense": dense, "a": nn.Linear(128, 1), "b": nn.Linear(128, 1)}
    model = Model(modules, [Task(t, ["encoder", "cls", "dense", t], Regression()) for t in ("a", "b")]).eval()
    assert model.graph.shared() == ("encoder", "cls", "dense")
    seen: list[Tensor] = []
    dense.register_forward_hook(lambda _m, _given, made: seen.append(made))
    ids = torch.tensor([[101, 2204, 102], [101, 2919, 102]])
    given = Tokens(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))
    outputs = model.answer(Batch("texts", {"text": given}, {}, [0, 1]))
    (pooled,) = seen
    assert torch.equal(pooled, trunk.encoder(input_ids=ids).pooler_output)
    assert torch.equal(outputs["b"].scores, model.pool["b"](pooled))


# what does not fit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "where", "value", "told"),
    [
        (["modules.below.index=2"], "below.index=2", "2", "'encoder' are 0 (embeddings) to 1, or -2 to -1"),
        (["modules.below.index=-3"], "below.index=-3", "-3", "did you mean '-2'?"),
        (["modules.mix.layers=[0, 7]"], "mix.layers=[0, 7]", "7", "did you mean '1'?"),
        (["modules.mix.layers=[1, -1]"], "mix.layers=[1, -1]", "-1", "named twice"),
    ],
)
def test_layers_that_the_encoder_has_not(recipe: Path, overrides: list[str], where: str, value: str, told: str) -> None:
    with pytest.raises(WiringError) as caught:
        assembled(recipe, *overrides)
    (problem,) = caught.value.problems
    assert (problem.place, problem.value) == (f"override 'modules.{where}'", value)
    assert told in str(problem)


def small(path: list[Any], **modules: Any) -> dict[str, Any]:
    pool = {"encoder": {"type": "pretrained", "name": "minilm"}, "mix": {"type": "scalar_mix"}}
    task = {"type": "classification", "path": path, "data": {"train": "m.csv"}}
    return {"modules": {**pool, "wide": {"type": "feedforward", "width": 4}, **modules}, "tasks": {"mood": task}}


@pytest.mark.parametrize(
    ("path", "where", "value", "told"),
    [
        (["encoder", "wide", "mix"], "path.2", "wide", "there are 'encoder'"),
        (["encoder", "mix", {"module": "mix", "name": "again"}], "path.2", "mix", "there are 'encoder'"),
        (["encoder", "wide", {"module": "mix", "inputs": ["wide"]}], "path.2.inputs.0", "wide", "there are 'encoder'"),
        (["encoder", {"module": "mix", "inputs": ["encoder.below"]}], "path.1.inputs.0", "encoder.below", "mean 'encoder'?"),
        ([{"module": "mix", "inputs": ["batch.text"]}], "path.0.inputs.0", "batch.text", "reads the layers of an encoder"),
        (["mix"], "path.0", "batch", "reads the layers of an encoder"),
    ],
)
def test_layers_of_what_is_no_encoder(path: list[Any], where: str, value: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from(small(path))
    (problem,) = caught.value.problems
    assert (problem.place, problem.value) == (f"tasks.mood.{where}", value)
    assert told in str(problem)


def test_what_is_not_there_at_all_is_told_once() -> None:
    for path in (["encodr", "mix"], ["encoder", {"module": "mix", "inputs": ["encodr"]}]):
        with pytest.raises(RecipeError) as caught:
            recipe_from(small(path))
        (problem,) = caught.value.problems
        assert problem.nearest == "encoder"


def test_layers_may_be_read_after_other_steps() -> None:
    recipe_from(small(["encoder", "wide", {"module": "mix", "inputs": ["encoder"]}]))
    recipe_from(small([{"module": "encoder", "name": "read"}, "wide", {"module": "mix", "inputs": ["read"]}]))


@pytest.mark.parametrize(
    ("section", "name", "key"),
    [("modules", "top", "how"), ("tasks", "mood", "pool")],
)
def test_a_pooler_that_there_is_not(section: str, name: str, key: str) -> None:
    given = small(["encoder", "top"], top={"type": "pool"})
    given[section][name][key] = "atention"
    with pytest.raises(RecipeError, match="did you mean 'attention'") as caught:
        recipe_from(given)
    assert caught.value.problems[0].place == f"{section}.{name}.{key}"


def test_one_mix_of_all_layers_over_encoders_of_different_depth(place: Path, tiny: Path, bert_tiny: Path) -> None:
    (place / "m.jsonl").write_text('{"text": "good film", "label": "up"}\n{"text": "bad film", "label": "down"}\n')
    given = small(["encoder", "mix"], other={"type": "pretrained", "name": str(bert_tiny)})
    given["modules"]["encoder"]["name"] = str(tiny)
    given["tasks"]["mood"]["data"]["train"] = "m.jsonl"
    given["tasks"]["more"] = {**given["tasks"]["mood"], "path": ["other", "mix"]}
    with pytest.raises(WiringError, match="'mix' mixes all layers of encoders that have different numbers of them"):
        assemble(recipe_from(given))
    given["modules"]["mix"]["layers"] = [0, -1]
    found = assemble(recipe_from(given)).blueprint.modules
    assert (found["encoder"].options["layers"], found["other"].options["layers"]) == (True, True)
    assert found["mix"].options["layers"] == [0, -1]
