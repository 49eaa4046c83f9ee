"""One of the two runs: its distinct tensors of numbers in the order in which they were made.

Nothing beyond this interface asks where they come from: a trace knows the step of each, another source only a name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...errors import TraceError
from ...trace import prints, schema
from ...trace.trace import Trace
from ...trace.values import read_value

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # unit roundoff
EIGHT_BITS = 2.0**-4  # of the floats of eight bits
STATISTICS = ("mean", "std", "min", "max", "l2")
_MADE = (schema.OUTPUT, schema.LOCAL)
_KEPT_BYTES = 256 << 20  # of tensors that were read and may be asked for again


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A tensor of numbers, as it was first seen.

    Attributes:
        order: its place in the order in which the tensors of the run were made.
        number: the identity of its values, as the trace numbers them.
        forward: the forward pass in which it was made.
        name: argument, path in what was returned, or variable; of a foreign tensor its name.
        shape: elements along each dimension.
        dtype: torch's name of the type of its elements.
        statistics: mean, std, min, max and l2 over finite elements; NaN where they are not known.
        step: position of the step that made it (of the innermost call that returned it, or of the line that bound it;
            else of the line or call that first saw it); None if no steps are known.
        value: where its elements are kept, or None.
    """

    order: int
    number: int
    forward: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    statistics: tuple[float, float, float, float, float]
    nonfinite: int
    step: int | None
    value: str | None

    @property
    def unit(self) -> float:
        """Unit roundoff of its dtype."""
        return UNITS.get(self.dtype, EIGHT_BITS if self.dtype.startswith("float8") else UNITS["float32"])

    @property
    def numel(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


class Side:
    """The tensors of a run, and their elements where these are known."""

    trace: Trace | None = None

    def __init__(self, tensors: Sequence[Made]) -> None:
        self.tensors = list(tensors)
        self._read: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0

    @cached_property
    def by_number(self) -> dict[int, Made]:
        """The tensors by their number."""
        return {one.number: one for one in self.tensors}

    def array(self, made: Made) -> np.ndarray | None:
        """The elements of a tensor, None if they were not kept. The last ones read stay in memory."""
        found = self._read.get(made.number)
        if found is None:
            found = self._load(made)
            if found is None:
                return None
            self._read[made.number] = found
            self._bytes += found.nbytes
            while self._bytes > _KEPT_BYTES and len(self._read) > 1:
                self._bytes -= self._read.popitem(last=False)[1].nbytes
        else:
            self._read.move_to_end(made.number)
        return found

    def token_print(self, made: Made, axis: int) -> np.ndarray | None:
        """The print of a tensor whose tokens lie along an axis, rows × tokens × lanes (`trace.prints`); None if neither
        that nor its elements were kept."""
        array = self.array(made)
        return self._print(made, axis) if array is None else prints.print_of(array, axis)

    def _load(self, made: Made) -> np.ndarray | None:
        raise NotImplementedError

    def _print(self, made: Made, axis: int) -> np.ndarray | None:
        return None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the tensors table, as far as tensors are told apart by it."""

    step: int  # position
    role: str
    name: str
    number: int


class TraceSide(Side):
    """A recorded run, or some of its forward passes, as one process saw it.

    Attributes:
        trace: the trace.
        rank: the process; by default the first.
        rows: every row of a tensor of numbers, in the order of the steps.
        whole_rows: every row of a tensor of whole numbers or truth values.
        whole_numbers: the tensors of whole numbers (ids, positions, choices) and of truth values, in the order in which
            they were made.
        forwards: numbers of the forward passes.
    """

    trace: Trace

    def __init__(self, trace: Trace, forward: int | None = None, rank: int | None = None) -> None:
        self.trace = trace
        self.rank = int(trace.column("rank")[0]) if rank is None and len(trace) else rank or 0
        self.forwards = _forwards(trace, forward)
        rows, tensors, self.whole_numbers = _tensors(trace, set(self.forwards), self.rank)
        super().__init__(tensors)
        self.rows = [row for row in rows if row.number in self.by_number]
        self.whole_rows = [row for row in rows if row.number not in self.by_number]

    def took(self, made: Made) -> bool:
        """Whether the step of a tensor was given it, because no recorded step made it."""
        return made.number in self._taken

    def returned_by(self, made: Made) -> list[int]:
        """Positions of the steps that returned a tensor."""
        return self._returned.get(made.number, [])

    @cached_property
    def _returned(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for row in self.rows:
            if row.role == schema.OUTPUT:
                found.setdefault(row.number, []).append(row.step)
        return found

    def weight(self, step: int) -> Made | None:
        """The matrix of the linear layer that is the step at a position; None of any other step."""
        if self.trace.column("type")[step] != "Linear":
            return None
        rows = (row for row in self.trace.tensors_of(step) if row.role == schema.PARAMETER and row.name == "weight")
        row = next(rows, None)
        if row is None or row.l2 is None:
            return None
        statistics = (np.nan, np.nan, np.nan, np.nan, row.l2)
        return Made(0, row.tensor, 0, row.name, tuple(row.shape), row.dtype, statistics, 0, step, row.value)

    @cached_property
    def _taken(self) -> set[int]:
        makers = {(made.step, made.number) for made in self.tensors}
        given = {(row.step, row.number) for row in self.rows if row.role == schema.INPUT}
        return {number for _, number in makers & given}

    @cached_property
    def _prints(self) -> Mapping[tuple[int, int], np.ndarray]:
        return prints.read(self.trace.path, self.rank) if len(self.trace) else {}

    def _print(self, made: Made, axis: int) -> np.ndarray | None:
        return self._prints.get((made.number, axis))

    def _load(self, made: Made) -> np.ndarray | None:
        return None if made.value is None else read_value(self.trace.path, made.value, made.shape)


def _forwards(trace: Trace, only: int | None) -> list[int]:
    """The forward passes that are meant; raises TraceError if there is none of that number."""
    numbers = trace.column("forward").astype(float)
    there = sorted({int(one) for one in numbers[~np.isnan(numbers)].tolist()})
    if only is None:
        return there
    if only not in there:
        has = f"its forwards are {there[0]} to {there[-1]}" if there else "it has none"
        raise TraceError(f"There is no forward {only} in {trace.path}: {has}.")
    return [only]


@dataclass(slots=True)
class _Sight:
    """What the rows of one tensor say of it."""

    first: int  # index of the row that saw it first
    maker: int = -1  # index of the row of its maker
    key: tuple[int, int] = (0, 0)
    taken: int = 1 << 62  # position of the first step that took it
    value: str | None = None


def _tensors(trace: Trace, forwards: set[int], process: int) -> tuple[list[Row], list[Made], list[Made]]:
    """The rows of tensors of numbers that a process saw, each of these tensors once in the order in which they were
    made, and likewise those of whole numbers."""
    count = len(trace.positions("tensors"))
    table = trace.part("tensors", 0, count, ["role", "name", "tensor", "shape", "dtype", "value"]).to_pydict()
    numbers = np.stack([trace.column(name, "tensors").astype(float) for name in STATISTICS], axis=-1)
    bad = trace.column("nan", "tensors").astype(float) + trace.column("inf", "tensors").astype(float)
    steps, ends = trace.positions("tensors").tolist(), trace.ends
    forward = np.nan_to_num(trace.column("forward").astype(float), nan=-1).astype(int)
    rank = trace.column("rank")
    rows: list[Row] = []
    sights: dict[int, _Sight] = {}
    for at, (role, dtype, number) in enumerate(zip(table["role"], table["dtype"], table["tensor"], strict=True)):
        step = steps[at]
        if number is None or dtype is None or not dtype.startswith(("float", "bfloat", "int", "uint", "bool")):
            continue
        if forward[step] not in forwards or role in (schema.PARAMETER, schema.GRADIENT) or rank[step] != process:
            continue
        rows.append(Row(step, role or "", table["name"][at] or "", number))
        known = sights.setdefault(number, _Sight(at))
        known.value = known.value or table["value"][at]
        if role == schema.INPUT:
            known.taken = min(known.taken, step)
        elif role in _MADE and step < known.taken:  # what a step takes before this one begins, this one does not make
            key = (-int(ends[step]), step)  # the step that ended first, and of those the innermost, made it
            if known.maker < 0 or key > known.key:
                known.maker, known.key = at, key
    made: list[Made] = []
    for number in sorted(sights):
        sight = sights[number]
        at = sight.maker if sight.maker >= 0 else sight.first
        if table["shape"][at] is None:
            continue
        first = int(forward[steps[sight.first]])
        name, shape, dtype = table["name"][at] or "", tuple(table["shape"][at]), table["dtype"][at]
        mean, std, least, most, length = numbers[at].tolist()
        statistics, odd = (mean, std, least, most, length), int(np.nan_to_num(bad[at]))
        made.append(Made(len(made), number, first, name, shape, dtype, statistics, odd, steps[at], sight.value))
    whole = [one for one in made if "float" not in one.dtype]
    numbers_only = [replace(one, order=n) for n, one in enumerate(one for one in made if "float" in one.dtype)]
    return rows, numbers_only, whole
