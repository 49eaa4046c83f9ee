"""The joined table, one row per (step, tensor): as Arrow, as a DataFrame, or as CSV that is safe in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..navigate.edited_steps import edited_steps
from ..trace import schema
from ..trace.trace import Trace

if TYPE_CHECKING:
    import pandas

_STEP = ("step", "parent", "depth", "forward", "rank", "kind", "name", "type", "occurrence", "file", "line",
         "start_ns", "duration_ns", "status")  # fmt: skip
_TENSOR = ("role", "tensor_name", "tensor", "shape", "dtype", "device", "numel", "nbytes", *schema.STATISTICS)
_CHECK = ("equation", "verdict", "residual", "bound")

_COLUMN = {"tensor_name": "name"}  # names in their own table, where they differ

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "")
_AT_ONCE = 16_384  # steps that are joined at once

EDITED = "edited"  # what was changed on purpose: a column of runs in which something was
COLUMNS = (*_STEP, *_TENSOR, *_CHECK)  # fixed: other programs rely on this header


def joined(trace: Trace) -> pa.Table:
    """Join every step with its tensors and the verdict on its equation; a step without tensors has one row.

    Of a run in which steps were edited there is one more column, `edited`."""
    return pa.concat_tables([schema_of(trace).empty_table(), *batches(trace)])


def schema_of(trace: Trace) -> pa.Schema:
    """The columns of `joined` for a trace."""
    return SCHEMA.append(pa.field(EDITED, pa.string())) if edited_steps(trace) else SCHEMA


def batches(trace: Trace, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
    """Yield the rows of `joined` for steps `start` to `stop` (exclusive), some thousand steps at a time."""
    stop = len(trace) if stop is None else stop
    for first in range(start, stop, _AT_ONCE):
        yield _joined(trace, first, min(first + _AT_ONCE, stop))


def _joined(trace: Trace, first: int, last: int) -> pa.Table:
    """The joined rows of steps `first` to `last` (exclusive)."""
    steps = trace.part("steps", first, last, [*_STEP, "equation"])
    tensor, check = (trace.bounds(table)[first : last + 1] for table in ("tensors", "checks"))
    tensors = trace.part("tensors", tensor[0], tensor[-1], [_COLUMN.get(n, n) for n in _TENSOR])
    tensors = tensors.rename_columns(list(_TENSOR))  # older pyarrow takes no tuple
    checks = trace.part("checks", check[0], check[-1], [n for n in _CHECK if n != "equation"])
    sizes = np.diff(tensor)
    rows = np.maximum(sizes, 1)
    owner = np.repeat(np.arange(len(steps)), rows)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows, rows)
    seen = pa.array((tensor[:-1] - tensor[0])[owner] + within, mask=sizes[owner] == 0)
    principal = pa.array((check[:-1] - check[0])[owner], mask=np.diff(check)[owner] == 0)
    columns: dict[str, pa.ChunkedArray] = {}
    for table, places in ((steps, pa.array(owner)), (tensors, seen), (checks, principal)):
        columns |= {name: table[name].take(places) for name in table.column_names}
    columns["shape"] = _shapes(columns["shape"])
    if edits := edited_steps(trace):
        said = pa.array([edits.get(at) for at in range(first, last)], pa.string())
        columns[EDITED] = pa.chunked_array([said.take(pa.array(owner))])
    table = schema_of(trace)
    return pa.table({name: columns[name] for name in table.names}, schema=table)


def _shapes(column: pa.ChunkedArray) -> pa.Array:
    """Shapes as text: `1x128x768`, empty for a scalar."""
    texts = pc.cast(pc.list_flatten(column), pa.string())
    lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    flat = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    shapes = pc.binary_join(pa.ListArray.from_arrays(offsets, flat), "x")
    return pc.if_else(pc.is_valid(lists), shapes, pa.scalar(None, pa.string()))


def _fields() -> list[pa.Field]:
    """The columns with their types, those of their own tables."""
    types = {name: kind for table in (schema.CHECKS, schema.TENSORS, schema.STEPS)
             for name, kind in zip(table.names, table.types, strict=True)}  # fmt: skip
    types |= {"tensor_name": pa.string(), "shape": pa.string()}
    return [pa.field(name, types[name]) for name in COLUMNS]


SCHEMA = pa.schema(_fields())


def to_frame(table: pa.Table) -> pandas.DataFrame:
    """An Arrow table as a DataFrame; integer columns with missing values stay integers (`Int64`)."""
    import pandas

    frame: pandas.DataFrame = table.to_pandas(types_mapper={pa.int64(): pandas.Int64Dtype()}.get)
    return frame


def write(trace: Trace, stream: BinaryIO) -> None:
    """Write the joined table as CSV. A missing value is an empty cell, an empty text (a scalar's shape) is `""`."""
    stream.write((",".join(schema_of(trace).names) + "\n").encode())
    for part in batches(trace):
        if len(part):
            rows = pc.binary_join_element_wise(*(_cells(column) for column in part.columns), ",")
            stream.write("\n".join([*rows.to_pylist(), ""]).encode())


def _cells(column: pa.ChunkedArray) -> pa.Array:
    """A column as CSV cells."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_string(array.type):
        words = array.dictionary_encode()
        array = pa.array([csv_text(word) for word in words.dictionary.to_pylist()], pa.string()).take(words.indices)
    elif pa.types.is_floating(array.type):
        array = pa.array([None if value is None else repr(value) for value in array.to_pylist()], pa.string())
    else:
        array = array.cast(pa.string())
    return pc.fill_null(array, "")


def csv_text(value: str) -> str:
    """A CSV cell: quoted if necessary, with an apostrophe before text that a spreadsheet would run as a formula."""
    start = value.replace("\ufeff", "").lstrip()[:1]  # a spreadsheet drops byte order marks, reads full width
    if (value and start in _FORMULA) or value[:1] in ("\t", "\r", "\n"):
        value = "'" + value
    if value and not any(c in value for c in ',"\r\n'):
        return value
    return '"' + value.replace('"', '""') + '"'
