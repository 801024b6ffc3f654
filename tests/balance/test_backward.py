"""Three ways to one update, each against the slow exact twin: a separate backward pass for every task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from manyheads.balance.aggregation.mgda import MGDA
from manyheads.balance.aggregation.plain import Sum
from manyheads.balance.aggregation.upgrad import UPGrad
from manyheads.balance.backward import Gramians, Layout, OnePass, Part, Rows, Trunk
from manyheads.balance.weighting import Moment
from manyheads.data.tensors import TensorDataset
from manyheads.model import Model
from manyheads.nn.layers import Layer, ScalarMix
from manyheads.nn.pool import Pool
from manyheads.ports import Port, Ports
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.train.layout import layout_of, trunk_of
from manyheads.types import Batch, States

TASKS = ("a", "b", "c")
Gradients = dict[str, Tensor | None]


class Alone:
    """One process."""

    main = True

    def sum(self, values: Tensor) -> Tensor:
        return values


class Shifted(nn.Module):
    """A trunk whose output has a bias, as the last layer norm of an encoder has."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6))
        self.bias = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.bias
        return out


def build() -> Model:
    """A trunk for all; `middle` for a and b; heads."""
    torch.manual_seed(4)
    heads = {f"{t}_head": nn.Linear(6, 3) for t in TASKS}
    paths = {"a": ["trunk", "middle"], "b": ["trunk", "middle"], "c": ["trunk"]}
    tasks = [Task(t, [*paths[t], f"{t}_head"], Classification(labels=["x", "y", "z"])) for t in TASKS]
    return Model({"trunk": Shifted(), "middle": nn.Sequential(nn.Linear(6, 6), nn.Tanh()), **heads}, tasks)


def batches_of(kind: str) -> list[Batch]:
    """A batch a task, or one batch in which each task has labels on some rows."""
    torch.manual_seed(9)
    if kind == "apart":
        draws = {t: (torch.randn(n, 4), torch.randint(3, (n,))) for t, n in zip(TASKS, (5, 3, 7), strict=True)}
        return [TensorDataset({"x": x}, {t: y}, t).batch(range(len(y))) for t, (x, y) in draws.items()]
    labels = {t: [i % 3 if (i + k) % 3 else None for i in range(9)] for k, t in enumerate(TASKS)}
    return [TensorDataset({"x": torch.randn(9, 4)}, labels, "all").batch(range(9))]


SCALES = {"a": 1.0, "b": 0.5, "c": 3.0}


def parts_of(model: Model, rounds: Sequence[Sequence[Batch]], way: OnePass | Rows | Trunk, bf16: bool) -> Iterator[Part]:
    node = trunk_of(model.graph, TASKS)
    assert node is not None
    for batches in rounds:
        for together in [[b] for b in batches] if way.apart else [batches]:
            with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                losses, trunk = model.losses_behind(node, together) if way.tapped else (model.losses(together), ())
            yield Part({t: loss * SCALES[t] for t, loss in losses.items()}, trunk)


def walk(
    way: OnePass | Rows | Trunk, model: Model, rounds: Sequence[Sequence[Batch]], bf16: bool = False
) -> tuple[Gradients, Gramians | None]:
    way.start(Moment(1, 0, 0, TASKS))
    for part in parts_of(model, rounds, way, bf16):
        way.add(part)
    found = way.finish(Alone())
    gradients = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    return gradients, found


