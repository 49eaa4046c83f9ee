"""What was found on each step, as columns over the steps: its verdict, whether it made NaN or Inf, whether it failed.

The screen, the stops of stepping and the conditions all ask for these, so they are worked out once a trace."""

from __future__ import annotations

import numpy as np

from ..trace import schema
from ..trace.trace import Trace

VERDICTS = (schema.DIFFERS, schema.HOLDS, schema.UNCHECKED)  # the first that a step has is its mark
NONE = len(VERDICTS)


def verdicts(trace: Trace) -> np.ndarray:
    """For each step what its checks come to: an index into VERDICTS, NONE where nothing was checked."""
    return trace.derived(_verdicts)


def _verdicts(trace: Trace) -> np.ndarray:
    found = np.full(len(trace), NONE, np.int8)
    given = trace.column("verdict", "checks")
    for code in reversed(range(NONE)):
        found[trace.check_positions[given == VERDICTS[code]]] = code
    return found


def has_nan(trace: Trace) -> np.ndarray:
    """Which steps returned or bound a NaN, or have one in a gradient."""
    return trace.derived(_has_nan)


def _has_nan(trace: Trace) -> np.ndarray:
    return _holders(trace, (schema.OUTPUT, schema.LOCAL, schema.GRADIENT), "nan")


def has_inf(trace: Trace) -> np.ndarray:
    """Which steps returned or bound an infinity, or have one in a gradient."""
    return trace.derived(_has_inf)


def _has_inf(trace: Trace) -> np.ndarray:
    return _holders(trace, (schema.OUTPUT, schema.LOCAL, schema.GRADIENT), "inf")


def made_broken(trace: Trace) -> np.ndarray:
    """Which modules returned NaN or Inf where none went in."""
    return trace.derived(_made_broken)


def _made_broken(trace: Trace) -> np.ndarray:
    made = _holders(trace, (schema.OUTPUT,), "nan", "inf")
    given = _holders(trace, (schema.INPUT, schema.PARAMETER), "nan", "inf")
    codes, words = trace.words("kind")
    modules = codes == words.index(schema.MODULE) if schema.MODULE in words else np.zeros(len(trace), bool)
    result: np.ndarray = made & ~given & modules
    return result


def _holders(trace: Trace, roles: tuple[str, ...], *counts: str) -> np.ndarray:
    """Which steps saw a tensor in one of these roles for which one of these counts is not zero."""
    found = np.zeros(len(trace), bool)
    rows = np.flatnonzero(np.logical_or.reduce([trace.column(name, "tensors") > 0 for name in counts]))
    if len(rows):
        codes, words = trace.words("role", "tensors")
        wanted = [at for at, word in enumerate(words) if word in roles]
        found[trace.tensor_positions[rows[np.isin(codes[rows], wanted)]]] = True
    return found


def failed(trace: Trace) -> np.ndarray:
    """Which steps raised, or never ended."""
    return trace.derived(_failed)


def _failed(trace: Trace) -> np.ndarray:
    codes, words = trace.words("status")
    returned = words.index(schema.RETURNED) if schema.RETURNED in words else -2
    result: np.ndarray = codes != returned
    return result


def wrong(trace: Trace) -> np.ndarray:
    """Positions where something went wrong: a step that raised or never ended, that differs from its equation, or
    that returned NaN or Inf where none went in."""
    return trace.derived(_wrong)


def _wrong(trace: Trace) -> np.ndarray:
    differs = verdicts(trace) == VERDICTS.index(schema.DIFFERS)
    found: np.ndarray = np.flatnonzero(failed(trace) | differs | made_broken(trace))
    return found
