"""The stack of running calls by itself: what becomes of calls that nothing has ended."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tftrace import load
from tftrace.capture.calls import Call, place
from tftrace.capture.measure.identity import Identities
from tftrace.capture.measure.summaries import Summaries
from tftrace.capture.pending_rows import Rows
from tftrace.capture.recording import Recording
from tftrace.trace import schema
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.writer import TableFile, TraceWriter


@pytest.mark.parametrize(
    ("raised", "stopped", "left", "status"),
    [
        (True, False, False, ["raised", "raised", "raised"]),
        (True, True, False, ["returned", "returned", "returned"]),  # on purpose: no failure
        (False, False, False, ["returned", "open", "open"]),
        (True, False, True, ["raised", "raised", "returned"]),
    ],
)
def test_what_is_open_below_a_call_ends_with_it(
    tmp_path: Path, raised: bool, stopped: bool, left: bool, status: list[str]
) -> None:
    path = create_folder(tmp_path / "run", False)
    writer = TraceWriter(path, {"complete": True})
    recording = Recording(Rows(writer, 0, Summaries(), {}), Identities(), None, lambda: None)
    outer, _, inner = (recording.enter(place("module", name, "Net")) for name in ("", "a", "a.b"))
    if left:
        recording.leave(inner)
    recording.stopping(stopped)
    recording.leave(outer, raised=raised)
    assert recording.stack == []
    recording.end()
    writer.close()
    assert [step.status for step in load(path)] == status


@pytest.mark.parametrize(
    ("evidence", "covers", "principal"),
    [("stated", "all", "given"), ("stated", "wiring", "found"), ("guessed", "all", "found")],
)
def test_the_principal_equation_is_a_stated_one_before_one_that_was_seen(
    evidence: str, covers: str, principal: str
) -> None:
    call = Call(place("module", "", "Net"))
    match: Any = SimpleNamespace(evidence=evidence, equation=SimpleNamespace(id="given", covers=covers))
    call.equations = (match,)
    assert call.equation == "given"
    call.noted = ((0, "found"),)
    assert call.equation == principal


def test_rows_whose_writing_was_interrupted_are_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = create_folder(tmp_path / "run", False)
    writer = TraceWriter(path, {"complete": True})
    rows = Rows(writer, 0, Summaries(), {})
    rows.step(Call(place("module", "", "Net")), 1, "returned", None)
    rows.tensors += (0, "output", "", Identities().of(torch.ones(2)))
    writer.add("checks", tuple((dict.fromkeys(schema.CHECKS.names) | {"step": 0, "cells": 1}).values()))
    send = TableFile._send
    for _ in schema.TABLES:  # one of them comes through each time
        sent: list[int] = []

        def interrupted(self: TableFile, *given: Any, sent: list[int] = sent) -> None:
            if sent:
                raise KeyboardInterrupt
            sent.append(1)
            send(self, *given)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(TableFile, "_send", interrupted)
            rows.flush()
            writer.flush()
    writer.close()
    trace = load(path)
    assert [len(table) for table in (trace.steps, trace.tensors, trace.checks)] == [1, 1, 1]


def test_what_is_known_of_freed_memory_goes_while_forwards_are_recorded(tmp_path: Path) -> None:
    writer = TraceWriter(create_folder(tmp_path / "run", False), {})
    identities = Identities()
    recording = Recording(Rows(writer, 0, Summaries(), {}), identities, None, lambda: None)
    recording.settle()  # from here on nothing is written
    for _ in range(12):
        call = recording.enter(place("module", "", "Net"), arguments={str(at): torch.zeros(3) for at in range(100)})
        recording.leave(call)
        del call
    assert len(identities._storages) < 400
    writer.close()
