"""Builds the graph of a part of a trace: for each box, where each tensor that it took came from."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from . import parts as g
from .producers import makes, producer
from .reads import Reads, base, chosen, reads
from .scope import Scope, top

_HIDDEN = re.compile(r"mask|past_key_value|cache|^mems$", re.IGNORECASE)  # they go everywhere and hide the rest
_OPERATORS = {"add": "+", "mul": "×"}  # of torch's functions
_FARTHEST = 200  # lines and calls that one tensor is followed through
_MOST_NAMES = 20_000  # lines of a call whose names are remembered

Source = tuple[int, str]  # place of a node, and how it is known


def graph(trace: Trace, under: str | None = None, depth: int | None = None, forward: int = 0) -> g.Graph:
    """The flow of one forward pass, or of the part `under` a module (its path, the end of it, or a pattern).

    `depth` says how many calls inside one another are opened; without it as many as make a picture of some twenty
    boxes. Weights, masks and caches are not drawn, nor calls that return what they took. Raises TraceError if there is
    no such module or forward, or for more boxes than can be looked at."""
    return _Builder(trace, under, depth, forward).graph


class _Builder:
    """Follows the tensors of one part; `graph` is what came of it."""

    def __init__(self, trace: Trace, under: str | None, depth: int | None, forward: int) -> None:
        self._trace = trace
        at = top(trace, under, forward)
        keeps = makes(trace)
        end = int(trace.ends[at])
        if not keeps[at:end].any():  # a trace without tensors: its calls are all there is to draw
            keeps = np.ones(len(trace), bool)
        self._scope = Scope(trace, at, depth, keeps)
        forwards = int(np.nan_to_num(trace.column("forward").astype(float)).max(initial=0)) + 1
        self.graph = g.Graph(at, self._scope.depth, forward, forwards)
        self._known: dict[tuple[int, int], frozenset[Source]] = {}
        self._names: dict[int, dict[str, list[tuple[int, TensorRow]]]] = {}
        self._terminals: dict[int, int] = {}  # tensor -> its input node
        self._joins: dict[tuple[int, int], int] = {}
        self._arrows: dict[tuple[int, int], list[tuple[TensorRow, str]]] = {}
        self._build()

    def _build(self) -> None:
        trace, scope = self._trace, self._scope
        frames = self._frames()
        for at in (scope.boxes + scope.top).tolist():
            group = next((frames[frame] for frame in scope.frames(at) if frame in frames), None)
            above = self.graph.groups[group].position if group is not None else scope.top
            self.graph.nodes.append(g.Node(g.CALL, at, self._title(at, above), self._detail(at), group))
        boxes = list(enumerate((scope.boxes + scope.top).tolist()))
        for number, at in boxes:
            for row in _once(row for row in trace.tensors_of(at) if row.role == schema.INPUT):
                for source in self._source(row.tensor, at, 0):
                    self._arrow(source, number, row)
        returned = [row for row in trace.tensors_of(scope.top) if row.role == schema.OUTPUT and not _hidden(row)]
        found = [(source, row) for row in _once(returned) for source in self._source(row.tensor, scope.top, 0)]
        if found and any(self.graph.nodes[source].kind != g.INPUT for (source, _), _ in found):
            names = list(dict.fromkeys(row.name or "output" for _, row in found))
            title = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            self.graph.nodes.append(g.Node(g.OUTPUT, scope.top, title))
            for source, row in found:
                self._arrow(source, len(self.graph.nodes) - 1, row)
        self._finish()

    # -- where a tensor came from ---------------------------------------------------------------------

    def _source(self, tensor: int, at: int, far: int) -> frozenset[Source]:
        """The nodes that made the tensor which the step at `at` saw."""
        key = (tensor, at)
        if far > _FARTHEST:
            return frozenset()
        if key not in self._known:
            self._known[key] = frozenset()  # a stranger's tensors may come from one another
            self._known[key] = self._found(tensor, at, far + 1)
        return self._known[key]

    def _found(self, tensor: int, at: int, far: int) -> frozenset[Source]:
        trace, scope = self._trace, self._scope
        maker = producer(trace, at, tensor)
        if maker is None:
            return self._inline(tensor, at, far)
        if not scope.top <= maker < scope.end:
            return self._terminal(tensor, at)
        box = scope.of(maker)
        if box >= 0:
            return frozenset({(box, g.SAME)})
        kind = trace.column("kind")[maker]
        if kind == schema.LINE:
            return self._through(reads(trace, maker), maker, (maker, tensor), far)
        if kind in schema.CALLS and (inner := self._last_box(maker)) is not None:
            return frozenset({(inner, g.ORDER)})  # what happened to it inside was not recorded
        rows = _once(row for row in trace.tensors_of(maker) if row.role == schema.INPUT)
        sources = _through(found for row in rows for found in self._source(row.tensor, maker, far))
        operator = next((sign for op, sign in _OPERATORS.items() if op in (trace.column("type")[maker] or "")), "")
        return self._joined(operator, maker, (maker, tensor), sources)

    def _inline(self, tensor: int, at: int, far: int) -> frozenset[Source]:
        """What no step returned: an input of the part, or made among the arguments of the call that took it first."""
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
            return self._through(reads(trace, line, at), line, (at, tensor), far)
        before = self._box_before(at)
        return frozenset() if before is None else frozenset({(before, g.ORDER)})

    def _through(self, read: Reads, line: int, key: tuple[int, int], far: int) -> frozenset[Source]:
        """What a line made its value from: the calls in it, and what its names stood for then."""
        trace = self._trace
        found: set[Source] = set()
        for call in read.calls:
            returned = _once(row for row in trace.tensors_of(call) if row.role == schema.OUTPUT)
            found |= {source for row in returned for source in self._source(row.tensor, call, far)}
        for name in read.names:
            rows = self._bound(trace.call_of(line), base(name), line)
            for at, row in rows:
                if row in chosen([each for _, each in rows], name):
                    found |= self._source(row.tensor, at, far)
        return self._joined(read.operator, line, key, _through(found))

    def _bound(self, call: int, name: str, before: int) -> list[tuple[int, TensorRow]]:
        """The tensors that a name of a call's code stood for before a line: bound by a line, or given to the call."""
        if call not in self._names:
            known = self._names[call] = {}
            kinds = self._trace.column("kind")
            given = [row for row in self._trace.tensors_of(call) if row.role == schema.INPUT]
            lines = [at for at in self._trace.children(call)[:_MOST_NAMES] if kinds[at] == schema.LINE]
            bound = ((at, row) for at in lines for row in self._trace.tensors_of(at) if row.role == schema.LOCAL)
            for at, row in [*((call, row) for row in given), *bound]:
                if not _hidden(row):
                    known.setdefault(base(row.name), []).append((at, row))
        rows = [found for found in self._names[call].get(name, ()) if found[0] < before]
        return [found for found in rows if found[0] == rows[-1][0]]

    def _took(self, at: int, tensor: int) -> Iterable[bool]:
        return (row.tensor == tensor for row in self._trace.tensors_of(at) if row.role == schema.INPUT)

    # -- nodes and arrows -----------------------------------------------------------------------------

    def _terminal(self, tensor: int, at: int) -> frozenset[Source]:
        """The node of an input of the part."""
        if tensor not in self._terminals:
            rows = [row for row in self._trace.tensors_of(self._scope.top) if row.tensor == tensor]
            rows = rows or [row for row in self._trace.tensors_of(at) if row.tensor == tensor]
            if not rows or _hidden(rows[0]):
                return frozenset()
            self._terminals[tensor] = len(self.graph.nodes)
            self.graph.nodes.append(g.Node(g.INPUT, self._scope.top, rows[0].name or "input"))
        return frozenset({(self._terminals[tensor], g.SAME)})

    def _joined(self, operator: str, line: int, key: tuple[int, int], sources: frozenset[Source]) -> frozenset[Source]:
        """The node where several sources come together in an operator; the sources themselves where there is none."""
        if not operator or len({place for place, _ in sources}) < 2:
            return sources
        if key not in self._joins:
            frames = {group.position: place for place, group in enumerate(self.graph.groups)}
            around = [self._trace.call_of(line), *self._scope.frames(line)]
            group = next((frames[frame] for frame in around if frame in frames), None)
            self._joins[key] = len(self.graph.nodes)
            self.graph.nodes.append(g.Node(g.JOIN, line, operator, group=group))
            row = next((row for row in self._trace.tensors_of(key[0]) if row.tensor == key[1]), None)
            for source in sources:
                if row is not None:
                    self._arrow(source, self._joins[key], row)
        return frozenset({(self._joins[key], g.LINE)})

    def _arrow(self, source: Source, target: int, row: TensorRow) -> None:
        place, how = source
        if place != target and not _hidden(row):
            self._arrows.setdefault((place, target), []).append((row, how))

    def _frames(self) -> dict[int, int]:
        """The opened calls that hold two boxes or more, from the outside in; one that holds what another does is it."""
        boxes = (self._scope.boxes + self._scope.top).tolist()
        held: dict[int, list[int]] = {}
        for at in boxes:
            for frame in self._scope.frames(at):
                held.setdefault(frame, []).append(at)
        places: dict[int, int] = {}
        seen: set[tuple[int, ...]] = {tuple(boxes)}
        for frame in sorted(held):
            inside = tuple(held[frame])
            if len(inside) < 2 or inside in seen:
                continue
            seen.add(inside)
            parent = next((places[outer] for outer in self._scope.frames(frame) if outer in places), None)
            above = self.graph.groups[parent].position if parent is not None else self._scope.top
            places[frame] = len(self.graph.groups)
            self.graph.groups.append(g.Group(frame, self._title(frame, above), self._detail(frame), parent))
        return places

    def _finish(self) -> None:
        """Arrows from what was gathered; a function that nothing comes from, such as a mask's, is not drawn."""
        for (source, target), given in self._arrows.items():
            rows = _once(row for row, _ in given)
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
        """The box that ended last before a step began."""
        before = int(np.searchsorted(self._scope.boxes + self._scope.top, at)) - 1
        return before if before >= 0 else None

    def _end(self, at: int) -> int:
        return int(self._trace.ends[at])

    def _title(self, at: int, above: int) -> str:
        """A call's path from that of the frame around it."""
        names = self._trace.column("name")
        name, outer = names[at] or "", names[above] or ""
        if outer and name.startswith(f"{outer}.") and at != above:
            name = name[len(outer) + 1 :]
        kind = "()" if self._trace.column("kind")[at] == schema.FUNCTION else ""
        return f"{name}{kind}" if name else self._trace.column("type")[at] or ""

    def _detail(self, at: int) -> str:
        """Its class, where that is not its title."""
        is_function = self._trace.column("kind")[at] == schema.FUNCTION
        return "" if is_function or not self._trace.column("name")[at] else self._trace.column("type")[at] or ""


def _through(sources: Iterable[Source]) -> frozenset[Source]:
    """The same nodes, known through a line or better not at all."""
    return frozenset((place, g.LINE if how == g.SAME else how) for place, how in sources)


def _hidden(row: TensorRow) -> bool:
    numbers = "position_ids" in row.name and "int" in row.dtype
    return numbers or _HIDDEN.search(row.name) is not None


def _once(rows: Iterable[TensorRow]) -> list[TensorRow]:
    """Rows of different tensors."""
    return list({row.tensor: row for row in rows}.values())
