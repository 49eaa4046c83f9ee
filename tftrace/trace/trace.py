"""A recorded trace, read back without torch: its steps as a tree, and what belongs to each of them.

Everything that shows, steps through, exports or compares a run starts from `load(path)`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar, overload

import numpy as np

from ..errors import TraceError
from . import schema
from .columns import Columns
from .disk.safe_files import read_bytes
from .rows import CheckRow, TensorRow
from .values import kept_row, read_value

T = TypeVar("T")
Opened = TypeVar("Opened", bound="Trace")

_SOURCE_LIMIT = 64 << 20  # bytes of a source file
_BLOCK_ROWS, _BLOCKS_KEPT = 256, 64  # rows decoded at once, and how many such blocks are remembered


class Trace(Columns):
    """A recorded run. `trace[i]` is the i-th step; `steps`, `tensors` and `checks` are Arrow tables.

    A trace is a folder (see docs of `tftrace.trace.schema` for the columns). It can be opened while it is
    being written; `reload()` reads what has come since. With `head` it has only the first forward passes, as
    far as they are read in a blink, and `whole` says whether those are all.
    """

    step_type: ClassVar[type[Step]]  # what its steps are made as

    def __repr__(self) -> str:
        return f"<Trace {str(self.path)!r}: {len(self)} steps>"

    def reload(self) -> None:
        """Forget what was read, so that the next look sees what the recording has written since."""
        self.become(type(self)(self.path))

    def become(self, other: Trace) -> None:
        """Have what another reading of the same folder has, at once: a thread reads, and whoever holds this goes on."""
        for kind in type(self).__mro__:
            for name, value in vars(kind).items():
                if isinstance(value, cached_property):
                    self.__dict__.pop(name, None)
        self.__dict__.update({name: value for name, value in vars(other).items() if name not in ("path", "_keep")})

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | Sequence[Step]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        size = len(self)
        at = index + size if index < 0 else index
        if not 0 <= at < size:
            raise IndexError(f"there is no step {index}: the trace has {size} steps")
        step: Step = self._block("steps", at // _BLOCK_ROWS)[at % _BLOCK_ROWS]
        return step

    def __iter__(self) -> Iterator[Step]:
        return (self[i] for i in range(len(self)))

    def find(self, pattern: str, *, kind: str | None = None, forward: int | None = None) -> list[Step]:
        """The steps whose name fits a glob pattern, in order: `trace.find("encoder.layer.*.attention.self")`.

        `kind`: `"module"`, `"function"`, `"line"` or `"op"`; if it is not said, calls of modules and functions.
        `forward`: only of that forward pass, from 0."""
        if kind is not None and kind not in schema.KINDS:
            raise TraceError(f"There are no steps of kind {kind!r}: choose one of {', '.join(schema.KINDS)}.")
        codes, names = self.words("name")
        fits = np.array([*(fnmatchcase(name, pattern) for name in names), False])[codes]
        kinds = self.column("kind")
        wanted = schema.CALLS if kind is None else (kind,)
        fits &= np.logical_or.reduce([kinds == one for one in wanted])
        if forward is not None:
            fits &= self.column("forward") == forward
        return [self[at] for at in np.flatnonzero(fits).tolist()]

    def derived(self, make: Callable[[Trace], T]) -> T:
        """What `make` works out from the tables, worked out once until the next `reload`."""
        if make not in self._derived:
            self._derived[make] = make(self)
        found: T = self._derived[make]
        return found

    @cached_property
    def _derived(self) -> dict[Any, Any]:
        return {}

    # -- what belongs to a step -------------------------------------------------------------------

    def tensors_of(self, position: int) -> list[TensorRow]:
        """The tensors a step saw. A module's parameters are recorded at its first call and shown at each."""
        rows = self._rows("tensors", position)
        called = (int(self.column("rank")[position]), self.column("name")[position])
        first = self._first_call.get(called) if self._is_module(position) else None
        if first is not None and first != position:
            rows += [r for r in self._rows("tensors", first) if r.role == schema.PARAMETER]
        return rows

    def value(self, step: int, name: str, role: str | None = None) -> np.ndarray:
        """The numbers of a tensor that a step saw, if the recording kept them whole.

        Of several tensors of that name the output is meant, else the local, the input, the parameter, unless `role`
        says which. bfloat16 and eight-bit floats come as float32, which holds them exactly. Raises TraceError if the
        step has no such tensor or it was not kept, IndexError if there is no such step."""
        at = self[step].position
        row = kept_row(self.tensors_of(at), step, name, role, elsewhere=lambda: self._nearest(at, name))
        return read_value(self.path, row.value, row.shape)

    def _nearest(self, position: int, name: str) -> int | None:
        """Of the steps of the same call, that which saw a tensor of this name and stands nearest."""
        call = self.call_of(position)
        at = self.positions("tensors")[self.column("name", "tensors") == name]
        at = at[(at >= call) & (at < self.ends[call])]
        return int(at[np.abs(at - position).argmin()]) if len(at) else None

    def checks_of(self, position: int) -> list[CheckRow]:
        """The verdicts on a step's equations."""
        return self._rows("checks", position)

    def source(self, file: str | None) -> list[str]:
        """The lines of a source file as they were when they ran; empty if the trace has no copy."""
        name = self.meta["sources"].get(file)
        if file is None or not isinstance(name, str) or Path(name).name != name:
            return []
        if file not in self._sources:
            try:
                text = read_bytes(self.path, "sources", name, limit=_SOURCE_LIMIT).decode("utf-8", "replace")
            except (TraceError, OSError, ValueError):
                text = ""
            self._sources[file] = text.splitlines()
        return self._sources[file]

    @cached_property
    def _sources(self) -> dict[str, list[str]]:
        return {}

    def _is_module(self, position: int) -> bool:
        return bool(self.column("kind")[position] == schema.MODULE)

    @cached_property
    def _first_call(self) -> dict[tuple[int, str], int]:
        codes, names = self.words("name")
        modules = np.flatnonzero(self.column("kind") == schema.MODULE)
        rank = self.column("rank")[modules].astype(np.int64)
        process = np.unique(rank, return_inverse=True)[1]
        first = np.unique(process * (len(names) + 1) + codes[modules], return_index=True)[1]
        return {(int(rank[at]), names[codes[modules[at]]]): int(modules[at]) for at in first.tolist()}

    def _rows(self, table: str, position: int) -> list[Any]:
        bounds = self.bounds(table)
        rows: list[Any] = []
        at, end = int(bounds[position]), int(bounds[position + 1])
        while at < end:
            block, offset = divmod(at, _BLOCK_ROWS)
            rows += self._block(table, block)[offset : offset + end - at]
            at = (block + 1) * _BLOCK_ROWS
        return rows

    def _block(self, table: str, block: int) -> list[Any]:
        """Rows of a table as objects, decoded a block at a time: neighbours are looked at together."""
        found = self._blocks.get((table, block))
        if found is None:
            start = block * _BLOCK_ROWS
            columns = self.part(table, start, start + _BLOCK_ROWS).to_pydict()
            if table == "steps":
                found = [
                    self.step_type(self, at, *row) for at, row in enumerate(zip(*columns.values(), strict=True), start)
                ]
            else:
                if table == "tensors":
                    columns["shape"] = [tuple(sizes or ()) for sizes in columns["shape"]]
                kind = TensorRow if table == "tensors" else CheckRow
                found = [kind(*row) for row in zip(*columns.values(), strict=True)]
            if len(self._blocks) >= _BLOCKS_KEPT:
                self._blocks.clear()
            self._blocks[table, block] = found
        return found

    @cached_property
    def _blocks(self) -> dict[tuple[str, int], list[Any]]:
        return {}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the forward pass: a row of the steps table that knows its tensors and its place in the tree."""

    trace: Trace = field(repr=False, compare=False)
    position: int = field(repr=False)  # row in the trace's tables; the step number where there is one rank
    step: int
    parent_step: int | None = field(repr=False)
    depth: int
    forward: int
    rank: int
    kind: str
    name: str
    type: str
    occurrence: int
    file: str | None
    line: int | None
    end_line: int | None
    col: int | None
    end_col: int | None
    def_file: str | None
    def_line: int | None
    start_ns: int
    duration_ns: int | None
    status: str
    equation: str | None

    @property
    def parent(self) -> Step | None:
        """The step that was running when this one was entered, or None for a root."""
        above = self.trace.parent(self.position)
        return None if above is None else self.trace[above]

    @property
    def children(self) -> list[Step]:
        """The steps entered directly below this one, in order."""
        return [self.trace[i] for i in self.trace.children(self.position)]

    @property
    def tensors(self) -> list[TensorRow]:
        """What the step saw, with statistics; parameters stand with the first call of their module."""
        return self.trace.tensors_of(self.position)

    @property
    def checks(self) -> list[CheckRow]:
        """The verdicts on the step's equations, the principal one first."""
        return self.trace.checks_of(self.position)

    @property
    def source(self) -> list[str]:
        """The lines of the expression or statement that the step is, as they were when they ran."""
        if self.line is None or self.line < 1:
            return []
        return self.trace.source(self.file)[self.line - 1 : max(self.line, self.end_line or self.line)]

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The paper's equation of the step (cite, tex, formula, dims, note …), or None; `equation` is its id."""
        return self.trace.equation(self.equation)

    def value(self, name: str, role: str | None = None) -> np.ndarray:
        """The numbers of a tensor that the step saw, if they were kept; see `Trace.value`."""
        return self.trace.value(self.position, name, role)

    @property
    def call(self) -> Step:
        """The module or function call this step belongs to: itself, or for a line the call that runs it."""
        return self.trace[self.trace.call_of(self.position)]


Trace.step_type = Step


@overload
def load(path: str | os.PathLike[str]) -> Trace: ...
@overload
def load(path: str | os.PathLike[str], open: Callable[[str | os.PathLike[str]], Opened]) -> Opened: ...
def load(path: str | os.PathLike[str], open: Callable[[str | os.PathLike[str]], Any] = Trace) -> Any:
    """Open a trace folder, as a trace of the class `open`. Raises TraceError with a sentence if it is not one."""
    trace = open(path)
    len(trace)  # a broken table is better named here than at the first key
    return trace
