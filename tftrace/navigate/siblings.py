"""Jumps to the same place elsewhere: the next call of a module, the next layer, the next token.

Like those of `stepping`, these are pure functions `(trace, position) -> position`. Two steps are at the same place if
they have the same module name, kind and source line. Without a target, the position is returned unchanged."""

from __future__ import annotations

import re

import numpy as np

from ..trace import schema
from ..trace.trace import Trace

_LAYER = re.compile(r"(?<![^.])\d+(?![^.])")  # a part of a module path that is a number


def next_same(trace: Trace, position: int) -> int:
    """The next step at the same place: the next call of that module or run of that line."""
    return _next(_same_place(trace, position), position)


def back_same(trace: Trace, position: int) -> int:
    """The previous step at the same place."""
    return _previous(_same_place(trace, position), position)


def next_layer(trace: Trace, position: int) -> int:
    """The same place in the next layer; if there is none, the start of the next layer."""
    there = _next(_same_in_other_layers(trace, position), position)
    return there if there != position else _next(layer_entries(trace), position)


def back_layer(trace: Trace, position: int) -> int:
    """The same place in the previous layer; if there is none, the start of the previous layer."""
    there = _previous(_same_in_other_layers(trace, position), position)
    return there if there != position else _previous(layer_entries(trace), position)


def next_token(trace: Trace, position: int) -> int:
    """The same place in the next forward pass; a generation has one per token."""
    return _token(trace, position, 1)


def back_token(trace: Trace, position: int) -> int:
    """The same place in the previous forward pass."""
    return _token(trace, position, -1)


def run_to(trace: Trace, position: int, file: str, line: int) -> int | None:
    """Find the next step that runs a source line.

    Returns:
        Its position; if the line does not run again, the last one before `position`; None if it never ran.
    """
    codes, files = trace.words("file")
    if file not in files:
        return None
    first, last = trace.column("line"), trace.column("end_line")
    at = (codes == files.index(file)) & (trace.column("kind") == schema.LINE) & (first <= line) & (last >= line)
    found = np.flatnonzero(at)
    if not len(found):
        return None
    ahead = _next(found, position)
    return ahead if ahead != position else _previous(found, position)


def layer(trace: Trace, position: int) -> int | None:
    """The number of the layer that contains a step; None outside of layers."""
    number = int(trace.derived(_layer_codes)[1][trace.words("name")[0][position]])
    return number if number >= 0 else None


def layer_entries(trace: Trace) -> np.ndarray:
    """Sorted positions of the module calls that enter a layer: their caller is not in that layer."""
    return trace.derived(_layer_entries)


def _layer_codes(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays over the distinct names, and a last element for no name.

    The first gives names that differ only in the layer number the same code; the second is the layer number, or -1."""
    names = trace.words("name")[1]
    general: dict[str, int] = {}
    plain, number = np.full(len(names) + 1, -1), np.full(len(names) + 1, -1)
    for at, name in enumerate(names):
        found = _LAYER.search(name)
        key = name if found is None else f"{name[: found.start()]}#{name[found.end() :]}"
        plain[at] = general.setdefault(key, len(general))
        number[at] = -1 if found is None or len(found[0]) > 9 else int(found[0])
    return plain, number


def _same_place(trace: Trace, position: int, any_layer: bool = False) -> np.ndarray:
    """Positions of the steps at the same place; with `any_layer`, in all layers."""
    codes = trace.words("name")[0]
    if any_layer:
        codes = trace.derived(_layer_codes)[0][codes]
    kinds = trace.words("kind")[0]
    found = np.flatnonzero((codes == codes[position]) & (kinds == kinds[position]))
    if trace.column("kind")[position] == schema.LINE:
        line = trace.column("line")
        found = found[line[found] == line[position]]
    return found


def _same_in_other_layers(trace: Trace, position: int) -> np.ndarray:
    """Positions of the steps at the same place in other layers; empty outside of layers."""
    own = layer(trace, position)
    if own is None:
        return np.zeros(0, np.int64)
    same = _same_place(trace, position, any_layer=True)
    found: np.ndarray = same[_layer_numbers(trace)[same] != own]
    return found


def _layer_entries(trace: Trace) -> np.ndarray:
    numbers, above = _layer_numbers(trace), trace.parents
    outside = (above < 0) | (numbers[np.maximum(above, 0)] != numbers)
    kinds, words = trace.words("kind")
    modules = kinds == words.index(schema.MODULE) if schema.MODULE in words else np.zeros(len(trace), bool)
    found: np.ndarray = np.flatnonzero(outside & modules & (numbers >= 0))
    return found


def _layer_numbers(trace: Trace) -> np.ndarray:
    """The layer number of each step, -1 outside of layers."""
    numbers: np.ndarray = trace.derived(_layer_codes)[1][trace.words("name")[0]]
    return numbers


def _token(trace: Trace, position: int, direction: int) -> int:
    """The same place `direction` forward passes on, else the start of that pass, else `position`."""
    forward = trace.column("forward")
    own = forward[position]
    if own != own:
        return position
    same = _same_place(trace, position)
    there = same[forward[same] == own + direction]
    if len(there):
        nth = int(np.searchsorted(same[forward[same] == own], position))
        return int(there[min(nth, len(there) - 1)])
    roots = np.flatnonzero((forward == own + direction) & (trace.column("depth") == 0))
    return int(roots[0]) if len(roots) else position


def _next(found: np.ndarray, position: int) -> int:
    """The first of the sorted positions after `position`, else `position`."""
    place = int(np.searchsorted(found, position, side="right"))
    return int(found[place]) if place < len(found) else position


def _previous(found: np.ndarray, position: int) -> int:
    """The last of the sorted positions before `position`, else `position`."""
    place = int(np.searchsorted(found, position, side="left")) - 1
    return int(found[place]) if place >= 0 else position
