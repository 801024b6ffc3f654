"""Every figure of a chain against the sum over all its paths, written out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from manyheads.nn.crf import Lattice, Moves, _Logarithms, _Products, log_likelihood, log_partition, marginals, score, viterbi
from manyheads.text.tags import Scheme, invalid_moves, legal_moves, tags
from manyheads.types import IGNORE, cat_rows, part_rows

LETTERS = {"BIO": "BI", "IOB1": "BI", "BIOUL": "BIUL", "IOBES": "BISE"}
DTYPES = st.sampled_from([torch.float32, torch.float64])


def lattice(lengths: Sequence[int], classes: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64) -> Lattice:
    """Rows of these numbers of words, one head's chain for all of them, and noise after the last word."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    rows, width = len(lengths), max(lengths)
    mask = torch.arange(width) < torch.tensor(lengths).unsqueeze(1)
    chain = (draw(shape).expand(rows, *shape) for shape in [(classes, classes), (classes,), (classes,)])
    return Lattice(draw((rows, width, classes)), mask, *chain)


def paths(given: Lattice, row: int) -> dict[tuple[int, ...], float]:
    """Each path through a row's words, and its score, added up one by one."""
    length, classes = int(given.mask[row].sum()), given.emissions.shape[-1]
    emissions, transitions = given.emissions[row].tolist(), given.transitions[row].tolist()
    start, end = given.start[row].tolist(), given.end[row].tolist()
    found = {}
    for path in product(range(classes), repeat=length):
        ends = start[path[0]] + end[path[-1]] if path else 0.0
        inside = sum(emissions[i][tag] for i, tag in enumerate(path))
        found[path] = ends + inside + sum(transitions[a][b] for a, b in pairwise(path))
    return found


def log_sum(scores: Sequence[float]) -> float:
    top = max(scores)
    return top + math.log(sum(math.exp(s - top) for s in scores))


def agrees(path: Sequence[int], target: Sequence[int]) -> bool:
    return all(wanted in (IGNORE, tag) for tag, wanted in zip(path, target, strict=False))


def moves_of(scheme: Scheme, names: Sequence[str] = ("x", "y")) -> tuple[list[str], Moves]:
    labels = ["O", *(f"{letter}-{name}" for name in names for letter in LETTERS[scheme])]
    return labels, Moves.of(*legal_moves(labels, scheme))


lengths = st.lists(st.integers(0, 4), min_size=1, max_size=3)
seeds = st.integers(0, 2**32 - 1)


@given(lengths, st.integers(1, 3), seeds, DTYPES)
def test_the_partition_is_the_sum_over_all_paths(lengths: list[int], classes: int, seed: int, dtype: torch.dtype) -> None:
    given = lattice(lengths, classes, seed, dtype)
    found = log_partition(given)
    assert found.dtype == dtype
    assert_close(found, torch.tensor([log_sum(list(paths(given, row).values())) for row in range(len(lengths))], dtype=dtype))


@given(lengths, st.integers(1, 3), seeds, DTYPES)
def test_the_score_of_a_path(lengths: list[int], classes: int, seed: int, dtype: torch.dtype) -> None:
    given = lattice(lengths, classes, seed, dtype)
    path = torch.randint(classes, given.mask.shape, generator=torch.Generator().manual_seed(seed))
    path[~given.mask] = IGNORE
    expected = [paths(given, row)[tuple(path[row, :length].tolist())] for row, length in enumerate(lengths)]
    assert_close(score(given, path), torch.tensor(expected, dtype=dtype))


@given(lengths, st.integers(1, 3), seeds, DTYPES)
def test_viterbi_finds_the_best_of_all_paths(lengths: list[int], classes: int, seed: int, dtype: torch.dtype) -> None:
    given = lattice(lengths, classes, seed, dtype)
    path, best = viterbi(given)
    for row, length in enumerate(lengths):
        scores = paths(given, row)
        assert tuple(path[row, :length].tolist()) == max(scores, key=scores.__getitem__)
        assert not path[row, length:].any()
    assert_close(best, score(given, path))


@given(lengths, st.integers(1, 3), seeds, DTYPES)
def test_marginals_sum_the_paths_through_each_tag(lengths: list[int], classes: int, seed: int, dtype: torch.dtype) -> None:
    given = lattice(lengths, classes, seed, dtype)
    expected = torch.zeros_like(given.emissions)
    for row in range(len(lengths)):
        scores = paths(given, row)
        for path, value in scores.items():
            for word, tag in enumerate(path):
                expected[row, word, tag] += math.exp(value - log_sum(list(scores.values())))
    assert_close(marginals(given), expected)


