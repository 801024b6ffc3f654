"""Rows from values, and a tokenizer whose pieces are easy to count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

from manyheads.text.tokenize import Tokenizer
from manyheads.types import Place, Row

MakeRows: TypeAlias = Callable[..., list[Row]]


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """`make_rows(text=[...], label=[...])`: one row an entry, at lines 2, 3, … of data.csv; `...` leaves the key out."""

    def made(path: str = "data.csv", **columns: list[Any]) -> list[Row]:
        entries = zip(*columns.values(), strict=True)
        values = [{n: v for n, v in zip(columns, entry, strict=True) if v is not ...} for entry in entries]
        return [Row(value, Place(path, line)) for line, value in enumerate(values, 2)]

    return made


@pytest.fixture(scope="session")
def letters() -> Tokenizer:
    """[CLS] text [SEP] (text [SEP]), a piece for each letter from a (4) to h (11), every other sign unknown (1)."""
    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return Tokenizer(backend)
