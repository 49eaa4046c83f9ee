"""The sentences for users in the package's source: those that go through `tr`, and those that go around it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import tftrace

PACKAGE = Path(tftrace.__file__).parent
MARKS = {"tr": (0,), "later": (0,), "Key": (3,)}  # which arguments are keys of the catalogue
# What shows its words to a user as they are: they have to come through `tr`.
SHOWS = {"say", "tell", "notify", "Question"}
# Files, by how their paths begin, whose every sentence is for users. Elsewhere what `SHOWS` is handed is looked at.
ROOMS: tuple[str, ...] = ("cli.py", "commands/_comparison_text.py", "commands/check.py", "commands/nan.py")
DONE: tuple[str, ...] = ("cli.py", "commands/", "notebook.py", "show.py", "card.py", "export/")
WORDS = re.compile(r"(?!(?:bold|italic|dim) \w+$)\b[A-Za-z]{2,},? [a-z]{2,}")  # two words side by side are a sentence's
Found = tuple[str, int, str]  # file, line and sentence


@cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    """The files of the package, but for the models that come with it."""
    found = {file.relative_to(PACKAGE).as_posix(): file for file in sorted(PACKAGE.rglob("*.py"))}
    return tuple(
        (name, ast.parse(file.read_text(encoding="utf-8")))
        for name, file in found.items()
        if not name.startswith("demo/")
    )


def literals(node: ast.expr) -> list[ast.Constant] | None:
    """The strings that an expression may be; None where one is not written out."""
    if isinstance(node, ast.Constant):
        return [node] if isinstance(node.value, str) else []
    parts = (
        [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values if isinstance(node, ast.BoolOp) else []
    )
    found = [literals(part) for part in parts]
    return [one for part in found for one in part or ()] if parts and None not in found else None


def name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def keys(file: str, tree: ast.Module) -> Iterator[Found]:
    """The sentences that are looked up in the catalogue."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name(node) in MARKS:
            for at in MARKS[name(node)]:
                for one in literals(node.args[at]) or () if len(node.args) > at else ():
                    yield file, one.lineno, str(one.value)


def built(file: str, tree: ast.Module) -> Iterator[Found]:
    """What is handed to `tr` but put together on the spot, so that no catalogue can have it."""
    for node in ast.walk(tree):
        first = node.args[:1] if isinstance(node, ast.Call) and name(node) in ("tr", "later") else []
        yield from ((file, one.lineno, ast.unparse(one)) for one in first if isinstance(one, ast.JoinedStr | ast.BinOp))


def around(file: str, tree: ast.Module) -> Iterator[Found]:
    """Words for users that do not go through `tr`."""
    nodes = list(ast.walk(tree))
    known = {id(part) for node in nodes if translated(node) for part in ast.walk(node)} | _docstrings(nodes)
    if not file.startswith(ROOMS):
        shows = [node for node in nodes if isinstance(node, ast.Call) and name(node) in SHOWS]
        nodes = [part for call in shows for argument in call.args for part in ast.walk(argument)]
    for part in nodes:
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in known:
            yield from [(file, part.lineno, part.value)] if WORDS.search(part.value) else []


def translated(node: ast.AST) -> bool:
    """Whether this is a call that hands sentences to the catalogue."""
    return isinstance(node, ast.Call) and name(node) in MARKS


def _docstrings(nodes: list[ast.AST]) -> set[int]:
    return {id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