def close(one: Mapping[str, Tensor | None], other: Mapping[str, Tensor | None], tolerance: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        twin = other[name]
        assert (gradient is None) == (twin is None), name
        if gradient is not None and twin is not None:
            torch.testing.assert_close(gradient, twin, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def separate(model: Model, rounds: Sequence[Sequence[Batch]]) -> dict[str, Gradients]:
    """The slow exact twin: every task's own gradient in every parameter."""
    found: dict[str, Gradients] = {}
    for task in TASKS:
        for batches in rounds:
            for batch in batches:
                if task in batch.targets:
                    (SCALES[task] * model.losses([batch])[task]).backward()
        found[task] = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
        model.zero_grad()
    return found


def names_of(model: Model, parameters: Sequence[nn.Parameter]) -> list[str]:
    known = {id(p): n for n, p in model.named_parameters()}
    return [known[id(p)] for p in parameters]


def flat(gradients: Gradients, model: Model, names: Sequence[str]) -> Tensor:
    """The gradient in these parameters end to end, zeros where there is none."""
    sizes = dict(model.named_parameters())
    return torch.cat([(g if (g := gradients[n]) is not None else torch.zeros_like(sizes[n])).reshape(-1) for n in names])


kinds = pytest.mark.parametrize("kind", ["apart", "together"])
rounds_each = pytest.mark.parametrize("rounds", [1, 3])


# the sum, by each way -----------------------------------------------------------------------------------------------------


@kinds
@rounds_each
@pytest.mark.parametrize("kept", [Rows, Trunk])
def test_the_sum_is_the_same_by_each_way(kind: str, rounds: int, kept: type[Rows] | type[Trunk]) -> None:
    model, drawn = build(), [batches_of(kind)] * rounds
    plain, nothing = walk(OnePass(), model, drawn)
    other, gramians = walk(kept(Sum(), layout_of(model, TASKS)), model, drawn)
    close(other, plain)
    assert nothing is None
    assert gramians is not None


@kinds
@pytest.mark.parametrize("kept", [Rows, Trunk])
def test_the_sum_under_bf16_autocast(kind: str, kept: type[Rows] | type[Trunk]) -> None:
    model, drawn = build(), [batches_of(kind)]
    plain, _ = walk(OnePass(), model, drawn, bf16=True)
    other, gramians = walk(kept(Sum(), layout_of(model, TASKS)), model, drawn, bf16=True)
    close(other, plain, 3e-2)
    assert gramians is not None
    assert gramians.whole.dtype == torch.float64


@kinds
@rounds_each
def test_a_step_after_another_starts_from_nothing(kind: str, rounds: int) -> None:
    model, drawn = build(), [batches_of(kind)] * rounds
    for way in (Rows(UPGrad(), layout_of(model, TASKS)), Trunk(UPGrad(), layout_of(model, TASKS))):
        once, first = walk(way, model, drawn)
        again, second = walk(way, model, drawn)
        close(once, again, 0)
        assert first is not None
        assert second is not None
        assert torch.equal(first.whole, second.whole)


# rows kept ----------------------------------------------------------------------------------------------------------------


@kinds
@rounds_each
def test_the_gramian_of_rows_is_that_of_separate_passes(kind: str, rounds: int) -> None:
    model, drawn = build(), [batches_of(kind)] * rounds
    layout, alone = layout_of(model, TASKS), separate(model, drawn)
    names = names_of(model, layout.shared)
    stacked = torch.stack([flat(alone[t], model, names) for t in TASKS]).double()
    _, found = walk(Rows(Sum(), layout), model, drawn)
    assert found is not None
    assert found.tasks == TASKS
    torch.testing.assert_close(found.whole, stacked @ stacked.T, atol=1e-5, rtol=1e-5)
    for block, (start, stop) in layout.blocks.items():
        part = stacked[:, start:stop]
        torch.testing.assert_close(found.blocks[block], part @ part.T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.stack(list(found.blocks.values())).sum(0), found.whole)


@kinds
def test_shared_parameters_get_the_weighted_sum_and_private_ones_their_plain_gradient(kind: str) -> None:
    model, drawn = build(), [batches_of(kind)]
    layout, alone = layout_of(model, TASKS), separate(model, drawn)
    gradients, found = walk(Rows(UPGrad(), layout), model, drawn)
    assert found is not None
    weights = UPGrad().weights(found.whole, Moment(1, 0, 0, TASKS))
    names = names_of(model, layout.shared)
    wanted = sum(w * flat(alone[t], model, names) for w, t in zip(weights.float(), TASKS, strict=True))
    torch.testing.assert_close(flat(gradients, model, names), wanted, atol=1e-6, rtol=1e-5)
    for task in TASKS:
        for name in names_of(model, layout.own[task]):
            torch.testing.assert_close(gradients[name], alone[task][name], atol=1e-6, rtol=1e-6)


@given(seed=st.integers(0, 10**6), width=st.sampled_from([7, 2**20 + 3]))
def test_a_gramian_of_many_products_keeps_its_digits(seed: int, width: int) -> None:
    """Summed in single precision, ten million products lose all but three digits."""
    shared = nn.Parameter(torch.zeros(width))
    rows = torch.randn(2, width, generator=torch.Generator().manual_seed(seed)) + 0.3
    way = Rows(Sum(), Layout((shared,), {"a": (), "b": ()}, {"a": (), "b": ()}, {"x": (0, width)}))
    way.start(Moment(1, 0, 0, ("a", "b")))
    way.add(Part({"a": shared @ rows[0], "b": shared @ rows[1]}))
    found = way.finish(Alone()).whole
    torch.testing.assert_close(found, rows.double() @ rows.double().T, rtol=1e-12, atol=0)


def test_a_shared_parameter_that_no_task_of_the_step_uses_keeps_none() -> None:
    model = build()
    way = Rows(Sum(), layout_of(model, TASKS))
    way.start(Moment(1, 0, 0, ("c",)))
    way.add(Part(model.losses([batches_of("apart")[2]])))
    way.finish(Alone())
    used = {n for n, p in model.named_parameters() if p.grad is not None}
    assert used == {n for n, _ in model.named_parameters() if n.startswith(("pool.trunk", "pool.c_head"))}


class Others:
    """What a second process adds to each exchange, in order."""

    def __init__(self, main: bool, *sums: Tensor) -> None:
        self.main, self.sums = main, list(sums)

    def sum(self, values: Tensor) -> Tensor:
        return values.add_(self.sums.pop(0))


def test_of_several_processes_one_sets_the_shared_gradient_of_all() -> None:
    """Also where it had no rows itself, so that the sum over processes, which follows, finds it once."""
    shared = nn.Parameter(torch.zeros(3))
    layout = Layout((shared,), {"a": (), "b": ()}, {"a": (), "b": ()}, {"x": (0, 3)})
    theirs = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    for main in (True, False):
        shared.grad = None
        way = Rows(Sum(), layout)
        way.start(Moment(1, 0, 0, ("a", "b")))
        found = way.finish(Others(main, theirs.clone(), torch.ones(1)))
        assert torch.equal(found.whole, (theirs @ theirs.T).double())
        assert (shared.grad is None) != main
    assert not main
    way.start(Moment(1, 0, 0, ("a", "b")))
    way.finish(Others(True, theirs.clone(), torch.ones(1)))
    assert shared.grad is not None
    assert shared.grad.tolist() == [1, 1, 3]


# at the trunk -------------------------------------------------------------------------------------------------------------


@kinds
@rounds_each
def test_the_gramian_at_the_trunk_is_that_of_a_bias_of_its_output(kind: str, rounds: int) -> None:
    model, drawn = build(), [batches_of(kind)] * rounds
    alone = separate(model, drawn)
    biases = torch.stack([flat(alone[t], model, ["pool.trunk.bias"]) for t in TASKS]).double()
    _, found = walk(Trunk(Sum(), layout_of(model, TASKS)), model, drawn)
    assert found is not None
    torch.testing.assert_close(found.whole, biases @ biases.T, atol=1e-5, rtol=1e-5)
    assert not found.blocks


@kinds
def test_the_trunk_gets_the_weighted_sum_and_all_beyond_it_the_plain_gradient(kind: str) -> None:
    model, drawn = build(), [batches_of(kind)]
    alone = separate(model, drawn)
    gradients, found = walk(Trunk(MGDA(), layout_of(model, TASKS)), model, drawn)
    assert found is not None
    weights = MGDA().weights(found.whole, Moment(1, 0, 0, TASKS)).float()
    assert (weights - weights[0]).abs().max() > 1e-3
    for name, gradient in gradients.items():
        scales = weights if name.startswith("pool.trunk") else torch.ones(3)
        terms = [w * g for w, t in zip(scales, TASKS, strict=True) if (g := alone[t][name]) is not None]
        torch.testing.assert_close(gradient, torch.stack(terms).sum(0), atol=1e-6, rtol=1e-5)


def test_a_trunk_that_is_frozen_has_nothing_to_balance() -> None:
    model, drawn = build(), [batches_of("apart")]
    for parameter in model.pool["trunk"].parameters():
        parameter.requires_grad_(False)
    plain, _ = walk(OnePass(), model, drawn)
    found, gramians = walk(Trunk(UPGrad(), layout_of(model, TASKS)), model, drawn)
    close(found, plain)
    assert gramians is not None
    assert not gramians.whole.any()


def test_rows_with_nothing_shared_are_the_plain_gradient() -> None:
    model, drawn = build(), [batches_of("apart")]
    for module in ("trunk", "middle"):
        model.pool[module].requires_grad_(False)
    plain, _ = walk(OnePass(), model, drawn)
    found, gramians = walk(Rows(UPGrad(), layout_of(model, TASKS)), model, drawn)
    close(found, plain)
    assert gramians is not None
    assert gramians.whole.shape == (3, 3)


def test_losses_without_a_graph_are_passed_over() -> None:
    layout = Layout((nn.Parameter(torch.zeros(2)),), {"a": ()}, {"a": ()}, {"x": (0, 2)})
    for way in (OnePass(), Rows(Sum(), layout), Trunk(Sum(), layout)):
        way.start(Moment(1, 0, 0, ("a",)))
        way.add(Part({"a": torch.ones(())}))
        way.add(Part({}))
        way.finish(Alone())
    assert layout.shared[0].grad is None


# a trunk of several layers ------------------------------------------------------------------------------------------------


class Levels(nn.Module):
    """Three layers, each made from the one before, and a shift of each that the layers above do not see."""

    ports = Ports((Port(),), Port("layers", 6))

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(width, 6), nn.Tanh()) for width in (1, 6, 6)])
        self.shifts = nn.Parameter(torch.zeros(3, 6))

    def forward(self, x: Tensor) -> States:
        made = [self.layers[0](x.unsqueeze(-1))]
        for layer in self.layers[1:]:
            made.append(layer(made[-1]))
        *below, last = (state + shift for state, shift in zip(made, self.shifts, strict=True))
        return States(last, torch.ones(x.shape, dtype=torch.bool), None, tuple(below))


