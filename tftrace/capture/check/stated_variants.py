"""What a call states about the variants of an equation: by its configuration, its arguments, or its constructor's line.

A variant that is stated must hold. One that is contradicted is a mistake, whatever other models do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch

from ...recipes.format.library import Match
from ...recipes.format.recipe import Equation, Reference
from ..calls import Call
from .references import Getter, configuration, fits_condition, getter, has

_Changing = tuple[tuple[Reference, Getter], ...]
_MOST = 64  # arguments that are remembered for a module
_NEAR = 1e-6  # relative difference of numbers that are the same, one of them worked out from the constructor


class StatedVariants:
    """Adds to the matches of one recording what the calls state.

    The result is always the same object, because others go by its id. The configuration and constructor of a module
    are read once for each of its equations, arguments at every call.
    """

    PLAIN = (bool, int, float, str)

    def __init__(self) -> None:
        self._made: dict[tuple[int, frozenset[str], frozenset[str]], Match] = {}
        self._changing: dict[int, tuple[Equation, _Changing]] = {}  # by id of an equation that is kept
        self._known: WeakKeyDictionary[torch.nn.Module, dict[tuple[Any, ...], Match]] = WeakKeyDictionary()

    def of(self, match: Match, call: Call) -> Match:
        """Return the match with the variants that a call states, and those that it contradicts."""
        if not match.equation.stating:
            return match
        if not isinstance(call.owner, torch.nn.Module):
            return self._asked(match, call)
        known = self._known.get(call.owner)
        if known is None:
            known = self._known[call.owner] = {}
        given = [get(call) for _, get in self._sources(match.equation)]
        key = (id(match), *(one if isinstance(one, self.PLAIN) else type(one) for one in given))
        if key not in known:
            if len(known) >= _MOST:
                known.clear()
            known[key] = self._asked(match, call)
        return known[key]

    def changing(self, match: Match, call: Call) -> list[tuple[Reference, Any]]:
        """What is read at every call of a module: the sources, with their values or, of what is no plain value, its
        class. As long as these and the module are the same, `of` returns the same."""
        given = ((source, get(call)) for source, get in self._sources(match.equation))
        return [(source, one if isinstance(one, self.PLAIN) else type(one)) for source, one in given]

    def _sources(self, equation: Equation) -> _Changing:
        known = self._changing.get(id(equation))
        if known is None:
            known = self._changing[id(equation)] = equation, _changing(equation)
        return known[1]

    def _asked(self, match: Match, call: Call) -> Match:
        stated, against = set(), set()
        for variant in match.equation.stating:
            said = [one for s, wanted in variant.stated if (one := _says(s, wanted, call)) is not None]
            configured = [meant for source, meant in said if source.kind == "config"]  # which decides, if there is any
            if not all(configured or [meant for _, meant in said]):
                against.add(variant.name)
            elif configured:
                stated.add(variant.name)
        if not stated and not against:
            return match
        key = (id(match), frozenset(stated), frozenset(against))
        if key not in self._made:
            self._made[key] = replace(match, stated=key[1], against=key[2])
        return self._made[key]


def _changing(equation: Equation) -> _Changing:
    """The sources that are read at every call, and what gets them."""
    sources = [s for variant in equation.stating for named, wanted in variant.stated for s in (*named, wanted)]
    changing = dict.fromkeys(s for s in sources if isinstance(s, Reference) and s.kind not in ("config", "init"))
    return tuple((source, getter(source)) for source in changing)


def _says(sources: tuple[Reference, ...], wanted: Any, call: Call) -> tuple[Reference, bool] | None:
    """The first source that is there, and whether it has the value of the variant; None if nothing tells."""
    if isinstance(wanted, Reference) and (wanted := getter(wanted)(call)) is None:
        return None
    for source in sources:
        found = getter(source)(call)
        if found is None and not (source.kind == "config" and has(configuration(call), source.path)):
            continue
        return None if _of_another_kind(found, wanted) else (source, _is(found, wanted))
    return None


def _of_another_kind(found: Any, wanted: Any) -> bool:
    """Whether a value cannot be compared, such as an activation that is a function rather than a name."""
    words = isinstance(wanted[0] if isinstance(wanted, list) else wanted, str)
    return words and found is not None and not isinstance(found, str)


def _is(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        return abs(found - wanted) <= _NEAR * abs(wanted)
    return fits_condition(found, wanted)
