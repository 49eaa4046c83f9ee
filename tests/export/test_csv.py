"""The CSV: its header, its rows, and that it runs nothing in a spreadsheet."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tftrace import Trace
from tftrace.errors import TraceError
from tftrace.export import export, table
from tftrace.trace import schema

from ..support.builders import Builder, attention_trace, hostile_trace

HEADER = (
    "step,parent,depth,forward,rank,kind,name,type,occurrence,file,line,start_ns,duration_ns,status,role,tensor_name,"
    "tensor,shape,dtype,device,numel,nbytes,mean,std,min,max,l2,nan,inf,zero,equation,verdict,residual,bound"
)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def named(folder: Path, name: str) -> Trace:
    builder = Builder(folder / "named.tftrace")
    builder.tensor(builder.step(0, name=name), schema.INPUT, name)
    return builder.done()


def test_header_and_rows(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    trace.to_csv(tmp_path / "run.csv")
    assert (tmp_path / "run.csv").read_text(encoding="utf-8").splitlines()[0] == HEADER
    found = rows(tmp_path / "run.csv")
    # THEN each step has one row a tensor, and one with empty cells if it has none
    counts = [max(sum(r["step"] == step for r in trace.tensors.to_pylist()), 1) for step in range(len(trace))]
    assert [sum(r["step"] == str(step) for r in found) for step in range(len(trace))] == counts
    embed = next(r for r in found if r["name"] == "embed")
    assert {embed[c] for c in HEADER.split(",")[14:]} == {""}
    query = [r for r in found if r["name"] == "attention.query"]
    assert [(r["role"], r["shape"], r["verdict"], r["bound"]) for r in query] == [
        ("input", "1x2x8", "holds", "1.2e-05"),
        ("parameter", "8x8", "holds", "1.2e-05"),
        ("output", "1x2x8", "holds", "1.2e-05"),
    ]


def test_a_scalars_shape_is_an_empty_text_and_a_missing_one_is_nothing(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "t.tftrace")
    builder.tensor(builder.step(0), schema.INPUT, "loss", ())
    builder.step(1)
    builder.done().to_csv(tmp_path / "run.csv")
    _, scalar, none = (tmp_path / "run.csv").read_text(encoding="utf-8").splitlines()
    assert ',loss,0,"",float32,' in scalar
    assert none.endswith("returned" + "," * 20)


FORMULAS = [
    "=cmd()",
    "+1",
    "-1",
    "@x",
    "\tx",
    "\nx",
    "\rx",
    "  =1+1",
    " \t-2",
    "=a,b",
    '="x"',
    "\u00a0=1",
    "\ufeff=1",
    "＝1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_guarded(tmp_path: Path, text: str) -> None:
    named(tmp_path, text).to_csv(tmp_path / "run.csv")
    for reader in (rows(tmp_path / "run.csv"), pd.read_csv(tmp_path / "run.csv").to_dict("records")):
        (row,) = reader
        assert row["name"] == row["tensor_name"] == "'" + text


@pytest.mark.parametrize("text", ["a,b", 'say "x"', "two\nlines", "Σ 图 ✓", "a=b", "x-1", " x ", "'quoted'", "a\r\nb"])
def test_other_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    named(tmp_path, text).to_csv(tmp_path / "run.csv")
    for reader in (rows(tmp_path / "run.csv"), pd.read_csv(tmp_path / "run.csv").to_dict("records")):
        (row,) = reader
        assert row["name"] == row["tensor_name"] == text


def test_a_hostile_trace_is_exported(tmp_path: Path) -> None:
    trace = hostile_trace(tmp_path)
    trace.to_csv(tmp_path / "run.csv")
    assert len(rows(tmp_path / "run.csv")) == len(trace.to_pandas())


def test_to_pandas_is_what_the_csv_holds(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    trace.to_csv(tmp_path / "run.csv")
    frame, found = trace.to_pandas(), rows(tmp_path / "run.csv")
    assert list(frame.columns) == HEADER.split(",") and len(frame) == len(found)

    def text(value: Any) -> str:
        return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)

    for row, (_, values) in zip(found, frame.iterrows(), strict=True):
        assert list(row.values()) == [text(v) for v in values]
    assert str(frame["step"].dtype) == str(frame["tensor"].dtype) == "Int64"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    trace, path = attention_trace(tmp_path), tmp_path / "run.csv"
    path.write_text("mine")
    with pytest.raises(TraceError, match=r"exists already: .*overwrite=True"):
        trace.to_csv(path)
    assert path.read_text() == "mine"
    trace.to_csv(path, overwrite=True)
    assert len(rows(path)) > 0


@pytest.mark.parametrize("name", ["run.xls", "run", "run.csv.exe"])
def test_an_unknown_format_is_named(tmp_path: Path, name: str) -> None:
    trace = attention_trace(tmp_path)
    with pytest.raises(TraceError, match=r"There is no export to .* name a file in .*\.csv"):
        export(trace, tmp_path / name)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_export_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    trace = attention_trace(tmp_path)
    before = set(tmp_path.iterdir())

    def write(trace: Trace, stream: Any) -> None:
        stream.write(b"half")
        stream.flush()
        raise error

    monkeypatch.setattr(table, "write", write)
    with pytest.raises(TraceError if isinstance(error, OSError) else error):
        export(trace, tmp_path / "run.csv")
    assert set(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"cannot be written .No such file or directory.: choose another file"):
        attention_trace(tmp_path).to_csv(tmp_path / "nowhere" / "run.csv")
