"""Forwards that meet a condition are kept, as a reader of the whole trace finds them, and no other touches the disk or
what runs beside it in another thread."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tftrace
from tftrace import Trace, load
from tftrace.capture.calls import Call, place
from tftrace.capture.keep_when import Sieve
from tftrace.capture.measure.identity import Identities
from tftrace.capture.measure.summaries import Summaries
from tftrace.capture.pending_rows import Rows
from tftrace.navigate.condition import fits, parse
from tftrace.trace import schema
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.writer import TraceWriter

GIVEN = [torch.full((2, 8), float(at)) + torch.arange(8.0) for at in range(5)]
GIVEN[3][0, 0] = torch.nan


class Net(nn.Module):
    """A norm that is at times not what its equation says, and a line that binds a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Of shape [rows, 8] in, [rows, 4] out."""
        loss = given.mean()
        wide = self.norm(given) * (2 if loss > 5.4 else 1)
        result: torch.Tensor = self.out(wide)
        return result


def recorded(path: Path, when: str | None, level: str = "lines") -> Trace:
    """The forwards of a model with a norm that is wrong at times."""
    model = Net()
    model.norm.register_forward_hook(lambda _, args, found: found * 1.01 if args[0].mean() > 6 else None)
    run: Any = tftrace.traced(path=path, when=when, level=level)(lambda given: model(given))
    for given in GIVEN:
        run(given)
    return load(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """All forwards."""
    return recorded(tmp_path_factory.mktemp("whole") / "run", None)


@pytest.mark.parametrize(
    "when",
    [
        "nan > 0", "max > 9 and type = *Linear", "loss > 5 or nan > 0", "not mean > 0 and kind = line",
        "verdict = differs", "verdict != holds and name = norm", "residual > 1e-3", "cells > 0 and nan = 0",
        "given.mean >= 4.5 and line > 0", "dtype = float32 and wide.std > 1.5", "occurrence > 5", "zero > 0",
        "equation ~ norm and max > 1.6", "file ~ keep_when and step > 20", "not device = cpu",
    ],
)  # fmt: skip
def test_what_is_kept_is_what_a_reader_finds(whole: Trace, when: str, tmp_path: Path) -> None:
    trace = recorded(tmp_path / "run", when)
    fitting = fits(whole, parse(when, tensors=True))
    forwards = set(whole.column("forward")[fitting].tolist())
    assert set(trace.column("forward").tolist()) == forwards
    ours = np.isin(whole.column("forward"), list(forwards))
    for name in ("step", "kind", "name", "status", "equation", "parent"):
        assert trace.column(name).tolist() == pytest.approx(whole.column(name)[ours].tolist(), nan_ok=True)
    for table, names in (("tensors", ("role", "name", "mean")), ("checks", ("equation", "verdict", "residual"))):
        rows = ours[whole.positions(table)]
        if table == "tensors":  # a parameter is told of with the first forward that is kept
            rows &= whole.column("role", "tensors") != schema.PARAMETER
        for name in names:
            found = trace.column(name, table)
            if table == "tensors":
                found = found[trace.column("role", "tensors") != schema.PARAMETER]
            assert found.tolist() == pytest.approx(whole.column(name, table)[rows].tolist(), nan_ok=True)


def test_a_forward_that_is_dropped_touches_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    model, run = Net(), tmp_path / "run"
    traced: Any = tftrace.traced(path=run, when="nan > 0")(lambda given: model(given))
    traced(GIVEN[3])

    def states() -> dict[Path, tuple[int, int]]:
        return {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in run.rglob("*")}

    before = states()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file is made")

    for name in ("open", "mkdir", "replace"):
        monkeypatch.setattr(os, name, refuse)
    traced(GIVEN[0])
    monkeypatch.undo()
    assert not recwarn.list
    assert states() == before
    assert load(run).column("forward").max() == 0


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
        sieve.flush(1, ended=False)  # the second forward, of step 1, may still run
    writer.close()
    trace = load(path)
    assert (dropped, forgotten) == ([0], [0])
    assert [table["step"].to_pylist() for table in (trace.steps, trace.tensors, trace.checks)] == [[1]] * 3
    assert sieve.left_out() == ["1 forwards did not meet 'max > 2' and are not in the trace."]
