"""The modules of a recipe, planned as the paths of its tasks reach them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from manyheads.blueprint import ModulePlan
from manyheads.config.recipe import Recipe
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.modules import (
    FeedForwardModule,
    LayerModule,
    OverEncoder,
    OwnModule,
    PoolModule,
    PretrainedModule,
    ScalarMixModule,
)
from manyheads.config.spec.sharing import CrossStitchModule, LayerStitchModule
from manyheads.config.spec.tasks import LanguageModellingTask
from manyheads.config.spec.words import (
    CharactersModule,
    ConcatModule,
    ConvolutionModule,
    ElmoModule,
    EmbeddingModule,
    ReadingModule,
    RecurrentModule,
    TransformerModule,
)
from manyheads.encoders import find_encoder
from manyheads.errors import Problem, RecipeError, WiringError
from manyheads.graph import Step
from manyheads.model import ports_of
from manyheads.nn.adapters import METHODS, Lora, require_peft
from manyheads.nn.build import build_module
from manyheads.nn.elmo_files import read_shape, require_h5py, shape_options
from manyheads.nn.language import misplaced
from manyheads.nn.trunk import measure_encoder, resolve_adapters
from manyheads.ports import ANY, SEEN, Looks, Port, Sight, sight
from manyheads.prepare import Source
from manyheads.text.tokenize import Tokenizer
from manyheads.vocabularies import Vocabulary, readers

_BEGIN = ("", Port("tokens", sight="word"))  # a module and what it gives: none, and the field of a batch
_ONE_WAY = "`recurrent` with `bidirectional: false`, or `transformer` with `causal: true`, over an embedding"
_TWO_WAYS = (
    "one `recurrent` layer with `bidirectional: true` right over an embedding: each half of its states is read by itself"
)
_SIGHTS: Mapping[str, tuple[Sight, Collection[str], str]] = {  # what a language model wants, takes as well, and could have
    "forward": ("past", ("word", "halves"), _ONE_WAY),
    "backward": ("word", ("halves",), _TWO_WAYS),
    "both": ("halves", (), _TWO_WAYS),
}


class Modules:
    """Modules of the recipe, planned as paths reach them, since some take their width from what comes before."""

    def __init__(self, recipe: Recipe, base: Path, vocabularies: Mapping[str, Vocabulary]) -> None:
        self.recipe, self.base, self.vocabularies = recipe, base, vocabularies
        self.plans: dict[str, ModulePlan] = {}
        self.gives: dict[str, Port] = {}
        self.looks: dict[str, Looks] = {}
        self.tokenizers: dict[str, Tokenizer] = {}
        self.layers: dict[str, int] = {}  # of each module that gives its layers, embeddings counted

    def add(self, name: str, plan: ModulePlan) -> str:
        """A module that assembling brings; the same one may be added again."""
        if name in self.recipe.modules or self.plans.setdefault(name, plan) != plan:
            other = "by the recipe" if name in self.recipe.modules else "for a " + self.plans[name].type
            rule = f"the module name {name!r} is wanted twice: {other} and for {plan.type} {dict(plan.options)}"
            raise WiringError(Problem(rule, f"modules.{name}", name, remedy="give the recipe's module another name"))
        return name

    def reader(self, source: Source) -> str:
        """The module by whose pieces a data set is read: one encoder, with or without adapters, or any that reads its words."""
        if found := readers(source, self.recipe):
            first = {s if isinstance(s, str) else s.module for task in source.tasks.values() for s in task.path[:1]}
            if all(isinstance(self.recipe.modules[name], ReadingModule) for name in first):
                return found[0]
        first = {s if isinstance(s, str) else s.module for task in source.tasks.values() for s in task.path[:1]}
        specs = {name: self.recipe.modules[name] for name in first}
        encoders = {spec.of if isinstance(spec, OverEncoder) else name for name, spec in specs.items()}
        if not found and len(encoders) == 1 and all(isinstance(s, PretrainedModule | OverEncoder) for s in specs.values()):
            return next(iter(sorted(first)))
        rule = (
            f"the tasks of data set {source.name!r} must begin with one pretrained module, or all with modules of words, "
            f"found {sorted(first) or 'no path'}"
        )
        raise WiringError(Problem(rule, f"tasks.{next(iter(source.tasks))}.path"))

    def tokenizer(self, source: Source) -> Tokenizer:
        """What a data set is read by, once the paths of its tasks are planned."""
        reader = self.reader(source)
        if reader in self.vocabularies:
            return self.vocabularies[reader].tokenizer
        folder = self.plans[self.plans[reader].options.get("of", reader)].options["source"]
        if folder not in self.tokenizers:
            self.tokenizers[folder] = Tokenizer.load(folder)
        return self.tokenizers[folder]

    def follow(self, task: str, steps: Sequence[Step], end: Sequence[str] = ()) -> Port:
        """Plan every module on a path; what the last one gives, or the one result of it that `end` names."""
        last = _BEGIN
        results: dict[str, tuple[str, Port]] = {}
        for i, step in enumerate(steps):
            before = [_read(name, results) for name in step.inputs] or [last]
            given = self._plan(step.module, before, f"tasks.{task}.path[{i}]")
            seen = sight(self.looks[step.module], [port.sight for _, port in before])  # on this path; on another it may be more
            last = results[step.result] = (step.module, replace(given, sight=seen))
            results |= {f"{step.result}.{name}": (step.module, part) for name, part in given.parts}
        return _read(end[0], results)[1] if end else last[1]

    def words(self, task: str, source: Source) -> int:
        """Size of the vocabulary by which a data set is read; WiringError where it is read by an encoder's pieces."""
        for name in readers(source, self.recipe):
            return len(self.vocabularies[name].tokenizer)
        rule = "a language model begins with modules that read words: an `embedding` or `characters`"
        raise WiringError(Problem(rule, f"tasks.{task}.path"))

    def require_carrying(self, task: str, steps: Sequence[Step]) -> None:
        """WiringError for a module on the path of a text in chunks that cannot go on in the next chunk where it ended."""
        seen: set[str] = set()
        for step in steps:
            plan, looks = self.plans[step.module], self.looks[step.module]
            if looks != "here" and (plan.type, looks) != ("recurrent", "back"):
                rule = f"the rows are one text (`stream`), and module {step.module!r} cannot go on from chunk to chunk"
                remedy = "modules that see a word alone can, and `recurrent` with `bidirectional: false`"
                raise WiringError(Problem(rule, f"tasks.{task}.path", step.module, remedy=remedy))
            if looks == "back" and step.module in seen:
                rule = f"module {step.module!r} has one state to carry from chunk to chunk, and stands twice on the path"
                raise WiringError(Problem(rule, f"tasks.{task}.path", step.module))
            seen.add(step.module)

    def _plan(self, name: str, inputs: Sequence[tuple[str, Port]], place: str) -> Port:
        """What a module gives, planned at its first step; `place` is that of the step."""
        spec = self.recipe.modules[name]
        if name in self.gives and not isinstance(spec, PoolModule | LayerModule | ScalarMixModule):
            return self.gives[name]
        source, before = inputs[0]
        match spec:
            case PretrainedModule():
                self._plan_encoder(name, spec)
            case OverEncoder():
                self._plan(spec.of, inputs, place)
                base = self.plans[spec.of].options
                self.plans[spec.of] = ModulePlan("pretrained", {**base, "freeze": True})
                options = {"of": spec.of, "max_length": base["max_length"], "freeze": spec.freeze}
                adapters = METHODS[spec.method](**spec.settings())
                options[spec.method] = resolve_adapters(base["source"], adapters, f"modules.{name}")
                self._put(name, ModulePlan("adapter", options), self.gives[spec.of])
                self.layers[name] = self.layers[spec.of]
            case PoolModule():
                if spec.how == "attention":
                    self._want(name, before, place, "states")
                self._put(name, pool_plan(spec.how, before.width), Port("vector", before.width))
            case LayerModule():
                self._read_layers(source, {f"modules.{name}.index": spec.index})
                self._put(name, ModulePlan("layer", {"index": spec.index}), before)
            case ScalarMixModule():
                layers = list(range(self.layers[source])) if spec.layers is None else spec.layers
                self._read_layers(source, {f"modules.{name}.layers.{i}": layer for i, layer in enumerate(layers)})
                plan = ModulePlan("scalar_mix", {"layers": layers, "norm": spec.norm})
                if self.plans.get(name, plan) != plan:
                    rule = f"module {name!r} mixes all layers of encoders that have different numbers of them"
                    raise WiringError(Problem(rule, f"modules.{name}", remedy="give it `layers`, or each encoder its own"))
                self._put(name, plan, before)
            case FeedForwardModule():
                width = self._want(name, before, place, "states", "vector")
                options = {"kind": before.kind, "width_in": width, "width": spec.width}
                options |= {"activation": spec.activation, "dropout": spec.dropout}
                self._put(name, ModulePlan("feedforward", options), Port(before.kind, spec.width), "here")
            case OwnModule():
                ports = ports_of(build_module(name, spec.type, spec.options, self.recipe.seed))
                gives = replace(ports.gives, width=before.width) if ports.same_width else ports.gives
                self._put(name, ModulePlan(spec.type, spec.options), gives, ports.looks)
            case _:
                self._plan_words(name, [port for _, port in inputs], place)
        return self.gives[name]

    def _plan_words(self, name: str, inputs: Sequence[Port], place: str) -> None:
        """Modules that read words, and those that are trained from scratch on what they give: all options are the recipe's."""
        spec, before = self.recipe.modules[name], inputs[0]
        options = spec.model_dump(exclude={*ModuleBase.model_fields, "type", "vectors", "vocabulary"})
        match spec:
            case EmbeddingModule():
                found = self.vocabularies[name]
                given = found.vectors[name][1].shape[1] if name in found.vectors else None
                options |= {"words": len(found.tokenizer), "width": self._vector_width(name, spec, given)}
            case CharactersModule():
                pass
            case ElmoModule():
                shape = read_shape(self.base / spec.options, f"modules.{name}.options")
                options = {"max_length": spec.max_length, "dropout": spec.dropout, **shape_options(shape)}
                self.layers[name] = shape.depth + 1
            case ConcatModule():
                widths = [self._want(name, port, place, "states", "vector") for port in inputs]
                options = {"kind": before.kind, "widths": widths}
            case TransformerModule():
                options["width"] = self._want(name, before, place, "states")
            case RecurrentModule() | ConvolutionModule():
                options["width_in"] = self._want(name, before, place, "states")
            case CrossStitchModule():
                options |= self._alike(name, inputs, place)
                _require_divided(f"modules.{name}.subspaces", spec.subspaces, options["width"])
            case LayerStitchModule():
                options |= self._alike(name, inputs, place) | {"layers": len(inputs)}
            case _:
                raise TypeError(f"no such module: {type(spec).__name__}")
        plan = ModulePlan(spec.type, options)
        with torch.device("meta"):  # what it gives is known without a weight
            ports = ports_of(build_module(name, plan.type, options, self.recipe.seed))
        self._put(name, plan, ports.gives, ports.looks)

    def _vector_width(self, name: str, spec: EmbeddingModule, given: int | None) -> int:
        """As wide as the recipe says, or as the file's vectors are; WiringError where these differ, or neither tells."""
        if spec.width is None and given is None:
            raise WiringError(Problem("an embedding has a `width`, or `vectors` that have one", f"modules.{name}.width"))
        if None not in (spec.width, given) and spec.width != given:
            rule = f"the vectors of {spec.vectors!r} have another width, {given}"
            raise WiringError(Problem(rule, f"modules.{name}.width", str(spec.width), remedy="leave `width` out"))
        return spec.width or given or 0

    def _alike(self, name: str, inputs: Sequence[Port], place: str) -> dict[str, Any]:
        """Kind and width of all that a module mixes; WiringError where they differ."""
        found = [Port(port.kind, self._want(name, port, place, "states", "vector")) for port in inputs]
        if len(set(found)) > 1:
            rule = f"module {name!r} mixes what is of one kind and width, but its inputs give {' and '.join(map(str, found))}"
            raise WiringError(Problem(rule, place))
        return {"kind": found[0].kind, "width": found[0].width}

    def _want(self, name: str, before: Port, place: str, *kinds: str) -> int:
        """The width of what a module reads; WiringError where it is of another kind, or of no known width."""
        if before.kind in kinds and before.width is not None:
            return before.width
        wanted = " or ".join(kind.rstrip("s") + "s" for kind in kinds)
        rule = f"module {name!r} reads {wanted} of a known width, but its input gives {before}"
        raise WiringError(Problem(rule, place))

    def _plan_encoder(self, name: str, spec: PretrainedModule) -> None:
        found = find_encoder(spec.name, self.base, spec.revision)
        size = measure_encoder(found)
        options: dict[str, Any] = {"source": str(found), "max_length": min(spec.max_length, size.longest)}
        options |= {"freeze": spec.freeze, "dropout": spec.dropout}
        if spec.lora is not None:
            options["lora"] = resolve_adapters(found, Lora(**spec.lora.model_dump()), f"modules.{name}.lora")
        self._put(name, ModulePlan("pretrained", options), Port("states", size.width))
        self.layers[name] = size.layers + 1

    def _read_layers(self, encoder: str, wanted: Mapping[str, int]) -> None:
        """Let an encoder give all its layers; `wanted` has the numbers of those that are read, each under its place.

        WiringError for numbers that no layer has, or that come twice.
        """
        plan, count = self.plans[encoder], self.layers[encoder]
        self.plans[encoder] = replace(plan, options={**plan.options, "layers": True})
        wrong: list[Problem] = []
        seen: set[int] = set()
        for place, layer in wanted.items():
            if not -count <= layer < count:
                rule = f"the layers of {encoder!r} are 0 (embeddings) to {count - 1}, or -{count} to -1 from above"
                wrong.append(Problem(rule, place, str(layer), str(min(max(layer, -count), count - 1))))
            elif layer % count in seen:
                wrong.append(Problem("the layer is named twice", place, str(layer)))
            else:
                seen.add(layer % count)
        if wrong:
            raise WiringError(*wrong)

    def _put(self, name: str, plan: ModulePlan, gives: Port, looks: Looks = "around") -> None:
        self.plans[name], self.gives[name], self.looks[name] = plan, gives, looks


