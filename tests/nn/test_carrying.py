"""A recurrent module that goes on from chunk to chunk equals one pass over the whole text; gradients end at each beginning."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from manyheads.nn.recurrent import Recurrent
from manyheads.types import States, Tokens

WIDTH = 4


def made(**options: object) -> Recurrent:
    torch.manual_seed(1)
    return Recurrent(WIDTH, 5, bidirectional=False, **options)  # type: ignore[arg-type]  # each test's own options


def read(module: Recurrent, rows: Tensor, carry: list[int] | None, lengths: list[int] | None = None) -> Tensor:
    mask = torch.arange(rows.shape[1]) < torch.tensor(lengths or [rows.shape[1]] * len(rows))[:, None]
    found: States = module(States(rows, mask, carry=None if carry is None else torch.tensor(carry)))
    assert carry is None or found.carry is not None
    return found.states


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_chunks_are_one_pass(cell: str, layers: int) -> None:
    """Two texts side by side, in chunks of 3, 3 and 2 words, of the second's last chunk one; rows by themselves between."""
    module = made(cell=cell, layers=layers).eval()
    texts, alone = torch.randn(2, 8, WIDTH), torch.randn(1, 3, WIDTH)
    whole, by_itself = read(module, texts, None), read(module, alone, None)
    found = [read(module, torch.cat([texts[:, :3], alone]), [-1, -3, 0])]
    torch.testing.assert_close(found[0][2:], by_itself)
    torch.testing.assert_close(read(module, alone, [0]), by_itself)
    found.append(read(module, torch.cat([alone, texts[:, 3:6].flip(0)]), [0, 3, 1])[1:].flip(0))
    found.append(read(module, texts[:, 6:], [1, 3], [2, 1]))
    joined = torch.cat([found[0][:2], found[1], found[2]], 1)
    torch.testing.assert_close(joined[0], whole[0])
    torch.testing.assert_close(joined[1, :7], whole[1, :7])


def test_what_begins_anew_forgets() -> None:
    module, text = made().eval(), torch.randn(1, 3, WIDTH)
    first = read(module, text, [-1])
    assert not torch.allclose(read(module, text, [1]), first)
    assert torch.equal(read(module, text, [-1]), first)


def test_no_gradient_goes_back_beyond_a_chunk() -> None:
    module = made()
    first, second = (torch.randn(1, 3, WIDTH, requires_grad=True) for _ in range(2))
    read(module, first, [-1])
    read(module, second, [1]).sum().backward()
    assert first.grad is None
    assert second.grad is not None


def test_an_evaluation_first_does_not_disturb_the_training_after_it() -> None:
    """What is kept in inference mode can be trained with; slots do not touch each other."""
    module, text, other = made(), torch.randn(1, 3, WIDTH), torch.randn(1, 3, WIDTH)
    with torch.inference_mode():
        read(module.eval(), other, [-1])
    module.train()
    read(module, text, [-2])
    before = read(module, text, [2])
    with torch.inference_mode():
        read(module.eval(), other, [1])
    module.train()
    read(module, text, [-2])
    again = read(module, text, [2])
    assert torch.equal(before, again)
    again.sum().backward()


def test_what_a_checkpoint_kept() -> None:
    module, text = made(), torch.randn(2, 3, WIDTH)
    read(module, text, [-1, -2])
    kept = {part: tensor.clone() for part, tensor in module.carried.items()}
    assert {part: tuple(t.shape) for part, t in kept.items()} == {"hidden": (1, 2, 5), "cell": (1, 2, 5)}
    assert not any(name.startswith("carried") for name in module.state_dict())
    wanted = read(module, text, [1, 2])
    other = made()
    other.restore(kept)
    assert torch.equal(read(other, text, [1, 2]), wanted)


def test_what_reads_backward_cannot_go_on() -> None:
    module = Recurrent(WIDTH, 5)
    with pytest.raises(ValueError, match="bidirectional: false"):
        read(module, torch.randn(1, 3, WIDTH), [-1])


def test_two_chunks_of_a_text_cannot_run_as_one() -> None:
    with pytest.raises(ValueError, match="two rows carry in one slot"):
        read(made(), torch.randn(3, 3, WIDTH), [-1, 0, 1])


def test_rows_that_carry_join_rows_that_do_not() -> None:
    ids = torch.ones(2, 3, dtype=torch.long)
    plain = Tokens(ids, ids > 0, ids)
    carrying = Tokens(ids, ids > 0, ids, carry=torch.tensor([-1, 2]))
    joined = Tokens.cat([plain, carrying])
    assert joined.carry is not None
    assert joined.carry.tolist() == [0, 0, -1, 2]
    assert Tokens.cat([plain, plain]).carry is None