def layered(c: Layer | ScalarMix) -> Model:
    """`a` reads the last layer, `b` the first, `c` through a module."""
    torch.manual_seed(4)
    pool = {"trunk": Levels(), "first": Layer(0), "c_layer": c, "last": Layer(-1), "mean": Pool()}
    paths = {"a": ["trunk", "last"], "b": ["trunk", "first"], "c": ["trunk", "c_layer"]}
    tasks = [Task(t, [*paths[t], "mean", f"{t}_head"], Classification(labels=["x", "y", "z"])) for t in TASKS]
    return Model({**pool, **{f"{t}_head": nn.Linear(6, 3) for t in TASKS}}, tasks)


@kinds
@rounds_each
def test_every_layer_that_the_trunk_gives_counts(kind: str, rounds: int) -> None:
    model, drawn = layered(ScalarMix([0, 1, 2])), [batches_of(kind)] * rounds
    alone = separate(model, drawn)
    shifts = torch.stack([flat(alone[t], model, ["pool.trunk.shifts"]) for t in TASKS]).double()
    gradients, found = walk(Trunk(MGDA(), layout_of(model, TASKS)), model, drawn)
    assert found is not None
    torch.testing.assert_close(found.whole, shifts @ shifts.T, atol=1e-5, rtol=1e-5)
    weights = MGDA().weights(found.whole, Moment(1, 0, 0, TASKS)).float()
    for name, gradient in gradients.items():
        scales = weights if name.startswith("pool.trunk") else torch.ones(3)
        terms = [w * g for w, t in zip(scales, TASKS, strict=True) if (g := alone[t][name]) is not None]
        torch.testing.assert_close(gradient, torch.stack(terms).sum(0), atol=1e-6, rtol=1e-5)
    close(walk(Trunk(Sum(), layout_of(model, TASKS)), model, drawn)[0], walk(OnePass(), model, drawn)[0])


def test_layers_above_the_highest_that_is_read_rest() -> None:
    model, drawn = layered(Layer(1)), [[batch for batch in batches_of("apart") if "a" not in batch.targets]]
    gradients, _ = walk(Trunk(UPGrad(), layout_of(model, TASKS)), model, drawn)
    used = {name for name, gradient in gradients.items() if gradient is not None and name.startswith("pool.trunk.layers")}
    assert used == {f"pool.trunk.layers.{i}.0.{part}" for i in (0, 1) for part in ("weight", "bias")}
    close(walk(Trunk(Sum(), layout_of(model, TASKS)), model, drawn)[0], walk(OnePass(), model, drawn)[0])
