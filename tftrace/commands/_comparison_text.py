"""A comparison as text: a sentence, what differs before the numbers, a line per layer, both source lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from .. import compare
from ..language import tr
from ..language.retell import retold
from ..terminal import Paper, padded
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
    yield [(retold(found.sentence), _COLORS.get(found.verdict, "bold yellow"))]
    yield [(f"A {retold(visible(names[0]))}   B {retold(visible(names[1]))}", "dim")]
    if said:
        yield [(retold(said), "")]
    if found.before:
        yield [("", "")]
        yield [(tr("before the numbers"), "bold")]
        yield from ([(f"  {retold(compare.prerequisite(one))}", "")] for one in found.before)
    counts = found.pairs
    yield [("", "")]
    told = tr(
        "{compared} pairs of tensors: {equal} equal, {rounding} rounding, {born} born, {inherited} inherited, "
        "{healed} healed; {unpaired} tensors unpaired",
        **asdict(counts),
    )
    yield [(told, "dim")]
    yield from _layers(found)
    for one in found.born[:_MOST_BORN]:
        yield [("", "")]
        yield from _born(one)
    if len(found.born) > _MOST_BORN:
        yield [(tr("and {n} more differences that are born", n=len(found.born) - _MOST_BORN), "dim")]
    if found.healed:
        yield [("", "")]
        yield [(tr("healed before the answer"), "bold")]
        for healed in found.healed[:_MOST_BORN]:
            cause = f" ({retold(visible(healed.cause))})" if healed.cause else ""
            yield [(f"  {retold(compare.where(healed.left))}: {number(healed.difference)}{cause}", "")]


def _layers(found: compare.Comparison) -> Iterator[Line]:
    if not found.layers:
        return
    yield [("", "")]
    yield [(padded(tr("layer"), 7) + padded(tr("local"), -10) + padded(tr("inherited"), -12), "bold")]
    for one in found.layers[:_MOST_LAYERS]:
        yield [(f"{one.layer:<7}{number(one.local) or '–':>10}{number(one.inherited) or '–':>12}", "")]
    if len(found.layers) > _MOST_LAYERS:
        yield [(tr("and {n} more layers", n=len(found.layers) - _MOST_LAYERS), "dim")]


def _born(one: compare.BornDifference) -> Iterator[Line]:
    """A difference that was born: how large, why, and the source lines side by side."""
    why = tr(": {why}", why=retold(visible(one.cause))) if one.cause else ""
    told = tr("{size} where rounding explains {bound}", size=number(one.difference), bound=number(one.bound))
    yield [(told + why, "bold red")]
    sides = [_side("A", one.left), _side("B", one.right)]
    for row in range(max(map(len, sides))):
        parts = [side[row] if row < len(side) else "" for side in sides]
        yield [(f"  {padded(_cut(parts[0]), _WIDTH)}  {_cut(parts[1])}", "" if row else "dim")]


def _side(name: str, place: compare.Place | None) -> list[str]:
    if place is None:
        return [tr("{name} has no such step", name=name)]
    token = "" if place.token is None else tr(" at row {row}, token {token}", row=place.row, token=place.token)
    head = f"{name} {retold(compare.where(place))}{token}"
    where = tr("step {n}", n=place.step) if place.step is not None else ""
    if place.file and place.line is not None:
        where += f"  {visible(Path(place.file).name)}:{place.line}"
    return [head, where, f"  {visible(place.text)}"] if place.text else [head, where]


def _cut(text: str) -> str:
    return text if cell_len(text) <= _WIDTH else set_cell_size(text, _WIDTH - 1) + "…"
