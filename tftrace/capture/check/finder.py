"""Looks up, once for each module or function, its equations and the calls below it that they need."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from ...recipes.format.evidence import file_in_library
from ...recipes.format.library import Inside, Level, Library, Match
from ...recipes.format.recipe import Bind
from ...trace import schema
from ..calls import QUERY_KEY_VALUE, Call
from ..torch_internals import children_of, parameters_of
from .references import Getter, applies, conditions_of, values_of

_MOST_MODULES = 1 << 16  # modules whose equations are remembered
_MOST_NAMES = 1 << 16  # names that are remembered for a module
_MOST_ANSWERS = 256  # values of conditions that are remembered
_MOST_COPIED = 1 << 22  # elements of an argument that is copied

# Patterns of the calls below that are needed, and those of which the last call is enough.
Patterns = tuple[frozenset[str], frozenset[str]]
Asking = tuple[tuple[Match, ...], "Patterns | None"]  # equations, and the calls below that they need


class Facts(NamedTuple):
    """What follows from the equations of a module, or of a function in modules of one class.

    Attributes:
        chained: Whether an equation needs the previous call of the same class.
        beside: Whether an equation stands beside all others.
        attends: Whether an equation is one of attention.
        always: The equations and what they need, if these are the same for every call.
        conditions: What finds the values that decide otherwise.
        answers: What they decided, by these values.
    """

    chained: bool
    beside: bool
    attends: bool
    always: Asking | None
    conditions: tuple[Getter, ...]
    answers: dict[Any, Asking]


class Known:
    """What is known of a module, or of a function in modules of one class.

    Attributes:
        owner: Returns the module, if it still exists.
        levels: Its equations; see `Library.of_module`.
        overwrites: Whether it overwrites its input.
        routes: How the cells of each equation were last read, by id of the match.
        plans: What compiled code does of them, by id of the equation as the library has it; see `quick_checks`.
        wanted: Which calls below are needed, by the scope of the call, if its equations are always the same.
        chained, beside, attends, always, conditions, answers: See `Facts`.
    """

    __slots__ = (
        *("owner", "levels", "overwrites", "routes", "plans", "wanted", "chained", "beside", "attends", "always"),
        *("conditions", "answers"),
    )  # compiled code reads them

    def __init__(self, owner: torch.nn.Module | None, levels: tuple[Level, ...], facts: Facts) -> None:
        self.owner: Callable[[], Any] = (lambda: None) if owner is None else weakref.ref(owner)
        self.levels = levels
        self.overwrites = owner is not None and owner.__dict__.get("inplace") is True
        self.routes: dict[int, Any] = {}
        self.plans: dict[int, Any] = {}
        self.wanted: dict[str, Wanted] = {}
        self.chained, self.beside, self.attends, self.always, self.conditions, self.answers = facts


class Wanted(dict[str, "str | None"]):
    """Maps names of calls to names relative to a module; None for calls that are not needed there."""

    def __init__(self, patterns: Patterns, scope: str) -> None:
        super().__init__()
        (self._patterns, self._last), self._scope = patterns, scope
        self._alike: dict[str, frozenset[str]] = {}  # patterns of a relative name, if the last call is enough

    def collect(self, seen: dict[str, list[Call]], name: str, call: Call) -> None:
        """Add a finished call to those that were seen, and drop those that are no longer needed.

        Otherwise all layers of a model, with their inputs, would be kept.
        """
        if alike := self._alike.get(name):
            for other in [n for n in seen if self._alike.get(n) == alike]:
                seen[other] = [c for c in seen[other] if c.step > call.step]
                if not seen[other]:
                    del seen[other]
        seen.setdefault(name, []).append(call)

    def __missing__(self, name: str) -> str | None:
        relative = name[len(self._scope) :].lstrip(".")
        fitting = _fitting(self._patterns, relative)
        found = relative if fitting else None
        if len(self) >= _MOST_NAMES:
            self.clear()
            self._alike.clear()
        if fitting and fitting <= self._last:
            self._alike[relative] = fitting
        self[name] = found
        return found


class Finder:
    """Finds the equations of each call of a recording.

    Args:
        library: All equations.
        met: Takes the entries of the equations that were found, by id.
    """

    def __init__(self, library: Library, met: dict[str, Any]) -> None:
        self._library, self._met = library, met
        self._modules: dict[int, Known] = {}
        self._known: dict[int, tuple[tuple[Level, ...], Facts]] = {}  # by the id of the equations
        self._functions: dict[tuple[str, type, str | None], Known] = {}
        self._children: dict[tuple[int, ...], Patterns | None] = {}
        self._wanted: dict[tuple[Patterns, str], Wanted] = {}
        self._patterns: dict[str, tuple[Match, ...]] = {}  # by the name of a pattern

    def begin(self, call: Call) -> None:
        """Note on a call its equations and what must be kept for them."""
        owner = call.owner
        if call.direct or call.place.kind is schema.MODULE:
            known = self._modules.get(id(owner))
            if known is None or known.owner() is not owner:
                known = self._of(owner)
        else:
            code = (call.place.type, type(owner), call.place.def_file)
            known = self._functions.get(code)
            if known is None:
                levels = self._library.of_function(*code[:2], file_in_library(code[2]))
                known = self._functions[code] = Known(None, levels, self._facts(levels))
        if known.chained and call.parent is not None:
            above, kind = call.parent.call, type(owner)
            call.before = above.latest.get(kind)
            above.latest = {**above.latest, kind: call}
        call.known = known
        call.attends |= known.attends
        call.equations, asked = known.always or self._deciding(known, call)
        if known.overwrites and call.equations:
            call.arguments = _copies(call.arguments)
        if asked:
            call.seen, key = {}, (asked, call.scope)
            call.wanted = self._wanted.get(key) or self._wanted.setdefault(key, Wanted(*key))
            if known.always:
                known.wanted[call.scope] = call.wanted

    def parts(self) -> dict[str, Any]:
        """What compiled code looks up in our place."""
        return {"modules": self._modules, "functions": self._functions, "module": schema.MODULE}

    def seen(self, pattern: str) -> tuple[Match, ...]:
        """The equations of a pattern that was seen, which are met from now on."""
        found = self._patterns.get(pattern)
        if found is None:
            found = self._patterns[pattern] = self._library.of_seen(pattern)
            self._met.update({m.equation.id: m.equation.data for m in found})
        return found

    def _of(self, module: torch.nn.Module) -> Known:
        if len(self._modules) >= _MOST_MODULES:  # such as the replicas that every forward makes
            self._modules.clear()
        inside = Inside(children_of(module), parameters_of(module), module.__dict__)
        levels = self._library.of_module(type(module), inside)
        known = self._modules[id(module)] = Known(module, levels, self._facts(levels))
        return known

    def _facts(self, levels: tuple[Level, ...]) -> Facts:
        """What follows from some equations, which many modules have in common."""
        found = self._known.get(id(levels))  # the library may not keep them
        if found is None:
            every = [match for level in levels for match in level]
            chained, beside = any(m.chained for m in every), any(m.bind.beside for m in every)
            attends = any(m.bind.symbols.keys() >= QUERY_KEY_VALUE for m in every)
            always: Asking | None = None if levels else ((), None)
            if levels and not chained and not beside and not any(m.conditional for m in levels[0]):
                always = levels[0], self._asked(levels[0])
            conditions = () if always else conditions_of(m.bind for m in every)
            found = self._known[id(levels)] = levels, Facts(chained, beside, attends, always, conditions, {})
        return found[1]

    def _deciding(self, known: Known, call: Call) -> Asking:
        """What `_applying` finds, as it was found for a call with the same values of all conditions."""
        try:
            key = values_of(known.conditions, call)
        except Exception:  # of a condition that comes after one that does not hold
            key = None
        if key is None:
            return self._applying(known, call)
        found = known.answers.get(key)
        if found is None:
            if len(known.answers) >= _MOST_ANSWERS:
                known.answers.clear()
            found = known.answers[key] = self._applying(known, call)
        return found

    def _applying(self, known: Known, call: Call) -> Asking:
        """The equations of the first level that has some that apply.

        Equations about how the call follows another are added, from the first level that has such, and those that stand
        beside all others, from every level.
        """
        own: list[Match] = []
        chain: list[Match] = []
        beside: list[Match] = []
        for level in known.levels:
            found = [m for m in level if not m.conditional or applies(m, call)]
            beside += [m for m in found if m.bind.beside]
            own = own or [m for m in found if not m.chained and not m.bind.beside]
            chain = chain or [m for m in found if m.chained and not m.bind.beside]
            if own and (chain or not known.chained) and not known.beside:
                break
        every = (*own, *chain, *beside)
        return every, self._asked(every)

    def _asked(self, matches: tuple[Match, ...]) -> Patterns | None:
        """Which calls below a step its equations need."""
        key = tuple(map(id, matches))  # the library keeps the matches, so that ids stay unique
        if key not in self._children:
            asked = frozenset[str]().union(*(match.children for match in matches))
            every = frozenset[str]().union(*(match.children - _last(match.bind) for match in matches))
            self._children[key] = (asked, asked - every) if asked else None
            self._met.update({m.equation.id: m.equation.data for m in matches})
        return self._children[key]


_lasts: dict[int, tuple[Bind, frozenset[str]]] = {}


def _last(bind: Bind) -> frozenset[str]:
    """`Bind.last`, which takes long, as it was found once."""
    known = _lasts.get(id(bind))
    if known is None:
        known = _lasts[id(bind)] = bind, bind.last  # the bind is kept, so that its id stays its own
    return known[1]


@lru_cache(maxsize=4096)
def _fitting(patterns: frozenset[str], name: str) -> frozenset[str]:
    return frozenset(pattern for pattern in patterns if fnmatchcase(name, pattern))


def drops(module: torch.nn.Module) -> bool:
    """Whether a module, or one directly below it, applies dropout in training mode."""
    values = [value for name, value in module.__dict__.items() if "drop" in name]
    for child in children_of(module).values():
        if child is not None and "Drop" in type(child).__name__:
            values += child.__dict__.values()
    return any(type(value) in (int, float) and value > 0 for value in values)


def _copies(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Copy arguments that are about to be overwritten; those that are too large stay as they are."""
    return {
        name: value.detach().clone() if isinstance(value, torch.Tensor) and value.numel() <= _MOST_COPIED else value
        for name, value in arguments.items()
    }
