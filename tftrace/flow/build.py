"""Builds the flow graph of a part of a trace: for each box, where each of its input tensors came from."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from . import parts as g
from .producers import makes_tensor, producer
from .reads import Reads, reads, rows_of_read, variable
from .scope import Scope, top

_HIDDEN = re.compile(r"mask|past_key_value|cache|^mems$", re.IGNORECASE)  # these go everywhere and would hide the rest
_OPERATORS = {"add": "+", "mul": "×"}  # torch functions that are drawn as operators
_MOST_HOPS = 200  # how many lines and calls a tensor is followed through
_MOST_NAMES = 20_000  # how many lines of a call are indexed by name

Source = tuple[int, str]  # index of a node, and how the link to it is known (SAME, LINE or ORDER)


def graph(trace: Trace, under: str | None = None, depth: int | None = None, forward: int = 0) -> g.Graph:
    """Build the flow graph of one forward pass, or of a part of it.

    Weights, masks and caches are left out, and so are calls that return their input unchanged.

    Args:
        trace: The trace.
        under: The module to draw: its path, the end of its path, or a glob pattern; None for the whole pass.
        depth: How many levels of nested calls to open; None for as many as give about twenty boxes.
        forward: The number of the forward pass, from 0.

    Raises:
        TraceError: There is no such module or forward pass, or the graph would have too many boxes.
    """
    return _Builder(trace, under, depth, forward).graph


class _Builder:
    """Follows the tensors of one part of a trace; `graph` is the result."""

    def __init__(self, trace: Trace, under: str | None, depth: int | None, forward: int) -> None:
        self._trace = trace
        at = top(trace, under, forward)
        keeps = makes_tensor(trace)
        end = int(trace.ends[at])
        if not keeps[at:end].any():  # a trace without tensors: draw all its calls
            keeps = np.ones(len(trace), bool)
        self._scope = Scope(trace, at, depth, keeps)
        forwards = int(np.nan_to_num(trace.column("forward").astype(float)).max(initial=0)) + 1
        self.graph = g.Graph(at, self._scope.depth, forward, forwards)
        self._cache: dict[tuple[int, int], frozenset[Source]] = {}
        self._names: dict[int, dict[str, list[tuple[int, TensorRow]]]] = {}
        self._terminals: dict[int, int] = {}  # tensor -> index of its input node
        self._joins: dict[tuple[int, int], int] = {}
        self._arrows: dict[tuple[int, int], list[tuple[TensorRow, str]]] = {}
        self._build()

    def _build(self) -> None:
        trace, scope = self._trace, self._scope
        clusters = self._clusters()
        for at in (scope.boxes + scope.top).tolist():
            cluster = next((clusters[call] for call in scope.opened_calls(at) if call in clusters), None)
            above = self.graph.clusters[cluster].position if cluster is not None else scope.top
            self.graph.nodes.append(g.Node(g.CALL, at, self._title(at, above), self._detail(at), cluster))
        boxes = list(enumerate((scope.boxes + scope.top).tolist()))
        for number, at in boxes:
            for row in _distinct(row for row in trace.tensors_of(at) if row.role == schema.INPUT):
                for source in self._sources(row.tensor, at, 0):
                    self._arrow(source, number, row)
        returned = [row for row in trace.tensors_of(scope.top) if row.role == schema.OUTPUT and not _hidden(row)]
        found = [(source, row) for row in _distinct(returned) for source in self._sources(row.tensor, scope.top, 0)]
        if found and any(self.graph.nodes[source].kind != g.INPUT for (source, _), _ in found):
            names = list(dict.fromkeys(row.name or "output" for _, row in found))
            title = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            self.graph.nodes.append(g.Node(g.OUTPUT, scope.top, title))
            for source, row in found:
                self._arrow(source, len(self.graph.nodes) - 1, row)
        self._finish()

    # -- the sources of a tensor ----------------------------------------------------------------------

    def _sources(self, tensor: int, at: int, hops: int) -> frozenset[Source]:
        """The nodes that made the tensor seen by the step at `at`, cached."""
        key = (tensor, at)
        if hops > _MOST_HOPS:
            return frozenset()
        if key not in self._cache:
            self._cache[key] = frozenset()  # guards against cycles in a damaged trace
            self._cache[key] = self._find_sources(tensor, at, hops + 1)
        return self._cache[key]

    def _find_sources(self, tensor: int, at: int, hops: int) -> frozenset[Source]:
        trace, scope = self._trace, self._scope
        maker = producer(trace, at, tensor)
        if maker is None:
            return self._sources_of_inline(tensor, at, hops)
        if not scope.top <= maker < scope.end:
            return self._terminal(tensor, at)
        box = scope.of(maker)
        if box >= 0:
            return frozenset({(box, g.SAME)})
        kind = trace.column("kind")[maker]
        if kind == schema.LINE:
            return self._sources_of_line(reads(trace, maker), maker, (maker, tensor), hops)
        if kind in schema.CALLS and (inner := self._last_box(maker)) is not None:
            return frozenset({(inner, g.ORDER)})  # what happened inside the call was not recorded
        rows = _distinct(row for row in trace.tensors_of(maker) if row.role == schema.INPUT)
        sources = _linked_by_line(found for row in rows for found in self._sources(row.tensor, maker, hops))
        operator = next((sign for op, sign in _OPERATORS.items() if op in (trace.column("type")[maker] or "")), "")
        return self._joined(operator, maker, (maker, tensor), sources)

    def _sources_of_inline(self, tensor: int, at: int, hops: int) -> frozenset[Source]:
        """The sources of a tensor that no step returned: an input of the part, or made in a call's arguments."""
        trace, scope = self._trace, self._scope
        while at > scope.top:
            call = trace.parent(at)
            call = None if call is None else trace.call_of(call)
            if call is None or call < scope.top or not any(self._took(call, tensor)):
                break
            at = call
        if at == scope.top:
            return self._terminal(tensor, at) if any(self._took(at, tensor)) else frozenset()
        line = trace.parent(at)
        if line is not None and trace.column("kind")[line] == schema.LINE:
            return self._sources_of_line(reads(trace, line, at), line, (at, tensor), hops)
        before = self._box_before(at)
        return frozenset() if before is None else frozenset({(before, g.ORDER)})

    def _sources_of_line(self, read: Reads, line: int, key: tuple[int, int], hops: int) -> frozenset[Source]:
        """The sources of a line's value: the calls in it, and the tensors that its names were bound to."""
        trace = self._trace
        found: set[Source] = set()
        for call in read.calls:
            returned = _distinct(row for row in trace.tensors_of(call) if row.role == schema.OUTPUT)
            found |= {source for row in returned for source in self._sources(row.tensor, call, hops)}
        for name in read.names:
            rows = self._bindings(trace.call_of(line), variable(name), line)
            for at, row in rows:
                if row in rows_of_read([each for _, each in rows], name):
                    found |= self._sources(row.tensor, at, hops)
        return self._joined(read.operator, line, key, _linked_by_line(found))

    def _bindings(self, call: int, name: str, before: int) -> list[tuple[int, TensorRow]]:
        """The tensors bound to a variable of a call's code before a line, by an earlier line or as an argument."""
        if call not in self._names:
            known = self._names[call] = {}
            kinds = self._trace.column("kind")
            given = [row for row in self._trace.tensors_of(call) if row.role == schema.INPUT]
            lines = [at for at in self._trace.children(call)[:_MOST_NAMES] if kinds[at] == schema.LINE]
            bound = ((at, row) for at in lines for row in self._trace.tensors_of(at) if row.role == schema.LOCAL)
            for at, row in [*((call, row) for row in given), *bound]:
                if not _hidden(row):
                    known.setdefault(variable(row.name), []).append((at, row))
        rows = [found for found in self._names[call].get(name, ()) if found[0] < before]
        return [found for found in rows if found[0] == rows[-1][0]]

    def _took(self, at: int, tensor: int) -> Iterable[bool]:
        return (row.tensor == tensor for row in self._trace.tensors_of(at) if row.role == schema.INPUT)

    # -- nodes and arrows -----------------------------------------------------------------------------

    def _terminal(self, tensor: int, at: int) -> frozenset[Source]:
        """The input node of a tensor that comes from outside the part."""
        if tensor not in self._terminals:
            rows = [row for row in self._trace.tensors_of(self._scope.top) if row.tensor == tensor]
            rows = rows or [row for row in self._trace.tensors_of(at) if row.tensor == tensor]
            if not rows or _hidden(rows[0]):
                return frozenset()
            self._terminals[tensor] = len(self.graph.nodes)
            self.graph.nodes.append(g.Node(g.INPUT, self._scope.top, rows[0].name or "input"))
        return frozenset({(self._terminals[tensor], g.SAME)})

    def _joined(self, operator: str, line: int, key: tuple[int, int], sources: frozenset[Source]) -> frozenset[Source]:
        """The node of an operator that joins several sources; without an operator, the sources themselves."""
        if not operator or len({place for place, _ in sources}) < 2:
            return sources
        if key not in self._joins:
            clusters = {cluster.position: place for place, cluster in enumerate(self.graph.clusters)}
            around = [self._trace.call_of(line), *self._scope.opened_calls(line)]
            cluster = next((clusters[call] for call in around if call in clusters), None)
            self._joins[key] = len(self.graph.nodes)
            self.graph.nodes.append(g.Node(g.JOIN, line, operator, cluster=cluster))
            row = next((row for row in self._trace.tensors_of(key[0]) if row.tensor == key[1]), None)
            for source in sources:
                if row is not None:
                    self._arrow(source, self._joins[key], row)
        return frozenset({(self._joins[key], g.LINE)})

    def _arrow(self, source: Source, target: int, row: TensorRow) -> None:
        place, how = source
        if place != target and not _hidden(row):
            self._arrows.setdefault((place, target), []).append((row, how))

    def _clusters(self) -> dict[int, int]:
        """Make clusters of the opened calls with two or more boxes; return the index of each call's cluster.

        Outer clusters come first. Of several calls with the same boxes only the outermost becomes a cluster."""
        boxes = (self._scope.boxes + self._scope.top).tolist()
        boxes_inside: dict[int, list[int]] = {}
        for at in boxes:
            for call in self._scope.opened_calls(at):
                boxes_inside.setdefault(call, []).append(at)
        index: dict[int, int] = {}
        seen: set[tuple[int, ...]] = {tuple(boxes)}
        for call in sorted(boxes_inside):
            inside = tuple(boxes_inside[call])
            if len(inside) < 2 or inside in seen:
                continue
            seen.add(inside)
            parent = next((index[outer] for outer in self._scope.opened_calls(call) if outer in index), None)
            above = self.graph.clusters[parent].position if parent is not None else self._scope.top
            index[call] = len(self.graph.clusters)
            self.graph.clusters.append(g.Cluster(call, self._title(call, above), self._detail(call), parent))
        return index

    def _finish(self) -> None:
        """Make the edges, drop functions whose results are unused (such as a mask's), and sort the nodes."""
        for (source, target), given in self._arrows.items():
            rows = _distinct(row for row, _ in given)
            how = min((how for _, how in given), key=(g.SAME, g.LINE, g.ORDER).index)
            shapes = tuple(dict.fromkeys(row.shape for row in rows))
            self.graph.edges.append(g.Edge(source, target, shapes, tuple(row.name for row in rows), how))
        sources = {edge.source for edge in self.graph.edges}
        gone = {at for at, node in enumerate(self.graph.nodes) if at not in sources and self._is_function(node)}
        self.graph.edges = [edge for edge in self.graph.edges if edge.target not in gone]
        used = {place for edge in self.graph.edges for place in (edge.source, edge.target)}
        drawn = ((at, node) for at, node in enumerate(self.graph.nodes) if at not in gone)
        keep = [at for at, node in drawn if at in used or node.kind == g.CALL]
        order = {g.INPUT: -1, g.OUTPUT: len(self._trace)}
        keep.sort(key=lambda at: (order.get(self.graph.nodes[at].kind, self.graph.nodes[at].position), at))
        place = {old: new for new, old in enumerate(keep)}
        self.graph.nodes = [self.graph.nodes[at] for at in keep]
        self.graph.edges = [
            g.Edge(place[e.source], place[e.target], e.shapes, e.names, e.how) for e in self.graph.edges
        ]

    def _is_function(self, node: g.Node) -> bool:
        return node.kind == g.CALL and self._trace.column("kind")[node.position] == schema.FUNCTION

    def _last_box(self, call: int) -> int | None:
        first, last = (int(np.searchsorted(self._scope.boxes + self._scope.top, at)) for at in (call, self._end(call)))
        return last - 1 if last > first else None

    def _box_before(self, at: int) -> int | None:
        """The last box before a step."""
        before = int(np.searchsorted(self._scope.boxes + self._scope.top, at)) - 1
        return before if before >= 0 else None

    def _end(self, at: int) -> int:
        return int(self._trace.ends[at])

    def _title(self, at: int, above: int) -> str:
        """A call's path relative to the call `above`; its class if the path is empty."""
        names = self._trace.column("name")
        name, outer = names[at] or "", names[above] or ""
        if outer and name.startswith(f"{outer}.") and at != above:
            name = name[len(outer) + 1 :]
        kind = "()" if self._trace.column("kind")[at] == schema.FUNCTION else ""
        return f"{name}{kind}" if name else self._trace.column("type")[at] or ""

    def _detail(self, at: int) -> str:
        """A call's class, unless its title is the class already."""
        is_function = self._trace.column("kind")[at] == schema.FUNCTION
        return "" if is_function or not self._trace.column("name")[at] else self._trace.column("type")[at] or ""


def _linked_by_line(sources: Iterable[Source]) -> frozenset[Source]:
    """The same nodes, but linked through a source line instead of by the same tensor."""
    return frozenset((place, g.LINE if how == g.SAME else how) for place, how in sources)


def _hidden(row: TensorRow) -> bool:
    """Whether a tensor is left out of the graph: masks, caches and position numbers."""
    numbers = "position_ids" in row.name and "int" in row.dtype
    return numbers or _HIDDEN.search(row.name) is not None


def _distinct(rows: Iterable[TensorRow]) -> list[TensorRow]:
    """The last row of each distinct tensor, in order of first appearance."""
    return list({row.tensor: row for row in rows}.values())
