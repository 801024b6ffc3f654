"""Cross-stitch units and mixtures of layers, beside the product with one matrix that they stand for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.nn.stitch import CrossStitch, LayerStitch, Shares, shares_of
from manyheads.ports import Port
from manyheads.types import States

NAMES = ("pos", "ner", "chunk")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def states(width: int, seed: int, lengths: tuple[int, ...] = (3, 5)) -> States:
    mask = torch.arange(max(lengths)).expand(len(lengths), -1) < torch.tensor(lengths).unsqueeze(1)
    return States(drawn(*mask.shape, width, seed=seed), mask, torch.zeros(len(lengths), 1, dtype=torch.long))


def unit(count: int = 2, subspaces: int = 1, width: int = 6, kind: str = "states") -> CrossStitch:
    """One with drawn weights."""
    made = CrossStitch(kind, width, NAMES[:count], subspaces=subspaces)
    with torch.no_grad():
        made.weight.copy_(drawn(made.weight.numel(), seed=9))
    return made


def tensors(results: dict[str, States | Tensor]) -> list[Tensor]:
    return [r.states if isinstance(r, States) else r for r in results.values()]


# what is computed -------------------------------------------------------------------------------------------------------


@given(st.integers(2, 3), st.sampled_from([1, 2, 3, 6]), st.booleans())
def test_it_is_one_product_with_the_whole_matrix(count: int, subspaces: int, vectors: bool) -> None:
    made = unit(count, subspaces, kind="vector" if vectors else "states")
    given_ = [drawn(4, 6, seed=i) if vectors else states(6, i) for i in range(count)]
    found = tensors(made(*given_))
    flat = torch.cat([g if isinstance(g, Tensor) else g.states for g in given_], -1)
    whole = torch.kron(made.table().T.contiguous(), torch.eye(6 // subspaces))  # (K D, K D)
    assert_close(torch.cat(found, -1), flat @ whole.T)


def test_two_columns_by_hand() -> None:
    made = CrossStitch("vector", 1, ["pos", "ner"])
    found = made(torch.tensor([[10.0]]), torch.tensor([[100.0]]))
    assert_close(found, {"pos": torch.tensor([[19.0]]), "ner": torch.tensor([[91.0]])})


def test_a_weight_leads_from_its_row_to_its_column() -> None:
    made = CrossStitch("vector", 2, ["pos", "ner"], subspaces=2, own=1)
    with torch.no_grad():
        made.table()[0, 3] = 5  # from the first half of pos to the second of ner
    found = made(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    assert found["pos"].tolist() == [[1, 2]]
    assert found["ner"].tolist() == [[3, 9]]
    assert made.shares().sources == made.shares().results == ("pos.1", "pos.2", "ner.1", "ner.2")
    assert made.shares().weights[0] == (1, 0, 0, 5)


def test_pieces_and_words_go_along() -> None:
    given_ = states(6, 0), states(6, 1)
    for result in unit()(*given_).values():
        assert isinstance(result, States)
        assert result.mask is given_[0].mask
        assert result.words is given_[0].words
        assert result.below == ()


@pytest.mark.parametrize("subspaces", [1, 2])
def test_a_row_does_not_depend_on_its_company(subspaces: int) -> None:
    made, both = unit(subspaces=subspaces), (states(6, 0), states(6, 1))
    together = tensors(made(*both))
    for row in range(2):
        alone = tensors(made(*(s.part(row, row + 1) for s in both)))
        assert all(torch.equal(a, t[row : row + 1]) for a, t in zip(alone, together, strict=True))


@pytest.mark.parametrize("made", [unit(3, 2, 4, "vector"), LayerStitch("vector", 4, 3)], ids=["columns", "layers"])
def test_the_gradient_is_that_of_finite_differences(made: nn.Module) -> None:
    made = made.double()
    given_ = [drawn(2, 4, seed=i).double().requires_grad_() for i in range(3)]

    def found(weight: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        result = torch.func.functional_call(made, {"weight": weight}, inputs)
        return tuple(result.values()) if isinstance(result, dict) else (result,)

    weight = next(made.parameters()).detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(found, (weight, *given_))


# where it begins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "options", "own", "other"),
    [
        (2, {}, 0.9, 0.1),
        (3, {}, 0.9, 0.05),
        (2, {"subspaces": 2}, 0.95, 0.05 / 3),
        (2, {"subspaces": 2, "own": 0.7}, 0.7, 0.1),
        (2, {"own": 1.0}, 1, 0),
        (2, {"own": "balanced"}, 0.5, 0.5),
        (2, {"own": "balanced", "subspaces": 2}, 0.25, 0.25),
    ],
)
def test_first_weights(count: int, options: dict[str, object], own: float, other: float) -> None:
    table = CrossStitch("states", 6, NAMES[:count], **options).table()  # type: ignore[arg-type]  # of several types
    eye = torch.eye(len(table), dtype=torch.bool)
    assert_close(table[eye], torch.full_like(table[eye], own))
    assert_close(table[~eye], torch.full_like(table[~eye], other))
    assert_close(table.sum(0), torch.ones(len(table)))


@pytest.mark.parametrize(
    ("layers", "top", "wanted"),
    [(2, 0.9, [0.1, 0.9]), (3, 0.9, [0.05, 0.05, 0.9]), (4, "balanced", [0.25] * 4), (2, 1.0, [0, 1])],
)
def test_first_weights_of_layers(layers: int, top: float, wanted: list[float]) -> None:
    made = LayerStitch("vector", 2, layers, top=top)
    assert_close(made.weight.detach(), torch.tensor(wanted, dtype=torch.float))
    given_ = [drawn(3, 2, seed=i) for i in range(layers)]
    assert_close(made(*given_), sum(w * g for w, g in zip(wanted, given_, strict=True)))


def test_weights_are_vectors_which_do_not_decay() -> None:
    assert CrossStitch("states", 6, NAMES).weight.dim() == LayerStitch("states", 6, 2).weight.dim() == 1


def test_a_width_that_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="a width of 6 cannot be cut into 4 subspaces"):
        CrossStitch("states", 6, NAMES, subspaces=4)


# identity ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subspaces", [1, 3])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_identity_changes_no_bit(subspaces: int, frozen: bool) -> None:
    made = CrossStitch("states", 6, NAMES, subspaces=subspaces, own=1).requires_grad_(not frozen)
    given_ = [states(6, i) for i in range(3)]
    assert all(torch.equal(f, g.states) for f, g in zip(tensors(made(*given_)), given_, strict=True))


def test_a_frozen_zero_is_no_connection_and_one_that_learns_is() -> None:
    for frozen in (True, False):
        made = CrossStitch("vector", 4, ["pos", "ner"], own=1).requires_grad_(not frozen)
        pos, ner = (drawn(2, 4, seed=i).requires_grad_() for i in range(2))
        made(pos, ner)["pos"].sum().backward()
        assert torch.equal(pos.grad, torch.ones(2, 4))
        assert (ner.grad is None) == frozen
        assert (made.weight.grad is None) == frozen


def test_a_column_that_nothing_flows_into_is_zero() -> None:
    made = CrossStitch("vector", 4, ["pos", "ner"], own=1).requires_grad_(False)
    made.weight[:] = torch.tensor([1.0, 0, 0, 0])
    found = made(drawn(2, 4), drawn(2, 4, seed=1))
    assert torch.equal(found["pos"], drawn(2, 4))
    assert torch.equal(found["ner"], torch.zeros(2, 4))


# what it tells ----------------------------------------------------------------------------------------------------------


def test_it_gives_its_results_by_name() -> None:
    gives = unit(3).ports.gives
    assert gives.kind == "columns"
    assert gives.part("ner") == Port("states", 6)
    assert gives.part("srl") is None
    assert str(gives) == "3 results (pos, ner, chunk)"


def test_the_shares_of_units_and_of_nothing_else() -> None:
    pool = {
        "a": nn.Linear(1, 1),
        "b": CrossStitch("vector", 2, ["x", "y"], own=0.75),
        "c": LayerStitch("vector", 2, 2, top=0.5),
    }
    assert shares_of(pool.items()) == {
        "b": Shares(("x", "y"), ("x", "y"), ((0.75, 0.25), (0.25, 0.75))),
        "c": Shares(("layer 1", "layer 2"), ("sum",), ((0.5,), (0.5,))),
    }
