"""manyheads: one encoder, many heads.

The public names, loaded when they are first used, so that importing the package is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyheads.api import fit as fit
    from manyheads.api import load_recipe as load_recipe
    from manyheads.config.recipe import Recipe as Recipe
    from manyheads.data.tensors import TensorDataset as TensorDataset
    from manyheads.frame import to_frame as to_frame
    from manyheads.graph import Step as Step
    from manyheads.model import Model as Model
    from manyheads.plugins import load_plugin as load_plugin
    from manyheads.predict import Predictor as Predictor
    from manyheads.task.base import Task as Task
    from manyheads.task.binary import Binary as Binary
    from manyheads.task.classification import Classification as Classification
    from manyheads.task.multilabel import Multilabel as Multilabel
    from manyheads.task.regression import Regression as Regression
    from manyheads.task.tagging import Tagging as Tagging
    from manyheads.task.teaching import Perturbation as Perturbation
    from manyheads.task.teaching import Teaching as Teaching
    from manyheads.train.evaluate import evaluate as evaluate
    from manyheads.train.taught import Taught as Taught

_HOMES = {
    "Binary": "task.binary",
    "Classification": "task.classification",
    "Model": "model",
    "Multilabel": "task.multilabel",
    "Perturbation": "task.teaching",
    "Predictor": "predict",
    "Recipe": "config.recipe",
    "Regression": "task.regression",
    "Step": "graph",
    "Tagging": "task.tagging",
    "Task": "task.base",
    "Taught": "train.taught",
    "Teaching": "task.teaching",
    "TensorDataset": "data.tensors",
    "evaluate": "train.evaluate",
    "fit": "api",
    "load_plugin": "plugins",
    "load_recipe": "api",
    "to_frame": "frame",
}

__version__ = "0.1.0"
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'manyheads' has no attribute {name!r}")
    return getattr(import_module(f"manyheads.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
