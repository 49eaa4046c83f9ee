"""A timeline in Chrome's Trace Event Format for Perfetto and chrome://tracing: a slice per step, a process per rank.

Recorded durations exclude the time that recording took, but recorded start times do not. Steps are therefore moved to a
timeline of their own, where each lies inside its parent and after its predecessor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from .. import describe
from ..text import shape, visible
from ..trace import schema
from ..trace.trace import Trace
from .jsonlines import dumps, objects

_BETWEEN = 90  # per cent of a step's self time drawn before and between its children; the rest is drawn after them


def write(trace: Trace, stream: BinaryIO) -> None:
    """Write one JSON object with `traceEvents`; times are in microseconds, as the format requires."""
    model = visible(str(trace.meta.get("model") or "model"))
    stream.write(b'{"displayTimeUnit": "ns", "otherData": ' + dumps({"model": model}).encode() + b',\n"traceEvents": [')
    for at, event in enumerate(_events(trace, model)):
        stream.write((b",\n" if at else b"\n") + dumps(event).encode())
    stream.write(b"\n]}\n")


def _events(trace: Trace, model: str) -> Iterator[dict[str, Any]]:
    starts, durations, lanes = timeline(trace)
    ranks = trace.column("rank")
    for rank in np.unique(ranks).tolist():
        yield _metadata("process_name", rank, 0, f"rank {rank} · {model}")
        for lane in np.unique(lanes[ranks == rank]).tolist():
            yield _metadata("thread_name", rank, lane, f"forward passes {lane}" if lane else "forward passes")
    for at, step in enumerate(objects(trace)):
        verdict = describe.verdict(trace, at)
        yield {
            "name": _name(trace, at, step),
            "cat": ",".join(filter(None, (visible(step["kind"] or ""), verdict))),
            "ph": "X",
            "ts": starts[at] / 1000,
            "dur": durations[at] / 1000,
            "pid": step["rank"],
            "tid": int(lanes[at]),
            "args": _arguments(trace, at, step),
        }


def _metadata(what: str, rank: int, lane: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": rank, "tid": lane, "args": {"name": name}}


def _name(trace: Trace, at: int, step: dict[str, Any]) -> str:
    row = describe.row(trace, at)
    return f"{step['line']}  {row.label}" if row.kind == schema.LINE else row.label


def _arguments(trace: Trace, at: int, step: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"step": at, "path": describe.path(trace, at), "at": describe.place(trace, at)}
    for role in (schema.INPUT, schema.PARAMETER, schema.LOCAL, schema.OUTPUT):
        seen = {visible(row["name"] or role): f"{shape(row['shape'] or ())} {visible(row['dtype'] or '')}"
                for row in step["tensors"] if row["role"] == role}  # fmt: skip
        if seen:
            found[role] = seen
    for check in step["checks"][:1]:
        found["equation"] = visible(check["equation"] or "")
        told = ("verdict", "kind", "covers", "residual", "bound")
        found |= {name: check[name] for name in told if check.get(name) is not None}
    if step["status"] != schema.RETURNED:
        found["status"] = visible(step["status"] or "")
    if "note" in step:
        found["note"] = visible(step["note"])
    return found


def timeline(trace: Trace) -> tuple[list[int], list[int], np.ndarray]:
    """Lay out the steps on a timeline where children lie inside their parents.

    Returns:
        The start of each step and its duration, both in nanoseconds, and its lane: the row of its rank that it is
        drawn in. Overlapping forward passes, of several threads, get a lane each.
    """
    recorded_starts = _nanoseconds(trace.column("start_ns"))
    durations = _nanoseconds(trace.column("duration_ns"))
    parents = trace.parents.tolist()
    size = len(parents)
    inside = [0] * size  # nanoseconds that the children of each step take
    for at in range(size - 1, -1, -1):
        durations[at] = max(durations[at], inside[at])
        if parents[at] >= 0:
            inside[parents[at]] += durations[at]
    gaps_inside, gaps = (
        [0] * size,
        [0] * size,
    )  # recorded: between a step's children, before a step
    clock = list(recorded_starts)
    for at in range(size):
        above = parents[at]
        if above >= 0:
            gaps[at] = max(0, recorded_starts[at] - clock[above])
            gaps_inside[above] += gaps[at]
            clock[above] = recorded_starts[at] + durations[at]
    starts, cursor, gaps_so_far = [0] * size, [0] * size, [0] * size
    for at in range(size):
        above = parents[at]
        if above < 0:
            starts[at] = recorded_starts[at]
        else:  # the parent's self time is split between its children in proportion to the recorded gaps
            gaps_so_far[above] += gaps[at]
            own = durations[above] - inside[above]
            share = own * _BETWEEN * gaps_so_far[above] // (100 * gaps_inside[above]) if gaps_inside[above] else 0
            starts[at] = starts[above] + cursor[above] + share
            cursor[above] += durations[at]
    return starts, durations, _lanes(trace, starts, durations)


def _lanes(trace: Trace, starts: list[int], durations: list[int]) -> np.ndarray:
    """The lane of each step: the first lane of its rank that is free when its forward pass starts."""
    lanes = np.zeros(len(starts), np.int64)
    ranks = trace.column("rank")
    free: dict[tuple[int, int], int] = {}  # (rank, lane) -> when it is free again
    roots = np.flatnonzero(trace.parents < 0).tolist()
    for root in sorted(roots, key=lambda at: starts[at]):
        rank, lane = int(ranks[root]), 0
        while free.get((rank, lane), starts[root]) > starts[root]:
            lane += 1
        free[rank, lane] = starts[root] + durations[root]
        lanes[root : int(trace.ends[root])] = lane
    return lanes


def _nanoseconds(column: np.ndarray) -> list[int]:
    """Nanoseconds as nonnegative integers, zero where unknown. A damaged trace's times are cut at a hundred years."""
    found: list[int] = np.nan_to_num(column.astype(float)).clip(0, 3.2e18).astype(np.int64).tolist()
    return found
