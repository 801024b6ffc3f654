"""Words as vectors: by their number in a vocabulary, or by their characters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from manyheads.nn.convolution import convolutions, strongest
from manyheads.ports import Port, Ports
from manyheads.types import States, Tokens

UNKNOWN = 1  # number of the unknown word, after padding
BYTES = 257  # a byte by its number, and padding


class Embedding(nn.Module):
    """tokens (B, T) -> states (B, T, D): a vector for each of the `words` of a vocabulary, zeros where padded.

    In training each word is read as unknown with the probability `word_dropout`, so that the vector of what is not known is
    learned. `max_length` is the most words of one input.
    """

    def __init__(
        self, words: int, width: int, *, max_length: int = 512, dropout: float = 0.0, word_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.ports = Ports((Port("tokens"),), Port("states", width), looks="here")
        self.max_length, self.word_dropout = max_length, word_dropout
        self.table = nn.Embedding(words, width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[0] = 0
        self.dropout = nn.Dropout(dropout)

    @property
    def embeds(self) -> nn.Module:
        """Gives the vectors of words (`manyheads.nn.perturb`)."""
        return self.table

    def forward(self, tokens: Tokens) -> States:
        ids = tokens.ids
        if self.training and self.word_dropout:
            hidden = (torch.rand(ids.shape, device=ids.device) < self.word_dropout) & tokens.mask
            ids = ids.masked_fill(hidden, UNKNOWN)
        return States(self.dropout(self.table(ids)), tokens.mask, tokens.words, carry=tokens.carry)


class Characters(nn.Module):
    """tokens (B, T) -> states (B, T, D): each word by its bytes, through convolutions and the maximum over the word.

    `filters` of each width of `kernels`, so that D is their product; ReLU before the maximum. The character-level words
    of Kim et al. (AAAI 2016) and Ma and Hovy (ACL 2016), over bytes of UTF-8, the first 48 of a word.
    """

    def __init__(
        self, width: int = 16, filters: int = 25, kernels: Sequence[int] = (3,), *, max_length: int = 512, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.ports = Ports((Port("tokens"),), Port("states", filters * len(kernels)), looks="here")
        self.max_length, self.rate = max_length, dropout
        self.table = nn.Embedding(BYTES, width, padding_idx=0)
        self.convolutions = convolutions(width, filters, kernels)

    @property
    def embeds(self) -> nn.Module:
        """Gives the vectors of letters (`manyheads.nn.perturb`)."""
        return self.table

    def forward(self, tokens: Tokens) -> States:
        if tokens.letters is None:
            raise ValueError("characters are wanted, but these tokens carry no spelling; the data set's tokenizer must spell")
        real = tokens.mask
        letters = tokens.letters[real].long()  # (words of the batch, L): what is padded costs nothing
        inside = letters > 0
        vectors = self.table(letters) * inside.unsqueeze(-1)  # zeros behind a word, whatever is added to the table's vectors
        found = strongest(self.convolutions, vectors, inside.sum(1))
        found = dropout(found, self.rate, self.training)
        states: Tensor = found.new_zeros((*real.shape, found.shape[-1]))
        states[real] = found
        return States(states, tokens.mask, tokens.words, carry=tokens.carry)


class Concat(nn.Module):
    """states (B, T, D1), (B, T, D2), ... -> states (B, T, D1 + D2 + ...), or vectors likewise."""

    def __init__(self, kind: str, widths: Sequence[int]) -> None:
        super().__init__()
        self.ports = Ports(tuple(Port(kind, width) for width in widths), Port(kind, sum(widths)), looks="here")

    def forward(self, *values: States | Tensor) -> States | Tensor:
        first = values[0]
        if isinstance(first, States):
            joined = torch.cat([value.states for value in values if isinstance(value, States)], -1)
            return States(joined, first.mask, first.words, carry=first.carry)
        return torch.cat([value for value in values if isinstance(value, Tensor)], -1)
