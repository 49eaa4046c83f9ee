"""What a tensor was made from: the tensors that its step took, or that its line reads, and what is bad among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...flow.reads import Reads, reads, rows_of_read
from ...flow.reads import variable as variable_of
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from .call_scope import CallScope

Key = tuple[int, int]  # rank and number of a tensor
INNOCENT = 0  # what is known of a tensor with nothing but the -Inf of a mask; else it has a bit for each origin

_LIBRARIES = frozenset(
    ("torch", "F", "nn", "math", "np", "numpy", "functional", "self", "cls", "None", "True", "False")
)
_STATEFUL = ("past", "cache", "state", "memor", "self")
_FARTHEST = 200  # lines that changed one another's tensors in place


@dataclass
class Sources:
    """What a tensor was made from. `bits` are the origins whose NaN or Inf it may have from there."""

    bits: int = 0
    rows: list[TensorRow] = field(default_factory=list)
    masks: list[TensorRow] = field(default_factory=list)  # those with the -Inf of a mask
    parameters: list[Key] = field(default_factory=list)  # that hold NaN or Inf
    attributes: list[str] = field(default_factory=list)  # names below `self` that no row tells of
    unknown: list[str] = field(default_factory=list)  # other such names
    changes: list[int] = field(default_factory=list)  # lines that wrote to it in place


class Ledger:
    """What is known so far of each tensor that holds NaN or Inf, and of the calls that have seen one."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.state: dict[Key, int] = {}
        self.parameters: dict[Key, tuple[str, TensorRow]] = {}  # bad ones: full name and row
        self.named: dict[tuple[int, str], Key] = {}  # rank and full name of a bad parameter
        self.in_call: dict[int, int] = {}  # bits of what a call has seen
        self.at_line: dict[tuple[int, ...], int] = {}  # bits of what a source line made in an earlier forward
        self._scopes: dict[int, CallScope] = {}
        self._reads: dict[tuple[int, int | None], Reads] = {}

    def scope(self, call: int) -> CallScope:
        """The names of a call."""
        if call not in self._scopes:
            if len(self._scopes) > 512:
                self._scopes.clear()
            self._scopes[call] = CallScope(self.trace, call)
        return self._scopes[call]

    def rank(self, position: int) -> int:
        """The process of a step."""
        return int(self.trace.column("rank")[position])

    def of_call(self, position: int, inside: bool = False) -> Sources:
        """What a call or op took; with `inside` also what its code has seen, of which nothing finer is known."""
        found = Sources()
        rank = self.rank(position)
        self._take(
            found, rank, (r for r in self.trace.tensors_of(position) if r.role in (schema.INPUT, schema.PARAMETER))
        )
        if inside:
            found.bits |= self.in_call.get(position, 0)
        return found

    def of_line(self, line: int, call: int | None = None, seen: set[int] | None = None) -> Sources:
        """What a line read, and what the lines read that wrote into it in place (those `seen` are told of already);
        with `call`, what the arguments of that call were made from."""
        trace, found, seen = self.trace, Sources(), set() if seen is None else seen
        above, rank = trace.call_of(line), self.rank(line)
        key = (line, call)
        if key not in self._reads:
            if len(self._reads) > 4096:
                self._reads.clear()
            self._reads[key] = reads(trace, line, call)
        read = self._reads[key]
        if call is not None and not (read.calls or read.names):
            read = reads(trace, line)
        if not read.calls and not read.names:
            found.bits |= self.in_call.get(above, 0)
            return found
        for at in read.calls:
            returned = [row for row in trace.tensors_of(at) if row.role == schema.OUTPUT]
            self._take(found, rank, returned)
            if not returned and at not in (call, *seen) and len(seen) < _FARTHEST:  # it wrote into what it was given
                seen.add(at)
                self._merge(found, self.of_line(line, at, seen))
        scope = self.scope(above)
        for name in read.names:
            variable = variable_of(name)
            if variable in ("self", "cls") and "." in name:
                self._attribute(found, above, rank, name.partition(".")[2])
                continue
            rows, changes = scope.lookup(variable, line)
            self._take(found, rank, rows_of_read(rows, name))
            for changed in changes:
                found.changes.append(changed)
                if changed not in seen and len(seen) < _FARTHEST:
                    seen.add(changed)
                    self._merge(found, self.of_line(changed, seen=seen))
            if not rows and not changes and variable not in _LIBRARIES:
                found.unknown.append(name)
        if not found.bits:
            found.bits = self._hidden(found, above, line)
        return found

    def _hidden(self, found: Sources, call: int, line: int) -> int:
        """The origins that may have come in by a name that no row tells of: from what the call has seen, or, where the
        name may hold what an earlier forward left there, from what this line made in that."""
        bits = self.in_call.get(call, 0) if found.unknown else 0
        if not bits and any(word in name.lower() for name in (*found.unknown, *(f"self.{a}" for a in found.attributes))
                            for word in _STATEFUL):  # fmt: skip
            bits = self.at_line.get(self._place(line), 0)
        return bits

    def _place(self, line: int) -> tuple[int, ...]:
        """A source line of a module, whatever forward it runs in: rank, name and line, as a bad row has them."""
        number = self.trace.column("line")[line]
        return (self.rank(line), int(self.trace.words("name")[0][line]), int(number) if number == number else -1)

    def _attribute(self, found: Sources, call: int, rank: int, attribute: str) -> None:
        """`self.scale`: a parameter of the module that runs, or of one below it."""
        at: int | None = call
        kinds = self.trace.column("kind")
        while at is not None and kinds[at] != schema.MODULE:
            at = self.trace.parent(at)
        path = "" if at is None else self.trace.column("name")[at] or ""
        key = self.named.get((rank, f"{path}.{attribute}".lstrip(".")))
        if key is not None:
            found.parameters.append(key)
        else:
            found.attributes.append(attribute)

    def _take(self, found: Sources, rank: int, rows: Iterable[TensorRow]) -> None:
        for row in rows:
            key = (rank, row.tensor)
            found.rows.append(row)
            if key in self.parameters:
                found.parameters.append(key)
            elif key in self.state:
                found.bits |= self.state[key]
                if self.state[key] == INNOCENT:
                    found.masks.append(row)

    def _merge(self, into: Sources, other: Sources) -> None:
        into.bits |= other.bits
        for name in ("rows", "masks", "parameters", "attributes", "unknown", "changes"):
            getattr(into, name).extend(getattr(other, name))
