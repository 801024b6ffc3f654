"""Noise on embeddings: the same in every pass, turned up the gradient, and felt behind every module that makes vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.nn.test_trunk import FAMILIES, tokens
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.nn.elmo import Elmo
from manyheads.nn.embedding import Characters, Embedding
from manyheads.nn.perturb import Noise, embeds
from manyheads.nn.trunk import load_trunk
from manyheads.types import States, Tokens

ELMO: dict[str, Any] = {
    "kernels": [[1, 4], [2, 4]], "letter": 3, "longest": 12, "highways": 1, "activation": "relu", "width": 6, "cells": 8,
    "depth": 2, "skips": True, "cell_clip": 3.0, "state_clip": 3.0,
}  # fmt: skip
SPELLED = {"words": lambda: Embedding(40, 6), "characters": lambda: Characters(5, 4, (2, 3)), "elmo": lambda: Elmo(**ELMO)}


class Table(nn.Module):
    """ids (B, T) -> (B, T, 3)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embeds = nn.Embedding(7, 3)

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.embeds(ids)
        return found


@pytest.fixture(params=[*FAMILIES, *SPELLED])
def reader(request: pytest.FixtureRequest, families: Callable[[str], Path]) -> nn.Module:
    """Every module of ours that turns pieces into vectors."""
    torch.manual_seed(0)
    made = SPELLED[request.param]() if request.param in SPELLED else load_trunk(families(request.param))
    return made.eval()


def text() -> Tokens:
    found, letters = tokens(6, 4), torch.Generator().manual_seed(2)
    spelled = torch.randint(97, 123, (2, 6, 5), generator=letters, dtype=torch.uint8) * found.mask.unsqueeze(-1)
    return Tokens(found.ids, found.mask, found.types, letters=spelled)


def test_every_reader_feels_it_and_none_keeps_it(reader: nn.Module) -> None:
    assert embeds(reader) is not None
    before: States = reader(text())
    with Noise([reader], 0.1):
        one: States = reader(text())
    real = before.mask.unsqueeze(-1)
    assert ((one.states - before.states).abs() * real).amax(-1)[before.mask].min() > 1e-6  # at every piece
    assert torch.equal(reader(text()).states, before.states)


def test_every_reader_passes_its_gradient_on(reader: nn.Module) -> None:
    """Each ascent leads further from the first answer."""
    first, seen = reader(text()).states.detach(), []

    def apart() -> Tensor:
        found: Tensor = (reader(text()).states - first).square().sum()
        seen.append(found.item())
        return found

    torch.manual_seed(1)
    with Noise([reader], 1e-3) as noise:
        for _ in range(4):
            noise.climb(apart, 1e-3)
    assert seen[0] < seen[1] < seen[2] < seen[3]
    assert all(p.grad is None for p in reader.parameters())


def test_it_is_normal_of_the_size_that_is_asked() -> None:
    table, ids = Table(), torch.randint(7, (200, 50), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    with Noise([table], 0.25):
        added = table(ids) - nn.functional.embedding(ids, table.embeds.weight)
    assert added.mean().item() == pytest.approx(0, abs=0.01)
    assert added.std().item() == pytest.approx(0.25, rel=0.02)
    assert added.abs().max() < 0.25 * 6


def test_a_table_of_two_modules_has_it_once_a_call_and_the_next_pass_has_the_same() -> None:
    table, other, ids = Table(), Table(), torch.tensor([[1, 2], [3, 4]])
    other.embeds = table.embeds
    plain = table(ids)
    with Noise([table, other, nn.Linear(3, 3)], 1.0) as noise:
        noise.climb(lambda: table(ids).sum() + other(ids).sum(), 0.0)
        first, second = table(ids) - plain, other(ids) - plain
        noise.climb(lambda: plain.sum(), 0.0)  # a pass that adds nothing
        again = table(ids) - plain
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    assert torch.equal(table(ids), plain)


def test_what_has_no_gradient_stays() -> None:
    table, ids, seen = Table(), torch.tensor([[1, 2], [3, 4]]), []

    def gives(value: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        def apart() -> Tensor:
            seen.append(table(ids))
            return value(seen[-1])

        return apart

    with Noise([table], 1.0) as noise:
        noise.climb(gives(lambda x: x.detach().sum()), 5.0)
        noise.climb(gives(lambda x: (x[0] ** 2).sum()), 5.0)
        noise.climb(gives(lambda x: x.sum() * float("nan")), 5.0)
        noise.climb(gives(torch.sum), 5.0)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1][0], seen[2][0])
    assert torch.equal(seen[1][1], seen[2][1])
    assert torch.equal(seen[2], seen[3])


@given(st.floats(1e-4, 10), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_each_sequence_moves_by_just_the_step_where_it_counts_most(step: float, rows: int, width: int, seed: int) -> None:
    """And elsewhere in proportion to the gradient, whatever its size."""
    table, draw = Table(), torch.Generator().manual_seed(seed)
    ids, slope = torch.randint(7, (rows, width), generator=draw), torch.randn(rows, width, 3, generator=draw)
    slope *= torch.logspace(-8, 8, rows).reshape(-1, 1, 1)
    with Noise([table], 1e-9) as noise:
        noise.climb(lambda: (table(ids) * slope).sum(), step)
        moved = (table(ids) - nn.functional.embedding(ids, table.embeds.weight)).detach()
    assert_close(moved, step * slope / slope.abs().amax((1, 2), keepdim=True), rtol=1e-3, atol=1e-5)


def test_hooks_are_gone_after_an_error_too() -> None:
    table, ids = Table(), torch.tensor([[1]])
    before = table(ids)
    with pytest.raises(ZeroDivisionError), Noise([table], 1.0):
        raise ZeroDivisionError
    assert torch.equal(table(ids), before)


def test_letters_behind_a_word_feel_nothing() -> None:
    """Else a word would hang on the longest of its company, and the noise would climb where nothing is."""
    reader, tables = Characters(5, 4, (2, 3)).eval(), []
    given_ = text()
    assert given_.letters is not None
    given_.letters[0, 0, 2:] = 0  # a word of two letters, among those of five
    with Noise([reader], 1e-9) as noise:
        handle = reader.table.register_forward_hook(lambda module, inputs, vectors: tables.append(vectors.detach()))
        noise.climb(lambda: reader(given_).states.sum(), 1.0)
        reader(given_)
        handle.remove()
    moved = (tables[1] - tables[0]).abs().amax(-1)
    assert moved[0, 2:].max() == 0
    assert moved[0, :2].max() == pytest.approx(1)


def test_noise_is_in_single_precision_where_vectors_are_not() -> None:
    table, ids = Table().to(torch.bfloat16), torch.tensor([[1, 2]])
    with Noise([table], 1e-5):
        found = table(ids)
    assert found.dtype == torch.float32
    assert 0 < (found - table(ids).float()).abs().max() < 1e-4
