"""Finds the names in an equation's TeX: symbols with their scripts, and functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_WORDS = (r"\mathrm", r"\operatorname")
_ACCENTS = (r"\hat", r"\tilde", r"\bar", r"\vec")
_GREEK = re.compile(
    r"\\(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|lambda|mu|nu|xi|rho|sigma|tau|phi|chi|psi|omega|ell"
    r"|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega)"
)
_FUNCTIONS = (r"\max", r"\min", r"\sin", r"\cos", r"\tanh", r"\exp", r"\log", r"\ln", r"\sqrt")
_OPENING, _CLOSING = ("(", "[", r"\{"), (")", "]", r"\}")
_INDEX = re.compile(r"[a-z0-9,+\-:_'. ]*")
_PLACE = re.compile(r"\\?[a-z]+\(([a-z, ]*)\)")  # an index that is a function of other indices
_LABEL = re.compile(r"[A-Za-z0-9,:.' ]*")
_LONG = re.compile(r"[A-Za-z]{3}")


@dataclass(frozen=True, slots=True)
class Named:
    """A symbol (`W_1`, `\\hat{z}^{l}`) or a function (`\\mathrm{softmax}`, `\\tanh`) in TeX.

    Attributes:
        base: The TeX of the name without its scripts.
        low: Its subscript, without braces.
        high: Its superscript, without braces.
        start: Where it begins in the TeX.
        end: Where it ends.
        word: Whether its name has several upright letters.
        function: Whether it is followed by an argument, or has a command of its own.
        left: Whether it is defined by an equals sign.
        argument: Whether it is in the brackets after such a name.
    """

    base: str
    low: str
    high: str
    start: int
    end: int
    word: bool
    function: bool
    left: bool
    argument: bool

    @property
    def spellings(self) -> list[str]:
        """The ways in which a recipe may spell it: in full, and without scripts that are only an index."""
        high = "" if self.high in ("", "T", r"\top") else f"^{self.high}"
        low = f"_{self.low}" if self.low else ""
        full = [plain(self.base + low + high), plain(self.base + high + low)]
        if counts(self.low):
            full.append(plain(self.base + high))
        if counts(self.high):
            full.append(plain(self.base + low))
        if counts(self.low) and counts(self.high):
            full.append(plain(self.base))
        return full


def plain(tex: str) -> str:
    """TeX without spaces and braces, for comparing."""
    return re.sub(r"[{}\s]|\\[,;: ]", "", tex)


def counts(script: str) -> bool:
    """Whether a script is only an index, a number, a prime, or the sign of a transpose."""
    script = _PLACE.sub(r"\1", plain(script))
    return script in ("T", r"\top") or (bool(_INDEX.fullmatch(script)) and not _LONG.search(script))


def named(tex: str, covered: Iterable[tuple[int, int]] = ()) -> list[Named]:
    """Find the names in TeX.

    Args:
        tex: The equation.
        covered: Parts of it, as start and end, whose names are left out.

    Returns:
        The names on the line and in exponents of numbers, in order.
    """
    hidden = list(covered)
    return [n for n in _Reader(tex).names() if not any(start <= n.start < end for start, end in hidden)]


def spans(tex: str, part: str) -> list[tuple[int, int]]:
    """Find the places of a part in TeX, however it is spaced and braced.

    Args:
        tex: The equation.
        part: The part to look for; it is not found in the middle of a command or a word.

    Returns:
        The start and the end of each place.
    """
    tokens = [t for t in _TOKEN.findall(part) if t not in ("{", "}") and not t.isspace()]
    if not tokens:
        return []
    pattern = r"[{}\s]*".join(map(re.escape, tokens)) + (r"(?![A-Za-z])" if tokens[-1][0] == "\\" else "") + r"\}*"
    return [found.span() for found in re.finditer(pattern, tex)]


def expression(tex: str) -> bool:
    """Whether TeX begins with an expression, rather than with the name that an equals sign defines."""
    return _Reader(tex).left < 0


class _Reader:
    def __init__(self, tex: str) -> None:
        self._tokens = [(found[0], found.start()) for found in _TOKEN.finditer(tex)]
        self._at = 0
        self.left = self._define(0)
        self._depth = 0

    def _define(self, start: int) -> int:
        """The index of the equals sign of the equation that begins at token `start`; without one, `start - 1`."""
        depth = 0
        for at in range(start, len(self._tokens)):
            token = self._tokens[at][0]
            depth += (token in _OPENING or token == "{") - (token in _CLOSING or token == "}")
            if depth == 0 and token == "=":
                return at
            if depth == 0 and token in (r"\quad", r"\qquad"):
                return start - 1
        return start - 1

    def names(self) -> Iterator[Named]:
        while self._at < len(self._tokens):
            yield from self._next()

    def _next(self) -> Iterator[Named]:
        token, start = self._tokens[self._at]
        self._at += 1
        if token in (r"\quad", r"\qquad"):
            self.left = self._define(self._at)
        self._depth += (token in _OPENING) - (token in _CLOSING)
        if token in (r"\text", r"\begin", r"\end"):
            self._group()
        elif token in _WORDS:
            inner, _ = self._group()
            yield from self._name(rf"\mathrm{{{inner}}}", start, word=True)
        elif token in _ACCENTS:
            inner, _ = self._group()
            yield from self._name(f"{token}{{{inner}}}", start)
        elif _GREEK.fullmatch(token) or token in _FUNCTIONS or (token.isalpha() and len(token) == 1):
            yield from self._name(token, start)
        elif token == "_" or (token == "^" and counts(self._follows())):
            self._group()
        elif token == "^":
            yield from self._inside()  # the exponent of a number or a bracket is part of the computation

    def _name(self, base: str, start: int, word: bool = False) -> Iterator[Named]:
        scripts = {"_": "", "^": ""}
        inner: list[Named] = []
        number = base == "e" and self._peek() == "^"
        while (mark := self._peek()) in ("_", "^", "'"):
            self._at += 1
            if mark == "'":
                scripts["^"] += "'"
            elif mark == "^" and (number or not (counts(self._follows()) or _LABEL.fullmatch(self._follows()))):
                inner += self._inside()
            else:
                scripts[mark] += self._group()[0]
        applied = self._peek() in ("(", r"\left", "[")
        function = base in _FUNCTIONS or ((word or base == r"\sigma") and applied)
        left = self._at <= self.left and self._depth == 0
        argument = self._at <= self.left and self._depth > 0
        if not number:
            end = self._tokens[self._at][1] if self._at < len(self._tokens) else 1 << 30
            yield Named(base, scripts["_"], scripts["^"], start, end, word, function, left, argument)
        yield from inner

    def _peek(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _follows(self) -> str:
        begin = self._at
        found, _ = self._group()
        self._at = begin
        return found

    def _group(self) -> tuple[str, int]:
        """Read the next token or braced group; return it without its braces, and where it begins."""
        while self._peek().isspace():
            self._at += 1
        if self._peek() != "{":
            token, start = self._tokens[self._at] if self._at < len(self._tokens) else ("", 0)
            self._at += 1
            if token in _WORDS + _ACCENTS:
                token += "{" + self._group()[0] + "}"
            return token, start
        self._at += 1
        depth, found, start = 1, "", self._tokens[self._at][1] if self._at < len(self._tokens) else 0
        while self._at < len(self._tokens):
            token, _ = self._tokens[self._at]
            self._at += 1
            depth += (token == "{") - (token == "}")
            if depth == 0:
                break
            found += token
        return found, start

    def _inside(self) -> list[Named]:
        """The names in the next script."""
        begin = self._at
        self._group()
        end, self._at = self._at, begin
        found: list[Named] = []
        while self._at < end:
            found += self._next()
        return found
