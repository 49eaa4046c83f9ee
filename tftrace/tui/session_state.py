"""Saves position, folds and breakpoints of each trace, and the theme, in the user's state folder.

Nothing is saved in the trace, which may come from a stranger or be read-only. If another recording replaces a trace at
the same path, only the breakpoints are restored. The theme is the same for all traces."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TraceError
from ..navigate.breakpoints import Breakpoint, parse_breakpoint
from ..trace.trace import Trace
from .paint.chosen_theme import load_theme as load_theme
from .paint.chosen_theme import save_theme as save_theme

_MOST = 5000  # folds saved at most
_STEP_BITS = 44
_LIMIT = 4 << 20  # bytes; a larger file is not ours


@dataclass
class SessionState:
    """The saved state of a trace. Steps are (rank, step number), which stay valid when the trace grows."""

    step: tuple[int, int] | None = None
    folds: list[tuple[int, int]] = field(default_factory=list)
    breakpoints: list[Breakpoint] = field(default_factory=list)
    wrong: bool = True
    designed: bool = False


def step_key(trace: Trace, position: int) -> tuple[int, int]:
    """The (rank, step number) of a position."""
    return int(trace.column("rank")[position]), int(trace.column("step")[position])


def positions(trace: Trace, steps: list[tuple[int, int]]) -> list[int | None]:
    """The positions of (rank, step number) pairs, None for steps that the trace does not have."""
    keys, order = trace.derived(_sorted_keys)
    found: list[int | None] = []
    for rank, step in steps:
        key = (rank << _STEP_BITS) | step
        at = int(np.searchsorted(keys, key))
        known = at < len(keys) and int(keys[at]) == key
        found.append((at if order is None else int(order[at])) if known else None)
    return found


def _sorted_keys(trace: Trace) -> tuple[np.ndarray, np.ndarray | None]:
    """Rank and step number of all steps as sorted integers, and their positions if those are in another order."""
    ranks, steps = trace.column("rank"), trace.column("step")
    keys = (ranks.astype(np.int64) << _STEP_BITS) | steps if ranks.any() else steps
    if (keys[1:] > keys[:-1]).all():
        return keys, None
    order = np.argsort(keys, kind="stable")
    return keys[order], order


def load(trace: Trace) -> SessionState:
    """Load the saved state of a trace; an empty state if there is none or it cannot be read."""
    try:
        file = _file(trace)
        if file.stat().st_size > _LIMIT:
            return SessionState()
        data = json.loads(file.read_text(encoding="utf-8"))
        stops = [_breakpoint(one) for one in data["breakpoints"]]
        state = SessionState(breakpoints=stops, wrong=bool(data["wrong"]), designed=bool(data.get("designed", False)))
        if data["identity"] == _identity(trace):
            state.step = _step(data["step"])
            state.folds = [_step(one) for one in data["folds"]]
        return state
    except (OSError, ValueError, TypeError, KeyError, RecursionError, TraceError):
        return SessionState()


def save(trace: Trace, state: SessionState) -> None:
    """Save the state of a trace; ignored if the user's folder cannot be written."""
    with suppress(OSError):
        file = _file(trace)
        file.parent.mkdir(parents=True, exist_ok=True)
        data = asdict(state) | {
            "path": str(trace.path.absolute()),
            "identity": _identity(trace),
            "folds": state.folds[:_MOST],
        }
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(data), encoding="utf-8")
        part.replace(file)


def _file(trace: Trace) -> Path:
    name = hashlib.sha256(str(trace.path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return _folder() / "traces" / f"{name}.json"


def _folder() -> Path:
    from platformdirs import user_state_path

    return user_state_path("tftrace", appauthor=False)


def _identity(trace: Trace) -> str:
    """What distinguishes recordings at the same path."""
    return json.dumps([trace.meta.get(key) for key in ("started", "model", "seed", "source")], default=str)


def _step(found: Any) -> tuple[int, int]:
    rank, step = found
    if type(rank) is not int or type(step) is not int or not 0 <= rank < 1 << 19 or not 0 <= step < 1 << _STEP_BITS:
        raise ValueError("no step")
    return rank, step


def _breakpoint(found: Any) -> Breakpoint:
    one = Breakpoint(str(found["pattern"]), str(found["condition"]), max(1, int(found["hit"])), bool(found["on"]))
    parse_breakpoint(str(one))
    return one
