from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.nn.losses import absolute_error, binary_cross_entropy, cross_entropy, is_missing, items, squared_error, without
from manyheads.types import IGNORE

NAN = float("nan")
CASES: list[tuple[str, Callable[..., Tensor], tuple[int, ...], Tensor]] = [
    ("classes", cross_entropy, (3, 4), torch.full((3,), IGNORE)),
    ("words", cross_entropy, (2, 3, 4), torch.full((2, 3), IGNORE)),
    ("probabilities", cross_entropy, (3, 4), torch.full((3, 4), NAN)),
    ("label sets", binary_cross_entropy, (3, 4), torch.full((3, 4), NAN)),
    ("numbers", squared_error, (3, 1), torch.full((3,), NAN)),
    ("absolute", absolute_error, (3, 1), torch.full((3,), NAN)),
]


def scores(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_(True)


@pytest.mark.parametrize(("loss", "shape", "target"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_nothing_to_learn_gives_zero_with_a_gradient_of_zero(
    loss: Callable[..., Tensor], shape: tuple[int, ...], target: Tensor
) -> None:
    found = scores(*shape)
    value = loss(found, target)
    value.backward()
    assert float(value.detach()) == 0.0
    assert found.grad is not None
    assert not found.grad.any()
    assert items(target) == 0
    assert is_missing(target).all()


TARGETS = [
    torch.tensor([1, IGNORE, 3]),
    torch.tensor([[0, 1, IGNORE], [3, IGNORE, IGNORE]]),
    torch.tensor([[0.2, 0.8, 0, 0], [NAN] * 4, [0, 0, 1, 0]]),
    torch.tensor([[0.0, 1, NAN, 0], [NAN] * 4, [1, 1, 0, 1]]),
    torch.tensor([1.0, NAN, -3]),
    torch.tensor([1.0, NAN, -3]),
]


@pytest.mark.parametrize(("case", "target"), list(zip(CASES, TARGETS, strict=True)), ids=[c[0] for c in CASES])
def test_a_row_of_weight_2_adds_what_two_rows_add(
    case: tuple[str, Callable[..., Tensor], tuple[int, ...], Tensor], target: Tensor
) -> None:
    _, loss, shape, nothing = case
    found, times = scores(*shape), torch.arange(shape[0]) + 1
    twin = loss(found.repeat_interleave(times, 0), target.repeat_interleave(times, 0))
    assert_close(loss(found, target, weights=times.float()), twin)
    assert_close(without(target, times > 0), nothing, equal_nan=True)


@given(st.lists(st.sampled_from([IGNORE, 0, 1, 2, 3]), min_size=1, max_size=8))
def test_items_without_a_class_add_nothing(classes: list[int]) -> None:
    target = torch.tensor(classes)
    found, known = scores(len(classes), 4), target != IGNORE
    value = cross_entropy(found, target)
    if known.any():
        assert_close(value, F.cross_entropy(found[known], target[known]) * known.sum())
    assert items(target) == int(known.sum())


def test_the_loss_of_a_class_and_a_gap_is_the_loss_of_the_class() -> None:
    found = scores(2, 4)
    assert_close(cross_entropy(found, torch.tensor([1, IGNORE])), cross_entropy(found[:1], torch.tensor([1])))


def test_words_are_items() -> None:
    found, target = scores(2, 3, 4), torch.tensor([[0, 1, IGNORE], [3, IGNORE, IGNORE]])
    slow = [F.cross_entropy(found[i, j], target[i, j]) for i, j in ((0, 0), (0, 1), (1, 0))]
    assert_close(cross_entropy(found, target), torch.stack(slow).sum())
    assert items(target) == 3


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.floats(0, 0.9), st.booleans())
def test_soft_labels_of_one_class_equal_the_class(classes: list[int], smoothing: float, weighted: bool) -> None:
    found, target = scores(len(classes), 4), torch.tensor(classes)
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0]) if weighted else None
    hard = cross_entropy(found, target, weight, smoothing)
    assert_close(cross_entropy(found, F.one_hot(target, 4).float(), weight, smoothing), hard, rtol=1e-5, atol=1e-5)


def test_soft_labels_average_the_losses_of_their_classes() -> None:
    found = scores(1, 4)
    parts = [cross_entropy(found, torch.tensor([i])) for i in range(4)]
    value = cross_entropy(found, torch.tensor([[0.5, 0.25, 0.25, 0.0]]))
    assert_close(value, 0.5 * parts[0] + 0.25 * parts[1] + 0.25 * parts[2])


