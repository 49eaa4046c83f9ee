"""The rows that a query gives, as an answer that fits: the tool `query`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from ..maintain.query import query
from ..trace.trace import Trace
from .brief import cut, rounded
from .paged import Answer, Item, Page

SECONDS = 20.0  # that a query may take


def rows_page(
    trace: Trace, sql: str, limit: int | None = None, cursor: str | None = None, *, lines: bool = False
) -> Page:
    """The rows of one SELECT on a trace.

    Args:
        trace: The trace.
        sql: The query; nothing but the trace can be read, and nothing is changed.
        limit, cursor, lines: As for `Answer.page`.

    Raises:
        TraceError: DuckDB is not installed, the SQL is wrong, or it takes too long.
    """
    with query(trace, sql, seconds=SECONDS) as found:
        names = [cut(name, 80) for name in found.schema.names]

        def items(start: int) -> Iterator[Item]:
            rows = (
                row for batch in found for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
            )
            for at, row in enumerate(islice(rows, start, None), start):
                cells = [_plain(value) for value in row]
                line = " | ".join("" if cell is None else str(cell) for cell in cells)
                yield Item(at, dict(zip(names, cells, strict=True)), cut(line, 400))

        facts: dict[str, Any] = {"columns": names[:100]}
        return Answer("query", [f"columns: {' | '.join(names)}"], items, None, facts).page(limit, cursor, lines=lines)


def _plain(value: Any) -> Any:
    """A cell as JSON can have it, short."""
    if isinstance(value, list) and all(type(size) is int for size in value):
        return cut("×".join(map(str, value)))
    if isinstance(value, float):
        return rounded(value, 6)
    return value if value is None or isinstance(value, (bool, int)) else cut(value)
