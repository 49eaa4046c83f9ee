"""The data of a flow graph: boxes for calls, arrows for the tensors that go from one call to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

CALL, JOIN, INPUT, OUTPUT = "call", "join", "input", "output"
SAME, LINE, ORDER = "same", "line", "order"  # how the two ends of an arrow are linked, see `Edge`


@dataclass(frozen=True, slots=True)
class Node:
    """A box: a call, an operator that joins several tensors (a residual's `+`), an input, or the output."""

    kind: str  # call | join | input | output
    position: int  # its step; for an input or the output, the step that the graph describes
    title: str  # as in the trace; pass it through `text.visible` before showing it
    detail: str = ""
    cluster: int | None = None  # index of the cluster around it


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of boxes: an opened call, drawn as a frame around its inner calls."""

    position: int
    title: str
    detail: str
    parent: int | None


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow: the tensors that one box made and another took.

    Attributes:
        source: Index of the box that made them, in the graph's nodes.
        target: Index of the box that took them.
        shapes: The distinct shapes of the tensors.
        names: Their names in the target's call.
        how: How the link is known: `same` tensor number, a source `line` that computes one from the other, or only
            the `order` of the calls.
    """

    source: int
    target: int
    shapes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    how: str


@dataclass(slots=True)
class Graph:
    """The graph: boxes in order of entry, arrows between them, and the clusters around them."""

    position: int  # the step that it describes
    depth: int  # how many levels of nested calls are opened
    forward: int
    forwards: int  # how many forward passes the trace has
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
