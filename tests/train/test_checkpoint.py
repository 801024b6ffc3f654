"""Checkpoints: bit for bit what was saved, through kills, full disks and damage; never a wrong one, never a pickle."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from manyheads.errors import ArtefactError, NumericsError, Problem, RecipeError, ResourceError
from manyheads.failpoints import VARIABLE, forget
from manyheads.folder import MANIFEST, writing
from manyheads.train import checkpoint as module
from manyheads.train.checkpoint import KIND, MOMENTS, STATE, WEIGHTS, Checkpoints, checkpoint_bytes, require_space

STATE_OF_A_RUN = {
    "loop": {"step": 7, "cursors": {"z": [1, 2], "a": [0, 0]}},
    "best": None,
    "loss": 0.1 + 0.2,
    "finished": False,
}


class Net(nn.Module):
    """A tied pair, a buffer, and two heads of which one stays idle."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(5, 4)
        self.norm = nn.BatchNorm1d(4)
        self.decode = nn.Linear(4, 5, bias=False)
        self.decode.weight = self.embed.weight
        self.busy = nn.Linear(4, 3)
        self.idle = nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        states: Tensor = self.norm(self.embed(ids))
        return self.busy(states).sum() + self.decode(states).pow(2).sum()


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adamw": lambda m: torch.optim.AdamW(_groups(m), lr=0.01),
    "fused": lambda m: torch.optim.AdamW(_groups(m), lr=0.01, fused=True),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.01, momentum=0.9),
    "plain": lambda m: torch.optim.SGD(m.parameters(), lr=0.01),
}


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Two groups, so that the optimizer's order is not the model's."""
    named = list(model.named_parameters())
    return [{"params": [p for n, p in named if ("bias" in n) is which], "weight_decay": 0.1 * which} for which in (True, False)]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        model(torch.arange(5).roll(step)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def trained(steps: int = 3, seed: int = 0, kind: str = "adamw") -> tuple[Net, torch.optim.Optimizer]:
    model = Net(seed)
    optimizer = OPTIMIZERS[kind](model)
    train(model, optimizer, range(steps))
    return model, optimizer


def untrained() -> tuple[torch.optim.Optimizer, Net]:
    model = Net()
    return torch.optim.SGD(model.parameters()), model


trained_once = functools.cache(trained)


def save(checkpoints: Checkpoints, step: int, **kwargs: Any) -> Path:
    """A checkpoint whose content depends on the step alone."""
    model, optimizer = trained_once(steps=2, seed=step)
    return checkpoints.save(step, model.state_dict(), optimizer, model, {"of": step, **kwargs})


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    """Same names, types, shapes and bits."""
    return one.keys() == two.keys() and all(
        a.dtype == b.dtype and a.shape == b.shape and a.reshape(-1).view(torch.uint8).equal(b.reshape(-1).view(torch.uint8))
        for a, b in ((one[name].detach(), two[name].detach()) for name in one)
    )


def states(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of model and optimizer."""
    return {**model.state_dict(), **dict(module._moments(model, optimizer))}


@pytest.fixture
def runs(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run" / "checkpoints", keep=2)


# round trips ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_restored_run_goes_on_bit_for_bit(runs: Checkpoints, kind: str, steps: int) -> None:
    model, optimizer = trained(steps, kind=kind)
    path = runs.save(steps, model.state_dict(), optimizer, model, STATE_OF_A_RUN)
    saved = {name: t.clone() for name, t in states(model, optimizer).items()}

    again, its_optimizer = trained(steps=1, seed=99, kind=kind)  # elsewhere, and with moments that must go
    found = runs.load(path)
    runs.restore(found, again, its_optimizer)
    assert equal(states(again, its_optimizer), saved)
    assert found.state == STATE_OF_A_RUN

    train(model, optimizer, range(steps, steps + 3))
    train(again, its_optimizer, range(steps, steps + 3))
    assert equal(states(again, its_optimizer), states(model, optimizer))
    assert equal({**found.weights, **found.moments}, saved)  # what was loaded is not what is trained


def test_absent_moments_stay_absent(runs: Checkpoints) -> None:
    model, optimizer = trained()
    found = runs.load(runs.save(3, model.state_dict(), optimizer, model, {}))
    assert {k.split("/")[0] for k in found.moments} == {"step", "exp_avg", "exp_avg_sq"}
    assert not [k for k in found.moments if "idle" in k]
    again, its_optimizer = trained(steps=1, seed=5)
    its_optimizer.state[again.idle.weight]["step"] = torch.tensor(4.0)
    runs.restore(found, again, its_optimizer)
    assert again.idle.weight not in its_optimizer.state
    assert again.idle.weight.equal(model.idle.weight)


def test_settings_of_the_optimizer_are_its_own(runs: Checkpoints) -> None:
    path = save(runs, 1)
    model = Net()
    optimizer = torch.optim.AdamW([{"params": list(model.parameters()), "peak": 0.5}], lr=0.25, betas=(0.5, 0.6))
    runs.restore(runs.load(path), model, optimizer)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["peak"], group["betas"]) == (0.25, 0.5, (0.5, 0.6))


