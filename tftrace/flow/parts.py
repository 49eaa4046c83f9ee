"""What the graph of a forward pass is made of: boxes are calls, arrows are the tensors that go from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

CALL, JOIN, INPUT, OUTPUT = "call", "join", "input", "output"
SAME, LINE, ORDER = "same", "line", "order"


@dataclass(frozen=True, slots=True)
class Node:
    """A box: a call; an operator of a source line that joins several (a residual's `+`); an input or the output."""

    kind: str  # call | join | input | output
    position: int  # its step; of an input or the output the step that the graph is of
    title: str  # names as the trace has them: not safe to show as they are
    detail: str = ""
    group: int | None = None  # place of the frame it stands in


@dataclass(frozen=True, slots=True)
class Group:
    """A frame: a call whose inner calls are boxes of their own."""

    position: int
    title: str
    detail: str
    parent: int | None


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow: the tensors that one box made and another took. `how` they are known to be the same: by number, by
    the source line that made one of the other, or only by the order of the calls."""

    source: int  # places in the graph's nodes
    target: int
    shapes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    how: str  # same | line | order


@dataclass(slots=True)
class Graph:
    """Boxes in order of entry, the frames around them, and arrows by the places of their boxes."""

    position: int  # the step that it is of
    depth: int  # calls inside one another down to which it goes
    forward: int
    forwards: int  # in the whole trace
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
