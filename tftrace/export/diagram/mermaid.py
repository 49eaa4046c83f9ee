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
    """Write the diagram of a forward pass, or of the part `under` a module, opened `depth` calls deep."""
    found = wording.drawn(trace, options)
    stream.writelines((line + "\n").encode() for line in _lines(trace, found))


def _lines(trace: Trace, graph: Graph) -> Iterator[str]:
    title, subtitle = wording.heading(trace, graph)
    yield f"%% {_text(title)} · {subtitle}"
    yield "flowchart TB"
    yield from _frame(trace, graph, None, "  ")
    for edge in graph.edges:
        arrow = "-.->" if edge.how == "order" else "-->"
        yield f'  n{edge.source} {arrow}|"{_text(wording.sizes(edge.shapes))}"| n{edge.target}'
    for kind, color in COLORS.items():
        members = [f"n{at}" for at, node in enumerate(graph.nodes) if wording.kind(node) == kind]
        if members:
            yield f"  classDef {kind} fill:{color},stroke:#0003,color:#22262e"
            yield f"  class {','.join(members)} {kind}"


def _frame(trace: Trace, graph: Graph, level: int | None, indent: str) -> Iterator[str]:
    for at, node in enumerate(graph.nodes):
        if node.group == level:
            title, detail = wording.label(node)
            mark = wording.verdict(trace, node)
            said = f"{_text(title)} {mark}".rstrip() + (f"<br/>{_text(detail)}" if detail else "")
            yield f"{indent}n{at}{_SHAPES[node.kind].format(said)}"
    for at, group in enumerate(graph.groups):
        if group.parent == level:
            yield f'{indent}subgraph g{at}["{_text(wording.short(group.title))}"]'
            yield from _frame(trace, graph, at, indent + "  ")
            yield f"{indent}end"


def _text(said: str) -> str:
    """Letters as they are; of what could be markup the number."""
    return "".join(c if c.isalnum() or c in " ._-,:·×…+()[]=" else f"#{ord(c)};" for c in said)
