"""A comparison as one HTML page that loads nothing and runs no script. Every text in it is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import BinaryIO

import numpy as np

from ... import describe
from ...compare import Comparison, Place, TensorPair, prerequisite, where
from ...compare.difference_map import MARKS, SHADES, difference_map, explained, levels, mark, token_labels
from ...text import number, visible
from ...trace.trace import Trace
from ..html.mathml import mathml

Traces = tuple[Trace | None, Trace | None]
_AROUND = 4  # source lines shown before and after a statement
_MOST_BORN, _MOST_PAIRS, _MOST_TOKENS, _MOST_ROWS = 50, 5_000, 2_000, 400  # that are shown
_WIDTH = 60  # columns of an equation that is drawn


def write(found: Comparison, traces: Traces, names: tuple[str, str], stream: BinaryIO) -> None:
    """Write the page to a binary stream."""
    style = (files(__package__) / "assets" / "comparison.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = " | ".join(map(visible, names))
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · tftrace compare</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    for part in (head, *_Page(found, traces, names).parts(), "</body>\n</html>\n"):
        stream.write(part.encode())


class _Page:
    """The parts of the page, each an HTML fragment."""

    def __init__(self, found: Comparison, traces: Traces, names: tuple[str, str]) -> None:
        self._found, self._traces, self._names = found, traces, names
        sides = zip(traces, (found.left_tokens, found.right_tokens), strict=True)
        self._labels = [token_labels(trace, places) for trace, places in sides]

    def parts(self) -> Iterator[str]:
        """The sentence first, then ever more detail."""
        yield from self._answer()
        yield from self._layers()
        yield from self._map()
        yield from self._born()
        yield from self._pairs()

    def _answer(self) -> Iterator[str]:
        found = self._found
        yield f'<h1 class="{found.verdict}">{_text(found.sentence)}</h1>\n'
        yield f'<p class="soft">A {_text(self._names[0])} · B {_text(self._names[1])}</p>\n'
        said = describe.answers(*self._traces)
        yield f"<p>{_text(said)}</p>\n" if said else ""
        if found.before:
            yield "<h2>Before the numbers</h2>\n"
            yield from (f"<p>{_text(prerequisite(one))}</p>\n" for one in found.before)

    def _layers(self) -> Iterator[str]:
        if self._found.layers:
            yield "<h2>By layer</h2>\n"
            rows = ((str(one.layer), _size(one.local), _size(one.inherited)) for one in self._found.layers)
            yield _table(("layer", "local", "inherited"), rows)

    def _map(self) -> Iterator[str]:
        found = difference_map(self._found)
        known = ~np.isnan(found.values)
        if not found.values.size or not known.any():
            return
        values, bound = found.values[:_MOST_ROWS, :_MOST_TOKENS], self._bound
        yield '<h2>Layers × tokens</h2>\n<div class="scroll"><table class="map">\n'
        for label, row, shades in zip(found.labels, values, levels(values, bound), strict=False):
            cells = (
                f'<td class="c l{level}" title="{escape(self._labels[0][at])}: {_size(float(size))}">'
                f"{SHADES[level] if size == size else '?'}</td>"
                for at, (size, level) in enumerate(zip(row.tolist(), shades.tolist(), strict=True))
            )
            yield f"<tr><td>{_text(label)}</td>{''.join(cells)}</tr>\n"
        yield "</table></div>\n"
        cut = _more(found.values.shape[1], _MOST_TOKENS, "tokens") + _more(len(found.values), _MOST_ROWS, "rows")
        yield f'<p class="soft">· rounding, ░▒▓█ from there to 1, by relative l2 of the token. {cut}</p>\n'

    @property
    def _bound(self) -> float:
        first = self._found.first
        return first.bound if first else max((pair.bound for pair in self._found.tensors), default=0.0)

    def _born(self) -> Iterator[str]:
        born = [at for at, pair in enumerate(self._found.tensors) if mark(pair) in "≠?"]
        if born:
            yield "<h2>Where differences are born</h2>\n"
        for at in born[:_MOST_BORN]:
            pair = self._found.tensors[at]
            yield f'<div class="card">\n<p class="born">{mark(pair)} {_text(explained(self._found, at))}</p>\n'
            yield '<div class="sides">\n'
            for side, place in enumerate((pair.left, pair.right)):
                yield f"<div>\n<h3>{'AB'[side]} {_text(where(place))}{_text(_token(place))}</h3>\n"
                yield from _side(self._traces[side], place)
                yield "</div>\n"
            yield "</div>\n"
            yield from self._tokens(pair)
            yield "</div>\n"
        yield f'<p class="soft">{_more(len(born), _MOST_BORN, "such differences")}</p>\n'

    def _tokens(self, pair: TensorPair) -> Iterator[str]:
        """The tokens of a tensor, each on the colour of its difference."""
        if pair.tokens is None or pair.by_token is None:
            return
        yield '<div class="tokens">'
        row, worst = None, int(pair.by_token.argmax())
        shades = levels(pair.by_token, pair.bound).tolist()
        for n, slot in enumerate(pair.tokens[:_MOST_TOKENS].tolist()):
            ours, theirs = self._labels[0][slot], self._labels[1][slot]
            number_ = int(self._found.left_tokens[slot, 1])
            if number_ != row:
                yield f'{"<br>" if n else ""}<b class="soft">row {number_}</b> '
                row = number_
            most = " most" if n == worst else ""
            said = escape(ours if ours == theirs else f"{ours}→{theirs}")
            size = _size(float(pair.by_token[n]))
            yield f'<span class="l{shades[n]}{most}" title="{size}">{SHADES[shades[n]]}{said}</span> '
        yield f"</div>\n<p class='soft'>{_more(len(pair.tokens), _MOST_TOKENS, 'tokens')}</p>\n"

    def _pairs(self) -> Iterator[str]:
        counts = self._found.pairs
        yield "<h2>Every pair of tensors</h2>\n"
        yield (
            f'<p class="soft">{counts.compared} pairs: {counts.equal} equal, {counts.rounding} rounding, {counts.born} '
            f"born, {counts.inherited} inherited, {counts.healed} healed; {counts.unpaired} tensors unpaired</p>\n"
        )
        yield "<table>\n<tr><th></th><th>A</th><th>B</th><th class=n>difference</th><th class=n>rounding</th></tr>\n"
        for pair in self._found.tensors[:_MOST_PAIRS]:
            least = "~" if pair.estimated else "" if pair.measured else "≥ "
            yield (
                f'<tr><td class="{pair.status}" title="{escape(MARKS[mark(pair)])}">{mark(pair)}</td>'
                f'<td class="name">{_text(_whole(pair.left))}</td><td class="name">{_text(_whole(pair.right))}</td>'
                f"<td class=n>{least}{_size(pair.difference)}</td><td class=n>{_size(pair.bound)}</td></tr>\n"
            )
        for one in self._found.unpaired[: max(0, _MOST_PAIRS - len(self._found.tensors))]:
            cell, mark_ = f'<td class="name">{_text(_whole(one.place))}</td>', "▷" if one.right else "◁"
            cells = f"<td></td>{cell}" if one.right else f"{cell}<td></td>"
            yield f'<tr class="unpaired"><td title="only in this run">{mark_}</td>{cells}<td></td><td></td></tr>\n'
        total = len(self._found.tensors) + len(self._found.unpaired)
        yield f'</table>\n<p class="soft">{_more(total, _MOST_PAIRS, "rows")}</p>\n'


def _side(trace: Trace | None, place: Place) -> Iterator[str]:
    """The line and the equation of one side."""
    if trace is None or place.position is None:
        yield '<p class="soft">an array of a dump, which has no steps</p>\n'
        return
    code = describe.code(trace, place.position)
    if code is not None:
        yield f'<p class="soft">{_text(code.title)}</p>\n<pre>'
        for at in range(max(1, code.first - _AROUND), min(len(code.lines), code.last + _AROUND) + 1):
            line = f"{at:>5} {escape(visible(code.lines[at - 1]))}"
            yield f'<span class="here">{line}</span>\n' if code.first <= at <= code.last else f"{line}\n"
        yield "</pre>\n"
    for equation in describe.equations(trace, place.position)[:1]:
        drawn = mathml(equation.tex) if equation.tex else None
        within = f" in {equation.within}" if equation.within else ""
        yield f'<p class="soft">{_text(equation.cite + within)}</p>\n'
        yield f"{drawn}\n" if drawn else f"<pre>{_text_lines(equation.drawn(_WIDTH))}</pre>\n"
        yield f"<p>{_text(equation.judgement)}</p>\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of numbers."""
    lines = [f"<tr>{''.join(f'<th class=n>{_text(head)}</th>' for head in heads)}</tr>"]
    lines += [f"<tr>{''.join(f'<td class=n>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>\n"


def _whole(place: Place) -> str:
    step = "" if place.step is None else f"step {place.step} "
    return f"{step}{where(place)}"


def _token(place: Place) -> str:
    return "" if place.token is None else f" at row {place.row}, token {place.token}"


def _size(value: float | None) -> str:
    return number(value) or "–"


def _more(count: int, shown: int, what: str) -> str:
    return f"and {count - shown} more {what} " if count > shown else ""


def _text(said: str) -> str:
    return escape(visible(said))


def _text_lines(lines: Iterable[str]) -> str:
    return "\n".join(map(_text, lines))