@given(lengths, st.integers(1, 3), seeds, DTYPES, st.data())
def test_the_likelihood_sums_over_tags_that_are_missing(
    lengths: list[int], classes: int, seed: int, dtype: torch.dtype, data: st.DataObject
) -> None:
    given = lattice(lengths, classes, seed, dtype)
    tag = st.sampled_from([IGNORE, *range(classes)])
    target = torch.full(given.mask.shape, IGNORE)
    for row, length in enumerate(lengths):
        target[row, :length] = torch.tensor(data.draw(st.lists(tag, min_size=length, max_size=length)), dtype=torch.long)
    expected = []
    for row in range(len(lengths)):
        scores = paths(given, row)
        kept = [value for path, value in scores.items() if agrees(path, target[row].tolist())]
        expected.append(log_sum(kept) - log_sum(list(scores.values())))
    assert_close(log_likelihood(given, target), torch.tensor(expected, dtype=dtype))


def test_a_complete_target_and_one_with_a_gap_agree_row_by_row() -> None:
    given, target = lattice([3, 2]), torch.tensor([[0, 2, 1], [1, 0, IGNORE]])
    gap = torch.tensor([[0, IGNORE, 1], [1, 0, IGNORE]])
    assert_close(log_likelihood(given, gap)[1], log_likelihood(given, target)[1])
    every = [log_likelihood(given, torch.tensor([[0, tag, 1], [1, 0, IGNORE]]))[0] for tag in range(3)]
    assert_close(torch.stack(every).logsumexp(0), log_likelihood(given, gap)[0])


@pytest.mark.parametrize("target", [[[0, 2, 1], [1, 0, IGNORE]], [[0, IGNORE, 1], [IGNORE, IGNORE, IGNORE]]])
def test_gradients_are_those_of_finite_differences(target: list[list[int]]) -> None:
    given = lattice([3, 2])
    _, held = moves_of("BIO", ["x"])

    def likelihood(emissions: Tensor, *chain: Tensor) -> Tensor:
        rows = [weights.expand(2, *weights.shape) for weights in chain]
        return log_likelihood(Lattice(emissions, given.mask, *rows), torch.tensor(target), held)

    leaves = [given.emissions, given.transitions[0], given.start[0], given.end[0]]
    assert torch.autograd.gradcheck(likelihood, [leaf.clone().requires_grad_() for leaf in leaves])


def test_marginals_are_the_gradient_of_the_partition() -> None:
    given = lattice([4, 1, 0, 3])
    emissions = given.emissions.clone().requires_grad_()
    log_partition(replace(given, emissions=emissions)).sum().backward()
    assert emissions.grad is not None
    assert_close(marginals(given), emissions.grad)


@given(lengths.filter(any), st.integers(1, 4), seeds, st.integers(0, 30))
def test_products_are_the_logarithms_of_any_length(lengths: list[int], classes: int, seed: int, more: int) -> None:
    given = lattice([n + more if n else 0 for n in lengths], classes, seed)
    products, logarithms = _Products.over(given), _Logarithms.over(given)
    assert products is not None
    assert_close(products.total, logarithms.total)
    assert_close(products.posteriors(), logarithms.posteriors())


