"""Conditions on steps: `nan > 0`, `max > 1e3 and type = *Attention`, `verdict = differs`, as boolean columns.

Conditions may come from strangers (a shared session, a script), so a parser of our own evaluates nothing but
comparisons of the columns named here. A statistic refers to the tensors that a step returned or bound; a step matches
if one of them does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import translate

import numpy as np

from ..errors import TraceError
from ..trace import schema
from ..trace.trace import Trace
from . import findings

STATISTICS = (*schema.STATISTICS, "numel", "nbytes")
NUMBERS = ("step", "depth", "forward", "rank", "occurrence", "line")  # columns of the steps table
DURATION = "duration"
CHECKED = ("residual", "bound", "cells")
TEXTS = {"path": "name", "name": "name", "class": "type", "type": "type", "kind": "kind", "status": "status",
         "equation": "equation", "file": "file"}  # fmt: skip
TENSOR_TEXTS = ("dtype", "device")
NAMES = (*STATISTICS, *NUMBERS, DURATION, *CHECKED, *TEXTS, *TENSOR_TEXTS, "verdict")

_OPERATORS: dict[str, np.ufunc] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal, "!=": np.not_equal,
}  # fmt: skip
_UNITS = {"": 1.0, "ns": 1.0, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9}
_TOKEN = re.compile(
    r"""\s*(?:(?P<compare><=|>=|!=|==|=|<|>|~)|(?P<bracket>[()])|'(?P<single>[^']*)'|"(?P<double>[^"]*)\""""
    r"""|(?P<word>[^\s()<>=!~'"]+))"""
)
_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?)([a-zµμ]*)", re.IGNORECASE)
_LONGEST, _DEEPEST = 1000, 50  # characters of a condition, and levels of nested brackets


@dataclass(frozen=True)
class Comparison:
    """`name compare value`, with a number for a numeric name. `tensor` restricts a statistic to one tensor."""

    name: str
    compare: str
    value: float | str
    tensor: str | None = None


@dataclass(frozen=True)
class Not:
    """The negation of a condition."""

    inner: Condition


@dataclass(frozen=True)
class Both:
    """Two conditions joined by `and`, or by `or` if `either` is set."""

    left: Condition
    right: Condition
    either: bool = False


Condition = Comparison | Not | Both


def is_condition(text: str) -> bool:
    """Whether a search text is meant as a condition rather than as plain text: it begins with a comparison."""
    first, second = (*_TOKEN.finditer(text), None, None)[:2]
    while first is not None and (first["bracket"] == "(" or first["word"] == "not"):
        text = text[first.end() :]
        first, second = (*_TOKEN.finditer(text), None, None)[:2]
    return bool(first and first["word"] in NAMES and second and second["compare"])


def parse(text: str, tensors: bool = False) -> Condition:
    """Parse a condition.

    Args:
        text: Comparisons of the names in `NAMES`, joined by `and`, `or`, `not` and brackets.
        tensors: Whether a name may also be that of a tensor: `loss > 5` (its mean), `logits.max > 30`.

    Raises:
        TraceError: `text` is no condition; the message says what was expected.
    """
    if len(text) > _LONGEST:
        raise TraceError(f"A condition of {len(text)} characters is too long: use at most {_LONGEST}.")
    tokens: list[tuple[str, str]] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise TraceError(f"{text[at:].strip()[:20]!r} cannot stand in a condition: write it as 'nan > 0'.")
        tokens.append(next((kind, token) for kind, token in found.groupdict().items() if token is not None))
        at = found.end()
    parser = _Parser(tokens, tensors)
    condition = parser.either(0)
    if parser.tokens:
        raise TraceError(f"{parser.tokens[0][1]!r} is unexpected: join conditions with 'and' or 'or'.")
    return condition


