"""Whether a breakpoint fits a step that is running: the patterns and conditions of finished traces, on live facts."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Protocol

import numpy as np

from ..trace import schema
from .breakpoints import PLACE, Breakpoint, parse_breakpoint
from .condition import (
    CHECKED,
    DURATION,
    NUMBERS,
    TENSOR_TEXTS,
    TEXTS,
    Both,
    Comparison,
    Condition,
    Not,
    is_condition,
    match_numbers,
    match_texts,
    parse,
)


class TensorFacts(Protocol):
    """A tensor that a step returned or bound."""

    @property
    def name(self) -> str: ...
    def statistic(self, name: str) -> float: ...
    def text(self, name: str) -> str: ...


class StepFacts(Protocol):
    """What is known of a step as it ends."""

    def number(self, name: str) -> float: ...
    def text(self, name: str) -> str | None: ...
    def tensors(self) -> list[TensorFacts]: ...
    def verdicts(self) -> list[tuple[str, ...]]: ...
    def checked(self, name: str) -> list[float]: ...


def pause_at(text: str) -> Breakpoint:
    """Parse a breakpoint as `pause` takes it: a pattern, `when` a condition, `hit` a number; or a condition alone.

    Raises:
        TraceError: It is neither.
    """
    if not is_condition(text):
        return parse_breakpoint(text)
    return parse_breakpoint(f"when {text}")


class LiveBreakpoint:
    """A breakpoint that is asked of each step in turn.

    Args:
        of: The breakpoint.

    Attributes:
        late: Whether its condition asks for what is known only once a step is written: its verdict.
    """

    def __init__(self, of: Breakpoint) -> None:
        self._condition = parse(of.condition) if of.condition else None
        self._left = of.hit
        self._everything = of.pattern == "*"
        self._line = PLACE.fullmatch(of.pattern)
        self._whole, self._tail = re.compile(translate(of.pattern)), re.compile(translate(f"*.{of.pattern}"))
        self._known: dict[tuple[str, str], bool] = {}
        self.late = self._condition is not None and asks_verdicts(self._condition)

    def names(self, kind: str, name: str, type_: str, file: str | None, line: int | None) -> bool:
        """Whether the pattern fits a step with these columns."""
        if self._everything:
            return True
        if self._line is not None:
            folder, base, number = self._line[1], self._line[2], int(self._line[3])
            place = (file or "").replace("\\", "/")
            ends = place == base or place.endswith(f"{folder.replace(chr(92), '/') or '/'}{base}")
            return kind == schema.LINE and line == number and ends
        if kind == schema.LINE:
            return False
        found = self._known.get((name, type_))
        if found is None:
            found = self._known[name, type_] = bool(
                self._whole.match(name) or self._tail.match(name) or self._whole.match(type_)
            )
        return found

    def halts(self, facts: StepFacts) -> bool:
        """Whether the program stops at a step that the pattern fits; counts the hits."""
        if self._condition is not None and not holds(self._condition, facts):
            return False
        self._left -= 1
        return self._left <= 0


def asks_verdicts(condition: Condition) -> bool:
    """Whether a condition asks for what is known only once equations are judged."""
    return bool(_names(condition) & {"verdict", *CHECKED})


def holds(condition: Condition, facts: StepFacts) -> bool:
    """Whether a condition holds for a step."""
    if isinstance(condition, Not):
        return not holds(condition.inner, facts)
    if isinstance(condition, Both):
        left = holds(condition.left, facts)
        return (left or holds(condition.right, facts)) if condition.either else left and holds(condition.right, facts)
    name = condition.name
    if name == "verdict":
        either = all if condition.compare == "!=" else any
        found = facts.verdicts()
        return any(either(_text(condition, word) for word in words) for words in found) or (
            not found and condition.compare == "!="
        )
    if name in TEXTS:
        said = facts.text(TEXTS[name])
        return condition.compare == "!=" if said is None else _text(condition, said)
    if name in NUMBERS or name == DURATION:
        return _number(condition, facts.number(name))
    if name in CHECKED:
        return any(_number(condition, number) for number in facts.checked(name))
    tensors = [one for one in facts.tensors() if condition.tensor in (None, one.name)]
    if name in TENSOR_TEXTS:
        return any(_text(condition, one.text(name)) for one in tensors)
    return any(_number(condition, one.statistic(name)) for one in tensors)


def _text(condition: Comparison, word: str) -> bool:
    return bool(match_texts(condition, [word])[0])


def _number(condition: Comparison, number: float) -> bool:
    return bool(match_numbers(np.array([number], np.float64), condition)[0])


def _names(condition: Condition) -> set[str]:
    if isinstance(condition, Comparison):
        return {condition.name}
    if isinstance(condition, Not):
        return _names(condition.inner)
    return _names(condition.left) | _names(condition.right)
