"""The guided walk goes through each equation once, in the order of the run."""

from __future__ import annotations

from pathlib import Path

from tftrace.navigate import tour

from ..support.builders import attention_trace, tree_trace


def test_each_equation_of_a_paper_once_and_building_blocks_not(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    found = tour.stops(trace)
    assert [trace[at].equation for at in found] == ["linear", "attention"]
    trace.meta["equations"]["linear"] = {"cite": "PyTorch documentation, torch.nn.Linear"}
    assert [trace[at].equation for at in tour.stops(trace)] == ["attention"]
    (at,) = tour.stops(trace)
    assert tour.next_stop(trace, 0, 1) == at
    assert tour.next_stop(trace, at, 1) is None and tour.next_stop(trace, at, -1) is None
    assert tour.next_stop(trace, at + 1, -1) == at


def test_a_run_without_equations_has_no_walk(tmp_path: Path) -> None:
    assert tour.stops(tree_trace(tmp_path, [0, 1])) == []
