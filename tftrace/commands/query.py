"""`tftrace query` runs SQL over a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import TraceError
from ..language import tr
from ..terminal import data, say
from ..trace.trace import load
from ._shared import Switch

_FIRST = 100  # rows printed by default


def query(
    trace: Path,
    sql: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    csv: Switch = False,
    json: Switch = False,
    rows: int = _FIRST,
) -> None:
    """Query a trace with SQL, such as "select name, max from tensors where nan > 0".

    The tables steps, tensors and checks have the columns of docs/trace-format.md, preceded by the position of the step
    (0, 1, … over all ranks). The table trace has one row per step and tensor, as the CSV does. Nothing else can be
    read, and nothing is changed. This needs DuckDB: pip install 'tftrace[query]'.

    Parameters
    ----------
    trace
        Folder of the trace.
    sql
        One SELECT; DESCRIBE steps and SHOW TABLES work too.
    csv
        Print all rows as CSV.
    json
        Print all rows as JSON, one object per line.
    rows
        Print at most this many rows as a table, if neither CSV nor JSON is asked for.
    """
    from ..maintain.query import query as run
    from ._rows import write_csv, write_jsonl, write_table

    if csv and json:
        raise TraceError("Rows are written as CSV or as JSON, not both: leave one of --csv and --json out.")
    with run(load(trace), sql) as found:
        if csv or json:
            (write_csv if csv else write_jsonl)(found, data())
        elif write_table(found, max(0, rows)):
            say(
                tr(
                    "There are more rows: --rows {rows} prints more, --csv and --json all of them.",
                    rows=10 * max(1, rows),
                )
            )