class _Parser:
    """A recursive-descent parser; `tokens` holds what has not been read yet."""

    def __init__(self, tokens: list[tuple[str, str]], tensors: bool) -> None:
        self.tokens, self._tensors = tokens, tensors

    def either(self, depth: int) -> Condition:
        left = self.both(depth)
        while self._is("or"):
            left = Both(left, self.both(depth), either=True)
        return left

    def both(self, depth: int) -> Condition:
        left = self.negated(depth)
        while self._is("and"):
            left = Both(left, self.negated(depth))
        return left

    def negated(self, depth: int) -> Condition:
        if depth > _DEEPEST:
            raise TraceError(f"A condition with more than {_DEEPEST} brackets is too deep: write it in a simpler way.")
        if self._is("not"):
            return Not(self.negated(depth + 1))
        if self._is("("):
            inner = self.either(depth + 1)
            if not self._is(")"):
                raise TraceError("A bracket is not closed: add ')'.")
            return inner
        return self.comparison()

    def comparison(self) -> Comparison:
        kind, name = self._next("a name such as nan, max or verdict")
        tensor = None
        if kind == "word" and name not in NAMES and self._tensors:
            tensor, dot, statistic = name.rpartition(".")
            tensor, name = (tensor, statistic) if dot and statistic in STATISTICS else (name, "mean")
        if kind != "word" or name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(NAMES)}."
            raise TraceError(f"A condition has no name {name!r}: {hint}")
        kind, compare = self._next(f"a comparison after {name!r}, such as > or =")
        if kind != "compare":
            raise TraceError(f"{name!r} is followed by {compare!r}: expected one of {' '.join(_OPERATORS)} ~.")
        compare = "=" if compare == "==" else compare
        kind, value = self._next(f"a value after '{name} {compare}'")
        if kind in ("compare", "bracket"):
            raise TraceError(f"'{name} {compare}' is followed by {value!r}: expected a value.")
        if name in TEXTS or name in TENSOR_TEXTS or name == "verdict":
            if compare not in ("=", "!=", "~"):
                raise TraceError(f"{name!r} is a text: compare it with =, != (patterns with *) or ~ (contains).")
            return Comparison(name, compare, value)
        if compare == "~":
            raise TraceError(f"{name!r} is a number: compare it with {' '.join(_OPERATORS)}.")
        return Comparison(name, compare, _number(name, value), tensor)

    def _next(self, expected: str) -> tuple[str, str]:
        if not self.tokens:
            raise TraceError(f"The condition ends too early: expected {expected}.")
        return self.tokens.pop(0)

    def _is(self, word: str) -> bool:
        if self.tokens and self.tokens[0][1] == word and self.tokens[0][0] in ("word", "bracket"):
            self.tokens.pop(0)
            return True
        return False


def _number(name: str, text: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None or (found[2] and (name != DURATION or found[2].lower() not in _UNITS)):
        unit = ", with a unit as in 1.5ms" if name == DURATION else ""
        raise TraceError(f"{text!r} is not a number, which {name!r} needs: write it as 0, 1e3 or -0.5{unit}.")
    return float(found[1].replace("_", "")) * _UNITS[found[2].lower()]


# -- evaluation ------------------------------------------------------------------------------------------


def fits(trace: Trace, condition: Condition) -> np.ndarray:
    """Evaluate a condition on every step.

    Returns:
        A boolean array with one element per step.
    """
    found: np.ndarray
    if isinstance(condition, Not):
        found = ~fits(trace, condition.inner)
        return found
    if isinstance(condition, Both):
        left, right = fits(trace, condition.left), fits(trace, condition.right)
        found = left | right if condition.either else left & right
        return found
    name = condition.name
    if name == "verdict":
        either = np.all if condition.compare == "!=" else np.any
        same = [either(match_texts(condition, list(words))) for words in findings.VERDICT_WORDS]
        found = np.array([*same, condition.compare == "!="], bool)[findings.verdicts(trace)]
        return found
    if name in TEXTS:
        codes, words = trace.words(TEXTS[name])
        found = np.append(match_texts(condition, words), condition.compare == "!=")[codes]
        return found
    if name in NUMBERS or name == DURATION:
        column = trace.column("duration_ns" if name == DURATION else name)
        return match_numbers(column.astype(np.float64), condition)
    if name in CHECKED:
        return _steps_of_rows(trace, trace.check_positions, match_numbers(trace.column(name, "checks"), condition))
    positions, rows = trace.derived(_result_rows)
    if name in TENSOR_TEXTS:
        codes, words = trace.words(name, "tensors")
        true = np.append(match_texts(condition, words), False)[codes]
    else:
        true = match_numbers(trace.column(name, "tensors"), condition)
    if condition.tensor is not None:
        codes, words = trace.words("name", "tensors")
        true &= np.array([*(word == condition.tensor for word in words), False])[codes]
    return _steps_of_rows(trace, positions, true[rows])


def match_texts(condition: Comparison, words: list[str]) -> np.ndarray:
    """Whether the comparison holds, for each distinct text."""
    wanted = str(condition.value)
    if condition.compare == "~":
        return np.array([wanted.lower() in word.lower() for word in words], bool)
    fit = re.compile(translate(wanted), re.IGNORECASE)
    return np.array([bool(fit.match(word)) == (condition.compare == "=") for word in words], bool)


def match_numbers(numbers: np.ndarray, condition: Comparison) -> np.ndarray:
    """Where the comparison of numbers is true. A missing number never matches, not even with `!=`."""
    found: np.ndarray = _OPERATORS[condition.compare](numbers, float(condition.value))
    return found & ~np.isnan(numbers) if condition.compare == "!=" else found


def _steps_of_rows(trace: Trace, positions: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Which steps have a matching row, given each row's step position."""
    found = np.zeros(len(trace), bool)
    found[positions[true]] = True
    return found


def _result_rows(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """The step positions and the table rows of all tensors that a step returned or bound."""
    codes, words = trace.words("role", "tensors")
    roles = [at for at, word in enumerate(words) if word in (schema.OUTPUT, schema.LOCAL)]
    rows = np.flatnonzero(np.isin(codes, roles))
    return trace.tensor_positions[rows], rows
