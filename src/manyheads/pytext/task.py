"""Classes of tasks, and what reads each of them."""

from __future__ import annotations

from collections.abc import Callable

from manyheads.pytext import encoder_tasks, word_tasks
from manyheads.pytext.pool import Pool
from manyheads.pytext.reader import Outcome, Reader
from manyheads.pytext.section import Section

_OTHER = {
    "QueryDocumentPairwiseRankingTask": "`ranking` reads a list of candidates with relevances, not a better and a worse answer",
    "SemanticParsingTask": "no task type writes trees",
    "MaskedLMTask": "`masked_language_modelling` learns hidden words of a pretrained encoder, and this one has none",
    "EnsembleTask": "a model has no copies of itself; train it with several seeds",
    "SequenceLabelingTask": "no task type writes texts",
    "PairwiseRegressionTask": "no task type compares two vectors",
}
_OLD_NAMES = {
    "DocClassificationTask": "DocumentClassificationTask",
    "DocClassificationTask_Deprecated": "DocumentClassificationTask",
    "NewDocumentClassification": "DocumentClassificationTask",
    "NewDocumentRegression": "DocumentRegressionTask",
    "NewWordTaggingTask": "WordTaggingTask",
    "JointTextTask": "IntentSlotTask",
    "PairwiseClassification": "PairwiseClassificationTask",
    "PairClassificationTask": "PairwiseClassificationTask",
    "QueryDocumentPairwiseRanking": "QueryDocumentPairwiseRankingTask",
    "LMTask_Deprecated": "LMTask",
    "SeqNNTask_Deprecated": "SeqNNTask",
    "BertPairClassificationTask": "NewBertPairClassificationTask",
}
READERS: dict[str, Callable[[Reader], Outcome]] = {
    "DocumentClassificationTask": word_tasks.document,
    "DocumentRegressionTask": word_tasks.document_regression,
    "WordTaggingTask": word_tasks.word_tagging,
    "IntentSlotTask": word_tasks.intent_slot,
    "LMTask": word_tasks.language,
    "PairwiseClassificationTask": word_tasks.pairwise,
    "SeqNNTask": word_tasks.sequence,
    "NewBertClassificationTask": encoder_tasks.bert,
    "NewBertPairClassificationTask": encoder_tasks.bert_pair,
    "BertPairRegressionTask": encoder_tasks.bert_regression,
    "SquadQATask": encoder_tasks.squad,
}
MULTITASK = ("NewDisjointMultitask", "DisjointMultitask")
KNOWN = (*MULTITASK, *READERS, *_OTHER, *_OLD_NAMES)


def read_task(name: str, kind: str, section: Section, pool: Pool, prefix: str) -> Outcome | None:
    """One task of the configuration, of class `kind`; None, with the reason noted, where no task type does what it does."""
    plain = _OLD_NAMES.get(kind, kind)
    if plain in _OTHER:
        section.give_up(f"{plain}: {_OTHER[plain]}")
        section.remark("", plain, _OTHER[plain])
        return None
    if plain not in READERS:
        section.problem("no task of PyText that is known here is called this", "", kind, KNOWN)
        return None
    old = section.has("data_handler") or section.has("features")
    return READERS[plain](Reader(name, section, pool, prefix, old))
