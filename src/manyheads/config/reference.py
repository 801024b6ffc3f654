"""`docs/recipe.md`: every key of a recipe with its type, default and meaning, made from the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from manyheads.config.fields import kind, sections
from manyheads.config.recipe import Recipe
from manyheads.config.schema import json_schema
from manyheads.config.spec.base import Strict
from manyheads.config.spec.data import DataSpec, TaskData
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.modules import OwnModule
from manyheads.config.spec.tasks import OwnTask, TaskBase

EXAMPLE = """\
version: 1
seed: 13
output: runs/example

modules:
  encoder: {type: pretrained, name: minilm, max_length: 128}
  deeper: {type: feedforward, width: 128, activation: relu, dropout: 0.1}

data:
  reviews:                        # two tasks learn from these rows
    train: reviews.csv
    split: {dev: 0.1, test: 0.1}
    text: review
    missing: ["", "?"]            # rows without a label still train the other task

defaults:                         # what all tasks share; a task's own keys win
  path: [encoder]
  dropout: 0.2
  label_smoothing: 0.05           # skipped for tasks that do not take it

tasks:
  sentiment:
    type: classification
    data: {from: reviews, label: sentiment}
  stars:
    type: regression
    data: {from: reviews, label: stars}
    low: 1
    high: 5
    weight: 0.5
  entities:
    type: tagging
    use_defaults: false
    path:
      - encoder
      - {module: deeper, inputs: [encoder], name: for_entities}
    data: {format: conll, train: ner.train.conll, dev: ner.dev.conll, test: ner.test.conll}
    scheme: BIO

mixture:
  sampling: temperature
  temperature: 2

training:
  epochs: 3
  batch: {tokens: 4096}
  optimizer: {name: adamw, lr: 5.0e-5, head_lr: 1e-3}
  schedule: {name: linear, warmup: 0.1}
  checkpoint: {every_minutes: 2}
"""

_HEAD = """\
<!-- Made by `make schema` from src/manyheads/config/spec/; change the descriptions there. -->

# The recipe

A recipe is one YAML 1.2 file; JSON is a subset of YAML and works too. `1e-5` is a number and `no` is text. Unknown keys,
keys given twice, wrong types and names that nothing has are errors, found all at once, each with file, line and column.
[`schema/recipe.schema.json`](../schema/recipe.schema.json) lets an editor complete and check it while you type:

    # yaml-language-server: $schema=schema/recipe.schema.json

**How it is read.** `extends` names one other recipe, relative to the file: mappings join key by key, this file's keys win, and
lists are replaced whole. Files of data are relative to the recipe that is loaded, also those that the other one names.
On top come overrides from the command line, `key.path=value`: the value is YAML on one line, an empty one is empty text; an
element of a list goes by its index, a step of a path also by its name (`tasks.entities.path.for_entities.inputs=[encoder]`).
Null takes a module, a data set or a task away: `tasks.entities=null` trains the others.
Then `defaults` are merged into each task: the task's own keys win, mappings join key by key, `use_defaults: false` opts out.
A default that a task's type does not take is skipped for that task; one that no type takes is an error. For a task whose
data come `from` a named data set, only `label`, `weight`, `group` and `missing` of `defaults.data` apply.

**Limits.** 256 kB, 10,000 values (aliases expanded), 100 aliases, 64 levels; tags, merge keys (`<<`) and numbers that are not
finite are refused. A recipe never names code to import: components of your own are registered by a plug-in.

**Rows that `split` sets aside.** A row's lot depends on `seed`, the files' own names (not their folders) and the row's
number. So data that are moved to another folder keep their rows set aside, and tasks that read the same files set the same
rows aside; a file that is renamed, or another seed, draws anew. Labels are those of the training rows, unless they are
declared under `labels`: a rare label that only rows set aside have is an error.

**Two labels.** `type: binary` learns one score, whose sigmoid is the probability of the positive label; `classification` of
two labels learns two scores. The positive label is `positive`, else the second of the sorted labels, and stands second in
answers and metrics. A third label is an error with its line.

