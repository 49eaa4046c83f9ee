"""Every NaN and Inf is traced to the line, and without lines to the innermost module, that made it, with its cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tftrace
from tftrace.navigate.nonfinite import CAUSES, Origins, origins

from ..support.broken_numbers import CASES, Broken


def run(folder: Path, broken: Broken, level: str, values: str = "auto") -> tuple[Any, Origins]:
    with torch.no_grad(), tftrace.record(broken.model.eval(), path=folder / "run", level=level, values=values):
        broken.model(*broken.inputs)
    trace = tftrace.load(folder / "run")
    return trace, origins(trace)


@pytest.mark.parametrize("values", ["auto", "none"])
@pytest.mark.parametrize("name", CASES)
def test_at_lines_it_is_the_line(name: str, values: str, tmp_path: Path) -> None:
    broken = CASES[name]()
    trace, found = run(tmp_path, broken, "lines", values)
    if not broken.cause:
        assert (found.found, found.innocent > 0) == ((), True)
        return
    first = found.found[0]
    step = trace[first.step]
    assert broken.line in " ".join(step.source) and len(found.found) == broken.origins, found
    assert first.cause in CAUSES
    if broken.cause == "parameter" or values == "auto":
        assert (first.cause, broken.detail in first.detail) == (broken.cause, True), found
    else:
        assert first.cause == broken.cause, found


@pytest.mark.parametrize("level", ["modules", "functions"])
@pytest.mark.parametrize("name", CASES)
def test_without_lines_it_is_the_innermost_module(name: str, level: str, tmp_path: Path) -> None:
    broken = CASES[name]()
    _, found = run(tmp_path, broken, level)
    if not broken.cause or broken.hidden:
        assert found.found == ()
        return
    assert (found.found[0].name, found.found[0].type) == broken.module
    assert found.found[0].cause in CAUSES


@pytest.mark.parametrize("name", CASES)
def test_at_ops_it_is_the_op(name: str, tmp_path: Path) -> None:
    broken = CASES[name]()
    trace, found = run(tmp_path, broken, "ops")
    if not broken.cause:
        assert found.found == ()
        return
    first = found.found[0]
    line = next((at for at in (first.step, *_above(trace, first.step)) if trace[at].kind == "line"), first.step)
    assert broken.line in " ".join(trace[line].source) and first.cause == broken.cause, found


def _above(trace: Any, at: int) -> list[int]:
    found = []
    while (above := trace.parent(at)) is not None:
        found.append(above)
        at = above
    return found
