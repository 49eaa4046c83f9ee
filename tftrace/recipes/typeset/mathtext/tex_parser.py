"""Parses the TeX of an equation into a tree.

It knows the part of TeX that papers write equations in, and raises ValueError for anything else."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ....text import visible
from . import tex_commands
from .tex_commands import FUNCTION, NAME, ORDINARY


@dataclass(frozen=True, slots=True)
class Sign:
    """A letter, a number, an operator or a name, as it is drawn."""

    text: str
    kind: str = ORDINARY


@dataclass(frozen=True, slots=True)
class Gap:
    """Space that the TeX asks for, in cells."""

    cells: int


@dataclass(frozen=True, slots=True)
class Group:
    """The items between braces."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A base with its scripts, which stand to its right or, with `limits`, above and below it."""

    base: Node
    low: Node | None = None
    high: Node | None = None
    primes: int = 0
    limits: bool = False


@dataclass(frozen=True, slots=True)
class Fraction:
    """A fraction; a binomial coefficient has no `line`."""

    top: Node
    bottom: Node
    line: bool = True


@dataclass(frozen=True, slots=True)
class Root:
    """A square root, or a root of another degree."""

    body: Node
    degree: Node | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """Brackets that grow with their content; an empty one is not drawn."""

    left: str
    body: Node
    right: str