**Soft labels.** With `soft_labels: true` a label may be an object from label to probability, in which a label that is not
named has 0, or a list in the order of `labels` as the recipe has them; JSON and Parquet hold such columns. Rows with one
label by itself may stand among them. Probabilities sum to 1 within 0.001 and are scaled to do so exactly. The loss is the
cross-entropy against them; scores are against the most probable label, of equal ones the first of the sorted labels, in a
binary task the negative one. `class_weights: balanced` counts each label's share of a row.

**Focal loss.** `focal` is gamma of Lin et al. (ICCV 2017): an item's loss is multiplied by (1 - p) to the power of gamma,
where p is the probability of its label. `class_weights` are the paper's alpha.

**Bad rows.** What `bad_rows` covers: a line that is broken (too few or too many columns, no JSON object, NUL), an input that
is not there or is no text, a label that is unknown, empty, no tag of the scheme, no number or out of range, probabilities
that do not sum to 1. A row that is bad for one task is left out for all tasks of its data set, in the dev and test rows too.
What it does not cover, since more than a row is at fault: bytes that are not in `encoding`, a quote that is not closed, a
column that no row has, a column with labels of several types. These stop the run, whatever `bad_rows` says. Tags in an order
that the scheme forbids are not bad rows: they spell no span.

## A full example

```yaml
"""


_SHARED: dict[tuple[str, ...], tuple[str, type[Strict], str]] = {
    ("tasks", "<name>"): ("Every task: `tasks.<name>`", TaskBase, "ClassificationTask"),
    ("modules", "<name>"): ("Every module: `modules.<name>`", ModuleBase, "PoolModule"),
}
"""What all entries of a section have: title, the fields, an entry in whose schema they stand."""


def reference() -> str:
    """The page as `docs/recipe.md` holds it."""
    schema = json_schema()
    parts = [_HEAD + EXAMPLE + "```\n"]
    done: set[tuple[tuple[str, ...], type[Strict]]] = set()
    order = list(dict.fromkeys(place[:1] for place, _ in sections()))
    for place, model in sorted(sections(), key=lambda section: (order.index(section[0][:1]), len(section[0]))):
        if place in _SHARED and not any(p == place for p, _ in done):
            title, base, example = _SHARED[place]
            parts.append("\n".join(_section(title, base, schema, example, ())))
        if (place, model) not in done:
            inherited = next(
                (base for base in (TaskBase, ModuleBase, DataSpec) if issubclass(model, base) and model is not base), None
            )
            left_out = tuple(inherited.model_fields) if inherited else ()
            parts.append("\n".join(_section(_title(place, model), model, schema, model.__name__, left_out)))
        done.add((place, model))
    return "\n".join(parts)


def _title(place: tuple[str, ...], model: type[Strict]) -> str:
    if not place:
        return "Top level"
    name = kind(model) or ("of a plug-in" if model in (OwnModule, OwnTask) else "")
    return f"`{'.'.join(place)}`" + (f", type {name}" if name else "")


def _section(title: str, model: type[Strict], schema: dict[str, Any], name: str, left_out: tuple[str, ...]) -> Iterator[str]:
    properties = (schema if model is Recipe else schema["$defs"][name])["properties"]
    yield f"## {title}\n\n{' '.join((model.__doc__ or '').split())}\n"
    if model is TaskData:
        yield "Beside these, all keys of `data.<name>`.\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for field_name, field in model.model_fields.items():
        if field_name not in left_out:
            key = field.alias or field_name
            meaning = " ".join((field.description or "Chooses these keys.").split())
            cells = (f"`{key}`", _words(properties[key]), _default(field), meaning)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, Strict) or value in ([], {}):
        return ""
    return f"`{json.dumps(value)}`"


def _words(schema: dict[str, Any]) -> str:
    """A property of the JSON Schema in words."""
    if "$ref" in schema or "oneOf" in schema:
        return "section"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(part) for part in schema["anyOf"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        items = schema.get("items") or schema["prefixItems"][0]
        return f"list of {schema['maxItems']} × {_words(items)}" if "maxItems" in schema else f"list of {_words(items)}"
    if schema["type"] == "object":
        if "patternProperties" in schema:
            return "sections by name"
        inner = schema.get("additionalProperties")
        return f"mapping to {_words(inner)}" if isinstance(inner, dict) else "mapping"
    return _NAMES[schema["type"]] + "".join(f" {sign} {schema[k]}" for k, sign in _SIGNS.items() if k in schema)


_NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`", "null": "`null`"}
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
