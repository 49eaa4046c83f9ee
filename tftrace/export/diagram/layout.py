"""Layout of a graph with nested clusters: each cluster is laid out on its own and is one box in the level around it.

A tensor that goes to several boxes of a cluster enters it once and branches inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...flow import Graph, Node
from .layers import Key, Placed, place

_GAP, _ROW_GAP = 26.0, 46.0
_STUB = 17.0  # the straight start of an arrow, beside its shape label
_PADDING, _HEADING = 16.0, 20.0  # inside a cluster: on all sides, and above for its title
_SPREAD = 26.0  # between the tips of arrows at one box

Point = tuple[float, float]


@dataclass
class Drawing:
    """The layout: rectangles (x, y, width, height) of nodes and clusters by index, and a path of points per edge."""

    width: float = 0.0
    height: float = 0.0
    nodes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    clusters: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    paths: list[list[Point]] = field(default_factory=list)


@dataclass
class _Level:
    """The layout of the direct contents of one cluster; `tops` and `heights` are those of its rows."""

    placed: Placed
    tops: list[float]
    heights: list[float]
    width: float
    height: float


class _Layout:
    """Lays out the levels from the inside out, then places them from the outside in; `drawing` is the result."""

    def __init__(self, graph: Graph, size: Callable[[Node], tuple[float, float]]) -> None:
        self.graph = graph
        self._sizes = [size(node) for node in graph.nodes]
        self._levels: dict[int | None, _Level] = {}
        self.drawing = Drawing()
        self._ancestors = [self._clusters_of(node.cluster) for node in graph.nodes]
        self._lay_out_level(None)
        top = self._levels[None]
        self.drawing.width, self.drawing.height = top.width, top.height
        self._place_level(None, 0.0, 0.0)
        self._route()

    def _clusters_of(self, cluster: int | None) -> list[int | None]:
        """The clusters around a node from the outside in, beginning with None for the whole drawing."""
        found: list[int | None] = []
        while cluster is not None:
            found.insert(0, cluster)
            cluster = self.graph.clusters[cluster].parent
        return [None, *found]

    def _item_of(self, node: int, level: int | None) -> Key | None:
        """The item that represents a node in a level: the node, or the cluster around it; None if it is outside."""
        around = self._ancestors[node]
        if level not in around:
            return None
        at = around.index(level) + 1
        return ("cluster", around[at]) if at < len(around) else ("node", node)

    # -- levels, from the inside out ---------------------------------------------------------------------

    def _lay_out_level(self, level: int | None) -> None:
        clusters = [at for at, cluster in enumerate(self.graph.clusters) if cluster.parent == level]
        for cluster in clusters:
            self._lay_out_level(cluster)
        order: list[tuple[int, tuple[str, int]]] = [
            (self.graph.clusters[at].position, ("cluster", at)) for at in clusters
        ]
        order += [(node.position, ("node", at)) for at, node in enumerate(self.graph.nodes) if node.cluster == level]
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
        title = 0.0 if level is None else 7.0 * len(self.graph.clusters[level].title) + 30
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
        """The wires of a level, its entries at the top and its exits at the bottom; each source node is a net."""
        wires: dict[tuple[Key, Key, Key], None] = {}
        first: dict[Key, None] = {}
        last: dict[Key, None] = {}
        for edge in self.graph.edges:
            source, target = self._item_of(edge.source, level), self._item_of(edge.target, level)
            if source == target:  # also if both are None
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
        """Where nets meet clusters, as distances from the centre of the cluster."""
        ports: dict[tuple[Key, Key], float] = {}
        for source, target, net in wires:
            for unit, side in ((source, "out"), (target, "in")):
                if isinstance(unit, tuple) and unit[0] == "cluster":
                    inner = self._levels[unit[1]]
                    ports[unit, net] = inner.placed.x[side, net] - inner.width / 2
        return ports

    # -- absolute coordinates, from the outside in -------------------------------------------------------

    def _place_level(self, level: int | None, left: float, top: float) -> None:
        inner = self._levels[level]
        for unit in list(inner.placed.x):
            if not isinstance(unit, tuple) or unit[0] not in ("node", "cluster"):
                continue
            row = inner.placed.row[unit]
            width, height = self._size(unit)
            x = left + inner.placed.x[unit] - width / 2
            y = top + inner.tops[row] + (inner.heights[row] - height) / 2
            if unit[0] == "node":
                self.drawing.nodes[unit[1]] = (x, y, width, height)
            else:
                self.drawing.clusters[unit[1]] = (x, y, width, height)
                self._place_level(unit[1], x, y)

    def _corner(self, level: int | None) -> Point:
        return (0.0, 0.0) if level is None else self.drawing.clusters[level][:2]

    # -- edge routing ------------------------------------------------------------------------------------

    def _route(self) -> None:
        ends: dict[int, list[int]] = {}
        for at, edge in enumerate(self.graph.edges):
            self.drawing.paths.append(self._path(edge.source, edge.target))
            ends.setdefault(edge.target, []).append(at)
        for target, arrows in ends.items():  # spread the arrow tips at a box, ordered from left to right
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
            points += self._points_in_level(level, source, self._item_of(source, level), ("out", source))
        points += self._points_in_level(
            out[shared], source, self._item_of(source, out[shared]), self._item_of(target, out[shared])
        )
        for level in into[shared + 1 :]:
            points += self._points_in_level(level, source, ("in", source), self._item_of(target, level))
        x, y, width, _ = self.drawing.nodes[target]
        return [*points, (x + width / 2, y)]

    def _points_in_level(self, level: int | None, net: int, start: Key, end: Key) -> list[Point]:
        """The points of a net between two items of a level: in the rows it passes, and at the level's border."""
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
    """Lay out a graph.

    Args:
        graph: The graph.
        size: The width and height of a node.
    """
    return _Layout(graph, size).drawing
