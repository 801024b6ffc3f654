"""Modules that are trained from scratch: what a row gives does not depend on its company, and equals a slow twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.nn.convolution import Convolution
from manyheads.nn.embedding import BYTES, Characters, Concat, Embedding
from manyheads.nn.recurrent import Recurrent
from manyheads.nn.transformer import Transformer
from manyheads.ports import Port
from manyheads.types import LETTERS, States, Tokens, tensors_in

WIDTH = 6
READING: dict[str, Callable[[], nn.Module]] = {
    "embedding": lambda: Embedding(9, WIDTH),
    "characters": lambda: Characters(4, 3, (2, 3)),
}
STATES: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: Recurrent(WIDTH, 4),
    "lstm forward": lambda: Recurrent(WIDTH, 4, bidirectional=False),
    "gru, two layers": lambda: Recurrent(WIDTH, 3, cell="gru", layers=2),
    "convolution": lambda: Convolution(WIDTH, 5, (1, 3, 4)),
    "transformer": lambda: Transformer(WIDTH, layers=2, heads=2, dropout=0.0),
    "transformer, causal": lambda: Transformer(WIDTH, layers=1, heads=3, dropout=0.0, causal=True),
}
LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def made(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return build().eval()


def tokens(lengths: list[int], seed: int = 0) -> Tokens:
    random = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    mask = torch.arange(shape[1]).expand(shape) < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(1, 9, shape, generator=random) * mask
    sizes = torch.randint(1, 8, shape, generator=random) * mask
    letters = torch.randint(97, 123, (*shape, 7), generator=random) * (torch.arange(7) < sizes.unsqueeze(-1))
    return Tokens(ids, mask, torch.zeros_like(ids), None, letters.to(torch.uint8))


def states(lengths: list[int], seed: int = 0) -> States:
    mask = tokens(lengths).mask
    return States(torch.randn(*mask.shape, WIDTH, generator=torch.Generator().manual_seed(seed)), mask)


def rows_of(result: Tensor | States, lengths: list[int]) -> list[Tensor]:
    held = result.states if isinstance(result, States) else result
    return [row[:n] if isinstance(result, States) else row for row, n in zip(held, lengths, strict=True)]


@pytest.mark.parametrize("name", STATES)
@given(lengths=LENGTHS, seed=st.integers(0, 9))
def test_a_row_of_states_in_company_is_as_it_is_alone(name: str, lengths: list[int], seed: int) -> None:
    module, given = made(STATES[name]), states(lengths, seed)
    noisy = States(torch.where(given.mask.unsqueeze(-1), given.states, torch.full((), 1e3)), given.mask)
    together = rows_of(module(noisy), lengths)
    for i, n in enumerate(lengths):
        alone = module(States(given.states[i : i + 1, :n], given.mask[i : i + 1, :n]))
        assert_close(together[i], rows_of(alone, [n])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", READING)
@given(lengths=LENGTHS, seed=st.integers(0, 9))
def test_a_row_of_words_in_company_is_as_it_is_alone(name: str, lengths: list[int], seed: int) -> None:
    module, given = made(READING[name]), tokens(lengths, seed)
    together = rows_of(module(given), lengths)
    for i, n in enumerate(lengths):
        assert given.letters is not None
        longest = int((given.letters[i, :n] > 0).sum(-1).max())
        cut = Tokens(given.ids[i : i + 1, :n], given.mask[i : i + 1, :n], given.types[i : i + 1, :n], None,
                     given.letters[i : i + 1, :n, :longest])  # fmt: skip
        assert_close(together[i], rows_of(module(cut), [n])[0], rtol=1e-5, atol=1e-6)


def test_what_is_padded_gives_zeros_and_has_no_gradient() -> None:
    given = states([2, 4])
    given.states.requires_grad_(True)
    found = made(STATES["lstm"])(given)
    assert not found.states[~given.mask].any()
    found.states.sum().backward()
    assert given.states.grad is not None
    assert not given.states.grad[~given.mask].any()


def test_recurrent_layers_are_torchs() -> None:
    module, given = made(STATES["gru, two layers"]), states([5])
    assert isinstance(module, Recurrent)
    assert_close(module(given).states, module.cells(given.states)[0])


def test_a_convolution_is_the_strongest_of_every_window() -> None:
    module, given = made(STATES["convolution"]), states([5])
    assert isinstance(module, Convolution)
    wanted = []
    for convolve in module.convolutions:
        assert isinstance(convolve, nn.Conv1d)
        width = convolve.kernel_size[0]
        zeros = torch.zeros(width - 1, WIDTH)
        row = torch.cat([zeros, given.states[0], zeros])
        windows = [row[i : i + width].T for i in range(len(row) - width + 1)]
        found = [(convolve.weight * window).sum((1, 2)) + convolve.bias for window in windows]
        wanted.append(torch.stack(found).amax(0).clamp(min=0))
    assert_close(module(given), torch.cat(wanted).unsqueeze(0))


def test_a_causal_word_sees_no_later_one() -> None:
    module, given = made(STATES["transformer, causal"]), states([5])
    given.states.requires_grad_(True)
    module(given).states[0, 2, 0].backward()
    assert given.states.grad is not None
    assert given.states.grad[0, :3].abs().sum(-1).all()
    assert not given.states.grad[0, 3:].any()


def test_padding_has_no_vector_and_learns_none() -> None:
    module, given = made(READING["embedding"]), tokens([1, 3])
    assert isinstance(module, Embedding)
    module(given).states.square().sum().backward()
    assert not module.table.weight[0].any()
    assert module.table.weight.grad is not None
    assert not module.table.weight.grad[0].any()


def test_words_are_read_as_unknown_in_training_alone() -> None:
    module = Embedding(9, WIDTH, word_dropout=0.5)
    given = tokens([400], seed=2)
    hidden = (module(given).states == module.table.weight[1]).all(-1)
    assert 120 < int(hidden.sum()) - int((given.ids == 1).sum()) < 260
    module.eval()
    assert torch.equal(module(given).states, module.table(given.ids))


def test_letters_that_are_not_there() -> None:
    given = tokens([2])
    with pytest.raises(ValueError, match="these tokens carry no spelling"):
        made(READING["characters"])(Tokens(given.ids, given.mask, given.types))


def test_every_byte_has_a_letter() -> None:
    given = tokens([6])
    letters = (torch.arange(6 * LETTERS) % 256).reshape(1, 6, LETTERS).to(torch.uint8)
    assert len(letters.unique()) == 256
    assert made(READING["characters"])(Tokens(given.ids, given.mask, given.types, None, letters)).states.isfinite().all()
    assert BYTES == 257


def test_side_by_side() -> None:
    one, two = states([2, 3], 1), states([2, 3], 2)
    both = Concat("states", (WIDTH, WIDTH))
    assert torch.equal(both(one, two).states, torch.cat([one.states, two.states], -1))
    assert both.ports.gives == Port("states", 2 * WIDTH)
    assert torch.equal(Concat("vector", (1, 2))(torch.zeros(3, 1), torch.ones(3, 2)), torch.tensor([[0.0, 1, 1]] * 3))


def test_a_cell_that_is_not_known() -> None:
    with pytest.raises(RecipeError, match="did you mean 'lstm'"):
        Recurrent(2, 2, cell="lstn")


@pytest.mark.parametrize("build", [*READING.values(), *STATES.values()])
def test_half_precision_is_finite(build: Callable[[], nn.Module]) -> None:
    module = made(build)
    given = tokens([2, 5]) if Port("tokens") in module.ports.takes else states([2, 5])  # type: ignore[union-attr, operator]  # all have ports
    with torch.autocast("cpu", torch.bfloat16):
        assert all(t.isfinite().all() for t in tensors_in(module(given)))


@pytest.mark.parametrize("name", ["lstm", "lstm forward", "gru, two layers"])
@given(lengths=LENGTHS, seed=st.integers(0, 9))
def test_padded_rows_run_as_packed_ones_do(name: str, lengths: list[int], seed: int) -> None:
    module, given = made(STATES[name]), states(lengths, seed)
    assert isinstance(module, Recurrent)
    found = []
    for run in (module._padded, module._packed):
        given.states.requires_grad_(True).grad = None
        module.zero_grad()
        hidden, _ = run(given.states, given.mask.sum(1), None)
        hidden = hidden * given.mask.unsqueeze(-1)
        hidden.square().sum().backward()
        found.append([hidden.detach(), given.states.grad, *(p.grad for p in module.parameters())])
    for one, two in zip(*found, strict=True):
        assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_full_rows_end_in_the_same_state_padded_and_packed() -> None:
    module, given = made(STATES["lstm forward"]), states([4, 4])
    assert isinstance(module, Recurrent)
    lengths, begun = given.mask.sum(1), (torch.randn(1, 2, 4), torch.randn(1, 2, 4))
    for one, two in zip(
        module._padded(given.states, lengths, begun)[1], module._packed(given.states, lengths, begun)[1], strict=True
    ):
        assert_close(one, two)