def test_a_row_of_nan_is_a_missing_soft_label_and_one_nan_among_numbers_is_not_hidden() -> None:
    found = scores(2, 2)
    target = torch.tensor([[0.25, 0.75], [NAN, NAN]])
    assert_close(cross_entropy(found, target), cross_entropy(found[:1], target[:1]))
    assert items(target) == 1
    assert cross_entropy(found, torch.tensor([[0.5, NAN], [0.5, 0.5]])).isnan()


def test_class_weights_multiply_and_leave_the_count_alone() -> None:
    found, target, weight = scores(3, 2), torch.tensor([0, 1, IGNORE]), torch.tensor([1.0, 5.0])
    parts = F.cross_entropy(found[:2], target[:2], reduction="none")
    assert_close(cross_entropy(found, target, weight), parts[0] + 5 * parts[1])
    assert items(target) == 2


def test_label_smoothing_spreads_the_target() -> None:
    found, target = scores(2, 4), torch.tensor([1, IGNORE])
    spread = torch.full((1, 4), 0.1 / 4)
    spread[0, 1] += 0.9
    assert_close(cross_entropy(found, target, label_smoothing=0.1), cross_entropy(found[:1], spread))


def test_binary_cross_entropy_is_the_mean_over_labels_summed_over_rows() -> None:
    found, target = scores(3, 4), torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    assert_close(binary_cross_entropy(found, target), F.binary_cross_entropy_with_logits(found, target) * 3)


def test_a_missing_row_and_a_missing_label_of_a_label_set() -> None:
    found = scores(2, 2)
    target = torch.tensor([[1.0, NAN], [NAN, NAN]])
    alone = F.binary_cross_entropy_with_logits(found[0, 0], torch.tensor(1.0))
    assert_close(binary_cross_entropy(found, target), alone / 2)
    assert items(target) == 1
    assert is_missing(target).tolist() == [False, True]


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
@pytest.mark.parametrize(("loss", "mean"), [(squared_error, F.mse_loss), (absolute_error, F.l1_loss)])
def test_errors_of_numbers(
    loss: Callable[..., Tensor], mean: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    found, target = scores(*shape), torch.tensor([1.0, NAN, -2.0])
    known = torch.tensor([0, 2])
    assert_close(loss(found, target), mean(found.reshape(3)[known], target[known]) * 2)
    assert items(target) == 2


def test_whole_numbers_have_gaps_too() -> None:
    found = scores(3)
    wanted = squared_error(found, torch.tensor([1.0, NAN, -2.0]))
    assert_close(squared_error(found, torch.tensor([1, IGNORE, -2])), wanted)


def test_a_gap_of_nan_never_reaches_the_gradient() -> None:
    found = scores(2)
    squared_error(found, torch.tensor([1.0, NAN])).backward()
    assert found.grad is not None
    assert found.grad.isfinite().all()
    assert found.grad[1] == 0


def test_losses_under_bf16_are_summed_in_fp32() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.randn(4, 3).bfloat16()
        assert cross_entropy(found, torch.tensor([0, 1, 2, 0]), torch.ones(3).to(found)).dtype == torch.float32
        assert binary_cross_entropy(found, torch.rand(4, 3)).dtype == torch.float32
        assert squared_error(found[:, 0], torch.rand(4)).dtype == torch.float32


# the focal loss -----------------------------------------------------------------------------------------------------

GAMMAS = st.sampled_from([0.3, 0.5, 1.0, 2.0, 5.0])
HUGE = torch.tensor([[3e4, -3e4, 0.0], [-3e4, 3e4, 0.0], [1e30, -1e30, 5.0], [0.0, 0.0, 0.0], [88.0, -88.0, 17.0]])


def focal(scores: Tensor, target: Tensor, gamma: float, alpha: Tensor | None = None) -> Tensor:
    """Lin et al., equation 5, item by item: -alpha_t (1 - p_t)^gamma log p_t."""
    total = torch.zeros(())
    for row, label in zip(scores, target.tolist(), strict=True):
        p = row.softmax(-1)[label]
        total = total - (1.0 if alpha is None else alpha[label]) * (1 - p) ** gamma * p.log()
    return total


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), GAMMAS, st.booleans())
def test_the_focal_loss_is_that_of_the_paper_and_class_weights_are_its_alpha(
    classes: list[int], gamma: float, weighted: bool
) -> None:
    found, target = scores(len(classes), 4), torch.tensor(classes)
    alpha = torch.tensor([1.0, 2.0, 0.5, 3.0]) if weighted else None
    wanted = focal(found, target, gamma, alpha)
    assert_close(cross_entropy(found, target, alpha, gamma=gamma), wanted)
    assert_close(cross_entropy(found, F.one_hot(target, 4).float(), alpha, gamma=gamma), wanted)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=6), GAMMAS, st.booleans())
