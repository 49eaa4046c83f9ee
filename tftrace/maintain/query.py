"""SQL on a trace, run by DuckDB in memory without access to files, network or extensions.

The tables are `steps`, `tensors` and `checks`, each with a first column `position` that identifies the step across
ranks, and `trace`, the joined table of the CSV export with one row per (step, tensor)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from ..export.table import SCHEMA, batches
from ..text import is_utf8
from ..trace import schema
from ..trace.disk.write_errors import is_full
from ..trace.trace import Trace
from .memory_limit import memory_limit

TABLES = (*schema.TABLES, "trace")
_ROWS_AT_ONCE = 65536
_ROWS_GIVEN = 2048  # at once: they may be large
_SANDBOX = {  # SQL must not reach outside the database or into this program's memory
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": "4GB",
}
_AGAIN = 0.05  # seconds between two attempts to interrupt
_MEMORY = 6 << 30  # bytes that a query may take, with its rows; DuckDB's own limit does not count those
_TOO_LARGE = "The query takes too much memory: ask for fewer or smaller rows, such as with LIMIT 100."
_PLAIN = {
    "boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint",
    "float", "double", "decimal", "varchar", "enum", "NULL", "sqlnull",
}  # fmt: skip
_LOCKS = ("SET temp_directory = ''", "SET enable_external_access = false", "SET lock_configuration = true")


@contextmanager
def query(trace: Trace, sql: str, seconds: float | None = None) -> Iterator[pa.RecordBatchReader]:
    """Run one SELECT on a trace.

    Args:
        trace: The trace.
        sql: One SELECT, DESCRIBE or SHOW TABLES.
        seconds: After this time it is ended; by default never.

    Yields:
        A reader of the result, valid inside the `with` block.

    Raises:
        TraceError: DuckDB is not installed, or the SQL is wrong, changes something or reads anything but the
            trace, or it takes too long.
    """
    try:
        import duckdb
    except ImportError as error:
        raise TraceError("Queries need DuckDB: install it with pip install 'tftrace[query]'.") from error
    if not is_utf8(sql):
        raise TraceError("The query holds bytes that are not UTF-8: write it again.")
    with duckdb.connect(":memory:", config=_SANDBOX) as connection, _ended_after(connection, seconds) as late:
        try:
            statements = connection.extract_statements(sql)
            kinds = [statement.type for statement in statements]
            if kinds not in ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN]):
                raise TraceError("A query is one SELECT (or DESCRIBE, or SHOW TABLES): nothing in a trace is changed.")
            for table in _tables_named(sql):
                _fill(connection, trace, table)
            for lock in _LOCKS:
                connection.execute(lock)
            with memory_limit(_MEMORY):
                yield _result(connection, statements[0]).to_arrow_reader(_ROWS_GIVEN)
        except MemoryError as error:
            raise TraceError(_TOO_LARGE) from error
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # OSError: a stream of rows is interrupted
            if is_full(error):  # what the rows are written to
                raise
            if late.is_set():
                raise TraceError(f"The query took longer than {seconds} seconds: ask for less of the trace.") from error
            if isinstance(error, duckdb.OutOfMemoryException) or "maximum total string size" in str(error):
                raise TraceError(_TOO_LARGE) from error
            why = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
            raise TraceError(f"The query failed ({why}): the tables are {', '.join(TABLES)}.") from error


def _result(connection: Any, statement: Any) -> Any:
    """What a statement gives. Columns that Python has no values for, such as a date of `infinity`, become text."""
    if not statement.query.lstrip("( \n\t").lower().startswith(("select", "with", "from", "values", "table")):
        return connection.execute(statement)
    found = connection.sql(statement.query)
    kinds = list(map(_is_plain, found.types))
    if all(kinds):
        return connection.execute(statement)
    columns = [
        f"#{at} AS {quoted}" if plain else f"CAST(#{at} AS VARCHAR) AS {quoted}"
        for at, (plain, quoted) in enumerate(zip(kinds, map(_quoted, found.columns), strict=True), 1)
    ]
    return found.project(", ".join(columns))


def _is_plain(kind: Any) -> bool:
    """Whether values of a type of DuckDB's are numbers, texts, or lists and structs of these."""
    if kind.id in ("list", "array", "struct"):
        return all(_is_plain(inner) for name, inner in kind.children if name != "size")
    return kind.id in _PLAIN


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _ended_after(connection: Any, seconds: float | None) -> Iterator[threading.Event]:
    """Interrupt whatever a connection does after some seconds; the event says that this happened."""
    late, done = threading.Event(), threading.Event()

    def watch() -> None:
        done.wait(seconds)
        while not done.is_set():
            late.set()
            connection.interrupt()  # which is lost between two statements
            done.wait(_AGAIN)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield late
    finally:
        done.set()
        watcher.join()


def _tables_named(sql: str) -> list[str]:
    """The tables that the query may refer to; only these are loaded."""
    named = [table for table in TABLES if re.search(rf"\b{table}\b", sql, re.IGNORECASE)]
    return named or list(TABLES)


def _fill(connection: Any, trace: Trace, table: str) -> None:
    """Copy a table of the trace into the database in batches."""
    kind = SCHEMA if table == "trace" else schema.TABLES[table].insert(0, pa.field("position", pa.int64()))
    parts = batches(trace) if table == "trace" else _parts(trace, table, kind)
    reader = pa.RecordBatchReader.from_batches(kind, (batch for part in parts for batch in part.to_batches()))
    connection.register("given", reader)
    connection.execute(f"CREATE TABLE {table} AS SELECT * FROM given")
    connection.unregister("given")


def _parts(trace: Trace, table: str, kind: pa.Schema) -> Iterator[pa.Table]:
    positions = trace.positions(table)
    for start in range(0, len(positions), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(positions))
        part = trace.part(table, start, stop)
        yield pa.table([pa.array(positions[start:stop].astype(np.int64)), *part.columns], schema=kind)
