"""A forward that is dropped takes nothing of one with it that runs beside it in another thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tftrace import load
from tftrace.capture.calls import Call, place
from tftrace.capture.keep_when import Sieve
from tftrace.capture.measure.identity import Identities
from tftrace.capture.measure.summaries import Summaries
from tftrace.capture.pending_rows import Rows
from tftrace.trace import schema
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.writer import TraceWriter


def test_what_belongs_to_another_forward_waits_for_its_end(tmp_path: Path) -> None:
    path = create_folder(tmp_path / "run", False)
    writer = TraceWriter(path, {"complete": True})
    rows, known = Rows(writer, 0, Summaries(), {}), Identities()

    class Judged:
        """Judges the steps of both forwards as the first one ends."""

        def __init__(self) -> None:
            self.steps = [0, 1]

        def verdicts(self, ended: bool) -> None:
            while self.steps:
                row = dict.fromkeys(schema.CHECKS.names) | {"step": self.steps.pop(), "equation": "e", "cells": 1}
                writer.add("checks", tuple((row | {"verdict": "holds"}).values()))

    checker: Any = Judged()
    forgotten: list[int] = []
    dropped: list[int] = []
    sieve = Sieve("max > 2", rows, writer, checker, forgotten.append, dropped.append)
    calls = []
    for number in range(2):
        call = Call(place("module", "", "Net"))
        call.step = call.forward = number
        calls.append(call)
        rows.tensors += (number, schema.OUTPUT, "", known.of(torch.full((2,), 1.0 + 4 * number)))
    for call in calls:
        rows.step(call, 1, "returned", None)
        sieve.end(call.forward)
        sieve.flush(1)  # the second forward, of step 1, may still run
    writer.close()
    trace = load(path)
    assert (dropped, forgotten) == ([0], [0])
    assert [table["step"].to_pylist() for table in (trace.steps, trace.tensors, trace.checks)] == [[1]] * 3
    assert sieve.left_out() == ["1 forwards did not meet 'max > 2' and are not in the trace."]
