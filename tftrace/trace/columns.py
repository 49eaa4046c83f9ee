"""The tables of a trace, whose columns are read when they are needed, and the tree of its steps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from . import missing, schema
from .arrays import numpy_of
from .reader import Tables, read_meta


class Columns:
    """The content of a trace folder as arrays; a million steps need no million objects.

    Args:
        path: The folder of the trace.
        keep: The temporary folder that the trace lies in; it is deleted together with this object.
        head: Read only the first forward passes, as far as that takes no noticeable time; `whole` then says whether
            these are all.

    Raises:
        TraceError: The folder does not exist, or is not a trace.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep: tempfile.TemporaryDirectory[str] | None = None,
        head: bool = False,
    ) -> None:
        self.path = Path(path).expanduser()
        self._keep = keep
        if not self.path.is_dir():
            raise TraceError(f"There is no trace at {self.path}: record one with 'tftrace record', or check the path.")
        self.meta = read_meta(self.path)
        self._tables: Tables | None = None
        self._head = head

    @property
    def steps(self) -> pa.Table:
        """One row for each step, in order of entry; `tftrace.trace.schema.STEPS` gives columns and units."""
        return self._whole("steps")

    @property
    def tensors(self) -> pa.Table:
        """One row for each tensor that a step saw; `tftrace.trace.schema.TENSORS` gives columns and units."""
        return self._whole("tensors")

    @property
    def checks(self) -> pa.Table:
        """One row for each equation checked on a step; `tftrace.trace.schema.CHECKS` gives columns and units."""
        return self._whole("checks")

    @property
    def ranks(self) -> list[int]:
        """The ranks of a distributed run that are in the trace; for any other run, 0."""
        return list(self._read().ranks)

    @property
    def missing(self) -> list[str]:
        """What the trace lacks of the run (after a kill, because another tool was in the way, …), one sentence each.

        The list is empty if nothing is known to be missing.
        """
        return missing.sentences(self.meta, self._read())

    @property
    def whole(self) -> bool:
        """Whether all that had been written when the trace was opened is here, rather than only the head."""
        return self._read().whole

    def __len__(self) -> int:
        return len(self._read())

    def column(self, name: str, table: str = "steps") -> np.ndarray:
        """Return a column; no other column is read, and it is remembered.

        Args:
            name: The name of the column.
            table: `"steps"`, `"tensors"` or `"checks"`.

        Returns:
            A NumPy array with one element for each row; text as objects, with None for null, and integers with nulls as
            floats with NaN.
        """
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
        """Return a text column as codes and texts: a million steps name only a few hundred modules.

        Returns:
            For each row the index of its text, -1 for null; and the distinct texts.
        """
        if (table, name) not in self._words:
            self._words[table, name] = self._read().codes(table, name)
        return self._words[table, name]

    def part(self, table: str, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return rows `start` to `stop` of a table.

        Nothing else is decoded, so that a trace of any size can be gone through in little memory.

        Args:
            table: `"steps"`, `"tensors"` or `"checks"`.
            start: The first row.
            stop: One past the last row.
            columns: The columns to return; all by default.
        """
        return self._read().part(table, start, stop, columns)

    def bounds(self, table: str) -> np.ndarray:
        """Tell which rows of `"tensors"` or `"checks"` belong to which step.

        Returns:
            An array one longer than the trace: the rows of the step at position i are `bounds[i]` to `bounds[i + 1]`.
        """
        if table not in self._bounds:
            self._bounds[table] = np.searchsorted(self._read().positions(table), np.arange(len(self) + 1))
        return self._bounds[table]

    def positions(self, table: str) -> np.ndarray:
        """The position of the step of each row of a table."""
        return self._read().positions(table)

    @property
    def tensor_positions(self) -> np.ndarray:
        """The position of the step of each row of the tensors table."""
        return self.positions("tensors")

    @property
    def check_positions(self) -> np.ndarray:
        """The position of the step of each row of the checks table."""
        return self.positions("checks")

    @property
    def ends(self) -> np.ndarray:
        """For each step, the position after its last descendant."""
        return self._tree[0]

    @property
    def parents(self) -> np.ndarray:
        """For each step, the position of its parent; -1 for a root."""
        return self._tree[1]

    @cached_property
    def _tree(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends and parents, found level by level from the deepest: a million steps take a tenth of a second."""
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
        """The position of the parent of a step, or None for a root."""
        above = int(self.parents[position])
        return None if above < 0 else above

    def root_of(self, position: int) -> int:
        """The position of the outermost call of the forward that a step belongs to."""
        while self.parents[position] >= 0:
            position = int(self.parents[position])
        return position

    def children(self, position: int) -> list[int]:
        """The positions of the direct children of a step, in order."""
        below = self.parents[position + 1 : int(self.ends[position])]
        found: list[int] = (np.flatnonzero(below == position) + position + 1).tolist()
        return found

    def call_of(self, position: int) -> int:
        """The position of the module or function call that a step belongs to: itself, unless it is a line or an op."""
        kinds = self.column("kind")
        while kinds[position] not in schema.CALLS and self.parents[position] >= 0:
            position = int(self.parents[position])
        return position

    def equation(self, name: str | None) -> dict[str, Any] | None:
        """The recipe with this id as it was when the run was recorded (cite, tex, formula, dims, note …), or None."""
        found = self.meta["equations"].get(name)
        return found if isinstance(found, dict) else None

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

    def _read(self) -> Tables:
        if self._tables is None:
            self._tables = Tables(self.path, self._head)
        return self._tables
