"""Which modules and functions of a model the patterns of edits name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch

from ...edits import Edit, Edits
from ...errors import TraceError
from ..watch.watched_modules import walk


@dataclass(eq=False)
class Target:
    """A step that is edited.

    Attributes:
        path: The path of the module.
        module: The module.
        function: Of a function that the module calls its name; empty for the module itself.
        edits: The edits, in order.
        count: How many of its calls came before.
    """

    path: str
    module: torch.nn.Module
    function: str
    edits: list[Edit] = field(default_factory=list)
    count: int = 0

    @property
    def name(self) -> str:
        """The name of the step."""
        return f"{self.path}.{self.function}".strip(".") or type(self.module).__name__


@dataclass(frozen=True)
class Holder:
    """Where a function is looked up when it is called: a module of Python, a class, or a table of functions.

    Attributes:
        place: What holds it.
        key: Under which name.
        function: The function.
    """

    place: Any
    key: Any
    function: Callable[..., Any]


def targets(models: Mapping[str, torch.nn.Module], edits: Edits) -> list[Target]:
    """The steps that edits name, in the order of the model.

    Args:
        models: The models by the names with which paths begin.
        edits: The edits of each pattern. A pattern is that of a step's name, or of the end of one.

    Raises:
        TraceError: A pattern names none, or what it names is no edit.
    """
    there = {path: module for name, model in models.items() for path, module in walk(name, model, ())}
    found: dict[tuple[str, str], Target] = {}
    for pattern, given in edits.items():
        every = [given] if isinstance(given, Edit) else list(given) if isinstance(given, (list, tuple)) else []
        if not every or not all(isinstance(one, Edit) for one in every):
            raise TraceError(
                f"edits[{pattern!r}] is no edit: make one with tftrace.zero, scale, set_to or another of these."
            )
        named = _named(pattern, there)
        if not named:
            raise TraceError(
                f"No module or function has a name that fits {pattern!r}: 'tftrace show' lists the steps of a trace."
            )
        for path, function in named:
            target = found.setdefault((path, function), Target(path, there[path], function))
            target.edits += every
    return list(found.values())


def _named(pattern: str, there: Mapping[str, torch.nn.Module]) -> list[tuple[str, str]]:
    """The modules, or else the functions that modules call, that a pattern names; else those whose names it ends."""
    for wanted in (pattern, f"*.{pattern}"):
        modules = [(path, "") for path in there if fnmatchcase(path, wanted)]
        above, _, name = wanted.rpartition(".")
        if modules or not name:
            return modules
        functions = [
            (path, key)
            for path, module in there.items()
            if path == above or fnmatchcase(path, above)
            for key in sorted({one.function.__name__ for one in holders(module)})
            if fnmatchcase(key, name)
        ]
        if functions:
            return functions
    return []


def holders(module: torch.nn.Module) -> list[Holder]:
    """Where the functions are looked up that a module's forward may call: its own methods, the names of its file, and
    tables of functions there, such as those of attention functions."""
    kind = type(module)
    space = getattr(inspect.unwrap(kind.forward), "__globals__", {})
    owner = inspect.getmodule(kind.forward)
    found = []
    for base in kind.__mro__[: kind.__mro__.index(torch.nn.Module)]:
        for name, one in vars(base).items():
            if inspect.isfunction(one) and name != "forward" and not name.startswith("__"):
                found.append(Holder(base, name, one))
    for name, one in list(space.items()):
        if inspect.isfunction(one) and owner is not None:
            found.append(Holder(owner, name, one))
        elif _is_table(one):
            found += [Holder(one, key, each) for key, each in _items(one) if inspect.isfunction(each)]
    return found


def _is_table(value: Any) -> bool:
    if not isinstance(value, dict):
        return isinstance(value, MutableMapping)
    return bool(value) and all(inspect.isfunction(one) for one in value.values())


def _items(table: MutableMapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    try:
        return list(table.items())
    except Exception:  # a stranger's mapping may do anything
        return []