def test_weights_alone_can_be_restored(runs: Checkpoints) -> None:
    path = save(runs, 4)
    model = Net(seed=77)
    runs.restore(runs.load(path), model)
    assert equal(model.state_dict(), trained(2, seed=4)[0].state_dict())


def test_tied_tensors_are_saved_once_and_stay_tied(runs: Checkpoints) -> None:
    found = runs.load(save(runs, 1))
    assert found.aliases == {"decode.weight": "embed.weight"}
    assert "decode.weight" not in load_file(found.path / WEIGHTS)
    assert found.weights["decode.weight"] is found.weights["embed.weight"]
    model = Net()
    runs.restore(found, model)
    assert model.decode.weight is model.embed.weight


def test_views_of_one_storage_are_saved_each_by_itself(runs: Checkpoints) -> None:
    base = torch.arange(12.0)
    weights = {
        "left": base[:6],
        "right": base[6:],
        "overlap": base[3:9],
        "turned": base.view(3, 4).T,
        "same": base[:6],
        "empty": base[:0],
    }
    found = runs.load(runs.save(1, weights, *untrained(), {}))
    assert found.aliases == {"same": "left"}
    assert equal(dict(found.weights), {n: t.contiguous() for n, t in weights.items()})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8])
def test_types_of_tensors_are_kept(runs: Checkpoints, dtype: torch.dtype) -> None:
    weights = {"w": torch.tensor([[0, 1], [1, 1]]).to(dtype), "scalar": torch.tensor(1).to(dtype)}
    found = runs.load(runs.save(1, weights, *untrained(), {}))
    assert all(found.weights[n].equal(t) and found.weights[n].dtype == dtype for n, t in weights.items())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=10,
)


@given(state=st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, max_size=4))
def test_any_strict_state_comes_back_in_its_order(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]) -> None:
    text = module._strict({"step": 1, "aliases": {}, "state": state})
    path = tmp_path_factory.mktemp("state") / STATE
    path.write_text(text, encoding="utf-8")
    _, _, back = module._read_state(path)
    assert repr(back) == repr(state)


@pytest.mark.parametrize("value", [math.nan, math.inf, (1, 2), {1: 2}, {3, 4}, b"x", torch.zeros(1)])
def test_a_state_that_would_change_is_refused(runs: Checkpoints, value: object) -> None:
    model, optimizer = trained()
    with pytest.raises(RecipeError, match="strict JSON"):
        runs.save(1, model.state_dict(), optimizer, model, {"value": value})
    assert not runs.steps()


def test_an_optimizer_that_cannot_be_named_is_refused(runs: Checkpoints) -> None:
    model = Net()
    stranger = torch.optim.SGD([nn.Parameter(torch.zeros(2, 3))])
    with pytest.raises(RecipeError, match=r"shape \(2, 3\) that the model has not"):
        runs.save(1, model.state_dict(), stranger, model, {})
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.state[model.embed.weight]["history"] = [1, 2]
    with pytest.raises(RecipeError, match="keeps 'history' of 'embed.weight' as list"):  # noqa: RUF043
        runs.save(1, model.state_dict(), optimizer, model, {})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_not_saved(runs: Checkpoints, value: float) -> None:
    save(runs, 1)
    model, optimizer = trained()
    model.busy.weight.data[1, 1] = value
    optimizer.state[model.embed.weight]["exp_avg"][0, 0] = value
    with pytest.raises(NumericsError, match="step 2 is not saved.*'busy.weight', 'exp_avg/embed.weight'"):  # noqa: RUF043
        runs.save(2, model.state_dict(), optimizer, model, {})
    assert runs.steps() == [1]


