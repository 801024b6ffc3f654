"""A text that goes through a model in chunks: the rows of a table, one after the other, as so many streams side by side.

    text  <s> row 1 </s> row 2 </s> row 3 </s> ...          each word is to be told from those before it, the first `<s>` aside
    streams  parts of the text of equal length, but for one word; chunk k of each stream goes on where its chunk k - 1 ended

Each word beside the first is told once: that behind a chunk, with which the next one begins, is the chunk's `after`.
(As in Zaremba et al., "Recurrent Neural Network Regularization", 2014, who drop what does not fill the last chunk.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from manyheads.data.columns import Lists

AFTER, CARRY = "after", "carry"


@dataclass(frozen=True, slots=True)
class Cut:
    """How a text is cut: `streams` side by side, in chunks of `words`; their states are kept in slots from `slot` on."""

    streams: int
    words: int
    slot: int = 0


def chunked(table: pa.Table, cut: Cut) -> tuple[pa.Table, int]:
    """The table of the chunks, whose rows are each from `<s>` to `</s>` in `table`; and how many streams there are.

    Chunk k of every stream comes before chunk k + 1 of any; only of the last k some streams may have none. Beside the columns
    of `table` it has `after` int32, the word behind the chunk, and `carry` int64, as in `manyheads.types.Tokens`.
    """
    batches = table.to_batches()
    lengths = Lists([b.column("ids") for b in batches]).lengths.astype(np.int64)
    kept = np.ones(int(lengths.sum()), bool)
    kept[(np.cumsum(lengths) - lengths)[1:]] = False  # of the marks of beginnings only that of the text
    text = np.concatenate([b.column("ids").flatten().to_numpy() for b in batches])[kept]
    owner = np.repeat(np.arange(len(lengths)), lengths)[kept]
    starts, sizes, carry, streams = _cuts(len(text) - 1, cut)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    taken = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    columns = {
        "ids": _lists(text[taken], offsets, pa.int32()),
        "types": _lists(np.zeros(len(taken), np.int8), offsets, pa.int8()),
        "words": _lists(np.zeros(0, np.int32), np.zeros(len(offsets), np.int32), pa.int32()),
        "cut": pa.array(np.zeros(len(sizes), np.int32)),
        "length": pa.array(sizes, pa.int32()),
        AFTER: pa.array(text[starts + sizes], pa.int32()),
        CARRY: pa.array(carry),
    }
    if "spelled" in table.column_names:
        words = pa.chunked_array([b.column("spelled").flatten() for b in batches], pa.string())
        spelled = words.take(pa.array(np.flatnonzero(kept)[taken])).combine_chunks()
        columns["spelled"] = _lists(spelled, offsets, pa.string())
    rest = table.drop_columns([name for name in columns if name in table.column_names]).take(pa.array(owner[starts]))
    for name, column in columns.items():
        rest = rest.append_column(name, column)
    return rest.combine_chunks(), streams


def _cuts(words: int, cut: Cut) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Of each chunk where it begins, how long it is, and where it carries its state; and the number of streams."""
    streams = min(cut.streams, words)
    stream = np.arange(streams)
    long = words // streams + (stream < words % streams)
    chunks = -(-long // cut.words)
    number, of = np.divmod(np.arange(int(chunks.max()) * streams), streams)
    there = number < chunks[of]
    number, of = number[there], of[there]
    starts = (np.cumsum(long) - long)[of] + number * cut.words
    sizes = np.minimum(cut.words, long[of] - number * cut.words)
    return starts, sizes, np.where(number == 0, -1, 1) * (cut.slot + of + 1), streams


def _lists(values: np.ndarray | pa.Array, offsets: np.ndarray, type_: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, type_))
