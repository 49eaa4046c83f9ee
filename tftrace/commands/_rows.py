"""Prints the rows of a query as a table, as CSV or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from ..export.jsonlines import dumps
from ..export.table import csv_text
from ..terminal import console
from ..text import number, visible

_WIDTH = 160  # columns if the output is not a terminal


def write_table(found: pa.RecordBatchReader, limit: int) -> bool:
    """Print the first rows as a table; returns whether there are more."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for field in found.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(Text(visible(field.name)), justify="right" if numeric else "left", overflow="fold")
    rows = _rows(found)
    for row in (row for row, _ in zip(rows, range(limit), strict=False)):
        table.add_row(*(Text(_shown(value), "dim" if value is None else "") for value in row))
    paper = console()
    if not paper.is_terminal:
        paper.width = _WIDTH
    paper.print(table)
    return next(rows, None) is not None


def write_csv(found: pa.RecordBatchReader, out: BinaryIO) -> None:
    """Write a header and all rows as CSV; nulls are empty cells, and no cell is a formula to a spreadsheet."""
    out.write((",".join(csv_text(name) for name in found.schema.names) + "\n").encode())
    for row in _rows(found):
        out.write((",".join("" if value is None else _cell(value) for value in row) + "\n").encode())


def write_jsonl(found: pa.RecordBatchReader, out: BinaryIO) -> None:
    """Write one JSON object per line and row."""
    for row in _rows(found):
        cells = {name: _plain(value) for name, value in zip(found.schema.names, row, strict=True)}
        out.write(dumps(cells).encode() + b"\n")


def _rows(found: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    for batch in found:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return number(value)
    return "×".join(map(str, value)) if _is_shape(value) else visible(str(value))


def _cell(value: Any) -> str:
    if _is_shape(value):
        return csv_text("x".join(map(str, value)))
    return repr(value) if isinstance(value, (bool, int, float)) else csv_text(str(value))


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int for size in value)


def _plain(value: Any) -> Any:
    """A value as JSON can represent it; dates, decimals and the like become text."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
