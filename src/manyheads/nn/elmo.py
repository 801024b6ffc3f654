"""ELMo: a language model of each direction over words that are read by their letters (Peters et al., NAACL 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.ports import Port, Ports
from manyheads.types import States, Tokens

CHARACTERS = 261  # bytes, and the marks below
BEGIN_TEXT, END_TEXT, BEGIN, END, PADDING = range(256, CHARACTERS)
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of an ELMo, as its options.json has them under other names.

    kernels      width in characters and number of the filters of each convolution
    letter       width of a character's vector
    longest      characters of a word, the marks of its begin and end included
    highways     highway layers behind the convolutions
    activation   behind the convolutions: relu or tanh
    width        of a word's vector, and of the states of one direction
    cells        of a recurrent layer
    depth        recurrent layers of a direction
    skips        whether what a layer reads is added to what it gives, from the second layer on
    cell_clip    the greatest size of a cell's memory; None: any
    state_clip   the greatest size of a state; None: any
    """

    kernels: Sequence[Sequence[int]]
    letter: int
    longest: int
    highways: int
    activation: str
    width: int
    cells: int
    depth: int
    skips: bool
    cell_clip: float | None
    state_clip: float | None


class Elmo(nn.Module):
    """tokens (B, T) -> states (B, T, D) of all layers: the words, then each recurrent layer, forward beside backward.

    `shape` are the keyword arguments of `Shape`; D is twice its width. Read as states they are the mean of the layers, to the
    same effect as a new `ScalarMix`; with `layers` each layer can be read by itself. Every text stands between marks of its
    begin and end. No state is kept from text to text, so that what a row gives does not depend on its company.
    """

    def __init__(self, *, max_length: int = 512, dropout: float = 0.0, layers: bool = False, **shape: object) -> None:
        super().__init__()
        dims = Shape(**shape)  # type: ignore[arg-type]  # names are checked here, values where options.json is read
        if dims.activation not in ACTIVATIONS:
            near = nearest(dims.activation, ACTIVATIONS)
            raise RecipeError(Problem(f"an activation is one of {listed(ACTIVATIONS)}", value=dims.activation, nearest=near))
        self.ports = Ports((Port("tokens"),), Port("layers" if layers else "states", 2 * dims.width), looks="halves")
        self.shape, self.max_length, self.rate, self.layers = dims, max_length, dropout, layers
        self.words = SpelledWords(dims)
        self.ahead, self.back = Direction(dims), Direction(dims)

    @property
    def embeds(self) -> nn.Module:
        """Gives the vectors of words (`manyheads.nn.perturb`)."""
        return self.words

    def forward(self, tokens: Tokens) -> States:
        if tokens.letters is None:
            raise ValueError("characters are wanted, but these tokens carry no spelling; the data set's tokenizer must spell")
        read, lengths = self._between_marks(tokens.letters, tokens.mask)
        turned = _turned(lengths, read.shape[1])
        back = [_picked(states, turned) for states in self.back(_picked(read, turned))]
        pairs = zip([read, *self.ahead(read)], [read, *back], strict=True)
        real = tokens.mask.unsqueeze(-1)
        found = [torch.cat(pair, -1)[:, 1:-1] * real for pair in pairs]
        mean = self._dropped(torch.stack(found).mean(0))
        # Views, since no layer may be on the way from another to a loss: the gradient of each is then its own readers' alone.
        below = tuple(self._dropped(layer.view_as(layer)) for layer in found) if self.layers else ()
        return States(mean, tokens.mask, tokens.words, below, tokens.carry, apart=True)

    def _between_marks(self, letters: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T + 2, width) vectors of the words and of the marks around each text, and (B,) how many of these there are."""
        words, marks = self.words(letters[mask]), self.words.marks()
        lengths = mask.sum(1) + 2
        read = words.new_zeros((len(mask), mask.shape[1] + 2, words.shape[-1]))
        read[:, 1:-1][mask] = words
        read[:, 0] = marks[0]
        read[torch.arange(len(mask), device=mask.device), lengths - 1] = marks[1]
        return read, lengths

    def _dropped(self, states: Tensor) -> Tensor:
        return dropout(states, self.rate, self.training)


class SpelledWords(nn.Module):
    """letters (N, L) uint8 -> (N, width): convolutions over a word's characters, highway layers, a linear map.

    What a character-aware language model reads (Kim et al., AAAI 2016), over bytes of UTF-8.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.longest, self.activation = shape.longest, ACTIVATIONS[shape.activation]
        self.widest = max(kernel for kernel, _ in shape.kernels)
        self.table = nn.Embedding(CHARACTERS, shape.letter)
        self.convolutions = nn.ModuleList(nn.Conv1d(shape.letter, count, kernel) for kernel, count in shape.kernels)
        filters = sum(count for _, count in shape.kernels)
        self.highways = nn.ModuleList(nn.Linear(filters, 2 * filters) for _ in range(shape.highways))
        self.project = nn.Linear(filters, shape.width)

    def forward(self, letters: Tensor) -> Tensor:
        return self._vectors(self._spelled(letters))

    def marks(self) -> Tensor:
        """(2, width): the vectors of the begin and of the end of a text, words of one character each."""
        device = self.table.weight.device
        spelled = torch.full((2, self.longest), PADDING, device=device)
        spelled[:, :3] = torch.tensor([[BEGIN, BEGIN_TEXT, END], [BEGIN, END_TEXT, END]], device=device)
        return self._vectors(spelled)

    def _spelled(self, letters: Tensor) -> Tensor:
        """(N, C) numbers of the characters between the marks of a word's begin and end, padded.

        No longer than the longest word and a window of padding behind it, for every further window finds the same.
        """
        letters = letters[:, : self.longest - 2].long()
        at = torch.arange(letters.shape[1], device=letters.device)
        lengths = ((letters > 0) * (at + 1)).amax(1) if letters.numel() else letters.new_zeros(len(letters))
        width = min(self.longest, letters.shape[1] + 2 + self.widest)
        spelled = letters.new_full((len(letters), width), PADDING)
        spelled[:, 1 : 1 + letters.shape[1]] = letters.where(at < lengths.unsqueeze(1), PADDING)
        spelled[:, 0] = BEGIN
        return spelled.scatter(1, lengths.unsqueeze(1) + 1, END)

    def _vectors(self, spelled: Tensor) -> Tensor:
        read = self.table(spelled).transpose(1, 2)
        found = torch.cat([self.activation(convolve(read).amax(-1)) for convolve in self.convolutions], -1)
        for highway in self.highways:
            changed, carried = highway(found).chunk(2, -1)
            gate = carried.sigmoid()
            found = gate * found + (1 - gate) * changed.relu()
        projected: Tensor = self.project(found)
        return projected


