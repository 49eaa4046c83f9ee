"""Reads which steps had their results changed on purpose while the model ran (`rank-*/edited.arrow`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from ..trace import schema
from ..trace.disk.folder import rank_folder
from ..trace.stream import Stream
from ..trace.trace import Trace

FILE = "edited.arrow"


def edits_of(trace: Trace, position: int) -> str:
    """What was done to the result of a step on purpose, such as `zero: head 1`; empty if nothing was."""
    return edited_steps(trace).get(position, "")


def edited_steps(trace: Trace) -> Mapping[int, str]:
    """What was done on purpose, by position of the step; of a trace that does not tell, nothing."""
    return trace.derived(_read)


def _read(trace: Trace) -> dict[int, str]:
    found: dict[int, str] = {}
    for rank in trace.ranks:
        folder = rank_folder(trace.path, rank)
        if not (folder / FILE).is_file():
            continue
        try:
            rows = Stream(folder, FILE.removesuffix(".arrow"), schema.EDITED).columns(["step", "edit"]).to_pylist()
        except (TraceError, pa.ArrowException):
            continue
        there = np.flatnonzero(trace.column("rank") == rank)
        places = dict(zip(trace.column("step")[there].tolist(), there.tolist(), strict=True))
        for row in rows:
            at = places.get(row["step"])
            if at is not None and row["edit"]:
                found[at] = f"{found[at]}; {row['edit']}" if at in found else str(row["edit"])
    return found
