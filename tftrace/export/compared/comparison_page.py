"""A comparison as one HTML page that loads nothing and runs no script. Every text in it is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from typing import BinaryIO

import numpy as np

from ... import describe
from ...compare import Comparison, Place, TensorPair, prerequisite, where
from ...compare.difference_map import MARKS, SHADES, difference_map, explained, levels, mark, token_labels
from ...language import later, spoken, tr
from ...language.retell import retold
from ...text import number, visible
from ...trace.trace import Trace
from ..html.mathml import mathml

Traces = tuple[Trace | None, Trace | None]
_AROUND = 4  # source lines shown before and after a statement
_MOST_BORN, _MOST_PAIRS, _MOST_TOKENS, _MOST_ROWS = 50, 5_000, 2_000, 400  # that are shown
_WIDTH = 60  # columns of an equation that is drawn

_ALONE = later("only in this run")


def write(found: Comparison, traces: Traces, names: tuple[str, str], stream: BinaryIO) -> None:
    """Write the page to a binary stream."""
    style = (files(__package__) / "assets" / "comparison.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = " | ".join(map(visible, names))
    head = (
        f'<!doctype html>\n<html lang="{spoken()}">\n<head>\n<meta charset="utf-8">\n'
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
        yield f'<h1 class="{found.verdict}">{_text(retold(found.sentence))}</h1>\n'
        yield f'<p class="soft">A {_text(self._names[0])} · B {_text(self._names[1])}</p>\n'
        said = describe.answers(*self._traces)
        yield f"<p>{_text(retold(said))}</p>\n" if said else ""
        if found.before:
            yield _heading(tr("Before the numbers"))
            yield from (f"<p>{_text(retold(prerequisite(one)))}</p>\n" for one in found.before)

    def _layers(self) -> Iterator[str]:
        if self._found.layers:
            yield _heading(tr("By layer"))
            rows = ((str(one.layer), _size(one.local), _size(one.inherited)) for one in self._found.layers)
            yield _table((tr("layer"), tr("local"), tr("inherited")), rows)

    def _map(self) -> Iterator[str]:
        found = difference_map(self._found)
        known = ~np.isnan(found.values)
        if not found.values.size or not known.any():
            return
        values, bound = found.values[:_MOST_ROWS, :_MOST_TOKENS], self._bound
        yield _heading(tr("Layers × tokens")) + '<div class="scroll"><table class="map">\n'
        for label, row, shades in zip(found.labels, values, levels(values, bound), strict=False):
            cells = (
                f'<td class="c l{level}" title="{escape(self._labels[0][at])}: {_size(float(size))}">'
                f"{SHADES[level] if size == size else '?'}</td>"
                for at, (size, level) in enumerate(zip(row.tolist(), shades.tolist(), strict=True))
            )
            yield f"<tr><td>{_text(retold(label))}</td>{''.join(cells)}</tr>\n"
        yield "</table></div>\n"
        cut = _more(found.values.shape[1], _MOST_TOKENS, later("and {n} more tokens"))
        cut += _more(len(found.values), _MOST_ROWS, later("and {n} more rows"))
        legend = tr("· rounding, ░▒▓█ from there to 1, by relative l2 of the token.")
        for level in range(2, len(SHADES)):
            legend = legend.replace(SHADES[level], f'<span class="c l{level}">{SHADES[level]}</span>')
        yield f'<p class="soft map">{legend} {cut}</p>\n'

    @property
    def _bound(self) -> float:
        first = self._found.first
        return first.bound if first else max((pair.bound for pair in self._found.tensors), default=0.0)

    def _born(self) -> Iterator[str]:
        born = [at for at, pair in enumerate(self._found.tensors) if mark(pair) in "≠?"]
        if born:
            yield _heading(tr("Where differences are born"))
        for at in born[:_MOST_BORN]:
            pair = self._found.tensors[at]
            yield f'<div class="card">\n<p class="born">{mark(pair)} {_text(retold(explained(self._found, at)))}</p>\n'
            yield '<div class="sides">\n'
            for side, place in enumerate((pair.left, pair.right)):
                yield f"<div>\n<h3>{'AB'[side]} {_text(retold(where(place)))}{_text(_token(place))}</h3>\n"
                yield from _side(self._traces[side], place)
                yield "</div>\n"
            yield "</div>\n"
            yield from self._tokens(pair)
            yield "</div>\n"
        yield f'<p class="soft">{_more(len(born), _MOST_BORN, later("and {n} more such differences"))}</p>\n'

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
                yield f'{"<br>" if n else ""}<b class="soft">{tr("row {n}", n=number_)}</b> '
                row = number_
            most = " most" if n == worst else ""
            said = escape(ours if ours == theirs else f"{ours}→{theirs}")
            size = _size(float(pair.by_token[n]))
            yield f'<span class="l{shades[n]}{most}" title="{size}">{said}</span> '
        yield f"</div>\n<p class='soft'>{_more(len(pair.tokens), _MOST_TOKENS, later('and {n} more tokens'))}</p>\n"

    def _pairs(self) -> Iterator[str]:
        counts = self._found.pairs
        yield _heading(tr("Every pair of tensors"))
        told = tr(
            "{compared} pairs of tensors: {equal} equal, {rounding} rounding, {born} born, {inherited} inherited, "
            "{healed} healed; {unpaired} tensors unpaired",
            **asdict(counts),
        )
        yield f'<p class="soft">{_text(told)}</p>\n'
        heads = f"<th class=n>{tr('difference')}</th><th class=n>{tr('rounding')}</th>"
        yield f"<table>\n<tr><th></th><th>A</th><th>B</th>{heads}</tr>\n"
        for pair in self._found.tensors[:_MOST_PAIRS]:
            least = "~" if pair.estimated else "" if pair.measured else "≥ "
            yield (
                f'<tr><td class="{pair.status}" title="{escape(retold(MARKS[mark(pair)]))}">{mark(pair)}</td>'
                f'<td class="name">{_text(_whole(pair.left))}</td><td class="name">{_text(_whole(pair.right))}</td>'
                f"<td class=n>{least}{_size(pair.difference)}</td><td class=n>{_size(pair.bound)}</td></tr>\n"
            )
        for one in self._found.unpaired[: max(0, _MOST_PAIRS - len(self._found.tensors))]:
            cell, mark_ = f'<td class="name">{_text(_whole(one.place))}</td>', "▷" if one.right else "◁"
            cells = f"<td></td>{cell}" if one.right else f"{cell}<td></td>"
            alone = f"<td title='{tr(_ALONE)}'>{mark_}</td>"
            yield f'<tr class="unpaired">{alone}{cells}<td></td><td></td></tr>\n'
        total = len(self._found.tensors) + len(self._found.unpaired)
        yield f'</table>\n<p class="soft">{_more(total, _MOST_PAIRS, later("and {n} more rows"))}</p>\n'


def _side(trace: Trace | None, place: Place) -> Iterator[str]:
    """The line and the equation of one side."""
    if trace is None or place.position is None:
        yield f'<p class="soft">{tr("an array of a dump, which has no steps")}</p>\n'
        return
    code = describe.code(trace, place.position)
    if code is not None:
        yield f'<p class="soft">{_text(code.title)}</p>\n<pre>'
        for at in range(max(1, code.first - _AROUND), min(len(code.lines), code.last + _AROUND) + 1):
            line = f"{at:>5} {escape(visible(code.lines[at - 1]))}"
            yield f'<span class="here">{line}</span>\n' if code.first <= at <= code.last else f"{line}\n"
        yield "</pre>\n"
    for equation in describe.equations(trace, place.position, spoken())[:1]:
        drawn = mathml(equation.tex) if equation.tex else None
        within = tr(" in {call}", call=equation.within) if equation.within else ""
        yield f'<p class="soft">{_text(equation.cite + within)}</p>\n'
        yield f"{drawn}\n" if drawn else f"<pre>{_text_lines(equation.drawn(_WIDTH))}</pre>\n"
        yield f"<p>{_text(retold(equation.judgement))}</p>\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of numbers."""
    lines = [f"<tr>{''.join(f'<th class=n>{_text(head)}</th>' for head in heads)}</tr>"]
    lines += [f"<tr>{''.join(f'<td class=n>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>\n"


def _whole(place: Place) -> str:
    step = "" if place.step is None else tr("step {n}", n=place.step) + " "
    return f"{step}{retold(where(place))}"


def _token(place: Place) -> str:
    return "" if place.token is None else tr(" at row {row}, token {token}", row=place.row, token=place.token)


def _size(value: float | None) -> str:
    return number(value) or "–"


def _more(count: int, shown: int, said: str) -> str:
    return tr(said, n=count - shown) + " " if count > shown else ""


def _heading(said: str) -> str:
    return f"<h2>{_text(said)}</h2>\n"


def _text(said: str) -> str:
    return escape(visible(said))


def _text_lines(lines: Iterable[str]) -> str:
    return "\n".join(map(_text, lines))
