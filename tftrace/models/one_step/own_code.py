"""Cuts the user's own classes and functions, with all that they refer to, out of the files that they stand in.

A whole file cannot go along: a script would train again as it is imported."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from .names import is_library
from .packing import Unpackable


def own_code(named: Mapping[str, ModuleType]) -> str:
    """The source of classes and functions with what they need.

    Args:
        named: The module of each, by its qualified name.

    Raises:
        Unpackable: They refer to something that cannot be cut out.
    """
    cut = _Cut()
    for name, module in named.items():
        cut.add(name.split(".")[0], module)
    return cut.source()


class _Cut:
    """What has been cut out: statements by file, in their order, and imports."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._homes: dict[str, str] = {}  # the file that a name comes from
        self._order: list[str] = []
        self._imports: dict[str, None] = {}

    def add(self, name: str, module: ModuleType) -> None:
        """Take a name of a module and all that it refers to."""
        file = self._file(module)
        if name not in file.defines:
            raise Unpackable(f"is code of its own, and {name!r} is not at the top of its file")
        for at in file.defines[name]:
            statement = file.tree.body[at]
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                self._take_import(statement, name, module)
                continue
            if self._homes.setdefault(name, file.name) != file.name:
                raise Unpackable(f"is code of its own in several files, two of which have something called {name!r}")
            if at not in file.taken:
                file.taken.add(at)
                for used in sorted(_used(statement) & file.defines.keys()):
                    self.add(used, module)

    def source(self) -> str:
        """The text: imports first, then each file's statements; the files that others need come first."""
        out = ["from __future__ import annotations", "", *self._imports]
        for name in self._order:
            file = self._files[name]
            for at in sorted(file.taken):
                out += ["", "", file.text_of(file.tree.body[at])]
        return "\n".join(out) + "\n"

    def _take_import(self, statement: ast.Import | ast.ImportFrom, name: str, module: ModuleType) -> None:
        for alias in statement.names:
            bound = alias.asname or alias.name.partition(".")[0]
            if bound != name:
                continue
            renamed = f" as {alias.asname}" if alias.asname else ""
            if isinstance(statement, ast.Import):
                self._check_library(alias.name)
                self._imports[f"import {alias.name}{renamed}"] = None
                return
            source = "." * statement.level + (statement.module or "")
            whole = importlib.util.resolve_name(source, module.__package__ or "") if statement.level else source
            found = sys.modules.get(whole)
            if whole == "__future__":
                return
            if found is None or is_library(found):
                self._imports[f"from {whole} import {alias.name}{renamed}"] = None
                return
            if renamed or isinstance(getattr(found, alias.name, None), ModuleType):
                raise Unpackable(f"is code of its own that imports {alias.name!r} of {whole} in a way of its own")
            self.add(alias.name, found)

    def _check_library(self, name: str) -> None:
        found = sys.modules.get(name)
        if found is not None and not is_library(found):
            raise Unpackable(f"is code of its own that imports all of the module {name!r}, which is yours as well")

    def _file(self, module: ModuleType) -> _File:
        name = getattr(module, "__file__", None) or module.__name__
        if name not in self._files:
            text = "".join(linecache.getlines(name, vars(module)))
            if not text:
                raise Unpackable(f"is code of its own in {module.__name__}, whose source is not there")
            self._files[name] = _File(name, text)
        if name in self._order:
            self._order.remove(name)
        self._order.insert(0, name)
        return self._files[name]


class _File:
    """A file of the user's: its statements, and which of them define which names."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self._lines = name, text.splitlines()
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise Unpackable(f"is code of its own that cannot be read ({type(error).__name__})") from error
        self.taken: set[int] = set()
        self.defines: dict[str, list[int]] = {}
        for at, statement in enumerate(self.tree.body):
            for bound in _bound(statement):
                self.defines.setdefault(bound, []).append(at)

    def text_of(self, statement: ast.stmt) -> str:
        """The lines of a statement, with its decorators."""
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))])
        return "\n".join(self._lines[first - 1 : statement.end_lineno])


def _bound(statement: ast.stmt) -> Iterable[str]:
    """The names that a statement at the top of a file binds."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.Try)):
        return _stored(statement)
    return set()


def _stored(statement: ast.stmt) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return found


def _used(statement: Any) -> set[str]:
    """The names that a statement may refer to, wherever in it."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
