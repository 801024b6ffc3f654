"""What all sections share: names, the strict base, and the choice between our own types and a plug-in's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$", description="A name: letters, digits, _ and -.")]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Base of every recipe object: frozen, unknown keys refused, only finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, strict=True)


def own_or(known: frozenset[str]) -> Discriminator:
    """Built-in types by their tag; any other text is a plug-in's, checked against the registry when it is built."""

    def tag(value: Any) -> str:
        kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
        return kind if isinstance(kind, str) and kind in known else "own"

    return Discriminator(tag)
