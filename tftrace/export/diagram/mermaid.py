"""The flow diagram as Mermaid, for Markdown on GitHub and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from ...flow import Graph
from ...trace.trace import Trace
from . import wording

_SHAPES = {"call": '["{}"]', "join": '(("{}"))', "input": '(["{}"])', "output": '(["{}"])'}
COLORS = {
    "attention": "#ffe2bb",
    "norm": "#f2f4c1",
    "embedding": "#fce0e1",
    "activation": "#cfe9d8",
    "feed": "#c5e7f4",
    "linear": "#dfdff3",
}


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
    yield f"%% {_text(title)} · {subtitle}"
    yield "flowchart TB"
    yield from _cluster(trace, graph, None, "  ")
    for edge in graph.edges:
        arrow = "-.->" if edge.how == "order" else "-->"
        yield f'  n{edge.source} {arrow}|"{_text(wording.sizes(edge.shapes))}"| n{edge.target}'
    for kind, color in COLORS.items():
        members = [f"n{at}" for at, node in enumerate(graph.nodes) if wording.kind(node) == kind]
        if members:
            yield f"  classDef {kind} fill:{color},stroke:#0003,color:#22262e"
            yield f"  class {','.join(members)} {kind}"


def _cluster(trace: Trace, graph: Graph, level: int | None, indent: str) -> Iterator[str]:
    """The nodes and inner clusters of one cluster, or of the whole graph if `level` is None."""
    for at, node in enumerate(graph.nodes):
        if node.cluster == level:
            title, detail = wording.label(node)
            mark = wording.verdict(trace, node)
            text = f"{_text(title)} {mark}".rstrip() + (f"<br/>{_text(detail)}" if detail else "")
            yield f"{indent}n{at}{_SHAPES[node.kind].format(text)}"
    for at, cluster in enumerate(graph.clusters):
        if cluster.parent == level:
            yield f'{indent}subgraph g{at}["{_text(wording.short(cluster.title))}"]'
            yield from _cluster(trace, graph, at, indent + "  ")
            yield f"{indent}end"


def _text(text: str) -> str:
    """The text with every character that might be markup written as its code."""
    return "".join(c if c.isalnum() or c in " ._-,:·×…+()[]=" else f"#{ord(c)};" for c in text)