def _read(name: str, results: Mapping[str, tuple[str, Port]]) -> tuple[str, Port]:
    """Which module an input comes from, and what it is; of an attribute that no port tells, it may be anything."""
    if name in results:
        return results[name]
    head = name.partition(".")[0]
    return (results[head][0], ANY) if head in results else _BEGIN


def _require_divided(place: str, subspaces: int, width: int) -> None:
    """WiringError where a width cannot be cut into so many subspaces."""
    if width % subspaces:
        near = max(n for n in range(1, subspaces) if not width % n)
        rule = f"the subspaces must divide the width of the states, {width}"
        raise WiringError(Problem(rule, place, str(subspaces), str(near)))


def pool_plan(how: str, width: int | None) -> ModulePlan:
    """The module that makes one vector a row of states."""
    return ModulePlan("attention_pool", {"width": width}) if how == "attention" else ModulePlan("pool", {"how": how})


def language_head(name: str, task: LanguageModellingTask, port: Port, words: int) -> ModulePlan:
    """The head of a language model behind states of this port; WiringError where they have seen the words to be told."""
    wanted, also, remedy = _SIGHTS[task.direction]
    if port.sight not in (wanted, *also):
        told = f"`direction: {task.direction}` wants states that have seen {SEEN[wanted]}"
        rule = f"{told}; those at the end of the path have seen {SEEN[port.sight]}"
        raise WiringError(Problem(rule, f"tasks.{name}.path", remedy=remedy))
    halves, width = port.sight == "halves", port.width or 0
    if task.softmax == "adaptive" and (problem := misplaced(width // 2 if halves else width, words, task.cutoffs)):
        raise RecipeError(replace(problem, place=f"tasks.{name}.cutoffs"))
    options: dict[str, Any] = {"width": width, "words": words, "direction": task.direction, "halves": halves}
    options |= {"softmax": task.softmax, "cutoffs": task.cutoffs, "of": task.tied, "dropout": task.dropout}
    return ModulePlan("language_head", options)


def require_packages(recipe: Recipe) -> None:
    """MissingExtraError for the first module that needs a package which is not installed."""
    for name, spec in recipe.modules.items():
        if isinstance(spec, OverEncoder) or (isinstance(spec, PretrainedModule) and spec.lora is not None):
            require_peft(f"modules.{name}.{'type' if isinstance(spec, OverEncoder) else 'lora'}")
        elif isinstance(spec, ElmoModule):
            require_h5py(f"modules.{name}.weights")
