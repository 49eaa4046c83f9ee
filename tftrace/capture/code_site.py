"""Finds places in code: where a function is defined, the expression that calls, the statements of a file.

A debugger steps by statement. A call written over eight lines is one step, so lines are mapped to statements."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple


class Site(NamedTuple):
    """A span of source: lines from 1, columns in UTF-8 bytes from 0; None where Python does not tell."""

    file: str | None = None
    line: int | None = None
    end_line: int | None = None
    col: int | None = None
    end_col: int | None = None


class Statement(NamedTuple):
    """A statement, and the local names that it binds; of a compound statement, only the header counts."""

    site: Site
    binds: frozenset[str] = frozenset()


NOWHERE = Site()


def call_site(frame: FrameType) -> Site:
    """The expression from which a running frame is calling; before Python 3.11, only its line."""
    code = frame.f_code
    spans = _spans(code)
    if spans is None:
        return Site(code.co_filename, frame.f_lineno, frame.f_lineno)
    line, end_line, col, end_col = spans[frame.f_lasti // 2]
    return Site(code.co_filename, line or frame.f_lineno, end_line or frame.f_lineno, col, end_col)


@lru_cache(maxsize=4096)
def _spans(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]] | None:
    return list(code.co_positions()) if hasattr(code, "co_positions") else None


def qualified_name(frame: FrameType) -> str:
    """The qualified name of the function of a frame, such as `BertModel.forward`.

    Before Python 3.11, it is derived from the class of `self`.
    """
    code = frame.f_code
    if hasattr(code, "co_qualname"):
        return str(code.co_qualname).replace(".<locals>", "")
    owner = frame.f_locals.get("self") if code.co_varnames[:1] == ("self",) else None
    return code.co_name if owner is None else f"{type(owner).__name__}.{code.co_name}"


def code_of(function: Callable[..., Any]) -> CodeType | None:
    """The code of a function, inside of its decorators; None if it is not written in Python."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    return getattr(function, "__code__", None)


@lru_cache(maxsize=512)
def statements(file: str) -> dict[int, Statement]:
    """Map each line of a file to its statement; a compound statement has only the lines of its header."""
    found: dict[int, Statement] = {}
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):  # from the outside in, so that inner statements take their lines from outer ones
        if not isinstance(node, ast.stmt):
            continue
        end_line, end_col = node.end_lineno or node.lineno, node.end_col_offset
        body = getattr(node, "body", None) or getattr(node, "cases", None)
        header: list[ast.AST | None] = [node]
        if body:
            first = body[0] if isinstance(body[0], ast.stmt) else body[0].pattern
            end_line, end_col = max(node.lineno, min(first.lineno - 1, end_line)), None
            header = [getattr(node, "target", None), *getattr(node, "items", [])]
        names = (inner for part in header if part is not None for inner in ast.walk(part))
        binds = frozenset(n.id for n in names if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        statement = Statement(Site(file, node.lineno, end_line, node.col_offset, end_col), binds)
        found.update(dict.fromkeys(range(node.lineno, end_line + 1), statement))
    return found
