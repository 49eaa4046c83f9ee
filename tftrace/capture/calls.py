"""A call while it runs: its place in code and tree, its arguments, and the calls below it that recipes need."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

from ..recipes.format.evidence import STATED
from ..trace import schema
from .code_site import NOWHERE, Site
from .measure.identity import View

QUERY_KEY_VALUE = frozenset("QKV")  # the symbols by which an equation is known as one of attention


class Place(NamedTuple):
    """The columns of a step that depend only on its call site; made once, and shared by all steps there."""

    kind: str
    name: str
    type: str
    file: str | None
    line: int | None
    end_line: int | None
    col: int | None
    end_col: int | None
    def_file: str | None
    def_line: int | None


def place(kind: str, name: str, type_name: str, site: Site = NOWHERE, definition: Site = NOWHERE) -> Place:
    """Make the place of steps of a kind, called at `site`, of something defined at `definition`."""
    return Place(kind, name, type_name, *site, definition.file, definition.line)


_NONE: Mapping[Any, Any] = {}


class Call:
    """A step that has been entered: module, function, line or op.

    Hundreds are made in a forward of a few milliseconds. Python reads and writes slots quickest: an attribute of an
    object is slow as soon as its class has a default of the same name.

    Attributes:
        place: Its place in code and tree.
        direct: Whether it is a module's forward that was called past the hooks.
        muted: Whether the user left the module out: neither it nor anything below it is recorded.
        parent: The recorded step above this one.
        owner: The nn.Module that runs; for a function or a line, the module around it.
        body: The code of the module's frame, until that frame has been seen.
        values: Locals when it returned.
        known: What the recipes say about its module or function.
        given: Views of the tensors in the arguments, as they were, by id.
        returned: Views of the tensors in the result.
        seen: Calls below that returned, by relative name, if a recipe needs them.
        wanted: Which calls those are, if there is `seen` (`finder.Wanted`).
        latest: The last call below of each class of modules, if a recipe needs it.
        noted: Equations that it was seen to compute, after the order of their checks.
        told: Those of them whose tensors were written.
        held: Whether it ends after its frame: what the frame returns is changed on purpose.
        edited: What was changed in its result on purpose.
        attends: Whether it takes queries, keys and values, or has them made below it.
        before: The previous call of the same class, if a recipe needs it.
        hooked: What the engine of hooks knows of a call that it has begun.
    """

    __slots__ = (
        *("place", "step", "depth", "forward", "occurrence", "start_ns", "own_ns", "parent", "owner", "body"),
        *("arguments", "result", "values", "equations", "known", "given", "returned", "seen", "wanted", "latest"),
        *("noted", "edited", "told", "before", "hooked", "direct", "muted", "held", "attends"),
    )

    def __init__(self, place: Place) -> None:
        self.place = place
        self.step = self.depth = self.forward = self.occurrence = self.start_ns = self.own_ns = 0
        self.direct = self.muted = self.held = self.attends = False
        self.parent: Call | None = None
        self.before: Call | None = None
        self.body: CodeType | None = None
        self.owner: Any = None
        self.result: Any = None
        self.known: Any = None
        self.wanted: Any = None
        self.hooked: Any = None
        self.arguments: Mapping[str, Any] = _NONE
        self.values: Mapping[str, Any] = _NONE
        self.given: Mapping[int, View] = _NONE
        self.latest: Mapping[type, Call] = _NONE
        self.returned: dict[int, View] | None = None
        self.seen: dict[str, list[Call]] | None = None
        self.equations: tuple[Any, ...] = ()
        self.noted: tuple[tuple[int, str], ...] = ()
        self.told: tuple[str, ...] = ()
        self.edited = ""

    @property
    def stated(self) -> bool:
        """Whether a recipe names its module or function and says what it computes, not only how its parts are wired."""
        return any(match.evidence == STATED and match.equation.covers != "wiring" for match in self.equations)

    @property
    def equation(self) -> str | None:
        """Its principal equation: one that was stated, else one that it was seen to compute."""
        if self.noted and not self.stated:
            return self.noted[0][1]
        return self.equations[0].equation.id if self.equations else None

    @property
    def kind(self) -> str:
        """The kind of the step: module, function, line or op."""
        return self.place.kind

    @property
    def name(self) -> str:
        """The path of the module; a function adds its own name."""
        return self.place.name

    @property
    def module(self) -> Call | None:
        """The innermost module call that this call is, or runs in."""
        at: Call | None = self
        while at is not None and at.place.kind is not schema.MODULE:
            at = at.parent
        return at

    @property
    def scope(self) -> str:
        """The path of the module that this call runs in; names of calls below are relative to it."""
        found = self.module
        return self.name if found is None else found.name

    @property
    def call(self) -> Call:
        """The module or function call that this call is, or belongs to."""
        at = self
        while at.place.kind not in schema.CALLS and at.parent is not None:
            at = at.parent
        return at


@lru_cache(maxsize=4096)
def parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], str | None]:
    """The names of the positional parameters of a function, without self, and that of its `*args`, if there is one."""
    try:
        found = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return (), None
    named = tuple(p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    return named, next((p.name for p in found if p.kind is p.VAR_POSITIONAL), None)


def bind_arguments(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Map arguments to the names of the parameters of `forward`, by which readers of its source know them."""
    names, star = parameters(forward)
    bound = dict(zip(names, args, strict=False))
    for index, value in enumerate(args[len(names) :]):
        bound[f"{star or 'args'}[{index}]"] = value
    return bound | kwargs if kwargs else bound
