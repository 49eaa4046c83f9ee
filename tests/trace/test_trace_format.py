"""docs/trace-format.md says what the schema says, and a program that knows nothing else can read a trace."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import tftrace
from tftrace import Trace, load
from tftrace.cli import main
from tftrace.export.formats import FORMATS
from tftrace.show import show
from tftrace.trace import schema

from ..fuzz.corpus import CORPUS
from ..support.builders import Builder, attention_trace, tree_trace

DOCUMENT = Path(tftrace.__file__).parents[1] / "docs" / "trace-format.md"
STREAMS = schema.TABLES | {"numbers": schema.NUMBERS}


def table(name: str) -> str:
    """The columns of a table as the document has them."""
    about = {field.name: field.metadata[b"about"].decode().replace("|", "\\|") for field in STREAMS[name]}
    types = {field.name: str(field.type).replace("<item: ", "<") for field in STREAMS[name]}
    rows = [f"| `{column}` | {types[column]} | {said} |\n" for column, said in about.items()]
    return "".join(["| column | type | |\n", "| --- | --- | --- |\n", *rows])


@pytest.mark.parametrize("name", STREAMS)
def test_the_document_has_the_columns_of_the_schema(name: str) -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n### {name}\n")[1].split("\n#")[0]
    assert table(name) in section + "\n"


def test_the_document_names_the_version_and_the_keys(tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"Schema version {schema.SCHEMA_VERSION}." in text
    named = set(re.findall(r"`(\w+)`", text.split("\n## meta.json\n")[1].split("\n## ")[0]))
    assert set(attention_trace(tmp_path).meta) <= named


# -- another program: it imports nothing of tftrace ------------------------------------------------------


TEXTS = ("kind", "name", "type", "role", "dtype", "device")
NUMBERS = ("forward", "occurrence", "start_ns", "numel", "nbytes", "cells")


def filled(row: dict[str, Any], at: int) -> dict[str, Any]:
    """A row as it is read if it has nulls that no recording writes."""
    stands = dict.fromkeys(TEXTS, "") | dict.fromkeys(NUMBERS, 0) | {"status": "open", "verdict": "unchecked"}
    stands |= {"tensor": -1 - at}
    return {name: stands[name] if cell is None and name in stands else cell for name, cell in row.items()}


def batches(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if file.exists():
        try:
            with pa.ipc.open_stream(file.read_bytes()) as reader:
                for batch in reader:
                    rows += [filled(row, len(rows) + at) for at, row in enumerate(batch.to_pylist())]
        except (pa.ArrowInvalid, OSError):
            pass  # cut off
    return rows


def read(folder: Path) -> list[dict[str, Any]]:
    """The steps in order, each with its tensors and checks, as the document says."""
    metas = [json.loads(file.read_text()) for file in sorted(folder.glob("rank-*/meta.json"))]
    meta = metas[0] if metas else json.loads((folder / "meta.json").read_text())
    assert meta["schema"] == 1
    found = []
    for rank in sorted(folder.glob("rank-*")):
        steps = {row["step"]: row | {"tensors": [], "checks": []} for row in batches(rank / "steps.arrow")}
        for name in ("tensors", "checks"):
            for row in batches(rank / f"{name}.arrow"):
                if row["step"] in steps:
                    steps[row["step"]][name].append(row)
        found += [steps[number] for number in sorted(steps)]
    return found


def ours(trace: Trace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = trace.steps.to_pylist()
    for at, row in enumerate(found):
        for name in ("tensors", "checks"):
            first, end = trace.bounds(name)[at : at + 2]
            row[name] = trace.part(name, first, end).to_pylist()
    return found


@pytest.mark.parametrize("name", ["attention", "hostile", "ranks", "recorded"])
def test_another_program_reads_the_same(name: str) -> None:
    assert read(CORPUS / name) == ours(load(CORPUS / name))


def test_no_reader_meets_a_null_that_no_recording_writes(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "nulls.tftrace")
    plain: dict[str, Any] = dict.fromkeys(("kind", "name", "type", "occurrence", "start_ns", "status", "forward"))
    step = builder.step(0, **plain)
    for _ in range(2):
        builder.tensor(step, None, None, tensor=None, dtype=None, device=None, numel=None, nbytes=None)  # type: ignore[arg-type]
    builder.tensor(step, schema.INPUT, "x", tensor=None, shape=None)  # type: ignore[arg-type]
    builder.check(step, None, None, cells=None)  # type: ignore[arg-type]
    trace = builder.done()
    found = trace[0]
    assert (found.kind, found.name, found.status, found.forward) == ("", "", schema.OPEN, 0)
    one = found.tensors[0]
    assert (one.role, one.name, one.dtype, one.numel, one.nbytes) == ("", "", "", 0, 0)
    assert [row.tensor for row in found.tensors] == [-1, -2, -3]  # no two are known to be the same
    assert (found.checks[0].equation, found.checks[0].verdict, found.checks[0].cells) == ("", schema.UNCHECKED, 0)
    out = io.StringIO()
    show(trace, out=out)
    for name in FORMATS:
        trace.export(tmp_path / f"made.{name}", format=name)
    assert main(["explain", str(trace.path), "0", "--cell", "0"]) == 2


def test_it_reads_the_same_of_what_was_cut(tmp_path: Path) -> None:
    trace = tree_trace(tmp_path, [0, 1, 2, 1])
    file = trace.path / "rank-00000" / "steps.arrow"
    whole = file.read_bytes()
    for end in range(len(whole) // 2, len(whole), 97):
        file.write_bytes(whole[:end])
        assert read(trace.path) == ours(load(trace.path))
