"""A recorded trace, read back without torch: the tree of its steps, and the tensors and verdicts of each step.

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
    """A recorded run, read from its folder; `api.Trace`, which users see, adds conveniences.

    `trace[i]` is the i-th step, and `steps`, `tensors` and `checks` are Arrow tables with the columns of
    `tftrace.trace.schema`. A trace can be opened while it is being written; `reload()` reads what has been added since.
    """

    step_type: ClassVar[type[Step]]  # the class of its steps

    def __repr__(self) -> str:
        try:
            return f"<Trace {str(self.path)!r}: {len(self)} steps>"
        except TraceError:  # it is moved or damaged, which is no reason for a debugger not to show its variables
            return f"<Trace {str(self.path)!r}>"

    def reload(self) -> None:
        """Forget everything that was read, so that whatever has been written since is seen from now on."""
        self.become(type(self)(self.path))

    def become(self, other: Trace) -> None:
        """Take over, in one move, everything that another object has read from the same folder.

        A thread can so read the trace anew, while this object, which others hold, stays usable.
        """
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

    def find(self, pattern: str, *, kind: str | None = None, forward: int | None = None) -> Sequence[Step]:
        """Find steps by name.

        Args:
            pattern: A glob pattern for the whole name.
            kind: `"module"`, `"function"`, `"line"` or `"op"`; by default calls of modules and functions.
            forward: The number of the only forward pass to search, from 0; by default all are searched.

        Returns:
            The steps, in order.

        Raises:
            TraceError: There is no such kind.

        Example:
            `trace.find("encoder.layer.*.attention.self")`
        """
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
        """Return `make(self)`, which is computed only once until the next `reload`."""
        if make not in self._derived:
            self._derived[make] = make(self)
        found: T = self._derived[make]
        return found

    @cached_property
    def _derived(self) -> dict[Any, Any]:
        return {}

    # -- what belongs to a step -------------------------------------------------------------------

    def tensors_of(self, position: int) -> list[TensorRow]:
        """The tensors that a step saw; a module's parameters, recorded at its first call, come with every call."""
        rows = self._rows("tensors", position)
        called = (int(self.column("rank")[position]), self.column("name")[position])
        first = self._first_call.get(called) if self._is_module(position) else None
        if first is not None and first != position:
            rows += [r for r in self._rows("tensors", first) if r.role == schema.PARAMETER]
        return rows

    def value(self, step: int, name: str, role: str | None = None) -> np.ndarray:
        """Read a tensor that a step saw, if the recording kept it whole.

        Args:
            step: The position of the step; negative ones count from the end.
            name: The name of the tensor in the step; empty for a returned tensor.
            role: `"output"`, `"local"`, `"input"`, `"parameter"` or `"gradient"`; by default the first of these that
                has a tensor of this name.

        Returns:
            The numbers, in the tensor's own shape; bfloat16 and 8-bit floats as float32, which holds them exactly.

        Raises:
            TraceError: The step saw no such tensor, or it was not kept.
            IndexError: There is no such step.
        """
        at = self[step].position
        row = kept_row(self.tensors_of(at), step, name, role, elsewhere=lambda: self._nearest(at, name))
        return read_value(self.path, row.value, row.shape)

    def _nearest(self, position: int, name: str) -> int | None:
        """The nearest step of the same call that saw a tensor of this name."""
        call = self.call_of(position)
        at = self.positions("tensors")[self.column("name", "tensors") == name]
        at = at[(at >= call) & (at < self.ends[call])]
        return int(at[np.abs(at - position).argmin()]) if len(at) else None

    def checks_of(self, position: int) -> list[CheckRow]:
        """The verdicts on the equations of a step."""
        return self._rows("checks", position)

    def source(self, file: str | None) -> list[str]:
        """The lines of a source file as they were when they ran; none if the trace has no copy of the file."""
        if file in self._sources:
            return self._sources[file]
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
        """A block of rows of a table as objects; neighbours are usually looked at together."""
        found = self._blocks.pop((table, block), None)
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
                del self._blocks[next(iter(self._blocks))]
        self._blocks[table, block] = found  # the last one, so that the first is what was not asked for longest
        return found

    @cached_property
    def _blocks(self) -> dict[tuple[str, int], list[Any]]:
        return {}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a forward pass: a row of the steps table that knows its tensors and its place in the tree."""

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
    def children(self) -> Sequence[Step]:
        """The steps entered directly below this one, in order."""
        return [self.trace[i] for i in self.trace.children(self.position)]

    @property
    def tensors(self) -> list[TensorRow]:
        """The tensors that the step saw, with their statistics; see `Trace.tensors_of`."""
        return self.trace.tensors_of(self.position)

    @property
    def checks(self) -> list[CheckRow]:
        """The verdicts on the step's equations, the principal one first."""
        return self.trace.checks_of(self.position)

    @property
    def source(self) -> list[str]:
        """The source lines of the step's expression or statement, as they were when they ran."""
        if self.line is None or self.line < 1:
            return []
        return self.trace.source(self.file)[self.line - 1 : max(self.line, self.end_line or self.line)]

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The recipe of the step's equation (cite, tex, formula, dims, note …), or None; `equation` is its id."""
        return self.trace.equation(self.equation)

    def value(self, name: str, role: str | None = None) -> np.ndarray:
        """Read a tensor that the step saw, if it was kept; see `Trace.value`."""
        return self.trace.value(self.position, name, role)

    @property
    def call(self) -> Step:
        """The module or function call that the step belongs to: itself, or the call that runs the line or op."""
        return self.trace[self.trace.call_of(self.position)]


Trace.step_type = Step


@overload
def load(path: str | os.PathLike[str]) -> Trace: ...
@overload
def load(path: str | os.PathLike[str], open: Callable[[str | os.PathLike[str]], Opened]) -> Opened: ...
def load(path: str | os.PathLike[str], open: Callable[[str | os.PathLike[str]], Any] = Trace) -> Any:
    """Open a trace.

    Args:
        path: The folder of the trace.
        open: The class to open it as.

    Raises:
        TraceError: The folder does not exist, or is not a trace.
    """
    trace = open(path)
    len(trace)  # a broken table is better named here than at the first key
    return trace