@pytest.mark.parametrize("far", [1e3, 1e6])
def test_scores_too_far_apart_for_products_lose_no_path(far: float) -> None:
    """By products the second row's only good path would be lost at its first word, where the other tag leads by far."""
    given = lattice([3, 2], classes=2)
    emissions = torch.tensor([[[0.0, 0.0]] * 3, [[far, 0.0], [0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    given = replace(given, emissions=emissions, end=torch.tensor([[0.0, 0.0], [-3 * far, 0.0]], dtype=torch.float64))
    given = replace(given, transitions=torch.tensor([[0.0, -3 * far], [0.0, 0.0]], dtype=torch.float64).expand(2, 2, 2))
    assert _Products.over(given) is None
    wanted = [log_sum(list(paths(given, row).values())) for row in range(2)]
    assert_close(log_partition(given), torch.tensor(wanted, dtype=torch.float64))
    assert_close(marginals(given)[1, :2], torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_row_that_says_nothing_has_no_loss_and_no_gradient_whatever_its_scores_are() -> None:
    given = lattice([2, 2])
    emissions = given.emissions.clone()
    emissions[1] = math.nan
    emissions.requires_grad_()
    found = log_likelihood(replace(given, emissions=emissions), torch.tensor([[0, 1], [IGNORE, IGNORE]]))
    found.sum().backward()
    assert found[1] == 0
    assert emissions.grad is not None
    assert emissions.grad[0].any()
    assert not emissions.grad[1].any()


def test_rows_without_any_word_have_nothing() -> None:
    given = lattice([0, 0])
    target = torch.zeros(2, 0, dtype=torch.long)
    assert log_likelihood(given, target).tolist() == [0.0, 0.0]
    assert [part.shape for part in viterbi(given)] == [(2, 0), (2,)]
    assert marginals(given).shape == (2, 0, 3)


@given(lengths, lengths, seeds)
def test_joined_rows_are_what_they_are_alone(one: list[int], other: list[int], seed: int) -> None:
    given = replace(lattice([*one, *other], seed=seed))
    alone = [part_rows(given, 0, len(one), len(given)), part_rows(given, len(one), len(given), len(given))]
    narrow = [part.narrow(max(sizes)) for part, sizes in zip(alone, (one, other), strict=True)]
    joined = cat_rows(narrow)
    assert torch.equal(log_partition(joined), torch.cat([log_partition(part) for part in alone]))
    back = part_rows(joined, 0, len(one), len(joined)).narrow(max(one))
    assert all(torch.equal(a, b) for a, b in zip(viterbi(back), viterbi(narrow[0]), strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    given = lattice([40], dtype=torch.float32)
    half = replace(given, emissions=given.emissions.to(dtype))
    labels, held = moves_of("BIO", ["x"])
    assert len(labels) == 3
    wide = replace(half, emissions=half.emissions.float())
    target = torch.zeros(1, 40, dtype=torch.long)
    assert log_likelihood(half, target, held).dtype == torch.float32
    assert torch.equal(log_likelihood(half, target, held), log_likelihood(wide, target, held))
    assert torch.equal(viterbi(half, held)[0], viterbi(wide, held)[0])


# moves that a scheme forbids --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", get_args(Scheme))
@given(seed=seeds, dtype=DTYPES)
def test_forbidden_paths_have_no_part_in_anything(scheme: Scheme, seed: int, dtype: torch.dtype) -> None:
    labels, held = moves_of(scheme, ["x"])
    given = lattice([3, 1], len(labels), seed, dtype)
    path, best = viterbi(given, held)
    likely = marginals(given, held)
    for row, length in enumerate([3, 1]):
        every = paths(given, row)
        legal = {p: value for p, value in every.items() if not invalid_moves([labels[tag] for tag in p], scheme)}
        found = tuple(path[row, :length].tolist())
        assert found == max(legal, key=legal.__getitem__)
        assert float(best[row]) == pytest.approx(legal[found], rel=1e-4, abs=1e-5)
        target = torch.tensor([*found, *[IGNORE] * (3 - length)]).expand(2, 3)
        expected = legal[found] - log_sum(list(legal.values()))
        assert float(log_likelihood(given, target, held)[row]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
        first = sum(math.exp(v - log_sum(list(legal.values()))) for p, v in legal.items() if p[0] == 0)
        assert float(likely[row, 0, 0]) == pytest.approx(first, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("scheme", get_args(Scheme))
@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4), seed=seeds)
def test_no_decoded_row_breaks_the_scheme(scheme: Scheme, sizes: list[int], seed: int) -> None:
    labels, held = moves_of(scheme)
    given = lattice(sizes, len(labels), seed, torch.float32)
    far = replace(given, emissions=given.emissions * 100)  # far more than any transition could mend
    for row in viterbi(far, held)[0].tolist():
        assert invalid_moves([labels[tag] for tag in row], scheme) == []


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("BIO", "O I-x O"),  # no span begins so
        ("BIO", "B-x I-y O"),
        ("BIOUL", "O B-x I-x"),  # the last words of a span were cut off
        ("IOBES", "B-x ? E-y"),  # whatever stands in between
    ],
)
def test_a_row_that_breaks_the_scheme_is_learned_over_all_paths(scheme: Scheme, words: str) -> None:
    labels, held = moves_of(scheme)
    given = lattice([3, 3], len(labels))
    emissions = given.emissions.clone().requires_grad_()
    legal = tags([], 3, scheme)
    rows = [[IGNORE if word == "?" else labels.index(word) for word in row] for row in (words.split(), legal)]
    free = replace(given, emissions=emissions)
    found = log_likelihood(free, torch.tensor(rows), held)
    assert torch.equal(found[0], log_likelihood(given, torch.tensor(rows))[0])
    assert found[1] > log_likelihood(given, torch.tensor(rows))[1]
    found.sum().backward()
    assert emissions.grad is not None
    assert emissions.grad.isfinite().all()
    assert 0 < float(emissions.grad.abs().max()) < 2


def test_forbidden_moves_are_not_trained() -> None:
    labels, held = moves_of("BIO", ["x"])
    given = lattice([4], len(labels))
    weights = given.transitions[0].clone().requires_grad_()
    target = torch.tensor([[labels.index(tag) for tag in ("O", "B-x", "I-x", "O")]])
    (-log_likelihood(replace(given, transitions=weights.expand(1, -1, -1)), target, held)).sum().backward()
    assert weights.grad is not None
    forbidden = weights.grad[~held.between]
    assert len(forbidden) == 1
    assert not forbidden.any()
    assert weights.grad[held.between].all()
