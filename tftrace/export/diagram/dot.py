"""The flow diagram as DOT, for Graphviz and compatible tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from ...flow import Graph
from ...trace.trace import Trace
from . import wording
from .mermaid import COLORS


def write(trace: Trace, stream: BinaryIO, **options: Any) -> None:
    """Write the flow diagram of a forward pass.

    Args:
        trace: The trace.
        stream: A binary stream.
        **options: `depth`, `under` and `forward` of `tftrace.flow.graph`.

    Raises:
        TraceError: There is no such part or forward pass, or it has too many boxes.
    """
    found = wording.requested_graph(trace, options)
    stream.writelines((line + "\n").encode() for line in _lines(trace, found))


def _lines(trace: Trace, graph: Graph) -> Iterator[str]:
    title, subtitle = wording.heading(trace, graph)
    yield "digraph flow {"
    yield f'  label={_text(f"{title} · {subtitle}")}; labelloc=t; fontname="Helvetica"; rankdir=TB; compound=true;'
    yield '  node [shape=box, style="rounded,filled", fillcolor="#ebe8e1", color="#00000033", fontname="Helvetica"];'
    yield '  edge [fontname="Helvetica", fontsize=10, color="#7b8494", arrowsize=0.7];'
    yield from _cluster(trace, graph, None, "  ")
    for edge in graph.edges:
        dotted = ", style=dotted" if edge.how == "order" else ""
        yield f"  n{edge.source} -> n{edge.target} [label={_text(wording.sizes(edge.shapes))}{dotted}];"
    yield "}"


def _cluster(trace: Trace, graph: Graph, level: int | None, indent: str) -> Iterator[str]:
    """The nodes and inner clusters of one cluster, or of the whole graph if `level` is None."""
    for at, node in enumerate(graph.nodes):
        if node.cluster == level:
            title, detail = wording.label(node)
            text = "\n".join(filter(None, (f"{title} {wording.verdict(trace, node)}".rstrip(), detail)))
            look = {"join": ", shape=circle", "call": ""}.get(node.kind, ', shape=box, style="rounded"')
            color = COLORS.get(wording.kind(node))
            fill = f', fillcolor="{color}"' if color else ""
            yield f"{indent}n{at} [label={_text(text)}{look}{fill}];"
    for at, cluster in enumerate(graph.clusters):
        if cluster.parent == level:
            yield f"{indent}subgraph cluster_{at} {{"
            yield f'{indent}  label={_text(wording.short(cluster.title))}; style=rounded; color="#cbc6ba";'
            yield from _cluster(trace, graph, at, indent + "  ")
            yield f"{indent}}}"


def _text(text: str) -> str:
    """A quoted DOT string; of its escapes only the line break keeps its meaning."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{quoted}"'
