"""The engine in one process: exchanges that change nothing, noise that depends on the step, devices that are not there."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from manyheads.config.spec.training import TrainingSpec
from manyheads.errors import RecipeError, ResourceError
from manyheads.train import engine as module
from manyheads.train.engine import Engine, _together


@pytest.fixture
def engine() -> Engine:
    return Engine(TrainingSpec(device="cpu"))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_one_process_is_the_main_one(engine: Engine) -> None:
    assert (engine.rank, engine.world, engine.main) == (0, 1, True)
    assert engine.device.type == "cpu"
    engine.wait()


def test_exchanges_of_one_process_give_back_what_they_got(engine: Engine) -> None:
    values = torch.tensor([1.0, 2.0])
    assert engine.sum(values) is values
    assert engine.any(True)
    assert not engine.any(False)
    items = [object()]
    assert engine.gather(items) is items
    assert engine.share([1, 2, 3]) == [1, 2, 3]


def test_gradients_of_one_process_stay_as_they_are(engine: Engine) -> None:
    one, two = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    one.grad = torch.tensor([1.0, 2.0])
    engine.sum_gradients([one, two])
    assert one.grad.tolist() == [1.0, 2.0]
    assert two.grad is None


def noise(engine: Engine, seed: int, step: int) -> list[float]:
    engine.seed(seed, step)
    return torch.rand(4).tolist()


def test_noise_is_a_function_of_seed_and_step(engine: Engine) -> None:
    first = noise(engine, 1, 2)
    torch.rand(9)
    assert noise(engine, 1, 2) == first
    assert noise(engine, 1, 3) != first
    assert noise(engine, 2, 2) != first


def test_ranks_make_noise_of_their_own(engine: Engine) -> None:
    first = noise(engine, 1, 2)
    engine.rank = 1
    assert noise(engine, 1, 2) != first


def test_peak_memory_never_falls(engine: Engine) -> None:
    before = engine.peak_memory()
    held = torch.ones(2**22)  # 16 MiB
    after = engine.peak_memory()
    del held
    assert 2**24 <= before <= after <= engine.peak_memory() < 2**40


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_are_the_whole(engine: Engine, world: int) -> None:
    engine.world, rows = world, list(range(7))
    parts = []
    for rank in range(world):
        engine.rank = rank
        parts += engine.share(rows)
    assert sorted(parts) == rows


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_of_the_forward_pass(precision: str, dtype: torch.dtype) -> None:
    engine = Engine(TrainingSpec.model_validate({"precision": precision, "device": "cpu"}))
    with engine.autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@pytest.mark.usefixtures("threads")
def test_threads_are_set() -> None:
    Engine(TrainingSpec(device="cpu", threads=2))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("device", "where"), [("cuda", torch.cuda), ("mps", torch.backends.mps)], ids=["cuda", "mps"])
def test_a_device_that_is_not_there(device: str, where: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"training\.device.*no such device") as caught:
        Engine(TrainingSpec.model_validate({"device": device}))
    assert caught.value.problems[0].value == device


def test_a_process_that_has_left_is_no_bug_of_ours() -> None:
    with pytest.raises(ResourceError, match=r"another process of this run has ended.*Connection closed"), _together():
        raise RuntimeError("Connection closed by peer\nlong story")


class _Twin:
    """Stands for torch.distributed among two processes that always say the same."""

    class ReduceOp:
        MAX, SUM = "max", "sum"

    @staticmethod
    def all_reduce(values: torch.Tensor, op: str = "sum") -> None:
        if op == "sum":
            values.mul_(2)


@pytest.fixture
def twins(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(module, "dist", _Twin)
    monkeypatch.setattr(module, "gather_object", lambda items: [*items, *items])
    engine.world = 2
    return engine


def test_two_processes_add_up(twins: Engine) -> None:
    assert twins.sum(torch.tensor([1.0, 2.0])).tolist() == [2.0, 4.0]
    assert twins.any(True)
    assert not twins.any(False)
    assert twins.gather([1]) == [1, 1]


def test_gradients_of_two_processes_are_summed_and_none_stays_none(twins: Engine) -> None:
    used, idle, frozen = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
    frozen.requires_grad_(False)
    used.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    twins.sum_gradients([used, idle, frozen])
    assert used.grad.tolist() == [[2.0, 4.0], [6.0, 8.0]]
    assert idle.grad is None
    assert frozen.grad is None
    twins.sum_gradients([idle])
    assert idle.grad is None


def test_a_gradient_that_only_the_other_process_has(twins: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(values: torch.Tensor, op: str = "sum") -> None:
        values.fill_(1) if op == "max" else values.add_(5)

    monkeypatch.setattr(_Twin, "all_reduce", staticmethod(other))
    mine = nn.Parameter(torch.ones(3))
    twins.sum_gradients([mine])
    assert mine.grad is not None
    assert mine.grad.tolist() == [5.0, 5.0, 5.0]


# one run a folder -------------------------------------------------------------------------------------------------------


def test_of_two_runs_one_has_the_folder(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with engine.alone(folder):
        with pytest.raises(ResourceError, match="another process trains into this folder") as caught, engine.alone(folder):
            pytest.fail("two runs in one folder")
        with engine.alone(tmp_path / "new" / "other"):
            assert folder.is_dir()
    assert caught.value.problems[0].place == str(folder)
    with engine.alone(folder):
        pass  # it is free again


def test_the_folder_is_free_after_an_error(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), engine.alone(tmp_path):
        raise ValueError("mine")
    with engine.alone(tmp_path):
        pass


def test_a_folder_under_two_names_is_one_folder(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with engine.alone(tmp_path / "run"), pytest.raises(ResourceError), engine.alone(tmp_path / "link"):
        pytest.fail("two runs in one folder")


def test_only_the_main_process_of_a_run_holds_the_lock(engine: Engine, tmp_path: Path) -> None:
    other = Engine(TrainingSpec(device="cpu"))
    other.rank = 1
    with engine.alone(tmp_path), other.alone(tmp_path):
        pass


def test_a_file_system_without_locks_is_no_reason_to_stop(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with engine.alone(tmp_path / "run"), engine.alone(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_a_folder_that_cannot_be_made_is_told(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be made: Not a directory"), engine.alone(tmp_path / "file" / "run"):
        pytest.fail("there is no such folder")


def test_what_fails_in_the_main_process_fails_in_all(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.agree(None, Path("run"))
    with pytest.raises(ResourceError, match="full"):
        engine.agree(ResourceError("full"), Path("run"))
    monkeypatch.setattr(engine, "any", lambda flag: True)  # as a process hears it that did not fail
    with pytest.raises(ResourceError, match="run: the main process could not write"):
        engine.agree(None, Path("run"))
