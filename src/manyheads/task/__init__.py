"""What a task is: a path, and a type that knows its loss, its predictions and its scores. It holds no data and no modules."""

from manyheads.task import (  # noqa: F401  # importing them fills the registry
    binary,
    classification,
    language_modelling,
    masked_language_modelling,
    matching,
    multilabel,
    multiple_choice,
    question_answering,
    ranking,
    regression,
    tagging,
)
