"""What a call states of an equation's variants: its configuration, what it was given, the line of its constructor.

A variant that is stated must hold. One that is contradicted is a mistake, whatever other models do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...recipes.format.library import Match
from ...recipes.format.recipe import Reference
from ..calls import Call
from .references import configuration, fits_condition, getter, has

_NEAR = 1e-6  # of two numbers that are the same, one of them worked out from the constructor's line


class StatedVariants:
    """The matches of one recording with what the calls state; always the same object, as others go by its id."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, frozenset[str], frozenset[str]], Match] = {}

    def of(self, match: Match, call: Call) -> Match:
        """A match with the variants that a call states, and those that it contradicts."""
        if not match.equation.stating:
            return match
        stated, against = set(), set()
        for variant in match.equation.stating:
            said = [one for s, wanted in variant.stated if (one := _says(s, wanted, call)) is not None]
            configured = [meant for source, meant in said if source.kind == "config"]  # which decides, if it says so
            if not all(configured or [meant for _, meant in said]):
                against.add(variant.name)
            elif configured:
                stated.add(variant.name)
        if not stated and not against:
            return match
        key = (id(match), frozenset(stated), frozenset(against))
        if key not in self._known:
            self._known[key] = replace(match, stated=key[1], against=key[2])
        return self._known[key]


def _says(sources: tuple[Reference, ...], wanted: Any, call: Call) -> tuple[Reference, bool] | None:
    """The first of the sources that is there, and whether it is what the variant is; None where nothing says so."""
    if isinstance(wanted, Reference) and (wanted := getter(wanted)(call)) is None:
        return None
    for source in sources:
        found = getter(source)(call)
        if found is None and not (source.kind == "config" and has(configuration(call), source.path)):
            continue
        return None if _of_another_kind(found, wanted) else (source, _is(found, wanted))
    return None


def _of_another_kind(found: Any, wanted: Any) -> bool:
    """Whether a value cannot be compared, such as an activation that is a function and no name."""
    words = isinstance(wanted[0] if isinstance(wanted, list) else wanted, str)
    return words and found is not None and not isinstance(found, str)


def _is(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        return abs(found - wanted) <= _NEAR * abs(wanted)
    return fits_condition(found, wanted)
