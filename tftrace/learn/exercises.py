"""Judges what a learner wrote by the trace of its run: tftrace's own checks, and the usual mistakes by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import TraceError
from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from ..trace.values import read_value
from .usual_mistakes import Inputs, named

_STARTS = Path(__file__).parent.parent / "lessons" / "starts"
_SEEN = ("attention-seen", "attention-called", "attention")  # equations that attention earns its mark by


@dataclass(frozen=True)
class Judged:
    """What became of an exercise.

    Attributes:
        earned: whether it earned its ✓.
        told: keys of sentences in `exercise_words`, most important first.
        detail: what the program said, where it failed; else empty.
        position: the step that the sentences are about, None if there is none.
    """

    earned: bool
    told: tuple[str, ...]
    detail: str = ""
    position: int | None = None


def write_start(kind: str, file: Path, language: str) -> bool:
    """Write the file that an exercise starts from, if there is none yet; return whether it was written.

    Raises:
        TraceError: the file cannot be written.
    """
    text = (_STARTS / f"{kind}.{language}.txt").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise TraceError(f"{file} cannot be written ({error.strerror}): go to a folder of yours.") from error
    return True


def judge_exercise(kind: str, trace: Trace) -> Judged:
    """Judge the run of an exercise's file."""
    return EXERCISES[kind](trace)


def _attention(trace: Trace) -> Judged:
    """One call of `Attention`, on query, key, value and mask."""
    at = _call(trace, "Attention")
    if at is None:
        return Judged(False, ("no call",))
    if (failed := _failed(trace, at)) is not None:
        return failed
    arrays = [_kept(trace, at, name, schema.INPUT) for name in ("query", "key", "value", "mask")]
    result = _kept(trace, at, "", schema.OUTPUT)
    if result is None or any(one is None for one in arrays):
        return Judged(False, ("no result",), position=at)
    query, key, value, mask = (one for one in arrays if one is not None)
    return _by_numbers(trace, at, Inputs(query, key, value, mask.astype(bool)), result, _SEEN)


def _multi_head(trace: Trace) -> Judged:
    """One call of `MultiHeadAttention`, with its four linear maps, on x and mask."""
    at = _call(trace, "MultiHeadAttention")
    if at is None:
        return Judged(False, ("no call",))
    if (failed := _failed(trace, at)) is not None:
        return failed
    parts = {name: _child(trace, at, name) for name in ("query", "key", "value", "output")}
    missing = [name for name, found in parts.items() if found is None]
    if missing:
        return Judged(False, (f"{missing[0]} not called",), position=at)
    made = [_kept(trace, parts[name] or 0, "", schema.OUTPUT) for name in ("query", "key", "value")]
    joined = _kept(trace, parts["output"] or 0, "input", schema.INPUT)
    mask = _kept(trace, at, "mask", schema.INPUT)
    if joined is None or mask is None or any(one is None for one in made):
        return Judged(False, ("no result",), position=at)
    query, key, value = (one for one in made if one is not None)
    given = Inputs(query, key, value, mask.astype(bool), heads=2)
    if not _returns(trace, at, parts["output"] or 0):
        return Judged(False, ("output not returned",), position=at)
    return _by_numbers(trace, at, given, joined, _SEEN)


def _by_numbers(trace: Trace, at: int, given: Inputs, result: np.ndarray, equations: tuple[str, ...]) -> Judged:
    """Name the mistake by the numbers; what is right must also have earned its mark by what was seen."""
    wrong = named(given, result)
    if wrong is None:
        nan = bool(np.isnan(result).any())
        shape = result.shape != given.query.shape
        return Judged(False, ("NaN" if nan else "wrong shape" if shape else "unknown mistake",), position=at)
    if wrong:
        return Judged(False, wrong, position=at)
    verdicts = _verdicts(trace, at, equations)
    if schema.HOLDS not in verdicts.values():
        return Judged(False, ("right but not seen",), position=at)
    called = verdicts.get("attention-called") == schema.HOLDS
    return Judged(True, ("earned", *(("torch did it",) if called else ())), position=at)


def _verdicts(trace: Trace, at: int, equations: tuple[str, ...]) -> dict[str, str]:
    """The verdicts on these equations, of the step and what is inside."""
    inside = range(at, int(trace.ends[at]))
    return {check.equation: check.verdict for one in inside for check in trace.checks_of(one)
            if check.equation in equations}  # fmt: skip


def _call(trace: Trace, kind: str) -> int | None:
    """The first call of a module of this class."""
    types, kinds = trace.column("type"), trace.column("kind")
    return next((at for at in range(len(trace)) if types[at] == kind and kinds[at] == schema.MODULE), None)


def _child(trace: Trace, at: int, name: str) -> int | None:
    names, kinds = trace.column("name"), trace.column("kind")
    inside = range(at + 1, int(trace.ends[at]))
    return next((i for i in inside if kinds[i] == schema.MODULE and str(names[i]).rpartition(".")[2] == name), None)


def _failed(trace: Trace, at: int) -> Judged | None:
    """What is said of a call that failed."""
    if trace.column("status")[at] == schema.RETURNED:
        return None
    said = str(trace.meta.get("error") or "").strip()
    written = "not written" if "NotImplementedError" in said else ""
    shapes = "shapes" if "shape" in said or "size of tensor" in said or "must match" in said else ""
    inner = [i for i in range(at, int(trace.ends[at])) if trace.column("status")[i] != schema.RETURNED]
    return Judged(False, (written or shapes or "failed",), "" if written else said, max(inner, default=at))


def _returns(trace: Trace, at: int, child: int) -> bool:
    """Whether a call returns what a part of it returned."""
    ours, theirs = (_row(trace, one, "", schema.OUTPUT) for one in (at, child))
    return ours is not None and theirs is not None and ours.tensor == theirs.tensor


def _row(trace: Trace, at: int, name: str, role: str) -> TensorRow | None:
    return next((row for row in trace.tensors_of(at) if row.role == role and row.name == name), None)


def _kept(trace: Trace, at: int, name: str, role: str) -> np.ndarray | None:
    row = _row(trace, at, name, role)
    if row is None or not row.value:
        return None
    found = read_value(trace.path, row.value, row.shape)
    return found if found.dtype == bool else found.astype(np.float64)


EXERCISES: dict[str, Callable[[Trace], Judged]] = {"attention": _attention, "multi-head": _multi_head}
