"""Notes that readers put on steps, kept in the trace as `notes.json`.

A note belongs to the rank and number of a step, which stay the same whatever is recorded or merged later."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np

from ..errors import TraceError
from .disk.folder import write_json
from .disk.safe_files import read_bytes
from .trace import Trace

_FILE = "notes.json"
_LIMIT = 16 << 20  # bytes; a file of notes beyond this is not one of ours
_LONGEST = 20_000  # characters of a note


def read(trace: Trace) -> dict[int, str]:
    """Return the notes by the position of their step, in order; if their file is damaged, warn and return none."""
    try:
        entries = _entries(trace)
    except TraceError as error:
        warnings.warn(str(error), stacklevel=2)
        return {}
    if not entries:
        return {}
    noted = {(entry["rank"], entry["step"]): entry["text"] for entry in entries}
    ranks, steps = trace.column("rank"), trace.column("step")
    candidates = np.flatnonzero(np.isin(steps, np.array([step for _, step in noted], np.int64)))
    found = ((at, noted.get((int(ranks[at]), int(steps[at])))) for at in candidates.tolist())
    return {at: text for at, text in found if text is not None}


def write(trace: Trace, position: int, text: str) -> None:
    """Put a note on a step, in place of the note that it has.

    Args:
        trace: The trace.
        position: The position of the step.
        text: The note; an empty text removes the old one.

    Raises:
        TraceError: There is no such step, the note is too long, or the trace cannot be written to.
    """
    if not 0 <= position < len(trace):
        has = f"its steps are 0 to {len(trace) - 1}" if len(trace) else "it has no steps"
        raise TraceError(f"There is no step {position} in {trace.path}: {has}.")
    text = text.encode("utf-8", "replace").decode("utf-8").strip()
    if len(text) > _LONGEST:
        raise TraceError(f"A note may have {_LONGEST:,} characters, this one has {len(text):,}: shorten it.")
    place = {name: int(trace.column(name)[position]) for name in ("rank", "step")}
    entries = [entry for entry in _entries(trace) if (entry["rank"], entry["step"]) != tuple(place.values())]
    if text:
        entries.append({**place, "text": text})
    entries.sort(key=lambda entry: (entry["rank"], entry["step"]))
    try:
        write_json(trace.path / _FILE, {"notes": entries})
    except OSError as error:
        raise TraceError(f"The note cannot be kept in {trace.path} ({error.strerror}): copy the trace.") from error


def _entries(trace: Trace) -> list[dict[str, Any]]:
    """Everything in the file that is a note; the file may be a stranger's."""
    file = trace.path / _FILE
    try:
        data = json.loads(read_bytes(trace.path, _FILE, limit=_LIMIT))
        return [entry for entry in data["notes"] if _is_note(entry)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TraceError(f"{file} is damaged, and the notes in it cannot be read: mend or remove it.") from error


def _is_note(entry: Any) -> bool:
    numbers = (entry.get("rank"), entry.get("step")) if isinstance(entry, dict) else ()
    whole = all(type(number) is int and 0 <= number < 2**63 for number in numbers)
    return bool(numbers) and whole and isinstance(entry.get("text"), str)
