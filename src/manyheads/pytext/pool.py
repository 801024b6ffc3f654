"""The modules of the recipe to be, and which of them are shared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from manyheads.errors import Problem
from manyheads.pytext.section import Section
from manyheads.pytext.source import Files

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass
class Draft:
    """A module: its settings, and where the configuration says each of those that it says."""

    type: str
    settings: dict[str, Any] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    kind: str = ""  # PyText's class

    def put(self, setting: str, value: object, place: str) -> None:
        """A setting, and the place of the key that says it; empty where it is PyText's default."""
        self.settings[setting] = value
        if place:
            self.said[setting] = place


@dataclass
class Pool:
    """Modules by name. What has one `shared_module_key` and one class is one module, as PyText has it.

    The first task that names a key describes the module; a later one may repeat settings, not change them.
    """

    files: Files
    modules: dict[str, Draft] = field(default_factory=dict)
    _shared: dict[tuple[str, str], str] = field(default_factory=dict)
    _where: dict[str, str] = field(default_factory=dict)

    def add(self, section: Section, wanted: str, draft: Draft, kind: str) -> str:
        """The name of the module that a section of class `kind` describes, by its key, else like `wanted`."""
        if section.flag("freeze", False):
            draft.put("freeze", True, section.place_of("freeze"))
        self._load(section, draft)
        key = section.text("shared_module_key")
        if key and (key, kind) in self._shared:
            name = self._shared[key, kind]
            self._compare(section, name, draft)
            return name
        name = self.free(slug(key or wanted))
        draft.kind = kind.split(".")[0] + (", shared by its key" if key else "")
        self.modules[name] = draft
        self._where[name] = section.place
        if key:
            self._shared[key, kind] = name
        return name

    def damp(self, names: list[str], rate: float, section: Section) -> None:
        """Dropout of what the modules give; a module has one rate, that of the first task that asks for one."""
        rate = round(rate, 6)
        for name in names:
            found = self.modules[name].settings.setdefault("dropout", rate)
            if found != rate:
                why = f"the module `{name}` is shared and has one dropout, {found:g}"
                section.remark("dropout", f"{rate:g}", why)

    def free(self, name: str) -> str:
        """The name, or one like it that no module has."""
        return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 1000))) if n not in self.modules)

    def _load(self, section: Section, draft: Draft) -> None:
        if section.has("load_path") and section.text("load_path").endswith(".safetensors"):
            draft.put("load", self.files.name(section.text("load_path")), section.place_of("load_path"))
        elif section.has("load_path"):
            section.give_up("`modules.<name>.load` takes artefacts and .safetensors; write the weights so", "load_path")

    def _compare(self, section: Section, name: str, draft: Draft) -> None:
        known = self.modules[name]
        longest = [d.settings.pop("max_length", 0) for d in (known, draft)]  # what reads is a task's own in PyText
        if all(longest):
            known.settings["max_length"] = max(longest)
        for setting, place in draft.said.items():
            if setting == "max_length":
                continue
            old, new = known.settings.get(setting, False if setting == "freeze" else None), draft.settings[setting]
            if old != new:
                before = known.said.get(setting) or self._where[name]
                rule = (
                    f"modules of one `shared_module_key` have one set of settings: `{setting}` of `{name}` is {old} at {before}"
                )
                remedy = "say it at the first of them only, or give them keys of their own"
                section.ledger.problems.append(Problem(rule, place, str(new), remedy=remedy))


def slug(name: str) -> str:
    """A name as recipes have them: letters, digits, _ and -.

    >>> slug("my LSTM"), slug("2nd")
    ('my_LSTM', '_2nd')
    """
    plain = _NO_NAME.sub("_", name)[:60] or "_"
    return plain if plain[0].isalpha() or plain[0] == "_" else f"_{plain}"
