from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.nn.feedforward import ACTIVATIONS, FeedForward
from manyheads.ports import Port
from manyheads.types import States


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_vector_goes_through_map_function_and_dropout(activation: str) -> None:
    module = FeedForward("vector", 4, 3, activation).eval()
    vector, linear = torch.randn(2, 4), module.layers[0]
    functions = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "tanh": torch.tanh}
    assert_close(module(vector), functions[activation](vector @ linear.weight.T + linear.bias))


def test_states_stay_states_and_equal_vectors_taken_one_by_one() -> None:
    module = FeedForward("states", 4, 3)
    given = States(torch.randn(2, 5, 4), torch.ones(2, 5, dtype=torch.bool), torch.zeros(2, 1, dtype=torch.long))
    found = module(given)
    slow = torch.stack([torch.stack([module(piece) for piece in row]) for row in given.states])
    assert_close(found.states, slow)
    assert found.mask is given.mask
    assert found.words is given.words


def test_dropout_only_while_training() -> None:
    module, vector = FeedForward("vector", 4, 64, "relu", dropout=0.5), torch.ones(1, 4)
    assert torch.equal(module.eval()(vector), module(vector))
    module.train()
    assert not torch.equal(module(vector), module(vector))


def test_ports() -> None:
    assert FeedForward("states", 4, 3).ports.takes == (Port("states", 4),)
    assert FeedForward("vector", 4, 3).ports.gives == Port("vector", 3)


def test_an_unknown_activation_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="found 'gelo'; did you mean 'gelu'"):
        FeedForward("vector", 4, 3, "gelo")