@dataclass(frozen=True, slots=True)
class Accent:
    """A base with a mark above it, which is a combining character."""

    base: Node
    mark: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix, cases, or aligned equations.

    Attributes:
        rows: The cells of each row.
        places: The alignment of the columns, l, c or r for each; it is repeated.
        apart: The number of empty cells between columns.
    """

    rows: tuple[tuple[Node, ...], ...]
    places: str
    apart: int


Node = Sign | Gap | Group | Script | Fraction | Root | Fence | Accent | Grid

_TOKEN = re.compile(r"\\(?:operatorname\*|[A-Za-z]+|.)|\s+|[0-9]+(?:\.[0-9]+)?|.", re.DOTALL)
_ENVIRONMENTS = {  # name -> brackets, alignment of the columns, cells between them
    "matrix": ("", "", "c", 2), "pmatrix": ("(", ")", "c", 2), "bmatrix": ("[", "]", "c", 2),
    "Bmatrix": ("{", "}", "c", 2), "vmatrix": ("|", "|", "c", 2), "Vmatrix": ("‖", "‖", "c", 2),
    "array": ("", "", "c", 2), "cases": ("{", "", "l", 2), "aligned": ("", "", "rl", 1), "align": ("", "", "rl", 1),
    "split": ("", "", "rl", 1), "gathered": ("", "", "c", 1),
}  # fmt: skip
_DEEPEST = 24  # groups within groups


def parse(tex: str) -> tuple[Node, ...]:
    """Parse an equation.

    Returns:
        Its items, in order.

    Raises:
        ValueError: It cannot be parsed, or it has characters that cannot be shown.
    """
    tex = re.sub(r"\s+", " ", tex)
    if visible(tex) != tex:
        raise ValueError("characters that cannot be shown")
    return _Parser(_TOKEN.findall(tex)).items(())


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def items(self, ends: Collection[str]) -> tuple[Node, ...]:
        """Parse the items before one of the tokens `ends`, which is read too; without `ends`, all that is left."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("too deep")
        found: list[Node] = []
        while (token := self._next(bool(ends))) not in ends and token:
            if token in ("^", "_", "'"):
                base = found.pop() if found and not isinstance(found[-1], Gap) else Group(())
                found.append(self._script(base, token))
            elif token not in tex_commands.NOTHING:
                found.append(self._node(token))
        self._depth -= 1
        self._end = token
        return tuple(found)

    def _next(self, needed: bool = True) -> str:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if not token.isspace():
                return token
        if needed:
            raise ValueError("the TeX ends too early")
        return ""

    def _argument(self) -> Node:
        token = self._next()
        if token[0].isdigit() and len(token) > 1:  # TeX takes one digit
            self._at -= 1
            self._tokens[self._at] = token[1:]
            token = token[0]
        return self._node(token)

    def _node(self, token: str) -> Node:
        if token == "{":
            return _grouped(self.items("}"))
        if token in tex_commands.SIGNS:
            return Sign(*tex_commands.SIGNS[token])
        if token in tex_commands.GAPS:
            return Gap(tex_commands.GAPS[token])
        if token.startswith("\\"):
            return self._command(token)
        if token in "}&^_#$%":
            raise ValueError(f"{token!r} is out of place")
        return Sign(token)

    def _command(self, token: str) -> Node:
        if token in (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"):
            return Fraction(self._argument(), self._argument())
        if token in (r"\binom", r"\dbinom", r"\tbinom"):
            return Fence("(", Fraction(self._argument(), self._argument(), line=False), ")")
        if token == r"\sqrt":
            return self._root()
        if token == r"\left":
            return self._fence()
        if token == r"\begin":
            return self._environment()
        if token in tex_commands.ACCENTS or token == r"\overline":
            return Accent(self._argument(), tex_commands.ACCENTS.get(token, "\u0305"))
        if token in (r"\overset", r"\stackrel"):
            high = self._argument()
            return Script(self._argument(), high=high, limits=True)
        if token == r"\underset":
            low = self._argument()
            return Script(self._argument(), low=low, limits=True)
        return self._words(token)

    def _words(self, token: str) -> Node:
        if token == r"\operatorname*":
            return Script(Sign(self._text() or "", FUNCTION), limits=True)
        if token in tex_commands.NAMED | tex_commands.WORDS:
            start = self._at
            name = self._text()
            if name is None:  # not a name, but a formula in upright letters
                self._at = start
                return self._argument()
            return Sign(name, NAME if token in tex_commands.NAMED and len(name) > 1 else ORDINARY)
        if token in tex_commands.ALPHABETS:
            body = self._argument()
            if token == r"\mathbb" and isinstance(body, Sign):
                return Sign(tex_commands.DOUBLE.get(body.text, body.text))
            return body
        raise ValueError(f"{token} is not known")

    def _text(self) -> str | None:
        """Read the next braces as text; None if they hold more than text."""
        if self._next() != "{":
            return None
        found = ""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token == "}":
                return found
            if token in tex_commands.GAPS or token.isspace():
                found += " " * min(1, tex_commands.GAPS.get(token, 1))
            elif token in (r"\_", r"\&", r"\%", r"\#", r"\$"):
                found += token[1:]
            elif token[0] in "\\{^_$&#%":
                return None
            else:
                found += token
        raise ValueError("the TeX ends too early")

    def _root(self) -> Node:
        start = self._at
        if self._next() == "[":
            return Root(degree=_grouped(self.items("]")), body=self._argument())
        self._at = start
        return Root(self._argument())

    def _fence(self) -> Node:
        left = self._bracket()
        body = _grouped(self.items((r"\right",)))
        return Fence(left, body, self._bracket())

    def _bracket(self) -> str:
        token = {"<": "⟨", ">": "⟩"}.get(found := self._next(), found)
        char = "" if token == "." else tex_commands.SIGNS.get(token, (token, ""))[0]
        if char not in ("", *"()[]{}|‖⟨⟩⌊⌋⌈⌉/"):
            raise ValueError(f"{token!r} is no bracket")
        return char

    def _environment(self) -> Node:
        name = (self._text() or "").rstrip("*")
        if name not in _ENVIRONMENTS:
            raise ValueError(f"the environment {name!r} is not known")
        left, right, places, apart = _ENVIRONMENTS[name]
        if name == "array":
            places = re.sub("[^lcr]", "", self._text() or "") or places
        rows: list[tuple[Node, ...]] = []
        cells: list[Node] = []
        while True:
            cells.append(_grouped(self.items(("&", r"\\", r"\end"))))
            if self._end != "&":
                rows.append(tuple(cells))
                cells = []
            if self._end == r"\end":
                break
        self._text()
        if len(rows) > 1 and rows[-1] == (Group(()),):  # \\ after the last row
            rows.pop()
        grid = Grid(tuple(rows), places, apart)
        return Fence(left, grid, right) if left or right else grid

    def _script(self, base: Node, token: str) -> Script:
        if token == "'":
            content: Node | None = None
        else:
            content = self._argument()
        whole = base.items[0] if isinstance(base, Group) and len(base.items) == 1 else None
        if isinstance(whole, Script) and token != "'" and content:  # {K^r_j}^T: put beside the script that is there
            if token == "^":
                return Script(whole.base, whole.low, _joined(whole.high, content), whole.primes, whole.limits)
            return Script(whole.base, _joined(whole.low, content), whole.high, whole.primes, whole.limits)
        if not isinstance(base, Script):
            base = Script(base, limits=isinstance(base, Sign) and base.text in tex_commands.LIMITS)
        if content is None:
            return Script(base.base, base.low, base.high, base.primes + 1, base.limits)
        if (base.high if token == "^" else base.low) is not None:
            raise ValueError("two scripts in one place")
        if token == "^":
            return Script(base.base, base.low, content, base.primes, base.limits)
        return Script(base.base, content, base.high, base.primes, base.limits)


def _grouped(items: tuple[Node, ...]) -> Node:
    """A group of items; a single one needs no group, unless it has scripts: it may get more outside of the braces."""
    return items[0] if len(items) == 1 and not isinstance(items[0], Script) else Group(items)


def _joined(first: Node | None, second: Node) -> Node:
    return Group((first, second)) if first is not None else second


def flattened(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """The items, with plain groups replaced by their items."""
    return tuple(inner for item in items for inner in (flattened(item.items) if isinstance(item, Group) else (item,)))
