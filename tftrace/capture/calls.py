"""What is known of a call while it runs: its place in the tree, its arguments, what a recipe needs of its children."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

from .. import schema
from ..source import NOWHERE, Site


@dataclass(slots=True, eq=False)
class Call:
    """A step that has been entered: module, function or line."""

    step: int
    kind: str
    name: str
    type: str
    parent: Call | None
    forward: int
    occurrence: int
    depth: int
    site: Site = NOWHERE
    definition: Site = NOWHERE
    start_ns: int = 0
    own_ns: int = 0  # time the recording itself had taken when this step began
    owner: Any = None  # the running nn.Module; for a function or line the module it runs in
    body: CodeType | None = None  # the code that a module's frame will run, until that frame was seen
    error: BaseException | None = None  # the exception that was already being handled at entry
    arguments: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)  # locals at the return
    equations: tuple[Any, ...] = ()
    versions: dict[int, int] = field(default_factory=dict)  # of the tensors in arguments and result, when seen
    seen: dict[str, Call] | None = None  # finished calls below by relative name, where a recipe asks for them

    @property
    def scope(self) -> str:
        """Path of the module that this runs in: names of calls below are relative to it."""
        at = self
        while at.kind is not schema.MODULE and at.parent is not None:
            at = at.parent
        return at.name

    @property
    def call(self) -> Call:
        """The module or function call this belongs to."""
        at = self
        while at.kind not in schema.CALLS and at.parent is not None:
            at = at.parent
        return at

    def release(self) -> None:
        """Let go of everything that belongs to the model, so that a record keeps no tensor alive."""
        self.owner = self.result = self.error = self.seen = None
        self.arguments, self.values, self.versions, self.equations = {}, {}, {}, ()

    def row(self, rank: int, duration_ns: int | None, status: str, equation: str | None) -> tuple[Any, ...]:
        """The step's row, in the order of the schema."""
        parent = None if self.parent is None else self.parent.step
        return (
            self.step,
            parent,
            self.depth,
            self.forward,
            rank,
            self.kind,
            self.name,
            self.type,
            self.occurrence,
            *self.site,
            self.definition.file,
            self.definition.line,
            self.start_ns,
            duration_ns,
            status,
            equation,
        )


@lru_cache(maxsize=4096)
def _parameters(function: Callable[..., Any]) -> tuple[list[str], str | None]:
    """Names of the positional parameters (without self), and the name of the `*args` one."""
    try:
        found = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return [], None
    named = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named, next((p.name for p in found if p.kind is p.VAR_POSITIONAL), None)


def bind_arguments(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name, as the reader of `forward(self, hidden_states, ...)` knows them."""
    names, star = _parameters(forward)
    bound = dict(zip(names, args, strict=False))
    for index, value in enumerate(args[len(names) :]):
        bound[f"{star or 'args'}[{index}]"] = value
    return bound | kwargs
