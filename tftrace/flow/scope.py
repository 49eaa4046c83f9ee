"""Which calls of a trace become boxes of a graph, and which are opened and become clusters around boxes."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import numpy as np

from ..errors import TraceError
from ..text import visible
from ..trace import schema
from ..trace.trace import Trace

MOST_BOXES = 400  # boxes of a graph that can still be read
_AUTOMATIC_BOXES = 18  # the most boxes at the automatic depth


def top(trace: Trace, under: str | None, forward: int) -> int:
    """Find the step that a graph describes: the root of a forward pass, or a call in it.

    Raises:
        TraceError: There is no such forward pass or call.
    """
    if not len(trace):
        raise TraceError(f"{trace.path} has no steps to draw: record a forward pass.")
    forwards = trace.column("forward")
    roots = np.flatnonzero((trace.parents < 0) & (forwards == forward))
    if not len(roots):
        last = int(np.nan_to_num(forwards.astype(float)).max())
        raise TraceError(f"There is no forward {forward} in {trace.path}: its forwards are 0 to {last}.")
    root = int(roots[0])
    if under is None or under == "":
        return root
    codes, names = trace.words("name")
    pattern = under.rstrip(".")
    for fits in (
        lambda name: name == pattern,
        lambda name: name.endswith(f".{pattern}"),
        lambda name: fnmatchcase(name, pattern),
    ):
        wanted = np.array([*(fits(name) for name in names), False])[codes]
        found = np.flatnonzero(wanted & np.isin(trace.column("kind"), schema.CALLS) & (forwards == forward))
        if len(found):
            return int(found[0])
    last_part = re.split(r"\W", pattern)[-1]
    near = [visible(name) for name in names if last_part and last_part in name][:3]
    hint = f"there are {', '.join(near)}" if near else f"'tftrace show {trace.path}' names them all"
    raise TraceError(f"There is no call {pattern!r} in {trace.path}: {hint}.")


class Scope:
    """The boxes of the part of a trace below one step.

    Attributes:
        top: Position of that step.
        end: Position after the last step of the part.
        depth: How many levels of nested calls are opened.
        boxes: The boxes, as offsets from `top`.
        box: For each step of the part, the index of its box, or -1.

    Raises:
        TraceError: There are more than `MOST_BOXES` boxes.
    """

    def __init__(self, trace: Trace, position: int, depth: int | None, keeps: np.ndarray) -> None:
        self.top, self.end = position, int(trace.ends[position])
        part = slice(position, self.end)
        kinds = trace.column("kind")[part]
        self._is_call = kinds == schema.MODULE
        self._is_call |= (kinds == schema.FUNCTION) & ~_contains(kinds == schema.MODULE, trace.ends[part] - position)
        self._is_call[0] = True
        self._call_above, self._level = _levels(trace.parents[part] - position, self._is_call)
        self._keeps = keeps[part] & self._is_call
        # Only a call with kept calls inside can be opened; any other stays a box.
        inside = np.zeros(len(kinds), bool)
        at = np.flatnonzero(self._keeps)
        while len(at):
            at = np.unique(self._call_above[at])
            at = at[(at >= 0) & ~inside[at]]
            inside[at] = True
        self._opens = inside
        self.depth = self._automatic_depth() if depth is None else max(0, min(depth, int(self._level.max())))
        self.boxes = self._boxes(self.depth)
        if len(self.boxes) > MOST_BOXES:
            raise TraceError(
                f"The graph would have {len(self.boxes):,} boxes, more than {MOST_BOXES}: choose a smaller "
                "--depth, or a part with --under."
            )
        self.box = np.full(len(kinds), -1)
        for number, at_box in enumerate(self.boxes.tolist()):
            self.box[at_box : int(trace.ends[position + at_box]) - position] = number

    def of(self, position: int) -> int:
        """The index of the box that contains a step, -1 if none does."""
        return int(self.box[position - self.top]) if self.top <= position < self.end else -1

    def opened_calls(self, position: int) -> list[int]:
        """Positions of the opened calls around a step, innermost first, without the top."""
        found = []
        at = int(self._call_above[position - self.top])
        while at > 0:
            found.append(at + self.top)
            at = int(self._call_above[at])
        return found

    def _boxes(self, depth: int) -> np.ndarray:
        """The calls that are boxes when `depth` levels are opened."""
        shown = (self._keeps | self._opens) & ((self._level == depth) | ((self._level < depth) & ~self._opens))
        if depth == 0:
            shown[0] = True
        return np.flatnonzero(shown)

    def _automatic_depth(self) -> int:
        """The largest depth with a readable number of boxes."""
        deepest = int(self._level.max(initial=0))
        best = 1 if deepest else 0
        for depth in range(1, min(deepest, 60) + 1):
            if len(self._boxes(depth)) > _AUTOMATIC_BOXES:
                break
            best = depth
        return best


def _contains(these: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Which steps have one of `these` inside. A function with modules inside is no call of its own in the graph."""
    before = np.append(0, np.cumsum(these))
    found: np.ndarray = before[ends] > before[np.arange(len(these)) + 1]
    return found


def _levels(parents: np.ndarray, is_call: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The call around each step (-1 for none), and the number of calls around it.

    By pointer doubling, because the tree of a stranger's trace may be as deep as it has steps."""
    above = np.where(parents >= 0, parents, -1)
    above[:1] = -1
    lead = np.append(above, -1)  # the last element stands for "none"
    while True:  # skip lines and ops up to the next call
        here = lead[:-1]
        skip = (here >= 0) & ~is_call[here]
        if not skip.any():
            break
        lead[:-1] = np.where(skip, lead[here], here)
    call_above = lead[:-1].copy()
    level = (call_above >= 0).astype(np.int64)
    jump = call_above.copy()
    while (jump >= 0).any():
        level = level + np.where(jump >= 0, level[jump], 0)
        jump = np.where(jump >= 0, jump[jump], -1)
    return call_above, level
