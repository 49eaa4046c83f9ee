"""The flow diagram as SVG. It needs no other program, contains no script, and all its text is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

from ...describe import MARKS
from ...flow import Graph, Node
from ...language import tr
from ...navigate.difference_kinds import BY_DESIGN
from ...text import visible
from ...trace import schema
from ...trace.trace import Trace
from . import wording
from .layout import Drawing, Point, lay_out

_MARGIN, _HEAD, _FOOT, _LINE = 28.0, 66.0, 40.0, 15.0
_BOX, _BOX_PLAIN, _JOIN = 44.0, 32.0, 22.0  # heights
_NARROWEST = 96.0
_MARK = 12.0  # width of a verdict's mark
_ROUND = 9.0

_COLORS = (
    "--ground:#fbfaf7;--text:#22262e;--soft:#596273;--frame:#cbc6ba;--inside:#00000006;--wire:#7b8494;"
    "--attention:#ffe2bb;--norm:#f2f4c1;--embedding:#fce0e1;--activation:#cfe9d8;--feed:#c5e7f4;--linear:#dfdff3;"
    "--other:#ebe8e1;--edge:#00000026;--good:#2d6a24;--warm:#8a5a00;--bad:#b3261e"
)
_DARK = (
    "--ground:#11151c;--text:#e3e8ef;--soft:#a3afc0;--frame:#3a4658;--inside:#ffffff08;--wire:#8491a6;"
    "--attention:#6b4a1d;--norm:#55581e;--embedding:#643a3d;--activation:#2b5640;--feed:#235468;--linear:#45457a;"
    "--other:#333b48;--edge:#ffffff30;--good:#8fcf8a;--warm:#f0c674;--bad:#ff8080"
)
_FONTS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans CJK SC",sans-serif'
_RULES = """
.flow .ground{fill:var(--ground)}.flow text{fill:var(--text);font-size:12.5px}.flow .h{font-size:17px;font-weight:650}
.flow .s{fill:var(--soft);font-size:11px}.flow .t{font-weight:600}
.flow .frame{fill:var(--inside);stroke:var(--frame)}.flow .box{stroke:var(--edge)}
.flow .frame-t,.flow .size{fill:var(--soft);font-size:11px;font-weight:600;
paint-order:stroke;stroke:var(--ground);stroke-width:4px}
.flow .size{font-size:10.5px;font-weight:400;font-variant-numeric:tabular-nums}
.flow .wire{fill:none;stroke:var(--wire);stroke-width:1.4}.flow .order{stroke-dasharray:2 4}
.flow .join,.flow .end{fill:var(--ground);stroke:var(--wire)}.flow .tip{fill:var(--wire)}
.flow .holds{fill:var(--good)}.flow .design{fill:var(--warm)}.flow .differs{fill:var(--bad)}
.flow .attention{fill:var(--attention)}.flow .norm{fill:var(--norm)}.flow .embedding{fill:var(--embedding)}
.flow .activation{fill:var(--activation)}.flow .feed{fill:var(--feed)}.flow .linear{fill:var(--linear)}
.flow .other{fill:var(--other)}
"""
# In the HTML report the reader chooses light or dark; a separate file follows the system's setting.
STYLE_IN_PAGE = f".flow{{{_COLORS};font-family:{_FONTS}}}[data-theme=dark] .flow{{{_DARK}}}{_RULES}"
_STYLE = (
    f".flow{{{_COLORS};background:var(--ground);font-family:{_FONTS}}}"
    f"@media (prefers-color-scheme:dark){{.flow{{{_DARK}}}}}{_RULES}"
)


def write(trace: Trace, stream: BinaryIO, **options: Any) -> None:
    """Write the flow diagram of a forward pass.

    Args:
        trace: The trace.
        stream: A binary stream.
        **options: `depth`, `under` and `forward` of `tftrace.flow.graph`.

    Raises:
        TraceError: There is no such part or forward pass, or it has too many boxes.
    """
    stream.writelines((line + "\n").encode() for line in lines(trace, wording.requested_graph(trace, options)))


def lines(trace: Trace, graph: Graph, in_page: bool = False) -> Iterator[str]:
    """The lines of an SVG drawing of `graph`; with `in_page`, without the style that the HTML report has already."""
    drawing = lay_out(graph, lambda node: _size(trace, node))
    title, subtitle = wording.heading(trace, graph)
    feet = [tr("Weights, masks and caches are not drawn, nor calls that return what they took.")]
    if any(edge.how == "order" for edge in graph.edges):
        feet.append(tr("Dotted: the steps in between were not recorded; record with --level lines."))
    width = max(drawing.width, _width(title, 9.5), _width(feet[0], 6.0)) + 2 * _MARGIN
    height = drawing.height + _HEAD + _FOOT + _LINE * (len(feet) - 1)
    left = (width - drawing.width) / 2
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" class="flow">'
    )
    yield f"<title>{_text(title)}</title>" + ("" if in_page else f"<style>{_STYLE}</style>")
    yield f'<rect class="ground" width="{width:.0f}" height="{height:.0f}"/>'
    yield f'<text class="h" x="{_MARGIN}" y="30">{_text(title)}</text>'
    yield f'<text class="s" x="{_MARGIN}" y="48">{_text(subtitle)}</text>'
    yield f'<g transform="translate({left:.1f} {_HEAD})">'
    for at, (x, y, wide, high) in sorted(drawing.clusters.items()):
        cluster = graph.clusters[at]
        yield f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="12"/>'
        yield f"<g><title>{_text(cluster.detail)}</title>"
        name = _text(wording.short(cluster.title))
        yield f'<text class="frame-t" x="{x + 12:.1f}" y="{y + 16:.1f}">{name}</text></g>'
    yield from _wires(graph, drawing)
    for at, node in enumerate(graph.nodes):
        yield from _node(trace, node, *drawing.nodes[at])
    yield "</g>"
    for at, foot in enumerate(reversed(feet)):
        yield f'<text class="s" x="{_MARGIN}" y="{height - 14 - _LINE * at:.0f}">{foot}</text>'
    yield "</svg>"


def _size(trace: Trace, node: Node) -> tuple[float, float]:
    if node.kind == "join":
        return _JOIN, _JOIN
    title, detail = wording.label(node)
    mark = 2 * _MARK if wording.verdict(trace, node) else 0.0
    width = max(_width(title, 7.9) + mark, _width(detail, 6.6)) + 26
    return max(_NARROWEST, width), _BOX if detail else _BOX_PLAIN


def _width(text: str, each: float) -> float:
    return sum(each * (1.75 if ord(char) > 0x2E80 else 1) for char in text)


def _wires(graph: Graph, drawing: Drawing) -> Iterator[str]:
    labels: dict[int, set[str]] = {}
    for edge in graph.edges:
        labels.setdefault(edge.source, set()).add(wording.sizes(edge.shapes))
    labelled: set[int] = set()
    for edge, points in zip(graph.edges, drawing.paths, strict=True):
        kind = "wire order" if edge.how == "order" else "wire"
        x, y = points[-1]
        yield f'<path class="{kind}" d="{_curve([*points[:-1], (x, y - 5)])}"/>'
        yield f'<path class="tip" d="M{x:.1f} {y:.1f}l-4 -7.5h8z"/>'
    for edge, points in zip(graph.edges, drawing.paths, strict=True):
        size = wording.sizes(edge.shapes)
        if graph.nodes[edge.source].kind == "join" and graph.nodes[edge.target].kind != "output":
            pass  # a sum has the shape of its inputs
        elif len(labels[edge.source]) == 1:  # one label at the source for all its arrows
            if edge.source not in labelled:
                labelled.add(edge.source)
                x, y = points[0]
                yield f'<text class="size" x="{x + 7:.1f}" y="{y + 14:.1f}">{_text(size)}</text>'
        else:
            x, y = points[-1]
            yield f'<text class="size" x="{x + 7:.1f}" y="{y - 8:.1f}">{_text(size)}</text>'


def _curve(points: list[Point]) -> str:
    """An SVG path through points, vertical at each of them."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        if abs(x - to_x) < 0.5:
            parts.append(f"L{to_x:.1f} {to_y:.1f}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
    return "".join(parts)


def _node(trace: Trace, node: Node, x: float, y: float, width: float, height: float) -> Iterator[str]:
    centre, middle = x + width / 2, y + height / 2
    if node.kind == "join":
        yield f'<circle class="join" cx="{centre:.1f}" cy="{middle:.1f}" r="{width / 2:.1f}"/>'
        yield f'<text x="{centre:.1f}" y="{middle + 4.5:.1f}" text-anchor="middle">{_text(node.title)}</text>'
        return
    title, detail = wording.label(node)
    kind = "end" if node.kind in ("input", "output") else f"box {wording.kind(node)}"
    corner = height / 2 if node.kind in ("input", "output") else _ROUND
    mark = wording.verdict(trace, node)
    yield f'<g data-step="{node.position}"><title>{_text(_hint(trace, node))}</title>'
    yield (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{corner:.1f}"/>'
    )
    line = middle + 4.5 if not detail else middle - 3
    yield f'<text class="t" x="{centre:.1f}" y="{line:.1f}" text-anchor="middle">{_text(title)}</text>'
    if detail:
        yield f'<text class="s" x="{centre:.1f}" y="{middle + 13:.1f}" text-anchor="middle">{_text(detail)}</text>'
    if mark:
        verdict = next((name for name, sign in MARKS.items() if sign == mark), schema.UNCHECKED)
        name = schema.DESIGN if verdict == BY_DESIGN else verdict
        yield f'<text class="{name}" x="{x + width - 8:.1f}" y="{y + 15:.1f}" text-anchor="end">{mark}</text>'
    yield "</g>"


def _hint(trace: Trace, node: Node) -> str:
    """The tooltip of a box: its step, full path and class."""
    name, kind = (trace.column(column)[node.position] or "" for column in ("name", "type"))
    return f"step {node.position} · {name} · {kind}"


def _text(text: str) -> str:
    return escape(visible(text), {'"': "&quot;", "'": "&#39;"})
