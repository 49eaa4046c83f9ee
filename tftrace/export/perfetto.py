"""A timeline in Chrome's Trace Event Format, which Perfetto and chrome://tracing open: each step a duration inside its
parent's, a process a rank.

Durations are the recorded ones, without the time that recording took. Between them the clock ran on, so steps are set
on a time line of their own, on which each lies inside its parent and after the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from .. import describe
from ..text import shape, visible
from ..trace import schema
from ..trace.trace import Trace
from .jsonlines import dumps, objects

_BETWEEN = 90  # per cent of what a step did itself that are drawn before and between its children, the rest after them


def write(trace: Trace, stream: BinaryIO) -> None:
    """Write one JSON object with `traceEvents`; times are in microseconds, as the format has them."""
    model = visible(str(trace.meta.get("model") or "model"))
    stream.write(b'{"displayTimeUnit": "ns", "otherData": ' + dumps({"model": model}).encode() + b',\n"traceEvents": [')
    for at, event in enumerate(_events(trace, model)):
        stream.write((b",\n" if at else b"\n") + dumps(event).encode())
    stream.write(b"\n]}\n")


def _events(trace: Trace, model: str) -> Iterator[dict[str, Any]]:
    starts, durations, lanes = timeline(trace)
    ranks = trace.column("rank")
    for rank in np.unique(ranks).tolist():
        yield _named("process_name", rank, 0, f"rank {rank} · {model}")
        for lane in np.unique(lanes[ranks == rank]).tolist():
            yield _named("thread_name", rank, lane, f"forward passes {lane}" if lane else "forward passes")
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


def _named(what: str, rank: int, lane: int, name: str) -> dict[str, Any]:
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
        told = ("verdict", "covers", "residual", "bound")
        found |= {name: check[name] for name in told if check.get(name) is not None}
    if step["status"] != schema.RETURNED:
        found["status"] = visible(step["status"] or "")
    if "note" in step:
        found["note"] = visible(step["note"])
    return found


def timeline(trace: Trace) -> tuple[list[int], list[int], np.ndarray]:
    """For each step its start and its duration in nanoseconds, nested as the steps are, and which row of its rank it is
    drawn in: forward passes of several threads, which overlap, get a row each."""
    began = _whole(trace.column("start_ns"))
    lasted = _whole(trace.column("duration_ns"))
    parents = trace.parents.tolist()
    size = len(parents)
    inside = [0] * size  # nanoseconds that the children of a step take
    for at in range(size - 1, -1, -1):
        lasted[at] = max(lasted[at], inside[at])
        if parents[at] >= 0:
            inside[parents[at]] += lasted[at]
    idle, waits = [0] * size, [0] * size  # what the clock showed between children, and before each
    clock = list(began)
    for at in range(size):
        above = parents[at]
        if above >= 0:
            waits[at] = max(0, began[at] - clock[above])
            idle[above] += waits[at]
            clock[above] = began[at] + lasted[at]
    starts, cursor, spent = [0] * size, [0] * size, [0] * size
    for at in range(size):
        above = parents[at]
        if above < 0:
            starts[at] = began[at]
        else:  # of what its parent did itself, as much lies before a step as its share of the waits was
            spent[above] += waits[at]
            own = lasted[above] - inside[above]
            share = own * _BETWEEN * spent[above] // (100 * idle[above]) if idle[above] else 0
            starts[at] = starts[above] + cursor[above] + share
            cursor[above] += lasted[at]
    return starts, lasted, _lanes(trace, starts, lasted)


def _lanes(trace: Trace, starts: list[int], lasted: list[int]) -> np.ndarray:
    lanes = np.zeros(len(starts), np.int64)
    ranks = trace.column("rank")
    free: dict[tuple[int, int], int] = {}  # when the row of a rank is free again
    roots = np.flatnonzero(trace.parents < 0).tolist()
    for root in sorted(roots, key=lambda at: starts[at]):
        rank, lane = int(ranks[root]), 0
        while free.get((rank, lane), starts[root]) > starts[root]:
            lane += 1
        free[rank, lane] = starts[root] + lasted[root]
        lanes[root : int(trace.ends[root])] = lane
    return lanes


def _whole(column: np.ndarray) -> list[int]:
    """Nanoseconds as whole numbers, none of them below zero; what is not known is zero. The trace may be a stranger's:
    what is beyond a hundred years is not time."""
    found: list[int] = np.nan_to_num(column.astype(float)).clip(0, 3.2e18).astype(np.int64).tolist()
    return found
