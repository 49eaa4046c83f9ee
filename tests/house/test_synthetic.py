"""The synthetic trace is like a recorded one: a tree, sources, data flow, one NaN and one difference to find."""

from __future__ import annotations

from pathlib import Path

from tftrace import load

from ..support.synthetic import write


def test_a_synthetic_trace_is_like_a_recorded_one(tmp_path: Path) -> None:
    trace = load(write(tmp_path / "run.tftrace", 3000))
    forwards = trace.column("forward").max() + 1
    assert len(trace) >= 3000 and len(trace) % forwards == 0
    # THEN what the rows say of the tree is what the depths say
    parents = trace.steps["parent"].fill_null(-1).to_numpy()
    assert (parents == trace.parents).all()
    # AND lines stand where the source says, and their value is the tensor that the call below returned
    line = next(s for s in trace if s.kind == "line" and s.name == "layers.0.attention")
    assert trace.source(line.file)[line.line - 1].strip() == "q = self.query(x)"  # type: ignore[operator]
    assert line.tensors[0].tensor == line.children[0].tensors[-1].tensor
    # AND the NaN begins in one place
    broken = [s for s in trace if any(t.nan for t in s.tensors)]
    assert {s.forward for s in broken} == {(forwards - 1) // 4 * 4}
    assert next(s.name for s in broken if s.kind == "module") == "layers.2"
    differs = trace.check_positions[trace.checks["verdict"].to_numpy() == "differs"]
    assert [trace[int(at)].name for at in differs] == ["layers.1.attention.attention"]
