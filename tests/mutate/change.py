"""Small changes of a source file, each a mistake that somebody could make: found in its tree, made in its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is], ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change: some text of a file in the place of other text."""

    file: str  # relative to the repository
    line: int  # of the place, from 1
    kind: str
    begin: int  # offsets in the bytes of the file
    end: int
    text: str

    def made(self, source: bytes) -> bytes:
        """The file with the change."""
        return source[: self.begin] + self.text.encode() + source[self.end :]

    def told(self, source: bytes) -> str:
        """The change in one line."""
        before = " ".join(source[self.begin : self.end].decode().split())
        return f"{self.file}:{self.line}: {self.kind}: `{before[:110]}` → `{self.text[:110]}`"


def changes(file: str, source: bytes) -> list[Change]:
    """Every change of a file; a few do not compile."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, kind, text in _all(ast.parse(source)):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        change = Change(file, node.lineno, kind, begin, end, text)
        if source[begin:end].decode() != text:
            found.append(change)
    return found


def compiles(source: bytes) -> bool:
    """Whether Python takes a source."""
    try:
        compile(source, "changed", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _all(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    for part in ast.walk(tree):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for statement in _own(part):
                yield from _of_statement(statement)


def _own(part: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.stmt]:
    """The statements of a function, without its docstring and without functions and classes within it."""
    waiting: list[ast.AST] = list(part.body)
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(one, ast.stmt):
            yield one
        waiting += [
            inner for inner in ast.iter_child_nodes(one) if isinstance(inner, (ast.stmt, ast.ExceptHandler))
        ] + [case_part for case in getattr(one, "cases", []) for case_part in case.body]


def _of_statement(one: ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
        return
    if isinstance(one, (ast.Expr, ast.AugAssign, ast.Delete)) or (
        isinstance(one, ast.Assign) and isinstance(one.targets[0], (ast.Attribute, ast.Subscript))
    ):
        yield one, "left out", "pass"
    if isinstance(one, ast.Return) and one.value is not None:
        yield one, "returns nothing", "return None"
    if isinstance(one, (ast.If, ast.While)):
        yield one.test, "the opposite", f"(not ({ast.unparse(one.test)}))"
        if isinstance(one, ast.If) and isinstance(one.body[0], (ast.Return, ast.Continue, ast.Break, ast.Raise)):
            yield one.body[0], "goes on", "pass"
    if isinstance(one, ast.Continue):
        yield one, "ends", "break"
    for name, value in ast.iter_fields(one):
        if name == "annotation" or (isinstance(one, ast.Raise) and name in ("exc", "cause")):
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, ast.withitem):
                inner = inner.context_expr
            if isinstance(inner, ast.expr):
                yield from _of_expression(inner)


def _of_expression(root: ast.expr) -> Iterator[tuple[ast.expr, str, str]]:
    for one in ast.walk(root):
        if isinstance(one, ast.JoinedStr):
            return  # places in an f-string are not exact before Python 3.12
    for one in ast.walk(root):
        if isinstance(one, ast.Compare) and len(one.ops) == 1:
            for other in _COMPARISONS.get(type(one.ops[0]), []):
                yield one, "comparison", f"({ast.unparse(ast.Compare(one.left, [other()], one.comparators))})"
        elif isinstance(one, ast.BoolOp):
            other_kind = ast.And() if isinstance(one.op, ast.Or) else ast.Or()
            yield one, "and, or", f"({ast.unparse(ast.BoolOp(other_kind, one.values))})"
            for at in range(len(one.values)):
                kept = one.values[:at] + one.values[at + 1 :]
                yield one, "without a part", f"({ast.unparse(ast.BoolOp(one.op, kept) if len(kept) > 1 else kept[0])})"
        elif isinstance(one, ast.UnaryOp) and isinstance(one.op, (ast.Not, ast.USub)):
            yield one, "without the sign", f"({ast.unparse(one.operand)})"
        elif isinstance(one, ast.BinOp) and type(one.op) in _OPERATORS:
            new = ast.BinOp(one.left, _OPERATORS[type(one.op)](), one.right)
            yield one, "operator", f"({ast.unparse(new)})"
        elif isinstance(one, ast.IfExp):
            yield one, "branches swapped", f"({ast.unparse(ast.IfExp(one.test, one.orelse, one.body))})"
        elif isinstance(one, ast.Constant) and type(one.value) in (bool, int):
            value: Any = one.value
            others = [not value] if isinstance(value, bool) else [value + 1, value - 1]
            yield from ((one, "constant", repr(other)) for other in others)
        elif isinstance(one, ast.Call) and len(one.args) > 1 and not any(isinstance(a, ast.Starred) for a in one.args):
            swapped = [one.args[1], one.args[0], *one.args[2:]]
            yield one, "arguments swapped", ast.unparse(ast.Call(one.func, swapped, one.keywords))
