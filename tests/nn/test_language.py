"""The language head against an explicit loop over words, and its gradients against what a state may have seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from manyheads.errors import RecipeError, WiringError
from manyheads.model import Model
from manyheads.nn import language
from manyheads.nn.embedding import Concat, Embedding
from manyheads.nn.feedforward import FeedForward
from manyheads.nn.language import LanguageHead, NextWords
from manyheads.nn.recurrent import Recurrent
from manyheads.nn.transformer import Transformer
from manyheads.ports import Port, Ports, sight
from manyheads.task.base import Task
from manyheads.task.language_modelling import LanguageModelling
from manyheads.types import IGNORE, Batch, States, Tokens, cat_rows, part_rows

WORDS, WIDTH, LENGTHS = 11, 6, (5, 3, 1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def mask() -> Tensor:
    return torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def a_target(sides: int = 1) -> Tensor:
    found = torch.randint(1, WORDS, (len(LENGTHS), max(LENGTHS), sides))
    return found.masked_fill(~mask().unsqueeze(-1), IGNORE)


def states(width: int = WIDTH) -> States:
    return States(torch.randn(len(LENGTHS), max(LENGTHS), width), mask())


def by_hand(hidden: Tensor, weight: Tensor, bias: Tensor, word: int) -> Tensor:
    """The formula itself: a softmax over all words but padding."""
    scores = [hidden @ weight[i] + bias[i] for i in range(1, len(weight))]
    return scores[word - 1] - torch.stack(scores).exp().sum().log()


@pytest.mark.parametrize(("direction", "halves"), [("forward", False), ("forward", True), ("backward", True), ("both", True)])
@pytest.mark.parametrize("tied", [None, WIDTH, 4])
def test_each_word_by_hand(direction: str, halves: bool, tied: int | None) -> None:
    width = 2 * WIDTH if halves else WIDTH
    of = None if tied is None else Embedding(WORDS, tied)
    head = LanguageHead(width, WORDS, direction=direction, halves=halves, of=of).eval()
    given = states(width)
    target = a_target(2 if direction == "both" else 1)
    found = iter(head(given).log_likelihood(target))
    decoder = head.decoder
    for row, length in enumerate(LENGTHS):
        for at in range(length):
            for side in range(target.shape[-1]):
                hidden = given.states[row, at]
                if halves:
                    hidden = hidden[WIDTH:] if direction == "backward" or side else hidden[:WIDTH]
                if of is None:
                    weight, bias = decoder.linear.weight, decoder.linear.bias
                else:
                    weight, bias = of.table.weight, decoder.bias
                    hidden = hidden if tied == WIDTH else decoder.map.weight @ hidden
                torch.testing.assert_close(next(found), by_hand(hidden, weight, bias, int(target[row, at, side])))
    assert next(found, None) is None


def test_the_adaptive_softmax_by_hand() -> None:
    """A word of the head by the head's softmax; another by its cluster's share times the softmax of the cluster."""
    head = LanguageHead(16, WORDS, softmax="adaptive", cutoffs=[4, 7]).eval()
    softmax = head.decoder.softmax
    given, target = states(16), a_target()
    found = iter(head(given).log_likelihood(target))
    for row, length in enumerate(LENGTHS):
        for at in range(length):
            word, hidden = int(target[row, at]), given.states[row, at]
            first = torch.log_softmax(softmax.head.weight @ hidden, 0)  # four words and two clusters
            if word < 4:
                wanted = first[word]
            else:
                cluster, begin = (0, 4) if word < 7 else (1, 7)
                down, up = softmax.tail[cluster]
                wanted = first[4 + cluster] + torch.log_softmax(up.weight @ (down.weight @ hidden), 0)[word - begin]
            torch.testing.assert_close(next(found), wanted)
    assert head(given).log_likelihood(torch.full_like(target, IGNORE)).shape == (0,)


@pytest.mark.parametrize(
    ("width", "cutoffs", "rule"),
    [(15, [4, 7], "nothing is left of 15"), (16, [4, 11], "less than the 11"), (16, [], "cutoffs rise")],
)
def test_cutoffs_that_cannot_be(width: int, cutoffs: list[int], rule: str) -> None:
    with pytest.raises(RecipeError, match=rule):
        LanguageHead(width, WORDS, softmax="adaptive", cutoffs=cutoffs)


def test_chunks_of_scores_change_neither_values_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path against the slow one, with the memory for three words' scores at a time."""
    head, target, given = LanguageHead(WIDTH, WORDS, dropout=0), a_target(), states().states

    def computed(limit: int) -> list[Tensor]:
        monkeypatch.setattr(language, "SCORES", limit)
        hidden = given.clone().requires_grad_()
        found = head(States(hidden, mask())).log_likelihood(target)
        weights = torch.linspace(0.5, 2, len(found))
        return [found.detach(), *torch.autograd.grad((found * weights).sum(), [hidden, *head.parameters()])]

    whole, parts = computed(10**6), computed(3 * WORDS)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_all_scores_are_never_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor any of padding: the largest tensor is that of three words."""
    seen: list[int] = []
    original = language._log_likelihood

    def watched(hidden: Tensor, *rest: Tensor) -> Tensor:
        seen.append(len(hidden))
        return original(hidden, *rest)

    monkeypatch.setattr(language, "SCORES", 3 * WORDS)
    monkeypatch.setattr(language, "_log_likelihood", watched)
    LanguageHead(WIDTH, WORDS)(states()).log_likelihood(a_target())
    assert seen == [3, 3, 3]
    assert sum(LENGTHS) == 9


def test_padding_is_never_told_and_its_vector_stays_zero() -> None:
    of = Embedding(WORDS, WIDTH)
    head = LanguageHead(WIDTH, WORDS, of=of)
    head(states()).log_likelihood(a_target()).sum().backward()
    assert of.table.weight.grad is not None
    assert not of.table.weight.grad[0].any()
    assert of.table.weight.grad[1:].any(1).all()


def test_a_tied_table_is_the_embeddings_alone() -> None:
    of = Embedding(WORDS, 4)
    head = LanguageHead(WIDTH, WORDS, of=of)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
        "decoder.bias": (WORDS,),
        "decoder.map.weight": (4, WIDTH),
    }
    before = head.eval()(given := states()).log_likelihood(target := a_target())
    with torch.no_grad():
        of.table.weight.mul_(3)
    assert not torch.equal(before, head(given).log_likelihood(target))


def test_rows_are_parted_and_joined_with_their_decoder() -> None:
    head = LanguageHead(WIDTH, WORDS).eval()
    whole, target = head(states()), a_target()
    parts = [part_rows(whole, 0, 1, 3), part_rows(whole, 1, 3, 3)]
    found = torch.cat([part.log_likelihood(t) for part, t in zip(parts, (target[:1], target[1:]), strict=True)])
    torch.testing.assert_close(found, whole.log_likelihood(target))
    again = cat_rows([NextWords(parts[0].hidden[:, :2], head.decoder), parts[1].to("cpu")])
    assert again.decoder is head.decoder
    assert again.hidden.shape == whole.hidden.shape
    narrow = torch.cat([target[:1, :2], torch.full((1, 3, 1), IGNORE)], 1)
    torch.testing.assert_close(
        again.log_likelihood(torch.cat([narrow, target[1:]])), whole.log_likelihood(torch.cat([narrow, target[1:]]))
    )


# what a state has seen ----------------------------------------------------------------------------------------------


def forward_lstm() -> list[nn.Module]:
    return [Recurrent(WIDTH, WIDTH, bidirectional=False, layers=2)]


def both_ways(cell: str) -> Callable[[], list[nn.Module]]:
    return lambda: [Recurrent(WIDTH, WIDTH, cell=cell)]


def causal() -> list[nn.Module]:
    return [Transformer(WIDTH, heads=2, causal=True, dropout=0), FeedForward("states", WIDTH, WIDTH)]


CHAINS: list[tuple[str, Callable[[], list[nn.Module]], str]] = [
    ("past", forward_lstm, "forward"),
    ("past", causal, "forward"),
    ("halves", both_ways("lstm"), "forward"),
    ("halves", both_ways("gru"), "backward"),
    ("halves", both_ways("lstm"), "both"),
    ("word", lambda: [FeedForward("states", WIDTH, WIDTH)], "backward"),
]


@pytest.mark.parametrize(("seen", "make", "direction"), CHAINS)
def test_no_word_is_told_from_itself(seen: str, make: Callable[[], list[nn.Module]], direction: str) -> None:
    """d log-likelihood at t / d input at t' is zero for each t' that the side must not see, and not for those that it may."""
    chain = make()
    width = WIDTH * (2 if seen == "halves" else 1)
    head = LanguageHead(width, WORDS, direction=direction, halves=seen == "halves").eval()
    length = 5
    inputs = torch.randn(1, length, WIDTH, requires_grad=True)
    value = States(inputs, torch.ones(1, length, dtype=torch.bool))
    for module in chain:
        value = module.eval()(value)
    output = head(value)
    sides = {"forward": [1], "backward": [-1], "both": [1, -1]}[direction]
    for side, step in enumerate(sides):
        for at in range(length):
            target = torch.full((1, length, len(sides)), IGNORE)
            target[0, at, side] = 3
            (gradient,) = torch.autograd.grad(output.log_likelihood(target).sum(), inputs, retain_graph=True)
            reached = [t for t in range(length) if gradient[0, t].any()]
            told = at + step
            assert told not in reached
            allowed = [t for t in range(length) if (t <= at if step > 0 else t >= at)]
            assert reached == ([at] if seen == "word" else allowed)


def wired(*modules: nn.Module) -> Model:
    pool = {f"m{i}": module for i, module in enumerate(modules)}
    return Model(pool, [Task("lm", list(pool), LanguageModelling(WORDS))])


@pytest.mark.parametrize(
    ("between", "head"),
    [
        ([Recurrent(WIDTH, WIDTH)], LanguageHead(2 * WIDTH, WORDS)),
        ([Recurrent(WIDTH, WIDTH, layers=2)], LanguageHead(2 * WIDTH, WORDS, direction="both", halves=True)),
        (
            [Recurrent(WIDTH, WIDTH, bidirectional=False), Recurrent(WIDTH, 3)],
            LanguageHead(WIDTH, WORDS, direction="both", halves=True),
        ),
        ([Recurrent(WIDTH, 3), Recurrent(WIDTH, WIDTH, bidirectional=False)], LanguageHead(WIDTH, WORDS)),
        ([Recurrent(WIDTH, 3), FeedForward("states", WIDTH, WIDTH)], LanguageHead(WIDTH, WORDS, halves=True)),
        ([Transformer(WIDTH, heads=2)], LanguageHead(WIDTH, WORDS)),
        ([Recurrent(WIDTH, WIDTH, bidirectional=False)], LanguageHead(WIDTH, WORDS, direction="backward")),
        ([nn.Identity()], LanguageHead(WIDTH, WORDS)),
    ],
)
def test_states_that_have_seen_the_word_are_refused(between: Sequence[nn.Module], head: LanguageHead) -> None:
    with pytest.raises(WiringError, match="have seen"):
        wired(Embedding(WORDS, WIDTH), *between, head)


def test_states_that_have_not_are_taken() -> None:
    model = wired(Embedding(WORDS, WIDTH), Recurrent(WIDTH, WIDTH, bidirectional=False), LanguageHead(WIDTH, WORDS))
    ids = torch.tensor([[3, 5, 6, 4]])
    tokens = Tokens(ids, ids > 0, torch.zeros_like(ids))
    batch = Batch("d", {"text": tokens}, {"lm": torch.tensor([[[5], [6], [4], [IGNORE]]])}, [0])
    assert float(model.losses([batch])["lm"].detach()) == pytest.approx(3 * math.log(WORDS - 1), rel=0.2)


def test_a_module_of_ones_own_says_where_it_looks() -> None:
    class Own(nn.Module):
        ports = Ports((Port("states", WIDTH),), Port("states", WIDTH), looks="back")

    assert wired(Embedding(WORDS, WIDTH), Own(), LanguageHead(WIDTH, WORDS)).graph.nodes[1].gives.sight == "past"


@pytest.mark.parametrize(
    ("looks", "inputs", "seen"),
    [
        ("here", ["word", "word"], "word"),
        ("here", ["word", "past"], "past"),
        ("here", ["halves", "halves"], "all"),
        ("back", ["halves"], "all"),
        ("back", ["past"], "past"),
        ("halves", ["word"], "halves"),
        ("halves", ["past"], "all"),
        ("around", ["word"], "all"),
    ],
)
def test_what_is_made_of_states(looks: str, inputs: list[str], seen: str) -> None:
    assert sight(looks, inputs) == seen  # type: ignore[arg-type]  # the parameters are the literals


def test_joined_halves_are_no_halves_any_more() -> None:
    made = Concat("states", [WIDTH, WIDTH])
    assert made.ports.looks == "here"


def test_both_sides_want_halves() -> None:
    with pytest.raises(RecipeError, match="half for each"):
        LanguageHead(WIDTH, WORDS, direction="both")
