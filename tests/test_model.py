from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.errors import RecipeError, WiringError
from manyheads.graph import Step
from manyheads.model import Model, ports_of
from manyheads.nn.heads import RowHead, WordHead
from manyheads.nn.pool import Pool
from manyheads.ports import Port, Ports
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.task.regression import Regression
from manyheads.task.tagging import Tagging
from manyheads.types import IGNORE, Batch, States, Tokens

LABELS = ("no", "yes")


class Encoder(nn.Module):
    """Pieces see each other through the mean of the row, so that padding would show."""

    ports = Ports((Port("tokens"),), Port("states", 8))

    def __init__(self) -> None:
        super().__init__()
        self.pieces = nn.Embedding(32, 8)

    def forward(self, tokens: Tokens) -> States:
        states = self.pieces(tokens.ids)
        mask = tokens.mask.unsqueeze(-1)
        mean = (states * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return States(torch.tanh(states + mean), tokens.mask, tokens.words)


def plane(tasks: tuple[str, ...] = ("circle", "square"), seed: int = 0) -> Model:
    """A shared trunk over points, a head a task."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(2, 6), nn.Tanh())
    heads = {f"{t}_head": nn.Linear(6, 2) for t in tasks}
    return Model({"trunk": trunk, **heads}, [Task(t, ["trunk", f"{t}_head"], Classification()) for t in tasks])


def points(rows: int, *tasks: str, dataset: str = "points", seed: int = 1) -> Batch:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 2, generator=random)
    targets = {t: torch.randint(0, 2, (rows,), generator=random) for t in tasks}
    return Batch(dataset, {"x": x}, targets, list(range(rows)))


def language() -> Model:
    """Two row tasks and a word task on one encoder."""
    torch.manual_seed(3)
    pool: dict[str, nn.Module] = {"encoder": Encoder(), "pool": Pool(), "mood_head": RowHead(8, 2, 0.0)}
    pool |= {"topic_head": RowHead(8, 2, 0.0), "names_head": WordHead(8, 2, 0.0)}
    for name in ("mood_head", "topic_head", "names_head"):
        nn.init.normal_(pool[name].linear.weight)
    tasks = [Task(t, ["encoder", "pool", f"{t}_head"], Classification(LABELS)) for t in ("mood", "topic")]
    return Model(pool, [*tasks, Task("names", ["encoder", "names_head"], Tagging(("O", "B-X")))])


def text(task: str, lengths: list[int], words: bool, seed: int = 0) -> Batch:
    """Rows of these lengths; with words, every second piece begins one."""
    random, width = torch.Generator().manual_seed(seed), max(lengths)
    at = torch.arange(width).expand(len(lengths), width)
    mask = at < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(1, 32, (len(lengths), width), generator=random) * mask
    first = torch.where(mask, at, -1)[:, ::2] if words else None
    target = torch.where(first >= 0, 1, IGNORE) if first is not None else torch.ones(len(lengths), dtype=torch.long)
    return Batch(task, {"text": Tokens(ids, mask, torch.zeros_like(ids), first)}, {task: target}, list(range(len(lengths))))


@contextmanager
def counted(model: Model) -> Iterator[Counter[str]]:
    """How often each module of the pool runs."""
    calls: Counter[str] = Counter()
    hooks = [m.register_forward_hook(lambda *_, n=name: calls.update([n])) for name, m in model.pool.items()]
    yield calls
    for hook in hooks:
        hook.remove()


# running ----------------------------------------------------------------------------------------------------------------


def test_a_task_needs_three_arguments() -> None:
    model = Model({"head": nn.Linear(2, 2)}, [Task("circle", ["head"], Classification())])
    assert model.tasks["circle"].metric == "accuracy"
    scores = model.answer(points(4))["circle"].scores
    assert torch.equal(scores, model.pool["head"](points(4).fields["x"]))


def test_the_pool_holds_each_name_once() -> None:
    assert len(plane().pool) == 3
    assert plane().graph.shared() == ("trunk",)


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_a_trunk_shared_by_k_tasks_runs_once(heads: int) -> None:
    tasks = tuple(f"t{i}" for i in range(heads))
    model = plane(tasks)
    with counted(model) as calls:
        outputs = model.answer(points(3))
    assert set(outputs) == set(tasks)
    assert calls["trunk"] == 1
    assert all(calls[f"{t}_head"] == 1 for t in tasks)


def test_only_what_is_asked_for_runs() -> None:
    model = plane()
    with counted(model) as calls:
        assert set(model.answer(points(3), ["square"])) == {"square"}
    assert calls == {"trunk": 1, "square_head": 1}


def test_a_round_of_several_data_sets_runs_the_trunk_once_and_equals_separate_passes() -> None:
    model = language()
    batches = [
        text("mood", [3, 7], words=False, seed=1),
        text("names", [5, 2, 4], words=True, seed=2),
        text("topic", [9], words=False, seed=3),
        text("mood", [1, 1], words=False, seed=4),
    ]
    with counted(model) as calls:
        together = model(batches)
    assert calls == {"encoder": 1, "pool": 1, "mood_head": 1, "topic_head": 1, "names_head": 1}
    for batch, outputs in zip(batches, together, strict=True):
        (alone,) = model([batch])
        assert list(outputs) == list(alone) == list(batch.targets)
        for task, output in alone.items():
            found = outputs[task].scores
            if task == "names":
                found = found[:, : output.scores.shape[1]]
            assert_close(found, output.scores, atol=1e-6, rtol=0)


def test_neighbours_in_a_round_are_read_without_a_copy() -> None:
    model, seen = language(), {}
    for name in ("encoder", "pool"):
        model.pool[name].register_forward_hook(lambda _m, given, made, name=name: seen.update({name: (given, made)}))
    model([text("names", [2], words=True), *(text(task, [4, 3], words=False) for task in ("mood", "topic", "mood"))])
    whole, (read,) = seen["encoder"][1].states, seen["pool"][0]
    assert read.states.shape == (6, 4, 8)
    assert read.states.data_ptr() == whole[1:].data_ptr()


@given(
    st.lists(
        st.tuples(st.sampled_from(["mood", "topic", "names"]), st.lists(st.integers(1, 9), min_size=1, max_size=4)),
        min_size=1,
        max_size=5,
    )
)
def test_losses_and_gradients_of_a_round_are_the_sums_of_its_batches(drawn: list[tuple[str, list[int]]]) -> None:
    model = language()
    batches = [text(task, lengths, words=task == "names", seed=i) for i, (task, lengths) in enumerate(drawn)]
    together = model.losses(batches)
    sum(together.values()).backward()  # type: ignore[union-attr]
    found = {n: p.grad for n, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    apart: dict[str, Any] = {}
    for batch in batches:
        for task, loss in model.losses([batch]).items():
            loss.backward()
            apart[task] = apart.get(task, 0) + loss.detach()
    assert list(together) == list(apart)
    assert_close({t: v.detach() for t, v in together.items()}, apart, atol=1e-5, rtol=1e-5)
    for name, parameter in model.named_parameters():
        assert (found[name] is None) == (parameter.grad is None)
        if parameter.grad is not None:
            assert_close(found[name], parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_batch_of_several_label_sets_trains_all_their_heads_in_one_pass() -> None:
    model = plane()
    with counted(model) as calls:
        losses = model.losses([points(4, "circle", "square")])
    assert list(losses) == ["circle", "square"]
    assert calls["trunk"] == 1
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in model.parameters())


def test_label_sets_without_a_task_are_left_out() -> None:
    model, batch = plane(("circle",)), points(4, "circle", "weather")
    assert list(model.losses([batch])) == ["circle"]
    assert list(model([batch])[0]) == ["circle"]
    assert model.losses([points(4, "weather")]) == {}


def test_a_batch_may_be_asked_for_nothing() -> None:
    first, second = plane()([points(2), points(3)], [[], ["circle"]])
    assert first == {}
    assert second["circle"].scores.shape == (3, 2)


def test_an_idle_head_has_no_gradient() -> None:
    model = plane()
    sum(model.losses([points(4, "circle")]).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in model.pool["square_head"].parameters())
    assert all(p.grad is not None for p in model.pool["trunk"].parameters())


def test_two_models_share_nothing() -> None:
    one, two = plane(), plane()
    assert_close(one.answer(points(3))["circle"].scores, two.answer(points(3))["circle"].scores)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    assert not {p.data_ptr() for p in one.parameters()} & {p.data_ptr() for p in two.parameters()}
    assert torch.equal(two.answer(points(3))["circle"].scores, plane().answer(points(3))["circle"].scores)


def test_a_module_that_is_replaced_is_the_one_that_runs() -> None:
    model = plane()
    before = model.answer(points(3))["circle"].scores
    model.pool["circle_head"] = nn.Linear(6, 2)
    assert not torch.equal(model.answer(points(3))["circle"].scores, before)


def test_weights_go_out_and_in_by_module_name() -> None:
    one, two = plane(seed=0), plane(seed=5)
    assert "pool.circle_head.weight" in one.state_dict()
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.answer(points(3))["square"].scores, two.answer(points(3))["square"].scores)


# any module, any input --------------------------------------------------------------------------------------------------


class Two(nn.Module):
    """Gives a dictionary, as many modules of others do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 4)

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"hidden": self.linear(x), "raw": x, "layers": (x, x)}


