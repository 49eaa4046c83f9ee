"""The same place elsewhere: the next call of a module, the same step one layer on, or one token on.

Pure functions `(trace, position) -> position` like those of stepping; a place is a name, a kind and a source line."""

from __future__ import annotations

import re

import numpy as np

from ..trace import schema
from ..trace.trace import Trace

_LAYER = re.compile(r"(?<![^.])\d+(?![^.])")  # a whole part of a path that is a number


def next_same(trace: Trace, position: int) -> int:
    """The next step at the same place: a further call of that module, a further run of that line."""
    return _next(_like(trace, position), position)


def back_same(trace: Trace, position: int) -> int:
    """The step before at the same place."""
    return _before(_like(trace, position), position)


def next_layer(trace: Trace, position: int) -> int:
    """The same place in the layer after; where there is none, the next layer that is entered."""
    there = _next(_same_elsewhere(trace, position), position)
    return there if there != position else _next(entered(trace), position)


def back_layer(trace: Trace, position: int) -> int:
    """The same place in the layer before; where there is none, the last layer that was entered."""
    there = _before(_same_elsewhere(trace, position), position)
    return there if there != position else _before(entered(trace), position)


def next_token(trace: Trace, position: int) -> int:
    """The same place in the next forward pass, of which a generation has one a token."""
    return _token(trace, position, 1)


def back_token(trace: Trace, position: int) -> int:
    """The same place in the forward pass before."""
    return _token(trace, position, -1)


def run_to(trace: Trace, position: int, file: str, line: int) -> int | None:
    """The next step that runs this source line; if none comes, the last one before; None if it never ran."""
    codes, files = trace.words("file")
    if file not in files:
        return None
    first, last = trace.column("line"), trace.column("end_line")
    at = (codes == files.index(file)) & (trace.column("kind") == schema.LINE) & (first <= line) & (last >= line)
    found = np.flatnonzero(at)
    if not len(found):
        return None
    ahead = _next(found, position)
    return ahead if ahead != position else _before(found, position)


def layer(trace: Trace, position: int) -> int | None:
    """The number of the layer that a step stands in; None outside of layers."""
    number = int(trace.derived(_layered)[1][trace.words("name")[0][position]])
    return number if number >= 0 else None


def entered(trace: Trace) -> np.ndarray:
    """Positions of the module calls that enter a layer: those in a layer that their caller is not in."""
    return trace.derived(_entered)


def _layered(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """For each distinct name (and, last, for none) its number without the layer's, and the layer's, -1 for none."""
    names = trace.words("name")[1]
    general: dict[str, int] = {}
    plain, number = np.full(len(names) + 1, -1), np.full(len(names) + 1, -1)
    for at, name in enumerate(names):
        found = _LAYER.search(name)
        key = name if found is None else f"{name[: found.start()]}#{name[found.end() :]}"
        plain[at] = general.setdefault(key, len(general))
        number[at] = -1 if found is None or len(found[0]) > 9 else int(found[0])
    return plain, number


def _like(trace: Trace, position: int, any_layer: bool = False) -> np.ndarray:
    """Positions of the steps at the same place, or at that place in any layer."""
    codes = trace.words("name")[0]
    if any_layer:
        codes = trace.derived(_layered)[0][codes]
    kinds = trace.words("kind")[0]
    found = np.flatnonzero((codes == codes[position]) & (kinds == kinds[position]))
    if trace.column("kind")[position] == schema.LINE:
        line = trace.column("line")
        found = found[line[found] == line[position]]
    return found


def _same_elsewhere(trace: Trace, position: int) -> np.ndarray:
    """The same place in other layers; empty outside of layers."""
    own = layer(trace, position)
    if own is None:
        return np.zeros(0, np.int64)
    like = _like(trace, position, any_layer=True)
    found: np.ndarray = like[_numbers(trace)[like] != own]
    return found


def _entered(trace: Trace) -> np.ndarray:
    numbers, above = _numbers(trace), trace.parents
    outside = (above < 0) | (numbers[np.maximum(above, 0)] != numbers)
    kinds, words = trace.words("kind")
    modules = kinds == words.index(schema.MODULE) if schema.MODULE in words else np.zeros(len(trace), bool)
    found: np.ndarray = np.flatnonzero(outside & modules & (numbers >= 0))
    return found


def _numbers(trace: Trace) -> np.ndarray:
    """For each step the number of its layer, -1 outside."""
    numbers: np.ndarray = trace.derived(_layered)[1][trace.words("name")[0]]
    return numbers


def _token(trace: Trace, position: int, direction: int) -> int:
    forward = trace.column("forward")
    own = forward[position]
    if own != own:
        return position
    like = _like(trace, position)
    there = like[forward[like] == own + direction]
    if len(there):
        turn = int(np.searchsorted(like[forward[like] == own], position))
        return int(there[min(turn, len(there) - 1)])
    roots = np.flatnonzero((forward == own + direction) & (trace.column("depth") == 0))
    return int(roots[0]) if len(roots) else position


def _next(found: np.ndarray, position: int) -> int:
    place = int(np.searchsorted(found, position, side="right"))
    return int(found[place]) if place < len(found) else position


def _before(found: np.ndarray, position: int) -> int:
    place = int(np.searchsorted(found, position, side="left")) - 1
    return int(found[place]) if place >= 0 else position
