"""Findings per step, as columns: its verdict, its NaN and Inf, whether it failed.

The screen, stepping and conditions all use these columns, so each is computed once per trace and cached."""

from __future__ import annotations

import numpy as np

from ..trace import schema
from ..trace.trace import Trace
from .difference_kinds import BY_DESIGN, by_design

VERDICTS = (
    schema.DIFFERS,
    BY_DESIGN,
    schema.HOLDS,
    schema.UNCHECKED,
)  # by precedence: a step shows the first it has
NONE = len(VERDICTS)
VERDICT_WORDS = ((schema.DIFFERS, schema.MISTAKE), (schema.DIFFERS, schema.DESIGN, BY_DESIGN), (schema.HOLDS,),
                 (schema.UNCHECKED,))  # fmt: skip  # what conditions and searches call each of them


def verdicts(trace: Trace) -> np.ndarray:
    """The verdict of each step, as an index into `VERDICTS`; `NONE` for a step without checks."""
    return trace.derived(_verdicts)


def _verdicts(trace: Trace) -> np.ndarray:
    found = np.full(len(trace), NONE, np.int8)
    given = np.where(by_design(trace), BY_DESIGN, trace.column("verdict", "checks"))
    for code in reversed(range(NONE)):
        found[trace.check_positions[given == VERDICTS[code]]] = code
    return found


def has_nan(trace: Trace) -> np.ndarray:
    """A boolean column: which steps returned or bound a NaN, or have one in a gradient."""
    return trace.derived(_has_nan)


def _has_nan(trace: Trace) -> np.ndarray:
    return _steps_with(trace, (schema.OUTPUT, schema.LOCAL, schema.GRADIENT), "nan")


def has_inf(trace: Trace) -> np.ndarray:
    """A boolean column: which steps returned or bound an infinity, or have one in a gradient."""
    return trace.derived(_has_inf)


def _has_inf(trace: Trace) -> np.ndarray:
    return _steps_with(trace, (schema.OUTPUT, schema.LOCAL, schema.GRADIENT), "inf")


def alarming(trace: Trace) -> np.ndarray:
    """A boolean column: which steps returned or bound NaN or Inf that came of an origin, not of a mask's -Inf."""
    return trace.derived(_alarming)


def _alarming(trace: Trace) -> np.ndarray:
    found = np.zeros(len(trace), bool)
    from .nonfinite import origins  # not before: recordings import this, and it takes them a tenth of a second

    found[origins(trace).harmed] = True
    found &= has_nan(trace) | has_inf(trace)
    return found


def _steps_with(trace: Trace, roles: tuple[str, ...], *counts: str) -> np.ndarray:
    """Which steps have a tensor in one of `roles` with a nonzero value in one of the `counts` columns."""
    found = np.zeros(len(trace), bool)
    rows = np.flatnonzero(np.logical_or.reduce([trace.column(name, "tensors") > 0 for name in counts]))
    if len(rows):
        codes, words = trace.words("role", "tensors")
        wanted = [at for at, word in enumerate(words) if word in roles]
        found[trace.tensor_positions[rows[np.isin(codes[rows], wanted)]]] = True
    return found


def failed(trace: Trace) -> np.ndarray:
    """A boolean column: which steps raised an exception, or never ended."""
    return trace.derived(_failed)


def _failed(trace: Trace) -> np.ndarray:
    codes, words = trace.words("status")
    returned = words.index(schema.RETURNED) if schema.RETURNED in words else -2
    result: np.ndarray = codes != returned
    return result


def wrong(trace: Trace) -> np.ndarray:
    """Sorted positions of the steps where something went wrong.

    A step raised or never ended, differs from its equation by mistake, or made NaN or Inf of what had none."""
    return trace.derived(_wrong)


def designed(trace: Trace) -> np.ndarray:
    """Sorted positions of the steps that differ from their equation by design."""
    return trace.derived(_designed)


def _designed(trace: Trace) -> np.ndarray:
    found: np.ndarray = np.flatnonzero(verdicts(trace) == VERDICTS.index(BY_DESIGN))
    return found


def _wrong(trace: Trace) -> np.ndarray:
    differs = verdicts(trace) == VERDICTS.index(schema.DIFFERS)
    from .nonfinite import origins

    found: np.ndarray = np.union1d(np.flatnonzero(failed(trace) | differs), origins(trace).at)
    return found
