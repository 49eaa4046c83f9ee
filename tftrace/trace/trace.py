"""A recorded trace, read back without torch: its three tables, and steps as a tree.

Everything that shows, steps through, exports or compares a run starts from `load(path)`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from . import missing, schema
from .arrays import numpy_of
from .disk.safe_files import read_bytes
from .reader import Tables, read_meta
from .rows import CheckRow, TensorRow
from .step import Step
from .values import kept_row, read_value

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")

_SOURCE_LIMIT = 64 << 20  # bytes of a source file
_BLOCK_ROWS, _BLOCKS_KEPT = 256, 64  # rows decoded at once, and how many such blocks are remembered


class Trace:
    """A recorded run. `trace[i]` is the i-th step; `steps`, `tensors` and `checks` are Arrow tables.

    A trace is a folder (see docs of `tftrace.trace.schema` for the columns). It can be opened while it is
    being written; `reload()` reads what has come since. With `head` it has only the first forward passes, as
    far as they are read in a blink, and `whole` says whether those are all.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep: tempfile.TemporaryDirectory[str] | None = None,
        head: bool = False,
    ) -> None:
        self.path = Path(path).expanduser()
        self._keep = keep  # a trace without a path of its own lives as long as this object
        if not self.path.is_dir():
            raise TraceError(f"There is no trace at {self.path}: record one with 'tftrace record', or check the path.")
        self.meta = read_meta(self.path)
        self._tables: Tables | None = None
        self._head = head

    def __repr__(self) -> str:
        return f"<Trace {str(self.path)!r}: {len(self)} steps>"

    # -- tables ---------------------------------------------------------------------------------

    @property
    def steps(self) -> pa.Table:
        """One row a step, in order of entry; columns and units in `tftrace.trace.schema.STEPS`."""
        return self._whole("steps")

    @property
    def tensors(self) -> pa.Table:
        """One row a tensor seen by a step; columns and units in `tftrace.trace.schema.TENSORS`."""
        return self._whole("tensors")

    @property
    def checks(self) -> pa.Table:
        """One row an equation checked on a step; columns in `tftrace.trace.schema.CHECKS`."""
        return self._whole("checks")

    @property
    def ranks(self) -> list[int]:
        """The processes of a distributed run that are in the trace; of any other run 0."""
        return list(self._read().ranks)

    @property
    def missing(self) -> list[str]:
        """What of the run is not in the trace (after a kill, where another tool was in the way, …), one sentence each;
        empty if nothing is known to be missing."""
        return missing.sentences(self.meta, self._read())

    @property
    def whole(self) -> bool:
        """Whether this is all that was written when it was opened."""
        return self._read().whole

    def reload(self) -> None:
        """Forget what was read, so that the next look sees what the recording has written since."""
        self.become(type(self)(self.path))

    def become(self, other: Trace) -> None:
        """Have what another reading of the same folder has, at once: a thread reads, and whoever holds this goes on."""
        for name, value in vars(type(self)).items():
            if isinstance(value, cached_property):
                self.__dict__.pop(name, None)
        self.__dict__.update({name: value for name, value in vars(other).items() if name not in ("path", "_keep")})

    def to_pandas(self, table: str | None = None) -> pandas.DataFrame:
        """A table (`"steps"`, `"tensors"`, `"checks"`) as a DataFrame; without a name what the CSV holds:
        one row a (step, tensor)."""
        from ..export.table import joined, to_frame

        if table is None:
            return to_frame(joined(self))
        if table not in schema.TABLES:
            raise TraceError(f"There is no table {table!r}: ask for one of {', '.join(schema.TABLES)}.")
        return to_frame(self._whole(table))

    def to_csv(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write one row a (step, tensor) as CSV. Raises TraceError if the file exists, unless `overwrite`."""
        self.export(path, overwrite=overwrite, format="csv")

    def export(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, format: str | None = None, **options: Any
    ) -> None:
        """Write the trace in the format that the path's extension names (.csv, .parquet, .jsonl, .json, .html,
        .perfetto.json, .mmd, .dot, .svg), or in `format`; a diagram takes `under`, `depth` and `forward`. Raises
        TraceError for an unknown format, and if the file exists, unless `overwrite`."""
        from ..export import export

        export(self, path, overwrite=overwrite, format=format, **options)

    # -- steps as a tree --------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._read())

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
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

    def _repr_html_(self) -> str:
        from ..card import trace_card

        return trace_card(self)

    def column(self, name: str, table: str = "steps") -> np.ndarray:
        """A column as a numpy array (text as objects), cached: cheap to index, and no other column is read."""
        found = self._columns.get((table, name))
        if found is None:
            if pa.types.is_string(schema.TABLES[table].field(name).type):
                codes, words = self.words(name, table)
                found = np.array([*words, None], dtype=object)[codes]
            else:
                found = numpy_of(self._read().column(table, name))
            self._columns[table, name] = found
        return found

    def words(self, name: str, table: str = "steps") -> tuple[np.ndarray, list[str]]:
        """A text column as codes into its distinct texts (-1 for null), cached: a million steps name but a few hundred
        modules."""
        if (table, name) not in self._words:
            self._words[table, name] = self._read().codes(table, name)
        return self._words[table, name]

    def part(self, table: str, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows `start` to `stop` of a table (only these columns), as the table has them: of what lies on disk no more
        is decoded, so that a trace of any size can be gone through in little memory."""
        return self._read().part(table, start, stop, columns)

    def bounds(self, table: str) -> np.ndarray:
        """For each step its first row in `"tensors"` or `"checks"`, and one past the last row: the rows of step `i` are
        `bounds[i]` to `bounds[i + 1]`."""
        if table not in self._bounds:
            self._bounds[table] = np.searchsorted(self._read().positions(table), np.arange(len(self) + 1))
        return self._bounds[table]

    def derived(self, make: Callable[[Trace], T]) -> T:
        """What `make` works out from the tables, worked out once until the next `reload`."""
        if make not in self._derived:
            self._derived[make] = make(self)
        found: T = self._derived[make]
        return found

    @cached_property
    def _derived(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _words(self) -> dict[tuple[str, str], tuple[np.ndarray, list[str]]]:
        return {}

    @cached_property
    def _columns(self) -> dict[tuple[str, str], np.ndarray]:
        return {}

    @cached_property
    def _bounds(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _wholes(self) -> dict[str, pa.Table]:
        return {}

    def _whole(self, table: str) -> pa.Table:
        if table not in self._wholes:
            self._wholes[table] = self._read().table(table)
        return self._wholes[table]

    @property
    def ends(self) -> np.ndarray:
        """For each step the position after its last descendant."""
        return self._tree[0]

    @property
    def parents(self) -> np.ndarray:
        """For each step the position of its parent, -1 for a root."""
        return self._tree[1]

    @cached_property
    def _tree(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends and parents, level by level from the deepest, so that a million steps take a tenth of a second."""
        depth = self.column("depth")
        size = len(depth)
        ends, parents = np.full(size, size, dtype=np.int64), np.full(size, -1, dtype=np.int64)
        above = np.arange(size)
        for level in np.unique(depth)[::-1]:
            at_level = depth[above] == level
            here = above[at_level]
            ends[here] = np.append(above[1:], size)[at_level]
            above = above[~at_level]
            before = np.searchsorted(above, here) - 1
            parents[here[before >= 0]] = above[before[before >= 0]]
        return ends, parents

    def parent(self, position: int) -> int | None:
        """Position of the parent, or None for a root."""
        above = int(self.parents[position])
        return None if above < 0 else above

    def children(self, position: int) -> list[int]:
        """Positions of the direct children, in order."""
        below = self.parents[position + 1 : int(self.ends[position])]
        found: list[int] = (np.flatnonzero(below == position) + position + 1).tolist()
        return found

    def call_of(self, position: int) -> int:
        """Position of the module or function call that a step belongs to (itself, unless it is a line or an op)."""
        kinds = self.column("kind")
        while kinds[position] not in schema.CALLS and self.parents[position] >= 0:
            position = int(self.parents[position])
        return position

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

    def equation(self, name: str | None) -> dict[str, Any] | None:
        """The recipe of an equation as it was when the run was recorded (cite, tex, formula, dims, note …)."""
        found = self.meta["equations"].get(name)
        return found if isinstance(found, dict) else None

    def positions(self, table: str) -> np.ndarray:
        """For each row of a table the position of its step."""
        return self._read().positions(table)

    @property
    def tensor_positions(self) -> np.ndarray:
        """For each row of the tensors table the position of its step."""
        return self.positions("tensors")

    @property
    def check_positions(self) -> np.ndarray:
        """For each row of the checks table the position of its step."""
        return self.positions("checks")

    def _is_module(self, position: int) -> bool:
        return bool(self.column("kind")[position] == schema.MODULE)

    @cached_property
    def _first_call(self) -> dict[tuple[int, str], int]:
        codes, names = self.words("name")
        modules = np.flatnonzero(self.column("kind") == schema.MODULE)
        rank = self.column("rank")[modules].astype(np.int64)
        first = np.unique(np.stack([rank, codes[modules]]), axis=1, return_index=True)[1] if len(modules) else modules
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
                found = [Step(self, at, *row) for at, row in enumerate(zip(*columns.values(), strict=True), start)]
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

    # -- reading --------------------------------------------------------------------------------

    def _read(self) -> Tables:
        if self._tables is None:
            self._tables = Tables(self.path, self._head)
        return self._tables


def load(path: str | os.PathLike[str]) -> Trace:
    """Open a trace folder. Raises TraceError with a sentence if it is not one."""
    trace = Trace(path)
    len(trace)  # a broken table is better named here than at the first key
    return trace