def test_of_one_score_too(classes: list[int], gamma: float, weighted: bool) -> None:
    found, target = scores(len(classes), 1), torch.tensor(classes)
    alpha = torch.tensor([0.25, 0.75]) if weighted else None
    wanted = focal(torch.cat([torch.zeros_like(found), found], 1), target, gamma, alpha)
    assert_close(binary_cross_entropy(found, target[:, None].float(), class_weights=alpha, gamma=gamma), wanted)


@pytest.mark.parametrize(("case", "target"), list(zip(CASES[:4], TARGETS[:4], strict=True)), ids=[c[0] for c in CASES[:4]])
def test_a_gamma_near_zero_is_cross_entropy_and_weights_of_rows_multiply_as_ever(
    case: tuple[str, Callable[..., Tensor], tuple[int, ...], Tensor], target: Tensor
) -> None:
    _, loss, shape, nothing = case
    found, times = scores(*shape), torch.arange(shape[0]) + 1
    assert_close(loss(found, target, gamma=1e-7), loss(found, target))
    twin = loss(found.repeat_interleave(times, 0), target.repeat_interleave(times, 0), gamma=2.0)
    assert_close(loss(found, target, weights=times.float(), gamma=2.0), twin)
    value = loss(found, nothing, gamma=2.0)
    value.backward()
    assert float(value.detach()) == 0.0
    assert found.grad is not None
    assert not found.grad.any()


def test_smoothing_beside_the_focal_loss_spreads_the_target() -> None:
    found, spread = scores(2, 4), torch.tensor([[0.025, 0.925, 0.025, 0.025], [0.925, 0.025, 0.025, 0.025]])
    smoothed = cross_entropy(found, torch.tensor([1, 0]), label_smoothing=0.1, gamma=2.0)
    assert_close(smoothed, cross_entropy(found, spread, gamma=2.0))
    assert_close(
        cross_entropy(found, torch.tensor([1, 0]), label_smoothing=0.1, gamma=1e-7),
        cross_entropy(found, torch.tensor([1, 0]), label_smoothing=0.1),
    )


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_huge_scores_have_finite_losses_and_gradients(gamma: float, label: int) -> None:
    target = torch.full((5,), label)
    for loss, wanted in ((cross_entropy, target), (binary_cross_entropy, F.one_hot(target, 3).float())):
        found = HUGE.clone().requires_grad_(True)
        value = loss(found, wanted, gamma=gamma)
        value.backward()
        assert value.isfinite()
        assert found.grad is not None
        assert found.grad.isfinite().all()


def test_an_item_that_is_right_counts_less_the_righter_it_is() -> None:
    def share(score: float) -> float:
        one, target = torch.tensor([[score, 0.0]]), torch.tensor([0])
        return float(cross_entropy(one, target, gamma=2.0) / cross_entropy(one, target))

    assert share(4.0) < 0.001 < share(1.0) < 0.1 < share(-4.0) < 1


def test_the_focal_loss_under_bf16_is_summed_in_fp32() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.randn(4, 3).bfloat16()
        assert cross_entropy(found, torch.tensor([0, 1, 2, 0]), torch.ones(3).to(found), gamma=2.0).dtype == torch.float32
        assert binary_cross_entropy(found, torch.rand(4, 3), gamma=2.0).dtype == torch.float32


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5),
    st.floats(0, 0.9),
    st.sampled_from([0.0, 2.0]),
    st.booleans(),
)
def test_smoothing_and_class_weights_of_one_score_are_those_of_two(
    shares: list[float], smoothing: float, gamma: float, weighted: bool
) -> None:
    found, target = scores(len(shares), 1), torch.tensor(shares)[:, None]
    alpha = torch.tensor([3.0, 0.25]) if weighted else None
    both, sure = torch.cat([torch.zeros_like(found), found], 1), torch.cat([1 - target, target], 1)
    wanted = cross_entropy(both, sure, alpha, smoothing, gamma=gamma)
    assert_close(binary_cross_entropy(found, target, None, alpha, gamma, smoothing), wanted, rtol=1e-4, atol=1e-5)


def test_a_weight_of_each_label_of_a_label_set_is_the_pos_weight_of_torch() -> None:
    found, target = scores(5, 3), torch.tensor([[0.0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 0]])
    there = torch.tensor([4.0, 1.0, 0.5])
    wanted = F.binary_cross_entropy_with_logits(found, target, pos_weight=there, reduction="sum") / 3
    assert_close(binary_cross_entropy(found, target, None, torch.stack([torch.ones(3), there])), wanted)
