"""Lays out a graph with frames in frames: each frame is drawn as a level of its own and stands as one box in the level
around it. A tensor that goes to several boxes enters a frame once, and branches inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...flow import Graph, Node
from .layers import Key, Placed, place

_GAP, _ROW_GAP = 26.0, 46.0
_STUB = 17.0  # how far an arrow goes straight down from its box, beside the shape of what it carries
_PADDING, _HEADING = 16.0, 20.0  # inside a frame: around, and above for its title
_SPREAD = 26.0  # between arrows that meet a box side by side

Point = tuple[float, float]


@dataclass
class Drawing:
    """Rectangles (x, y, width, height) of nodes and frames by their places in the graph, a path of points an edge."""

    width: float = 0.0
    height: float = 0.0
    nodes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    frames: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    paths: list[list[Point]] = field(default_factory=list)


@dataclass
class _Level:
    """What stands directly in one frame, laid out; y is of the tops of rows."""

    placed: Placed
    tops: list[float]
    heights: list[float]
    width: float
    height: float


class _Layout:
    def __init__(self, graph: Graph, size: Callable[[Node], tuple[float, float]]) -> None:
        self.graph = graph
        self._sizes = [size(node) for node in graph.nodes]
        self._levels: dict[int | None, _Level] = {}
        self.drawing = Drawing()
        self._ancestors = [self._frames_of(node.group) for node in graph.nodes]
        self._lay(None)
        top = self._levels[None]
        self.drawing.width, self.drawing.height = top.width, top.height
        self._put(None, 0.0, 0.0)
        self._route()

    def _frames_of(self, group: int | None) -> list[int | None]:
        """The frames around a node from the outside in, the whole drawing first."""
        found: list[int | None] = []
        while group is not None:
            found.insert(0, group)
            group = self.graph.groups[group].parent
        return [None, *found]

    def _unit(self, node: int, level: int | None) -> Key | None:
        """What stands for a node in a level: itself, or the frame that it is in; None if it is not inside."""
        around = self._ancestors[node]
        if level not in around:
            return None
        at = around.index(level) + 1
        return ("frame", around[at]) if at < len(around) else ("node", node)

    # -- the size and the inside of a level, from the inside out -----------------------------------------

    def _lay(self, level: int | None) -> None:
        frames = [at for at, group in enumerate(self.graph.groups) if group.parent == level]
        for frame in frames:
            self._lay(frame)
        order: list[tuple[int, tuple[str, int]]] = [(self.graph.groups[at].position, ("frame", at)) for at in frames]
        order += [(node.position, ("node", at)) for at, node in enumerate(self.graph.nodes) if node.group == level]
        items: dict[Key, float] = {}
        heights: dict[Key, float] = {}
        for _, unit in sorted(order, key=lambda one: (one[0], one[1][0] != "node", one[1][1])):
            items[unit], heights[unit] = self._size(unit)
        wires, first, last = self._wires(level)
        items = dict.fromkeys(first, 10.0) | items | dict.fromkeys(last, 10.0)
        placed = place(items, wires, first, last, self._ports(items, wires), _GAP)
        rows = max(placed.row.values(), default=0) + 1
        tall = [0.0] * rows
        for item, height in heights.items():
            tall[placed.row[item]] = max(tall[placed.row[item]], height)
        inset = _PADDING if level is not None else 0.0
        tops, y = [], _HEADING + inset / 2 if level is not None else 0.0
        for at, height in enumerate(tall):
            tops.append(y)
            edge = (at == 0 and first) or (at == rows - 2 and last) or (at == rows - 1 and last)
            y += height + (_ROW_GAP * (0.35 if edge else 1.0) if at < rows - 1 else 0.0)
        title = 0.0 if level is None else 7.0 * len(self.graph.groups[level].title) + 30
        width = max(placed.width + 2 * inset, title)
        shift = (width - placed.width) / 2
        placed.x = {key: x + shift for key, x in placed.x.items()}
        self._levels[level] = _Level(placed, tops, tall, width, y + inset)

    def _size(self, unit: tuple[str, int]) -> tuple[float, float]:
        if unit[0] == "node":
            return self._sizes[unit[1]]
        inner = self._levels[unit[1]]
        return inner.width, inner.height

    def _wires(self, level: int | None) -> tuple[list[tuple[Key, Key, Key]], list[Key], list[Key]]:
        """The wires of a level, and where wires come in at its top and leave at its bottom; a net a source node."""
        wires: dict[tuple[Key, Key, Key], None] = {}
        first: dict[Key, None] = {}
        last: dict[Key, None] = {}
        for edge in self.graph.edges:
            source, target = self._unit(edge.source, level), self._unit(edge.target, level)
            if source == target:  # also where neither is inside
                continue
            if source is None:
                source = ("in", edge.source)
                first[source] = None
            if target is None:
                target = ("out", edge.source)
                last[target] = None
            wires[source, target, edge.source] = None
        return list(wires), list(first), list(last)

    def _ports(self, items: dict[Key, float], wires: list[tuple[Key, Key, Key]]) -> dict[tuple[Key, Key], float]:
        """Where nets meet frames, as distances from their middles."""
        ports: dict[tuple[Key, Key], float] = {}
        for source, target, net in wires:
            for unit, side in ((source, "out"), (target, "in")):
                if isinstance(unit, tuple) and unit[0] == "frame":
                    inner = self._levels[unit[1]]
                    ports[unit, net] = inner.placed.x[side, net] - inner.width / 2
        return ports

    # -- where it all stands, from the outside in --------------------------------------------------------

    def _put(self, level: int | None, left: float, top: float) -> None:
        inner = self._levels[level]
        for unit in list(inner.placed.x):
            if not isinstance(unit, tuple) or unit[0] not in ("node", "frame"):
                continue
            row = inner.placed.row[unit]
            width, height = self._size(unit)
            x = left + inner.placed.x[unit] - width / 2
            y = top + inner.tops[row] + (inner.heights[row] - height) / 2
            if unit[0] == "node":
                self.drawing.nodes[unit[1]] = (x, y, width, height)
            else:
                self.drawing.frames[unit[1]] = (x, y, width, height)
                self._put(unit[1], x, y)

    def _corner(self, level: int | None) -> Point:
        return (0.0, 0.0) if level is None else self.drawing.frames[level][:2]

    # -- the ways of the arrows --------------------------------------------------------------------------

    def _route(self) -> None:
        ends: dict[int, list[int]] = {}
        for at, edge in enumerate(self.graph.edges):
            self.drawing.paths.append(self._path(edge.source, edge.target))
            ends.setdefault(edge.target, []).append(at)
        for target, arrows in ends.items():  # arrows that meet a box stand side by side, in the order they come
            arrows.sort(key=lambda at: self.drawing.paths[at][-2][0])
            width = self.drawing.nodes[target][2]
            step = min(_SPREAD, (width - 20) / max(1, len(arrows) - 1)) if len(arrows) > 1 else 0.0
            for number, at in enumerate(arrows):
                x, y = self.drawing.paths[at][-1]
                self.drawing.paths[at][-1] = (x + step * (number - (len(arrows) - 1) / 2), y)

    def _path(self, source: int, target: int) -> list[Point]:
        x, y, width, height = self.drawing.nodes[source]
        stub = _STUB if self.graph.nodes[source].kind != "join" else 0.0
        points = [(x + width / 2, y + height), (x + width / 2, y + height + stub)]
        out, into = self._ancestors[source], self._ancestors[target]
        shared = max(at for at in range(min(len(out), len(into))) if out[at] == into[at])
        for level in reversed(out[shared + 1 :]):
            points += self._passes(level, source, self._unit(source, level), ("out", source))
        points += self._passes(out[shared], source, self._unit(source, out[shared]), self._unit(target, out[shared]))
        for level in into[shared + 1 :]:
            points += self._passes(level, source, ("in", source), self._unit(target, level))
        x, y, width, _ = self.drawing.nodes[target]
        return [*points, (x + width / 2, y)]

    def _passes(self, level: int | None, net: int, start: Key, end: Key) -> list[Point]:
        """The places between two things of a level where a net passes rows, and the ports at which it leaves or
        enters the level."""
        inner = self._levels[level]
        left, top = self._corner(level)
        points = []
        if isinstance(start, tuple) and start[0] == "in":
            points.append((left + inner.placed.x[start], top))
        for row in range(inner.placed.row[start] + 1, inner.placed.row[end]):
            x = left + inner.placed.x[net, row]
            points += [(x, top + inner.tops[row]), (x, top + inner.tops[row] + inner.heights[row])]
        if isinstance(end, tuple) and end[0] == "out":
            points.append((left + inner.placed.x[end], top + inner.height))
        return points


def lay_out(graph: Graph, size: Callable[[Node], tuple[float, float]]) -> Drawing:
    """Where the nodes, of these sizes, and the frames of a graph stand, and the ways of its edges."""
    return _Layout(graph, size).drawing
