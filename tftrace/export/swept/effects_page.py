"""The effects of a sweep as one HTML page that loads nothing and runs no script. Every text in it is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import BinaryIO

import numpy as np

from ...language import spoken, tr
from ...text import visible
from ...trace.trace import Trace
from ...what_if import EffectOf, Effects, metric_words, sweep_title

_LEVELS = 8  # shades of either sign, classes of effects.css
_MOST = 500  # rows of a table


def write_page(found: Effects, trace: Trace, stream: BinaryIO) -> None:
    """Write the page to a binary stream."""
    style = (files(__package__) / "assets" / "effects.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{trace.meta.get('model') or trace.path.name}"
    head = (
        f'<!doctype html>\n<html lang="{spoken()}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)} · tftrace what-if</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    for part in (head, *_parts(found, trace, title), "</body>\n</html>\n"):
        stream.write(part.encode())


def _parts(found: Effects, trace: Trace, title: str) -> Iterator[str]:
    yield f"<h1>{_text(title)}</h1>\n"
    given = trace.meta.get("text")
    texts = given if isinstance(given, list) else [given]
    for text in texts[:1]:
        if isinstance(text, str):
            yield f"<p class=text>{_text(text)}</p>\n"
    yield f"<p>{_text(sweep_title(found))}<br>{_text(metric_words(found.metric))}</p>\n"
    if found.before:
        said = ", ".join(f"{word} {share:.4f}" for word, share in found.before[:3])
        yield f"<p class=soft>{_text(tr('without an edit: {said}', said=said))}</p>\n"
    for rows, columns, values in found.blocks():
        yield from _map(values, rows, columns)
    if found.pairs:
        names = [one.label for one in found.effects]
        yield f"<h2>{_text(tr('two at once'))}</h2>\n"
        yield from _map(found.pair_matrix(), names, [str(at) for at in range(len(names))])
    yield f"<h2>{_text(tr('strongest'))}</h2>\n"
    both = sorted(found.pairs.values(), key=lambda one: -abs(one.effect))
    yield from _table(found.strongest[:_MOST])
    if both:
        yield f"<h2>{_text(tr('strongest of two at once'))}</h2>\n"
        yield from _table(both[:_MOST])


def _map(values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    """A map: a cell for each effect, on the shade of its size."""
    top = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    yield '<table class="map">\n'
    if values.shape[1] > 1:
        yield f"<tr><th></th>{''.join(f'<th>{_text(one)}</th>' for one in columns[: values.shape[1]])}</tr>\n"
    for label, line in zip(rows, values.tolist(), strict=True):
        cells = "".join(_cell(value, top) for value in line)
        yield f'<tr><th class="row">{_text(label)}</th>{cells}</tr>\n'
    yield "</table>\n"


def _cell(value: float, top: float) -> str:
    if value != value:
        return "<td></td>"
    level = round(abs(value / top) ** 0.5 * _LEVELS)
    shade = f"{'p' if value > 0 else 'm'}{level}" if level else ""
    return f'<td class="{shade}">{value:+.4g}</td>'


def _table(effects: Sequence[EffectOf]) -> Iterator[str]:
    yield f"<table>\n<tr><th class=row></th><th>{_text(tr('effect'))}</th><th>{_text(tr('answer'))}</th></tr>\n"
    for one in effects:
        flips = ' class="flips"' if one.flips else ""
        label = f"<th class=row>{_text(one.label)}</th>"
        yield f"<tr>{label}<td>{one.effect:+.4g}</td><td{flips}>{_text(one.said)}</td></tr>\n"
    yield "</table>\n"


def _text(said: str) -> str:
    return escape(visible(said))
