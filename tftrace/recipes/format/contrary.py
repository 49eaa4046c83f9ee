"""What is contrary to what is stated: the names under which a design that something contradicts is a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .variant_kinds import MISTAKE


def against(variant: str) -> str:
    """The name of a variant that holds where something else is stated."""
    return f"{variant}, contrary to what is stated"


def unapplied(variant: str) -> str:
    """The name of the equation itself, where it holds in place of a variant that is stated."""
    return f"as the paper has it, contrary to what is stated: {variant}"


def contrary_to(variant: Any, entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of both for a variant of which something states whether it is meant, unless they are there."""
    stated, name = (variant.get(key) for key in ("stated", "name")) if isinstance(variant, dict) else (None, None)
    if not isinstance(stated, dict) or not isinstance(name, str) or "contrary" in variant:
        return
    if any(isinstance(one, dict) and one.get("contrary") == name for one in entry["variant"]):
        return
    given = {key: variant[key] for key in ("formula", "dims") if key in variant}
    yield {"name": against(name), **given, "kind": MISTAKE, "contrary": name}
    if any("config:" in str(source) for source in stated):
        yield {"name": unapplied(name), "formula": entry.get("formula"), "kind": MISTAKE, "contrary": name}