class Mix(nn.Module):
    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return one + 10 * other


class Shout(nn.Module):
    """Reads a list of words."""

    def forward(self, raw: list[str]) -> Tensor:
        return torch.tensor([[float(len(word)), 0.0] for word in raw])


def test_a_graph_with_two_inputs_and_a_reused_module() -> None:
    torch.manual_seed(0)
    steps = [
        Step("trunk", ("batch.left",), "left"),
        Step("trunk", ("batch.right",), "right"),
        Step("mix", ("left", "right")),
        "head",
    ]
    model = Model({"trunk": nn.Linear(2, 3), "mix": Mix(), "head": nn.Linear(3, 2)}, [Task("pair", steps, Classification())])
    left, right = torch.randn(4, 2), torch.randn(4, 2)
    with counted(model) as calls:
        found = model.answer(Batch("pairs", {"left": left, "right": right}, {}, range(4)))["pair"].scores
    trunk, head = model.pool["trunk"], model.pool["head"]
    assert_close(found, head(trunk(left) + 10 * trunk(right)))
    assert calls["trunk"] == 2


def test_entries_of_what_a_module_gives_are_inputs_in_joined_rounds_too() -> None:
    torch.manual_seed(0)
    pool = {"two": Two(), "a_head": nn.Linear(4, 2), "mix": Mix(), "b_head": nn.Linear(2, 2)}
    a = Task("a", ["two", Step("a_head", ("two.hidden",))], Classification())
    b = Task("b", ["two", Step("mix", ("two.raw", "batch.x")), "b_head"], Classification())
    model = Model(pool, [a, b])
    batches = [points(2, "a", seed=1), points(3, "b", seed=2), points(1, "a", seed=3)]
    with counted(model) as calls:
        together = model(batches)
    assert calls["two"] == 1
    for batch, outputs in zip(batches, together, strict=True):
        ((task, alone),) = model([batch])[0].items()
        assert_close(outputs[task].scores, alone.scores)


