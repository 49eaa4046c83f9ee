"""What is known of a call while it runs: its place in the code and the tree, its arguments, and what a recipe needs
of its children."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

from ..trace import schema
from .code_site import NOWHERE, Site
from .measure.identity import View


class Place(NamedTuple):
    """The columns of a step that its call site settles; built once and shared by every step there."""

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
    """The place of a step of `kind`, called at `site`, of something defined at `definition`."""
    return Place(kind, name, type_name, *site, definition.file, definition.line)


class Call:
    """A step that has been entered: module, function, line or op.

    Hundreds are made in a forward of a few milliseconds, so that what most calls lack is a default of the class."""

    step = depth = forward = occurrence = start_ns = own_ns = 0
    direct = False  # a module's forward that was called past its hooks
    muted = False  # a module that the user left out: nothing of it is recorded, nor what runs in it
    parent: Call | None = None  # the recorded step that this one runs in
    owner: Any = None  # the running nn.Module; for a function or line the module it runs in
    body: CodeType | None = None  # the code that a module's frame will run, until that frame was seen
    arguments: Mapping[str, Any] = {}
    result: Any = None
    values: Mapping[str, Any] = {}  # locals at the return
    equations: tuple[Any, ...] = ()
    known: Any = None  # what the recipes say of its module or function
    given: Mapping[int, View] = {}  # of the tensors in the arguments, as they were, by their ids
    returned: dict[int, View] | None = None  # and of those in the result
    seen: dict[str, list[Call]] | None = None  # finished calls below by relative name, where a recipe asks for them
    wanted: Any = None  # which calls those are, if `seen` is there (`known.Wanted`)
    latest: Mapping[type, Call] = {}  # calls below by the class of their module, where a recipe asks for the last one
    before: Call | None = None  # the call of the same class before this one, where a recipe asks for it

    def __init__(self, place: Place) -> None:
        self.place = place

    @property
    def kind(self) -> str:
        """module | function | line | op."""
        return self.place.kind

    @property
    def name(self) -> str:
        """Path of the module, and of a function its own name behind it."""
        return self.place.name

    @property
    def module(self) -> Call | None:
        """The innermost module call that this is or runs in."""
        at: Call | None = self
        while at is not None and at.place.kind is not schema.MODULE:
            at = at.parent
        return at

    @property
    def scope(self) -> str:
        """Path of the module that this runs in: names of calls below are relative to it."""
        found = self.module
        return self.name if found is None else found.name

    @property
    def call(self) -> Call:
        """The module or function call this belongs to."""
        at = self
        while at.place.kind not in schema.CALLS and at.parent is not None:
            at = at.parent
        return at


@lru_cache(maxsize=4096)
def parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], str | None]:
    """Names of the positional parameters (without self), and the name of the `*args` one."""
    try:
        found = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return (), None
    named = tuple(p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    return named, next((p.name for p in found if p.kind is p.VAR_POSITIONAL), None)


def bind_arguments(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name, as the reader of `forward(self, hidden_states, ...)` knows them."""
    names, star = parameters(forward)
    bound = dict(zip(names, args, strict=False))
    for index, value in enumerate(args[len(names) :]):
        bound[f"{star or 'args'}[{index}]"] = value
    return bound | kwargs if kwargs else bound
