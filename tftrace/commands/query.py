"""`tftrace query`: SQL over a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import TraceError
from ..terminal import data, say
from ..trace.trace import load
from ._shared import Switch

_FIRST = 100  # rows that are printed, if nothing else is said


def query(
    trace: Path,
    sql: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    csv: Switch = False,
    json: Switch = False,
    rows: int = _FIRST,
) -> None:
    """Ask a trace in SQL: "select name, max from tensors where nan > 0".

    The tables are steps, tensors and checks, with the columns of docs/trace-format.md after the position of the step
    (0, 1, … over all ranks), and trace: one row a step and tensor, as in the CSV. Nothing else can be read, and nothing
    is changed. It needs DuckDB: pip install 'tftrace[query]'.

    Parameters
    ----------
    trace
        Folder of the trace.
    sql
        One SELECT; DESCRIBE steps or SHOW TABLES also do.
    csv
        All rows as CSV.
    json
        All rows as JSON, one object a line.
    rows
        Rows of the table that is printed otherwise.
    """
    from ..maintain.query import query as run
    from ._rows import write_csv, write_jsonl, write_table

    if csv and json:
        raise TraceError("Rows are written as CSV or as JSON, not both: leave one of --csv and --json out.")
    with run(load(trace), sql) as found:
        if csv or json:
            (write_csv if csv else write_jsonl)(found, data())
        elif write_table(found, max(0, rows)):
            say(f"There are more rows: --rows {10 * max(1, rows)} prints more, --csv and --json all of them.")
