"""What is said of an origin of NaN or Inf: in a few words, in a sentence, and of all of a run in a few lines."""

from __future__ import annotations

from ..navigate.nonfinite import Origin, origins
from ..text import visible
from ..trace.trace import Trace
from .phrases import base_name
from .step_row import path

_WORDS = {"nan": "NaN", "inf": "Inf", "saturated": "cut at the largest number"}
_MOST = 3  # origins that are told of in a summary of the run


def nan_word(origin: Origin) -> str:
    """`NaN`."""
    return _WORDS.get(origin.what, origin.what)


def nan_cause(origin: Origin) -> str:
    """`overflow (66246 > 65504, the largest float16)`."""
    cause, detail = origin.cause, visible(origin.detail)
    if cause in ("masked row", "other") and detail:
        return detail
    if cause in ("parameter", "input"):
        return f"it came in with the {cause} {detail}".rstrip()
    words = {"other": "nothing recorded tells why"}.get(cause, cause)
    return f"{words} ({detail})" if detail else words


def nan_title(trace: Trace, origin: Origin) -> str:
    """`step 812 · model.layers.3.mlp.down_proj · Linear · modeling.py:88`."""
    place = f"{base_name(origin.file)}:{origin.line}" if origin.file else ""
    parts = (f"step {origin.step}", path(trace, origin.step), visible(origin.type), place)
    return " · ".join(dict.fromkeys(part for part in parts if part))


def nan_sentence(origin: Origin) -> str:
    """`1171 Inf in output: overflow (66246 > 65504, the largest float16); first at row 0; 41 steps reached`."""
    count = "" if origin.count is None or origin.what == "saturated" else f"{origin.count} "
    where = ((name, getattr(origin.where, name)) for name in ("row", "head", "token"))
    first = ", ".join(f"{name} {at}" for name, at in where if at is not None)
    said = f"{count}{nan_word(origin)} in {visible(origin.tensor)}: {nan_cause(origin)}"
    reached = f"{origin.reached} step{'s' if origin.reached != 1 else ''} reached" if origin.reached else ""
    return "; ".join(part for part in (said, f"first at {first}" if first else "", reached) if part)


def nan_lines(trace: Trace) -> list[str]:
    """The origins of a run, a line each, and how many more there are."""
    found = origins(trace).found
    lines = [f"{nan_title(trace, one)}: {nan_sentence(one)}" for one in found[:_MOST]]
    return [*lines, *([f"NaN or Inf in {len(found) - _MOST} more places"] if len(found) > _MOST else [])]
