"""What became of an answer, as lines: a sentence and a few words, or a map of effects with its strongest ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...language import tr
from ...language.retell import retold
from ...terminal import padded
from ...text import visible
from ...what_if import Change, EffectOf, Effects, Trial, metric_words, sweep_title
from .heatmap import ink, shade

_LEAST = 5e-5  # probability of words that are told beside the likeliest
_MOST = 12  # strongest effects that are listed
_CELL, _LABEL = 8, 34  # columns of a cell of the map, and of the labels before it
Line = list[tuple[str, str]]


def trial_lines(found: Trial) -> Iterator[Line]:
    """The lines of one edit that was tried."""
    yield [(tr("step {n}", n=found.step), "bold"), (f" · {found.name} ✎ {retold(visible(found.edit))}", "")]
    if found.before or found.after:
        yield [(f"{retold(found.before)} → {retold(found.after)}", "bold yellow" if found.flips else "bold")]
    yield from choice_lines(found.choices)
    yield [(retold(found.comparison.sentence), "dim")]
    yield from ([(retold(one), "yellow")] for one in found.remarks)


def choice_lines(choices: Sequence[Change]) -> Iterator[Line]:
    """The likeliest words of an answer with their probabilities before and after."""
    wide = min(24, max((len(visible(one.word)) for one in choices), default=0))
    for one in [*choices[:1], *(one for one in choices[1:] if max(one.before, one.after) >= _LEAST)]:
        change = one.after - one.before
        yield [
            (f"  {padded(visible(one.word)[:24], wide)}  {one.before:.4f} → {one.after:.4f}  ", ""),
            (f"{change:+.4f}", "green" if change > 0 else "red" if change < 0 else "dim"),
        ]


def effect_lines(found: Effects, width: int) -> Iterator[Line]:
    """The lines of a sweep: what was done, the map, the strongest effects."""
    yield [(sweep_title(found), "bold")]
    yield [(metric_words(found.metric), "dim")]
    if found.before:
        said = ", ".join(f"{visible(word)} {share:.4f}" for word, share in found.before[:3])
        yield [(tr("without an edit: {said}", said=said), "dim")]
    for rows, columns, values in found.blocks():
        yield []
        yield from map_lines(values, rows, columns, width)
    yield []
    yield from _strongest(tr("strongest"), found.strongest, width)
    flips = [one for one in found.effects if one.flips]
    if found.pairs:
        both = sorted(found.pairs.values(), key=lambda one: -abs(one.effect))
        yield []
        yield from _strongest(tr("strongest of two at once"), both, width)
        flips += [one for one in both if one.flips]
    yield []
    many = (
        tr("1 of them gives another answer.")
        if len(flips) == 1
        else tr("{n} of them give another answer.", n=len(flips))
    )
    told = many if flips else tr("None of them gives another answer.")
    yield [(told, "bold yellow" if flips else "bold")]


def map_lines(values: np.ndarray, rows: Sequence[str], columns: Sequence[str], width: int) -> Iterator[Line]:
    """A map of effects, each cell on a colour, the largest the strongest."""
    label = min(_LABEL, max(map(len, rows), default=0))
    across = max(1, (width - label - 2) // _CELL)
    scaled, _, _ = shade(values)
    for first in range(0, values.shape[1], across):
        part = range(first, min(first + across, values.shape[1]))
        if values.shape[1] > 1:
            heads = "".join(
                padded(visible(columns[at])[: _CELL - 1] if at < len(columns) else str(at), -_CELL) for at in part
            )
            yield [(padded("", label) + heads, "dim")]
        for y, row in enumerate(rows):
            line: Line = [(padded(visible(row)[-label:], label), "")]
            for x in part:
                line += [(" ", ""), (padded(effect_number(values[y, x]), 1 - _CELL), _style(scaled[y, x]))]
            yield line


def _strongest(title: str, effects: Sequence[EffectOf], width: int) -> Iterator[Line]:
    yield [(title, "bold")]
    label = min(width - 40, max((len(visible(one.label)) for one in effects[:_MOST]), default=0))
    for one in effects[:_MOST]:
        said = f"  → {visible(one.said)}" if one.said else ""
        yield [
            (f"  {padded(visible(one.label)[:label], label)}  {effect_number(one.effect):>9}", ""),
            (said, "bold yellow" if one.flips else "dim"),
        ]
    if len(effects) > _MOST:
        yield [(tr("  … and {n} more: -o FILE.csv has them all", n=len(effects) - _MOST), "dim")]


def effect_number(value: float) -> str:
    """An effect with its sign, in few digits."""
    if value != value:
        return "–"
    plain = f"{value:+.4f}"
    return (
        plain if value == 0 or 0.001 <= abs(value) < 100 else f"{value:+.1e}".replace("e-0", "e-").replace("e+0", "e")
    )


def _style(value: float) -> str:
    return "dim" if value != value else str(ink(float(value), "tftrace-dark"))
