"""SQL over a trace: what it answers, and that it reads nothing else and changes nothing."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tftrace import Trace
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.export.table import COLUMNS
from tftrace.maintain.query import TABLES, query

from ..support.builders import attention_trace, hostile_trace
from ..trace.test_ranks import join


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return attention_trace(tmp_path, forwards=2)


def ask(trace: Trace, sql: str) -> list[dict[str, Any]]:
    with query(trace, sql) as found:
        rows: list[dict[str, Any]] = found.read_all().to_pylist()
    return rows


def test_the_tables_are_those_of_the_trace(trace: Trace) -> None:
    for table in ("steps", "tensors", "checks"):
        rows = ask(trace, f"SELECT * FROM {table}")
        assert [row.pop("position") for row in rows] == trace.positions(table).tolist()
        assert rows == getattr(trace, table).to_pylist()
    assert [row["name"] for row in ask(trace, "SHOW TABLES")] == sorted(TABLES)
    rows = ask(trace, "select * from trace")
    assert list(rows[0]) == list(COLUMNS) and len(rows) == len(trace.to_pandas())


def test_the_question_of_the_manual(trace: Trace) -> None:
    assert ask(trace, "select name, max from tensors where nan > 0") == [{"name": "", "max": 4.3}]
    joined = "select s.name from tensors t join steps s using (position) where t.nan > 0"
    assert ask(trace, joined) == [{"name": "attention.query"}]
    assert ask(trace, "select distinct name, verdict from trace where verdict = 'differs'") == [
        {"name": "attention.attend", "verdict": "differs"}
    ]
    assert ask(trace, "WITH x AS (SELECT 1 AS one) FROM x") == [{"one": 1}]


def test_steps_of_two_ranks_are_told_apart(tmp_path: Path) -> None:
    for rank in range(2):
        path = join(tmp_path / "run.tftrace", rank)
    rows = ask(Trace(path), "select position, step, rank from steps order by 1")
    assert [tuple(row.values()) for row in rows] == [(0, 0, 0), (1, 0, 1)]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{file}')", "select * from read_text('{file}')", "select * from '{file}'",
        "select * from glob('/*')", "copy steps to '{file}'", "attach '{file}'", "install httpfs", "load httpfs",
        "select * from read_parquet('https://example.com/x.parquet')", "export database '{file}'",
        "set enable_external_access = true", "pragma enable_external_access", "select * from secret",
        "delete from steps", "create table x as select 1", "select 1; select * from read_text('{file}')",
        "insert into steps select * from steps", "", ";", "selekt", "select * from nothing",
        "select nothing from steps",
    ],
)  # fmt: skip
def test_nothing_else_is_read_and_nothing_is_changed(trace: Trace, tmp_path: Path, sql: str) -> None:
    secret = trace.steps  # noqa: F841 - a variable of this program, which SQL must not see
    file = tmp_path / "secret.txt"
    file.write_text("secret")
    with pytest.raises(TraceError, match=r"^(The query failed|A query is one SELECT)"):
        ask(trace, sql.format(file=file))
    assert file.read_text() == "secret"


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"]])
@pytest.mark.parametrize("sql", ["select 'infinity'::timestamp as t, 1 as n", "select * from test_all_types()"])
def test_values_that_python_has_not_are_text(
    sql: str, form: list[str], trace: Trace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", str(trace.path), sql, *form]) == 0
    out = capsys.readouterr().out
    if "infinity" in sql:
        assert "infinity" in out
        assert form != ["--json"] or json.loads(out) == {"t": "infinity", "n": 1}  # numbers stay numbers


@pytest.mark.skipif(sys.platform != "linux", reason="no limit on memory elsewhere")
def test_a_query_that_takes_too_much_memory_is_ended(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    monkeypatch.setattr("tftrace.maintain.query._MEMORY", 200 << 20)
    with pytest.raises(TraceError, match="takes too much memory"):
        ask(trace, "select repeat('x', 1000000000) as a")
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_an_error_that_comes_with_the_rows_is_one_too(trace: Trace) -> None:
    with pytest.raises(TraceError, match="The query failed"):
        ask(trace, "select cast(name as integer) from steps")


# -- the command --------------------------------------------------------------------------------------


def test_rows_for_a_person_and_for_programs(trace: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select name, shape, max, null as none from tensors where role = 'input' and numel > 1 order by position"
    assert main(["query", str(trace.path), sql, "--rows", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["name", "shape", "max", "none"]
    assert out.splitlines()[1].split() == ["ids", "1×2", "7", "null"] and len(out.splitlines()) == 3
    assert "There are more rows" in err
    assert main(["query", str(trace.path), sql, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == {"name": "ids", "shape": "1x2", "max": "7.0", "none": ""} and len(rows) == 8
    assert main(["query", str(trace.path), sql, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"name": "ids", "shape": [1, 2], "max": 7.0, "none": None} and len(lines) == 8


def test_what_a_stranger_wrote_moves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = hostile_trace(tmp_path)
    for options in ([], ["--json"]):
        assert main(["query", str(trace.path), "select name, type from steps", *options]) == 0
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err and "[red]boo" in out
    assert main(["query", str(trace.path), "select '=1+1' as a", "--csv"]) == 0
    assert capsys.readouterr().out == "a\n'=1+1\n"


def test_mistakes_get_one_sentence(
    trace: Trace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["query", str(trace.path), "select 1", "--csv", "--json"]) == 2
    assert capsys.readouterr().err == (
        "tftrace: Rows are written as CSV or as JSON, not both: leave one of --csv and --json out.\n"
    )
    assert main(["query", str(trace.path), "select '\udcff'"]) == 2
    assert capsys.readouterr().err == "tftrace: The query holds bytes that are not UTF-8: write it again.\n"
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["query", str(trace.path), "select 1"]) == 2
    assert capsys.readouterr().err == "tftrace: Queries need DuckDB: install it with pip install 'tftrace[query]'.\n"
