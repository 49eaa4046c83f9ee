"""The flow diagram as DOT, for Graphviz and what reads its files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from ...flow import Graph
from ...trace.trace import Trace
from . import wording
from .mermaid import COLORS


def write(trace: Trace, stream: BinaryIO, **options: Any) -> None:
    """Write the diagram of a forward pass, or of the part `under` a module, opened `depth` calls deep."""
    found = wording.drawn(trace, options)
    stream.writelines((line + "\n").encode() for line in _lines(trace, found))


def _lines(trace: Trace, graph: Graph) -> Iterator[str]:
    title, subtitle = wording.heading(trace, graph)
    yield "digraph flow {"
    yield f'  label={_text(f"{title} · {subtitle}")}; labelloc=t; fontname="Helvetica"; rankdir=TB; compound=true;'
    yield '  node [shape=box, style="rounded,filled", fillcolor="#ebe8e1", color="#00000033", fontname="Helvetica"];'
    yield '  edge [fontname="Helvetica", fontsize=10, color="#7b8494", arrowsize=0.7];'
    yield from _frame(trace, graph, None, "  ")
    for edge in graph.edges:
        dotted = ", style=dotted" if edge.how == "order" else ""
        yield f"  n{edge.source} -> n{edge.target} [label={_text(wording.sizes(edge.shapes))}{dotted}];"
    yield "}"


def _frame(trace: Trace, graph: Graph, level: int | None, indent: str) -> Iterator[str]:
    for at, node in enumerate(graph.nodes):
        if node.group == level:
            title, detail = wording.label(node)
            said = "\n".join(filter(None, (f"{title} {wording.verdict(trace, node)}".rstrip(), detail)))
            look = {"join": ", shape=circle", "call": ""}.get(node.kind, ', shape=box, style="rounded"')
            color = COLORS.get(wording.kind(node))
            fill = f', fillcolor="{color}"' if color else ""
            yield f"{indent}n{at} [label={_text(said)}{look}{fill}];"
    for at, group in enumerate(graph.groups):
        if group.parent == level:
            yield f"{indent}subgraph cluster_{at} {{"
            yield f'{indent}  label={_text(wording.short(group.title))}; style=rounded; color="#cbc6ba";'
            yield from _frame(trace, graph, at, indent + "  ")
            yield f"{indent}}}"


def _text(said: str) -> str:
    """A quoted string of DOT: of its escapes only the new line is meant."""
    quoted = said.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{quoted}"'
