"""Configurations of PyText (Facebook, 2018 to 2022) as recipes.

    section   a configuration as sections that note what was read of them
    remarks   what keys say that have no equal here, and what has no meaning here
    pool      the modules of the recipe to be, and which of them are shared
    layers    embeddings, representations, decoders: modules and steps of a path
    source    files, columns and batches of a task
    losses    output layers: the kind of a task and its loss
    reader    a task while it is read, and what it becomes
    encoder_tasks, word_tasks  tasks over a pretrained encoder, tasks over words
    task      classes of tasks, and what reads each
    training  trainer, optimizer, scheduler, samplers
    convert   a whole configuration to the text of a recipe

Names of classes and keys, and their defaults, are those of PyText's repository, up to version 24 of its configurations.
"""

from manyheads.pytext.convert import Conversion, convert
from manyheads.pytext.section import Remark

__all__ = ["Conversion", "Remark", "convert"]