def test_a_task_may_end_in_a_dictionary() -> None:
    model = Model({"two": Two()}, [Task("a", ["two"], Classification())])
    assert set(model.answer(points(2))["a"].scores) == {"hidden", "raw", "layers"}


def test_fields_of_any_kind_reach_the_module_as_given() -> None:
    model = Model({"shout": Shout(), "head": nn.Linear(2, 2)}, [Task("a", ["shout", "head"], Classification())])
    target = torch.tensor([0])
    batches = [Batch("words", {"raw": [word]}, {"a": target}, [0]) for word in ("oh", "hello")]
    one, two = model(batches)
    bias, weight = model.pool["head"].bias, model.pool["head"].weight[:, 0]
    assert_close(one["a"].scores, (bias + 2 * weight).unsqueeze(0))
    assert_close(two["a"].scores, (bias + 5 * weight).unsqueeze(0))


def test_a_module_that_changes_the_number_of_rows_is_not_joined_in_silence() -> None:
    class Halve(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[::2]

    model = Model({"halve": Halve()}, [Task("a", ["halve"], Classification()), Task("b", ["halve"], Classification())])
    assert model.answer(points(4))["a"].scores.shape == (2, 2)
    with pytest.raises(
        WiringError, match="scores of task 'a' failed: ValueError: 6 rows of several batches went in, 3 came out"
    ):
        model([points(4, "a"), points(2, "b")])


# adding a task ----------------------------------------------------------------------------------------------------------


def test_a_task_added_to_a_trained_model_leaves_old_outputs_bit_equal() -> None:
    model, batch = plane(), points(16, "circle", "square")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(model.losses([batch]).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    before = {t: o.scores for t, o in model.answer(batch).items()}
    model.add_task(Task("ring", ["trunk", "ring_head"], Classification()), {"ring_head": nn.Linear(6, 2)})
    after = model.answer(batch)
    assert set(after) == {"circle", "square", "ring"}
    assert all(torch.equal(after[t].scores, scores) for t, scores in before.items())
    assert len(model.pool) == 4
    assert {"pool.ring_head.weight", "pool.ring_head.bias"} <= set(model.state_dict())


def test_an_added_task_may_name_a_module_that_is_there() -> None:
    model = plane()
    model.add_task(Task("again", ["trunk", "circle_head"], Classification()), {"trunk": model.pool["trunk"]})
    answers = model.answer(points(3))
    assert torch.equal(answers["again"].scores, answers["circle"].scores)


BAD_TASKS: list[tuple[Any, dict[str, Any], str]] = [
    (Task("circle", ["trunk"], Classification()), {}, "two tasks have the same name"),
    (Task("ring", ["trunk", "ring_head"], Classification()), {}, "not in the pool"),
    (Task("ring", ["trunk"], Classification()), {"circle_head": nn.Linear(6, 3)}, "two modules want one name"),
    (Task("ring", ["trunk"], Classification()), {"fine": nn.Linear(1, 1), "a.b": nn.Linear(1, 1)}, "cannot have this name"),
    (Task("ring", ["trunk"], Classification()), {"fine": nn.Linear(1, 1), "keys": nn.Linear(1, 1)}, "cannot have this name"),
    (Task("ring", ["trunk"], Classification()), {"ring_head": object()}, "must be a torch.nn.Module, found object"),
    ("ring", {}, "must be a manyheads.Task, found str"),
]


@pytest.mark.parametrize(("task", "modules", "rule"), BAD_TASKS, ids=[b[2] + str(i) for i, b in enumerate(BAD_TASKS)])
def test_a_refused_task_leaves_the_model_as_it_was(task: Any, modules: dict[str, Any], rule: str) -> None:
    model = plane()
    pool, tasks, graph = dict(model.pool.items()), dict(model.tasks), model.graph
    with pytest.raises(RecipeError, match=rule):
        model.add_task(task, modules)
    assert dict(model.pool.items()) == pool
    assert model.tasks == tasks
    assert model.graph == graph
    assert set(model.answer(points(2))) == {"circle", "square"}


def test_a_name_for_two_modules_shows_both() -> None:
    with pytest.raises(RecipeError) as caught:
        plane().add_task(Task("ring", ["trunk"], Classification()), {"trunk": nn.Linear(2, 3)})
    assert "modules.trunk: two modules want one name: Sequential of 18 parameters and Linear(in_features=2" in str(caught.value)


def test_two_tasks_of_one_name_are_refused_at_once() -> None:
    task = Task("a", ["head"], Classification())
    with pytest.raises(RecipeError, match="same name"):
        Model({"head": nn.Linear(2, 2)}, [task, task])


def test_ports_are_checked_before_anything_runs() -> None:
    with pytest.raises(WiringError, match="wants vector of width 8, but its input 'encoder' gives states of width 8"):
        Model({"encoder": Encoder(), "head": RowHead(8, 2)}, [Task("a", ["encoder", "head"], Classification())])
    with pytest.raises(WiringError, match="wants vector of width 9, but its input 'pool' gives vector of width 8"):
        Model(
            {"encoder": Encoder(), "pool": Pool(), "head": RowHead(9, 2)},
            [Task("a", ["encoder", "pool", "head"], Regression())],
        )


def test_ports_of() -> None:
    assert ports_of(Pool()) is Pool.ports
    assert ports_of(nn.Linear(2, 2)) == Ports()
    odd = nn.Linear(2, 2)
    odd.ports = "none"  # type: ignore[assignment]
    assert ports_of(odd) == Ports()


# errors while running ---------------------------------------------------------------------------------------------------


def test_a_failing_step_is_named_with_its_tasks_and_the_cause() -> None:
    model = plane()
    model.pool["trunk"] = nn.Linear(3, 6)
    with pytest.raises(WiringError) as caught:
        model.answer(points(4))
    assert "modules.trunk: step 'trunk' of 'circle', 'square' failed: RuntimeError: mat1 and mat2 shapes" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_failing_loss_is_named_with_its_task() -> None:
    batch = Batch("points", points(2).fields, {"circle": torch.tensor([0, 7])}, [0, 1])
    with pytest.raises(WiringError, match=r"tasks.circle: the loss of task 'circle' failed: IndexError: Target 7"):
        plane().losses([batch])


def test_a_missing_attribute_is_named_with_its_step() -> None:
    task = Task("a", ["two", Step("head", ("two.hiden",))], Classification())
    model = Model({"two": Two(), "head": nn.Linear(4, 2)}, [task])
    with pytest.raises(WiringError, match="step 'head' of 'a' failed: KeyError: 'hiden'"):
        model.answer(points(2))


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="found 'circl'; did you mean 'circle'"):
        plane().answer(points(2), ["circl"])


def test_a_missing_field_is_answered_with_the_nearest() -> None:
    model = Model({"head": nn.Linear(2, 2)}, [Task("a", [Step("head", ("batch.pionts",))], Classification())])
    with pytest.raises(WiringError, match=r"'points' has no such field.*did you mean 'points'"):
        model.answer(Batch("points", {"points": torch.ones(1, 2), "x": torch.ones(1)}, {}, [0]))


def test_a_first_step_must_name_its_field_where_there_are_several() -> None:
    with pytest.raises(WiringError, match="several fields"):
        plane().answer(Batch("points", {"x": torch.ones(1, 2), "y": torch.ones(1)}, {}, [0]))


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (MemoryError(), MemoryError),
        (torch.OutOfMemoryError(), torch.OutOfMemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), MemoryError),
        (RecipeError("said already"), RecipeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ZeroDivisionError(), WiringError),
    ],
)
def test_a_lack_of_memory_is_not_taken_for_bad_wiring(raised: BaseException, seen: type[BaseException]) -> None:
    class Raising(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise raised

    model = Model({"raising": Raising()}, [Task("a", ["raising"], Classification())])
    with pytest.raises(seen) as caught:
        model.answer(points(2))
    assert type(caught.value) is seen


def test_a_loss_without_memory_is_not_taken_for_bad_wiring() -> None:
    def loss(scores: Tensor, target: Tensor) -> Tensor:
        raise MemoryError

    model = Model({"head": nn.Linear(2, 2)}, [Task("a", ["head"], Classification(), loss=loss)])
    with pytest.raises(MemoryError):
        model.losses([points(2, "a")])
