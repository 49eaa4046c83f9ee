"""A comparison as text: a sentence, what differs before the numbers, a line per layer, both source lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .. import compare
from ..terminal import Paper
from ..text import number, visible

_COLORS = {"equal": "bold green", "rounding": "bold green", "differs": "bold red"}
_MOST_LAYERS, _MOST_BORN = 100, 8  # that are printed
_WIDTH = 58  # columns of either side
Line = list[tuple[str, str]]


def print_comparison(found: compare.Comparison, names: tuple[str, str], said: str = "") -> None:
    """Print what a comparison came to; `names` are the two runs as the user named them, `said` what they answered."""
    paper = Paper()
    for line in lines(found, names, said):
        paper.write(line)
    paper.flush()


def lines(found: compare.Comparison, names: tuple[str, str], said: str = "") -> Iterator[Line]:
    """The lines of the text, as parts with their styles."""
    yield [(found.sentence, _COLORS.get(found.verdict, "bold yellow"))]
    yield [(f"A {visible(names[0])}   B {visible(names[1])}", "dim")]
    if said:
        yield [(said, "")]
    if found.before:
        yield [("", "")]
        yield [("before the numbers", "bold")]
        yield from ([(f"  {compare.prerequisite(one)}", "")] for one in found.before)
    counts = found.pairs
    yield [("", "")]
    told = f"{counts.compared} pairs of tensors: {counts.equal} equal, {counts.rounding} rounding, {counts.born} born, "
    yield [(f"{told}{counts.inherited} inherited, {counts.healed} healed; {counts.unpaired} tensors unpaired", "dim")]
    yield from _layers(found)
    for one in found.born[:_MOST_BORN]:
        yield [("", "")]
        yield from _born(one)
    if len(found.born) > _MOST_BORN:
        yield [(f"and {len(found.born) - _MOST_BORN} more differences that are born", "dim")]
    if found.healed:
        yield [("", "")]
        yield [("healed before the answer", "bold")]
        for healed in found.healed[:_MOST_BORN]:
            cause = f" ({visible(healed.cause)})" if healed.cause else ""
            yield [(f"  {compare.where(healed.left)}: {number(healed.difference)}{cause}", "")]


def _layers(found: compare.Comparison) -> Iterator[Line]:
    if not found.layers:
        return
    yield [("", "")]
    yield [(f"{'layer':<7}{'local':>10}{'inherited':>12}", "bold")]
    for one in found.layers[:_MOST_LAYERS]:
        yield [(f"{one.layer:<7}{number(one.local) or '–':>10}{number(one.inherited) or '–':>12}", "")]
    if len(found.layers) > _MOST_LAYERS:
        yield [(f"and {len(found.layers) - _MOST_LAYERS} more layers", "dim")]


def _born(one: compare.BornDifference) -> Iterator[Line]:
    """A difference that was born: how large, why, and the source lines side by side."""
    why = f": {visible(one.cause)}" if one.cause else ""
    yield [(f"{number(one.difference)} where rounding explains {number(one.bound)}{why}", "bold red")]
    sides = [_side("A", one.left), _side("B", one.right)]
    for row in range(max(map(len, sides))):
        parts = [side[row] if row < len(side) else "" for side in sides]
        yield [(f"  {_cut(parts[0]):<{_WIDTH}}  {_cut(parts[1])}", "" if row else "dim")]


def _side(name: str, place: compare.Place | None) -> list[str]:
    if place is None:
        return [f"{name} has no such step"]
    token = "" if place.token is None else f" at row {place.row}, token {place.token}"
    head = f"{name} {compare.where(place)}{token}"
    where = f"step {place.step}" if place.step is not None else ""
    if place.file and place.line is not None:
        where += f"  {visible(Path(place.file).name)}:{place.line}"
    return [head, where, f"  {visible(place.text)}"] if place.text else [head, where]


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
