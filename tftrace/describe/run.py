"""The run as a whole: what was run, how much of it there is, how many checks came to what."""

from __future__ import annotations

import numpy as np

from .. import schema
from ..trace import Trace
from .base import MARKS, text

_COUNTED = {schema.HOLDS: "hold", schema.DIFFERS: "differ", schema.UNCHECKED: "unchecked"}
_NAMED = 4  # modules named in a sentence


def about(trace: Trace) -> list[tuple[str, str]]:
    """The run in a few lines: name and value."""
    meta = trace.meta
    given = meta.get("text")
    texts = given if isinstance(given, list) else [given]
    found = [
        (
            "model",
            " · ".join(filter(None, (text(meta.get("model")), text(meta.get("dtype")), text(meta.get("device"))))),
        ),
        ("source", text(meta.get("source"))),
        ("text", " | ".join(filter(None, map(text, texts)))),
        ("result", text(meta.get("result"))),
        ("error", text(meta.get("error"))),
    ]
    checks = totals(trace)
    judged = "  ".join(f"{MARKS[name]} {count} {_COUNTED[name]}" for name, count in checks.items() if count)
    forwards = forward_count(trace)
    size = f"{len(trace)} in {forwards} forward pass{'es' if forwards != 1 else ''}"
    cut = "" if meta.get("complete", True) else "the recording did not end: what was written until then"
    found += [("steps", size), ("checks", judged or "none recorded"), ("note", cut)]
    found += [("missing", sentence) for sentence in missing(trace)]
    return [(name, value) for name, value in found if value]


def missing(trace: Trace) -> list[str]:
    """What of the run is not in the trace, one sentence each."""
    lost, unseen = (_texts(trace.meta.get(name)) for name in ("lost", "unseen"))
    if unseen:
        named = ", ".join(unseen[:_NAMED]) + (", …" if len(unseen) > _NAMED else "")
        lost.append(f"Of modules compiled by torch.jit only the outermost calls are seen: {named}.")
    return lost


def _texts(found: object) -> list[str]:
    """Those of a list that are texts; a stranger's trace may hold anything there."""
    return [said for said in map(text, found) if said] if isinstance(found, list) else []


def totals(trace: Trace) -> dict[str, int]:
    """How many checks came to each verdict."""
    codes, words = trace.words("verdict", "checks")
    counts = dict(zip(words, np.bincount(codes[codes >= 0], minlength=len(words)).tolist(), strict=True))
    return {name: counts.get(name, 0) for name in MARKS}


def forward_count(trace: Trace) -> int:
    """How many forward passes were recorded."""
    return int(np.nan_to_num(trace.column("forward").astype(float)).max(initial=-1)) + 1