# which one is loaded --------------------------------------------------------------------------------------------------


def test_no_folder_and_an_empty_folder_hold_none(runs: Checkpoints) -> None:
    assert (runs.load_newest(), runs.steps()) == (None, [])
    runs.folder.mkdir(parents=True)
    assert (runs.load_newest(), runs.steps()) == (None, [])


def test_the_step_decides_and_not_the_clock(runs: Checkpoints) -> None:
    for step in (5, 40, 123_456_789, 30):
        save(runs, step)
    times = {5: 4000, 40: 3000, 123_456_789: 1000, 30: 1000}
    for step, seconds in times.items():
        os.utime(runs.path(step), (seconds, seconds))
    assert runs.steps() == [5, 30, 40, 123_456_789]
    found = runs.load_newest()
    assert found is not None
    assert (found.step, found.state, found.path) == (123_456_789, {"of": 123_456_789}, runs.path(123_456_789))


def test_a_moved_or_linked_run_loads(runs: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(runs, 8)
    moved = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(moved)
    monkeypatch.chdir(tmp_path)
    for folder in (Path("elsewhere"), Path("link"), tmp_path / "link"):
        found = Checkpoints(folder / "checkpoints", keep=1).load_newest()
        assert found is not None
        assert found.step == 8


def _truncate(path: Path) -> None:
    (path / WEIGHTS).write_bytes(b"")


def _remove_file(path: Path) -> None:
    (path / MOMENTS).unlink()


def _remove_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def _garbage_manifest(path: Path) -> None:
    (path / MANIFEST).write_bytes(b"\0\xff")


def _future(path: Path) -> None:
    (path / MANIFEST).write_text('{"format": 99}', encoding="utf-8")


def _extra(path: Path) -> None:
    (path / "model.safetensors.part").write_bytes(b"x")


def _pickle(path: Path) -> None:
    (path / "optimizer.pt").write_bytes(b"cos\nsystem\n")


def _swap(path: Path) -> None:
    other = path.with_name("step-00000001")
    shutil.copyfile(other / WEIGHTS, path / WEIGHTS)


def _rename(path: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(path.with_name("step-00000001"), path)


def _file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("not a folder")


DAMAGES = [_truncate, _remove_file, _remove_manifest, _garbage_manifest, _future, _extra, _pickle, _swap, _rename, _file]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_with_one_warning(
    runs: Checkpoints, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3, 4):
        save(runs, step)
    damage(runs.path(4))
    damage(runs.path(3))
    found = runs.load_newest()
    assert found is not None
    assert (found.step, found.state) == (2, {"of": 2})
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "passed over 2 damaged checkpoint(s): step 4: " in caplog.text
    assert "step 3: " in caplog.text
    with pytest.raises(ArtefactError):
        runs.load(runs.path(4))


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_step_of_a_damaged_checkpoint_can_be_saved_again(runs: Checkpoints, damage: Callable[[Path], None]) -> None:
    save(runs, 1)
    save(runs, 2)
    damage(runs.path(2))
    save(runs, 2, again=True)
    found = Checkpoints(runs.folder, 1).load_newest()
    assert found is not None
    assert found.state == {"of": 2, "again": True}


NO_NUMBER = Problem("the loss is nan", remedy="run the same command again")


def test_the_last_good_checkpoint_is_named_after_a_step_without_a_number(runs: Checkpoints) -> None:
    assert runs.after_nan([NO_NUMBER], 0) == [NO_NUMBER, Problem("no checkpoint had been written yet")]
    save(runs, 1)
    save(runs, 2)
    assert runs.after_nan([NO_NUMBER], 3) == [NO_NUMBER, Problem(f"the last good checkpoint is {runs.path(2)}")]
    _remove_manifest(runs.path(2))
    again = Checkpoints(runs.folder, 1)
    assert again.after_nan([NO_NUMBER], 3)[-1] == Problem(f"the last good checkpoint is {runs.path(1)}")


def test_a_checkpoint_of_the_weights_that_gave_no_number_is_none_to_go_on_from(runs: Checkpoints) -> None:
    for step in (1, 2, 3):
        save(runs, step)
    first, last = runs.after_nan([NO_NUMBER], 2)  # step 3 was skipped, so both have these weights
    assert first.remedy == "the step was not taken"
    assert f"{runs.path(2)} and {runs.path(3)}: no rate can mend them" in last.rule
    assert last.remedy.endswith(f"remove what is named here: the run then continues from {runs.path(1)}")
    _, last = runs.after_nan([NO_NUMBER], 1)
    assert last.remedy.endswith("name another `output`")


def test_what_is_damaged_is_set_aside_and_not_deleted(runs: Checkpoints) -> None:
    for n in (1, 2):
        _remove_manifest(save(runs, 1))
        save(runs, 1)
        assert (runs.folder / f"step-00000001.damaged-{n}" / WEIGHTS).is_file()
    assert runs.steps() == [1]


def test_only_damaged_checkpoints_are_none(runs: Checkpoints, caplog: pytest.LogCaptureFixture) -> None:
    _truncate(save(runs, 1))
    assert runs.load_newest() is None
    assert "step 1: " in caplog.text
    assert "'model.safetensors' has 0 bytes, not" in caplog.text


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(Checkpoints(tmp_path_factory.mktemp("run"), 1), 1)


@given(data=st.data())
def test_a_changed_byte_anywhere_is_found(saved: Path, data: st.DataObject) -> None:
    path = saved / data.draw(st.sampled_from([WEIGHTS, MOMENTS, STATE]))
    good = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
    try:
        with pytest.raises(ArtefactError, match=f"'{path.name}' has changed"):
            Checkpoints(saved.parent, 1).load(saved)
    finally:
        path.write_bytes(good)


@given(choice=st.permutations([WEIGHTS, MOMENTS, STATE, MANIFEST]))
def test_files_under_each_others_names_are_found(saved: Path, choice: list[str]) -> None:
    names = [WEIGHTS, MOMENTS, STATE, MANIFEST]
    good = {n: (saved / n).read_bytes() for n in names}
    try:
        for name, other in zip(names, choice, strict=True):
            (saved / name).write_bytes(good[other])
        if choice == names:
            assert Checkpoints(saved.parent, 1).load(saved).step == 1
        else:
            with pytest.raises(ArtefactError):
                Checkpoints(saved.parent, 1).load(saved)
    finally:
        for name, content in good.items():
            (saved / name).write_bytes(content)


def test_no_subset_of_the_files_is_a_checkpoint(saved: Path, tmp_path: Path) -> None:
    names = [WEIGHTS, MOMENTS, STATE, MANIFEST]
    for size in range(len(names)):
        for chosen in itertools.combinations(names, size):
            target = tmp_path / "-".join(["some", *chosen]) / saved.name
            target.mkdir(parents=True)
            for name in chosen:
                shutil.copyfile(saved / name, target / name)
            assert Checkpoints(target.parent, 1).load_newest() is None


# folders that pass the manifest, and were made by somebody else -------------------------------------------------------


def _crafted(folder: Path, state: object = None, weights: dict[str, Tensor] | bytes | None = None) -> Path:
    """A checkpoint of step 1 with a true manifest and whatever content."""
    target = folder / "step-00000001"
    with writing(target, kind=KIND) as temp:
        content = {"step": 1, "aliases": {}, "state": {}} if state is None else state
        (temp / STATE).write_text(json.dumps(content), encoding="utf-8")
        save_file({}, temp / MOMENTS)
        if isinstance(weights, bytes):
            (temp / WEIGHTS).write_bytes(weights)
        else:
            save_file(weights or {}, temp / WEIGHTS)
    return target


@pytest.mark.parametrize(
    ("state", "rule"),
    [
        ([], "must hold a number `step`"),
        ({"step": 1, "aliases": {}}, "must hold a number `step`"),
        ({"step": "1", "aliases": {}, "state": {}}, "must hold a number `step`"),
        ({"step": True, "aliases": {}, "state": {}}, "must hold a number `step`"),
        ({"step": 1, "aliases": [], "state": {}}, "must hold a number `step`"),
        ({"step": 1, "aliases": {"a": ["b"]}, "state": {}}, "alias that is no name"),
        ({"step": 1, "aliases": {"a": "b"}, "state": {}}, "aliases of tensors that are not there"),
        ({"step": 2, "aliases": {}, "state": {}}, "holds step 2, which its name does not say"),
    ],
)
def test_a_crafted_state_is_refused(tmp_path: Path, state: object, rule: str) -> None:
    with pytest.raises(ArtefactError, match=rule):
        Checkpoints(tmp_path, 1).load(_crafted(tmp_path, state))


@pytest.mark.parametrize("content", [b"", b"cposix\nsystem\n(S'touch canary'\ntR.", b"\xff" * 64])
def test_a_pickle_under_another_name_is_not_safetensors(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArtefactError, match="is not a safetensors file"):
        Checkpoints(tmp_path, 1).load(_crafted(tmp_path, weights=content))


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    weights = {
        "good": torch.zeros(2),
        "bad": torch.tensor([1.0, math.nan]),
        "worse": torch.tensor(math.inf),
        "ids": torch.zeros(1).int(),
    }
    with pytest.raises(ArtefactError, match=r"not finite: 'bad', 'worse'$"):
        Checkpoints(tmp_path, 1).load(_crafted(tmp_path, weights=weights))


# strict restoring -----------------------------------------------------------------------------------------------------


def _refused(runs: Checkpoints, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> str:
    """The message of a refused restore, which must have changed nothing."""
    found = runs.load(save(runs, 1))
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(ArtefactError) as caught:
        runs.restore(found, model, optimizer)
    assert equal(model.state_dict(), before)
    assert optimizer is None or not optimizer.state
    return str(caught.value)


def test_missing_and_unknown_weights_are_named(runs: Checkpoints) -> None:
    model = Net()
    del model.idle
    model.add_module("extra", nn.Linear(1, 1))
    message = _refused(runs, model)
    assert "has no weights 'extra.bias', which the model needs" in message
    assert "has no weights 'extra.weight', which the model needs" in message
    assert "has weights 'idle.bias', which the model does not know" in message


def test_shapes_and_types_are_compared(runs: Checkpoints) -> None:
    model = Net()
    model.busy = nn.Linear(4, 7)
    model.idle.to(torch.bfloat16)
    message = _refused(runs, model, torch.optim.AdamW(model.parameters()))
    assert "has 'busy.weight' as torch.float32 (3, 4), the model as torch.float32 (7, 4)" in message
    assert "has 'idle.bias' as torch.float32 (2,), the model as torch.bfloat16 (2,)" in message
    assert "has 'exp_avg' of 'busy.bias' as (3,), the optimizer as (7,)" in message


def test_sharing_is_compared(runs: Checkpoints) -> None:
    model = Net()
    model.decode.weight = nn.Parameter(model.embed.weight.detach().clone())
    assert "shares 'decode.weight' with embed.weight, the model with None" in _refused(runs, model)


def test_moments_of_what_is_not_trained_are_refused(runs: Checkpoints) -> None:
    model = Net()
    optimizer = torch.optim.AdamW([p for n, p in model.named_parameters() if "busy" not in n])
    message = _refused(runs, model, optimizer)
    assert "has moments of 'busy.weight', which the optimizer does not train" in message


def test_many_misfits_are_cut_short(runs: Checkpoints) -> None:
    model = nn.ModuleDict({f"m{i}": nn.Linear(1, 1) for i in range(20)})
    message = _refused(runs, model)
    assert message.count("\n") == 20
    assert message.endswith("more")


# what stays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "protect", "stays"),
    [
        (1, set(), [6]),
        (2, set(), [5, 6]),
        (2, {1}, [1, 5, 6]),
        (1, {2, 6, 99}, [2, 6]),
        (6, set(), [1, 2, 3, 4, 5, 6]),
        (9, {1}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_the_newest_and_the_protected_stay(tmp_path: Path, keep: int, protect: set[int], stays: list[int]) -> None:
    runs = Checkpoints(tmp_path, keep)
    for step in range(1, 7):
        save(runs, step)
    runs.prune(protect)
    assert runs.steps() == stays
    assert sorted(os.listdir(tmp_path)) == [f"step-{s:08d}" for s in stays]


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_none_is_refused(tmp_path: Path, keep: int) -> None:
    with pytest.raises(RecipeError, match=r"training\.checkpoint\.keep: at least one"):
        Checkpoints(tmp_path, keep)


def test_a_damaged_checkpoint_takes_no_good_ones_place(tmp_path: Path) -> None:
    runs = Checkpoints(tmp_path, 1)
    for step in (1, 2, 3):
        save(runs, step)
    _truncate(runs.path(3))
    again = Checkpoints(tmp_path, 1)
    again.prune(set())
    assert again.steps() == [2, 3]


def test_the_one_just_saved_stays_beside_a_stale_higher_one(tmp_path: Path) -> None:
    save(Checkpoints(tmp_path, 1), 1000)
    runs = Checkpoints(tmp_path, 1)
    for step in (1, 2):
        save(runs, step)
        runs.prune(set())
    assert runs.steps() == [2, 1000]


def test_whatever_else_lies_there_is_left_alone(tmp_path: Path) -> None:
    runs = Checkpoints(tmp_path, 1)
    for step in (1, 2):
        save(runs, step)
    shutil.copytree(runs.path(1), tmp_path / "step-00000001-mine")
    shutil.copytree(runs.path(1), tmp_path / "step-000000001")
    for name in ("checkpoint-1000", "step-1", "step-00000000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pytorch_model").write_text("mine")
    before = set(os.listdir(tmp_path))
    runs.prune(set())
    assert set(os.listdir(tmp_path)) == before - {"step-00000001"}
    found = runs.load_newest()
    assert found is not None
    assert found.step == 2


def test_a_failing_removal_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Checkpoints(tmp_path, 1)
    for step in (1, 2, 3):
        save(runs, step)

    def busy(path: Path) -> None:
        if path == runs.path(1):
            raise PermissionError(13, "Permission denied")
        shutil.rmtree(path)

    monkeypatch.setattr(module, "discard", busy)
    runs.prune(set())
    assert runs.steps() == [1, 3]
    assert [r.getMessage() for r in caplog.records] == [
        f"checkpoint {runs.path(1)} stays, it cannot be removed: Permission denied"
    ]


def test_readers_always_find_a_whole_checkpoint_while_others_come_and_go(tmp_path: Path) -> None:
    runs = Checkpoints(tmp_path, 1)
    save(runs, 1)
    seen: list[int] = []
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = Checkpoints(tmp_path, 1).load_newest()
            if found is None or found.state != {"of": found.step}:
                wrong.append(found)
            else:
                seen.append(found.step)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for step in range(2, 25):
        save(runs, step)
        runs.prune(set())
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert seen
    assert runs.steps() == [24]


# disks and kills ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["save.after_file", "save.before_manifest", "save.before_rename"])
def test_a_full_disk_leaves_the_last_one(runs: Checkpoints, arm: Callable[[str], None], point: str) -> None:
    before = save(runs, 1)
    content = {p.name: p.read_bytes() for p in before.iterdir()}
    arm(f"{point}=full")
    with pytest.raises(ResourceError, match="No space left on device"):
        save(runs, 2)
    assert os.listdir(runs.folder) == [before.name]
    assert {p.name: p.read_bytes() for p in before.iterdir()} == content
    forget()
    arm("")
    save(runs, 2)  # the next try
    assert runs.steps() == [1, 2]


POINTS = ["save.after_file", "save.before_manifest", "save.before_rename", "save.after_rename"]
KILLS = [f"{point}:{n}" for point in POINTS for n in (1, 2, 3, 4, 5, 6)]
KILLS += [f"save.after_file:{n}" for n in range(7, 19)] + [f"save.prune:{n}" for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a case; each a run of six saves that was killed at its failpoint, or met a limit."""
    folder = tmp_path_factory.mktemp("killed")
    for step in range(1, 7):
        trained_once(steps=2, seed=step)  # here, since torch may refuse a backward pass after a fork
    for case in ("limit", *KILLS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of forks in a process with threads
            child = os.fork()
        if child == 0:
            _six_saves(folder / case, case)
        os.waitpid(child, 0)
    return folder


def _six_saves(folder: Path, case: str) -> NoReturn:
    """Never returns: the test runner must not go on in a second process."""
    sys.settrace(None)  # coverage of a process that is killed is lost
    try:
        if case == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
        else:
            os.environ[VARIABLE] = f"{case}=kill"
            forget()
        runs = Checkpoints(folder / "checkpoints", 2)
        for step in range(1, 7):
            save(runs, step, padding="x" * (9000 if step == 4 else 0))
            runs.prune({1})
    except ResourceError as error:
        (folder / "error").write_text(f"{error.exit_code} {error}")
    finally:
        os._exit(0)


def expected(case: str) -> int:
    """The step of the newest checkpoint that was whole when the kill came; 0 for none."""
    point, number = case.rsplit(":", 1)
    if point == "save.after_file":
        return (int(number) - 1) // 3
    if point == "save.prune":
        return int(number) + 3  # steps 2, 3, ... go once 4, 5, ... are there, since 1 is protected
    return int(number) - (point != "save.after_rename")


@pytest.mark.parametrize("case", KILLS)
def test_after_a_kill_the_newest_whole_checkpoint_is_found(
    killed: Path, case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = killed / case / "checkpoints"
    found = Checkpoints(folder, 2).load_newest()
    assert (found.step if found else 0) == expected(case)
    assert not [n for n in os.listdir(folder) if n.startswith(".")]  # leftovers are gone
    assert not caplog.records
    if found is not None:
        model, optimizer = trained_once(steps=2, seed=found.step)
        assert equal({**found.weights, **found.moments}, states(model, optimizer))
        assert found.state["of"] == found.step


def test_a_limit_on_file_size_leaves_the_last_one(killed: Path) -> None:
    runs = Checkpoints(killed / "limit" / "checkpoints", 2)
    message = (killed / "limit" / "error").read_text()
    assert message.startswith("7 ")
    assert "step-00000004: cannot be saved: File too large; it takes at least 1" in message
    assert sorted(os.listdir(runs.folder)) == [runs.path(step).name for step in (1, 2, 3)]
    found = runs.load_newest()
    assert found is not None
    assert found.step == 3


def test_the_point_of_a_kill_is_a_kill() -> None:
    """The cases above rest on it: the process dies without cleaning up."""
    code = "from manyheads.failpoints import reach; reach('x')"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, VARIABLE: "x=kill"}, check=False)
    assert done.returncode == -signal.SIGKILL


# before a run ---------------------------------------------------------------------------------------------------------


def test_the_estimate_covers_what_is_written(runs: Checkpoints) -> None:
    model, optimizer = trained()
    path = runs.save(3, model.state_dict(), optimizer, model, STATE_OF_A_RUN)
    written = sum(p.stat().st_size for p in path.iterdir())
    assert written <= checkpoint_bytes(model) <= written + (1 << 20)


def test_the_estimate_counts_shared_weights_once_and_frozen_ones_without_moments() -> None:
    model = Net()
    whole = checkpoint_bytes(model)
    model.embed.weight.requires_grad_(False)
    assert whole - checkpoint_bytes(model) == 2 * 5 * 4 * 4
    model.decode.weight = nn.Parameter(torch.zeros(5, 4))
    assert checkpoint_bytes(model) == whole + 5 * 4 * 4


def test_enough_space_is_no_error_and_writes_nothing(tmp_path: Path) -> None:
    require_space(tmp_path / "a" / "b", 1)
    assert not os.listdir(tmp_path)


def test_too_little_space_tells_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    require_space(tmp_path / "run", 999)
    with pytest.raises(ResourceError, match="1000 bytes are needed, 999 are free") as caught:
        require_space(tmp_path / "run", 1000)
    assert (caught.value.exit_code, caught.value.problems[0].place) == (7, str(tmp_path / "run"))


def test_a_file_system_that_holds_no_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = shutil.disk_usage(tmp_path)._replace(total=0, used=0, free=0)  # as of /proc
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nothing)
    with pytest.raises(ResourceError, match="no room for files at all, such as /proc"):
        require_space(tmp_path / "run", 0)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ResourceError, match="is a file, and a folder is needed"):
            require_space(folder, 1)


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o555)
    monkeypatch.setattr(os, "access", lambda path, mode: bool(os.stat(path).st_mode & 0o200))  # root may write anywhere
    with pytest.raises(ResourceError, match="may not be written"):
        require_space(tmp_path / "run", 1)
    tmp_path.chmod(0o755)
    require_space(tmp_path / "run", 1)