class Direction(nn.Module):
    """(B, T, width) -> that of each recurrent layer, which has seen what comes before."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.skips = shape.skips
        self.layers = nn.ModuleList(ClippedLstm(shape) for _ in range(shape.depth))

    def forward(self, read: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for layer in self.layers:
            given = layer(read)
            read = given + read if self.skips and found else given
            found.append(read)
        return found


class ClippedLstm(nn.Module):
    """(B, T, width) -> (B, T, width): an LSTM with a linear map behind it (Sak et al., Interspeech 2014), both clipped."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.cell_clip, self.state_clip = shape.cell_clip, shape.state_clip
        self.input = nn.Linear(shape.width, 4 * shape.cells, bias=False)
        self.state = nn.Linear(shape.width, 4 * shape.cells)
        self.project = nn.Linear(shape.cells, shape.width, bias=False)

    def forward(self, read: Tensor) -> Tensor:
        state, memory = torch.zeros_like(read[:, 0]), read.new_zeros((len(read), self.project.in_features))
        found = []
        for given in self.input(read).unbind(1):
            into, keep, new, out = (given + self.state(state)).chunk(4, -1)
            memory = _clipped(keep.sigmoid() * memory + into.sigmoid() * new.tanh(), self.cell_clip)
            state = _clipped(self.project(out.sigmoid() * memory.tanh()), self.state_clip)
            found.append(state)
        return torch.stack(found, 1)


def _clipped(value: Tensor, most: float | None) -> Tensor:
    return value if most is None else value.clamp(-most, most)


def _turned(lengths: Tensor, width: int) -> Tensor:
    """(B, width): positions of each row from its end to its begin; what is padded stays."""
    at = torch.arange(width, device=lengths.device).expand(len(lengths), width)
    ends = lengths.unsqueeze(1)
    return torch.where(at < ends, ends - 1 - at, at)


def _picked(states: Tensor, at: Tensor) -> Tensor:
    return states.gather(1, at.unsqueeze(-1).expand_as(states))
