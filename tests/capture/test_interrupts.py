"""A KeyboardInterrupt, at whatever line of ours it strikes, leaves torch as it was, and what was recorded written."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

import tftrace
from tftrace.capture.setup import code_watchers
from tftrace.capture.watch.frames import Settrace

from ..support.interrupted import Interrupt, changed, interrupted, lines, replaceable
from ..support.odd import Net, names

_SAMPLE = 8  # lines of each way, in the beginning and in the end
MODEL, X = Net().eval(), torch.ones(1, 4)
WAYS: dict[str, dict[str, Any]] = {
    "lines": {"model": MODEL},
    "settrace": {"model": MODEL, "level": "functions"},
    "ops": {"model": MODEL, "level": "ops", "backward": True, "values": "all"},
    "program": {"level": "modules"},
}


@pytest.fixture(params=WAYS)
def new(request: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """What makes a recorder. What interrupts sits where our line tracer would, which is therefore told to take it."""
    if request.param == "settrace":
        monkeypatch.setattr(code_watchers, "source_of_frames", lambda tracer: (Settrace(tracer), []))
    return lambda path: tftrace.record(path=path, **WAYS[request.param])


def begins(new: Callable[[Path], Any], path: Path, interrupt: Interrupt) -> None:
    """A recording that may be interrupted while it begins."""
    recording = new(path)
    with interrupt.on():
        recording.__enter__()
    MODEL(X)
    recording.__exit__(None, None, None)


def ends(new: Callable[[Path], Any], path: Path, interrupt: Interrupt) -> None:
    """One that may be interrupted while it ends."""
    recording = new(path)
    recording.__enter__()
    MODEL(X)
    MODEL(X)  # which is not written at once, as the first is
    with interrupt.on():
        recording.__exit__(None, None, None)


def called(new: Callable[[Path], Any], path: Path, interrupt: Interrupt) -> None:
    """A traced function that may be interrupted while its recording begins, goes on and rests."""
    function = tftrace.traced(path=path, level="modules")(_aside(interrupt))
    with interrupt.on():
        function(X)
        function(X)


def _aside(interrupt: Interrupt) -> Callable[[torch.Tensor], Any]:
    """The model, which itself is not interrupted."""

    def call(x: torch.Tensor) -> Any:
        with interrupt.off():
            return MODEL(x)

    return call


def written(path: Path) -> int:
    """How many bytes stand in a trace."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def strike(run: Callable[..., None], new: Callable[[Path], Any], folder: Path, sample: int | None) -> int:
    """Interrupt a run at each of its lines, or at a sample of them; how many that were."""
    paths = (folder / f"{number}.tftrace" for number in count())
    run(new, whole := next(paths), Interrupt())  # what is imported and remembered the first time
    most = lines(lambda interrupt: run(new, next(paths), interrupt))
    before = replaceable()
    struck = range(1, most + 1, 1 if sample is None else max(1, most // sample))
    for at in struck:
        path = next(paths)
        where = interrupted(lambda interrupt, path=path: run(new, path, interrupt), at)  # type: ignore[misc]
        said = f"interrupted at line {at} of {most}, {where}"
        assert run is not ends or len(tftrace.load(path)) == len(tftrace.load(whole)), said
        size = written(path)
        assert changed(before, replaceable()) == [], said
        MODEL(X)
        with tftrace.record(MODEL, level="modules") as trace:
            MODEL(X)
        assert names(trace) == ["", "first", "act", "drop", "last"] and trace.meta["complete"], said
        assert written(path) == size, said
        assert changed(before, replaceable()) == [], said
    return len(struck)


@pytest.mark.parametrize("run", [begins, ends])
def test_an_interrupt_leaves_torch_as_it_was(
    run: Callable[..., None], new: Callable[[Path], Any], tmp_path: Path
) -> None:
    assert strike(run, new, tmp_path, _SAMPLE) >= _SAMPLE


@pytest.mark.slow
@pytest.mark.parametrize("run", [begins, ends])
def test_an_interrupt_at_each_line(run: Callable[..., None], new: Callable[[Path], Any], tmp_path: Path) -> None:
    assert strike(run, new, tmp_path, None) > 100


@pytest.mark.parametrize("sample", [_SAMPLE, pytest.param(None, marks=pytest.mark.slow)])
def test_an_interrupt_of_a_traced_function(sample: int | None, tmp_path: Path) -> None:
    assert strike(called, lambda path: None, tmp_path, sample) >= _SAMPLE
