"""Checks that the TeX of an equation and its formula agree, as far as names tell.

Every name in the TeX must be a symbol or a function of the formula. Every tensor that the formula uses must be named
in the TeX, or be listed in `aside`, because the note explains it. If `covers` says that less is checked than shown, the
TeX may name more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..formula.nodes import Name, Node, Select, walk
from ..typeset.symbol_places import spelled
from ..typeset.tex_names import Named, expression, named, plain, spans
from .mistake import Mistake
from .recipe import Equation

_CALL = re.compile(r"(\w+)\(")
# If the TeX has this function, the formula must have one of these functions or operators.
_COMPUTED = {
    "softmax": "softmax exp", "gelu": "gelu gelu_tanh gelu_quick erf tanh", "relu": "relu max",
    "silu": "silu", "act": "act", "sigmoid": "sigmoid", "softplus": "softplus", "tanh": "tanh mish", "erf": "erf gelu",
    "layernorm": "var", "ln": "var", "norm": "mean", "rmsnorm": "mean", "bn": "var", "e": "mean", "var": "var",
    "topk": "topk", "clip": "min", "max": "max relu relu2 amax", "min": "min", "sqrt": "sqrt **",
    "exp": "exp softmax", "log": "log log1p softplus mish", "ln ": "* log", "sin": "sin", "cos": "cos",
    "rot": "rotate_half rotate_pairs gather", "diag": "*", "mu": "mean", "variance": "var",
}  # fmt: skip


def agree(equation: Equation) -> list[Mistake]:
    """Find what only one of the TeX and the formula of an equation says."""
    if not equation.binds or all(bind.unchecked for bind in equation.binds):
        return []
    return list(_Reading(equation).mistakes())


class _Reading:
    def __init__(self, equation: Equation) -> None:
        self._equation, self._tex, self._source = equation, equation.data["tex"], equation.formula.source
        data: Mapping[str, Any] = equation.data
        self._signs: Mapping[str, str] = data.get("signs", {})
        self._aside: list[str] = list(data.get("aside", []))
        self._bound = {symbol for bind in equation.binds if not bind.unchecked for symbol in bind.symbols}
        self._sizes = {name for p in equation.dims.values() for axis in p.axes for name in axis.names}
        self._known = self._bound | equation.formula.symbols
        own = sorted(self._known - (self._sizes - self._bound - set(dict(equation.formula.statements))))
        spelling = spelled(own, self._tex, self._signs) | {n: s for n, s in self._signs.items() if n not in own}
        self._spelling = {name: plain(sign) for name, sign in spelling.items()}
        lets = {symbol for symbol, _ in equation.formula.statements} - self._bound
        computed = {s for s, body in equation.formula.statements if s in self._bound and not handed_on(body)}
        inputs = [sign for name, sign in self._signs.items() if name not in lets | computed]
        self._names = named(self._tex, self._covered([*inputs, *(self._signs[n] for n in lets & self._signs.keys())]))
        inside = named(self._tex, self._covered(inputs))  # with the names in the definitions of abbreviations
        self._named = {plain(sign) for sign in self._signs.values() if spans(self._tex, sign)}
        self._named |= {spelling for name in inside for spelling in name.spellings}
        self._shown = self._named | {c for name in inside for c in re.findall(r"[A-Za-z]", plain(name.low))}

    def _covered(self, signs: list[str]) -> list[tuple[int, int]]:
        """The places of signs of several letters: their parts are no names of their own."""
        return [span for sign in signs if len(plain(sign)) > 1 for span in spans(self._tex, sign)]

    def mistakes(self) -> Iterator[Mistake]:
        for symbol, sign in self._signs.items():
            if symbol not in self._known | self._sizes:
                yield Mistake(("signs", symbol), f"the formula has no {symbol!r} that could be written {sign}.")
            elif plain(sign) not in self._shown:
                yield Mistake(("signs", symbol), f"the TeX has no {sign}.")
        for symbol in self._aside:
            if symbol not in self._bound:
                yield Mistake(("aside",), f"{symbol!r} is bound nowhere: leave it out.")
            elif self._spelling.get(symbol) in self._named:
                yield Mistake(("aside",), f"{symbol!r} is what the TeX shows: leave it out.")
        if not self._equation.covers:
            yield from self._unknown()
        yield from self._not_shown()

    def _unknown(self) -> Iterator[Mistake]:
        """Names in the TeX that the formula does not have."""
        spellings = set(self._spelling.values())
        spellings |= {spelling for name in self._names if name.left for spelling in name.spellings}
        for name in self._names:
            if name.argument or name.left or spellings & set(name.spellings):
                continue
            shown = self._tex[name.start : name.end].strip()
            if name.function or name.word or name.base in (r"\mu", r"\sigma"):
                if not self._computes(name):
                    message = f"the TeX shows {shown}, which the formula neither binds nor computes"
                    yield Mistake(("tex",), f"{message}: give it a sign, or say what is covered.", name.start + 1)
            elif name.base != r"\pi":
                message = f"the TeX names {shown}, which the formula neither binds nor derives"
                yield Mistake(("tex",), f"{message}: give it a sign, or say what is covered.", name.start + 1)

    def _computes(self, name: Named) -> bool:
        word = name.base.removeprefix(r"\mathrm").strip("{}\\").lower()
        if word == "sigma":
            word = "sigmoid" if name.function else "variance"
        word = "ln " if name.base == r"\ln" else word
        if word == "concat":
            return any(len(axis.names) > 1 for p in self._equation.dims.values() for axis in p.axes)
        wanted = _COMPUTED.get(word)
        if wanted is None:
            return False
        called = set(_CALL.findall(self._source))
        return not wanted or any(w in called or (not w[0].isalpha() and w in self._source) for w in wanted.split())

    def _not_shown(self) -> Iterator[Mistake]:
        """Tensors that the formula uses or gives, and that the TeX does not name."""
        passed: set[str] = set()
        for symbol, body in self._equation.formula.statements:
            if symbol in self._bound and handed_on(body):
                passed |= {symbol, *(node.id for node in walk(body) if isinstance(node, Name))}
        statements = [s for s, body in self._equation.formula.statements if s in self._bound and s not in passed]
        for symbol in sorted(self._equation.formula.symbols & self._bound & set(self._equation.dims)):
            if symbol in passed or symbol in self._aside or self._spelling.get(symbol) in self._shown:
                continue
            if statements[-1:] == [symbol] and self._names_result():
                continue
            found = re.search(rf"(?<![\w.]){re.escape(symbol)}(?!\w)", self._source)
            what = "gives" if symbol in dict(self._equation.formula.statements) else "uses"
            message = f"the formula {what} {symbol!r}, which the TeX does not name: give it a sign, or put it aside."
            yield Mistake(("formula",), message, found.start() + 1 if found else None)
        if self._equation.covers and not passed and not statements:
            yield Mistake(("covers",), "there is nothing that could be covered.")

    def _names_result(self) -> bool:
        """Whether the TeX names the result, or is itself the expression for it."""
        taken = set(self._spelling.values())
        lefts = [name for name in self._names if name.left]
        return expression(self._tex) or any(not taken & set(name.spellings) for name in lefts)


def handed_on(body: Node) -> bool:
    """Whether an expression is a tensor as it is, or a slice of one."""
    return isinstance(body, (Name, Select))
