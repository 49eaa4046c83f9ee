"""One row a (step, tensor): as an Arrow table, a DataFrame, or a CSV that runs nothing in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .. import schema
from ..trace import Trace

if TYPE_CHECKING:
    import pandas

_STEP = ("step", "parent", "depth", "forward", "rank", "kind", "name", "type", "occurrence", "file", "line",
         "start_ns", "duration_ns", "status")  # fmt: skip
_TENSOR = ("role", "tensor_name", "tensor", "shape", "dtype", "device", "numel", "nbytes", *schema.STATISTICS)
_CHECK = ("equation", "verdict", "residual", "bound")

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "")

COLUMNS = (*_STEP, *_TENSOR, *_CHECK)  # a contract: other programs read this header


def joined(trace: Trace) -> pa.Table:
    """Every step with each of its tensors (a step without any has one row), and the verdict on its equation."""
    steps = trace.steps
    tensors = trace.tensors.rename_columns([f"tensor_{n}" if n == "name" else n for n in trace.tensors.column_names])
    sizes = np.bincount(trace.tensor_positions, minlength=len(steps))
    rows = np.maximum(sizes, 1)
    owner = np.repeat(np.arange(len(steps)), rows)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows, rows)
    starts = np.cumsum(sizes) - sizes
    tensor = pa.array(starts[owner] + within, mask=sizes[owner] == 0)
    first, order = np.unique(trace.check_positions, return_index=True)
    verdict = np.full(len(steps), -1)
    verdict[first] = order
    check = pa.array(verdict[owner], mask=verdict[owner] < 0)
    columns = {n: steps[n].take(pa.array(owner)) for n in _STEP}
    columns |= {n: tensors[n].take(tensor) for n in _TENSOR}
    columns |= {n: trace.checks[n].take(check) for n in _CHECK if n != "equation"}
    columns["equation"] = steps["equation"].take(pa.array(owner))
    shapes = columns["shape"].to_pylist()
    columns["shape"] = pa.array([None if s is None else "x".join(map(str, s)) for s in shapes], pa.string())
    return pa.table({name: columns[name] for name in COLUMNS})


def to_frame(table: pa.Table) -> pandas.DataFrame:
    """An Arrow table as a DataFrame; whole numbers that may be missing keep their type (`Int64`)."""
    import pandas

    frame: pandas.DataFrame = table.to_pandas(types_mapper={pa.int64(): pandas.Int64Dtype()}.get)
    return frame


def write_csv(trace: Trace, path: Path) -> None:
    """Write the joined table; missing cells are empty, a present empty text (a scalar's shape) is `""`."""
    table = joined(trace)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for batch in table.to_batches(max_chunksize=65536):
            columns = [_cells(column.to_pylist()) for column in batch.columns]
            file.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))


def _cells(values: Iterable[Any]) -> list[str]:
    return ["" if v is None else _text(v) if isinstance(v, str) else repr(v) for v in values]


def _text(value: str) -> str:
    """Quoted where CSV needs it; text that a spreadsheet would take for a formula gets an apostrophe before it."""
    start = value.replace("\ufeff", "").lstrip()[:1]  # a spreadsheet may drop a byte order mark, and knows wide signs
    if (value and start in _FORMULA) or value[:1] in ("\t", "\r", "\n"):
        value = "'" + value
    if value and not any(c in value for c in ',"\r\n'):
        return value
    return '"' + value.replace('"', '""') + '"'
