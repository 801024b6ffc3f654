"""The answer to a question, as it stands in a text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from manyheads.metrics.reading import Accepted
from manyheads.nn.divergence import Divergence, of_labels
from manyheads.nn.losses import cross_entropy
from manyheads.task.base import TASKS, Extract, Judged, Prediction, Reading
from manyheads.types import IGNORE, Passage


@TASKS.register("question_answering")
class QuestionAnswering:
    """scores (B, P, W, 2) of each word of each window as the first and as the last of the answer; target (B, P, 2).

    Word 0 of a window stands for "none here". The loss of a row is the mean, over its windows and both ends, of the
    cross-entropy over the words of the window. The answer is the span of at most `longest` words with the highest sum of both
    scores over all windows; with `no_answer` it is the empty text where the least "none" score of the windows is higher by
    more than `threshold` (Devlin et al. 2019, 4.2 and 4.3). Words are pieces here, and offsets characters of the whole text.
    """

    wants = "states"
    metric = "answer_f1"
    labels: tuple[str, ...] = ()
    scheme = "none"
    outputs = 2

    def __init__(self, no_answer: bool = False, threshold: float = 0.0, longest: int = 30) -> None:
        self.no_answer, self.threshold, self.longest = no_answer, threshold, longest

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        known = (target != IGNORE).all(-1)
        windows = known.sum(1).clamp(min=1)
        of_window = (1 / (2 * windows) if weights is None else weights / (2 * windows))[:, None].expand_as(known)[known]
        kept, wanted = scores[known], target[known]
        return sum((cross_entropy(kept[..., i], wanted[:, i], weights=of_window) for i in (0, 1)), scores.new_zeros(()))

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        """Of a row the mean over its windows and both ends, as in its loss; either answer may be padded further."""
        width = min(first.shape[2], second.shape[2])
        there = ~second[..., 0, 0].isneginf()
        ends = [of_labels(scores[:, :, :width][there].transpose(1, 2), temperature) for scores in (first, second)]
        apart = measure(*ends).mean(-1) / there.sum(1)[:, None].expand_as(there)[there]
        return apart.new_zeros(len(second)).index_add(0, torch.nonzero(there)[:, 0], apart)

    def judge(self, scores: Tensor, target: Sequence[Passage | None]) -> Judged:
        known = [(i, passage) for i, passage in enumerate(target) if passage is not None]
        rows = [Reading(passage=passage) for _, passage in known]
        answers = self.predict("", scores[[i for i, _ in known]], rows) if known else []
        return Judged([Accepted(p.accepted or ()) for _, p in known], [str(answer.value) for answer in answers])

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        if rows is None:
            raise ValueError("an answer is told by the text that it stands in")
        found, none = self._best(scores.float())
        totals = scores.float().flatten(1, 2).logsumexp(1).sum(-1)
        answers = []
        for row, (score, window, first, last), least, total in zip(rows, found, none, totals.tolist(), strict=True):
            passage = row.passage or Passage("", ())
            if score == -math.inf or (self.no_answer and least - score > self.threshold):
                answers.append(Prediction(task, "", found=Extract(0, 0, _share(least, total))))
                continue
            start, stop = _trimmed(passage.text, passage.windows[window][first][0], passage.windows[window][last][1])
            answers.append(Prediction(task, passage.text[start:stop], found=Extract(start, stop, _share(score, total))))
        return answers

    def _best(self, scores: Tensor) -> tuple[list[tuple[float, int, int, int]], list[float]]:
        """The best span of each row, as its score, its window, its first and its last word; and the scores of "none"."""
        starts, ends = scores[..., 1:, 0], scores[..., 1:, 1]
        none = (scores[..., 0, 0] + scores[..., 0, 1]).masked_fill(scores[..., 0, 0] == -math.inf, math.inf).amin(1)
        if not starts.shape[-1]:
            return [(-math.inf, 0, 0, 0)] * len(scores), none.tolist()
        reach = min(self.longest, starts.shape[-1])
        spans = starts.unsqueeze(-1) + pad(ends, (0, reach - 1), value=-math.inf).unfold(-1, reach, 1)  # (B, P, W, reach)
        best, at = spans.flatten(1).max(-1)  # of equal scores the first
        width = starts.shape[-1] * reach
        window, inside = torch.div(at, width, rounding_mode="floor"), at % width
        first = torch.div(inside, reach, rounding_mode="floor") + 1
        columns = (best, window, first, first + inside % reach)
        return list(zip(*(column.tolist() for column in columns), strict=True)), none.tolist()


def _trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    """The characters without spaces around them, which a piece may carry."""
    found = text[start:stop]
    return start + len(found) - len(found.lstrip()), stop - len(found) + len(found.rstrip())


def _share(score: float, total: float) -> float:
    """The probability of a span among all pairs of a first and a last word of all windows."""
    return math.exp(min(score - total, 0.0))
