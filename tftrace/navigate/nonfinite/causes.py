"""Why a step made NaN or Inf: from the numbers that were kept, else from what it computes and statistics."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from .arithmetic import blame, blame_of
from .call_scope import written
from .dtype_limits import LARGEST, beyond
from .fills import numbers_of, text_of
from .float64_operations import MASKED, Blame, Number
from .spread import INPUT, PARAMETER, Birth
from .statement import operations
from .step_sources import Ledger, Sources

_DIVIDES = frozenset(("divide", "reciprocal", "rsqrt"))
_IGNORED = -100  # the target that torch's losses leave out
_GROWS = frozenset(("exp", "product", "square", "multiply", "sum", "add", "cast"))


def explain(trace: Trace, ledger: Ledger, birth: Birth, row: TensorRow) -> Blame:
    """The cause of a birth, and what can be said of it; `row` is the tensor that was born."""
    if birth.how == INPUT:
        return Blame("input", f"{row.name}{_index(trace, row)}")
    found = birth.sources
    if birth.how == PARAMETER:
        if not found.parameters:
            return Blame("parameter", "a weight that has changed since its first call")
        names = [_parameter(trace, *ledger.parameters[key]) for key in dict.fromkeys(found.parameters)]
        return Blame("parameter", ", ".join(names[:4]))
    held = _buffer(trace, birth.position, found)
    if held is not None:
        return held
    return _evaluated(trace, ledger, birth, row) or _guessed(trace, birth.position, row, found)


def first_bad(numbers: np.ndarray) -> tuple[int, ...] | None:
    """The index of the first NaN, or of the first Inf where there is none."""
    for bad in (np.isnan(numbers), np.isinf(numbers)):
        if bad.any():
            return tuple(int(at) for at in np.unravel_index(int(bad.argmax()), numbers.shape))
    return None


# -- what carried it in -----------------------------------------------------------------------------------------


def _index(trace: Trace, row: TensorRow) -> str:
    numbers = numbers_of(trace, row)
    found = None if numbers is None else first_bad(numbers)
    return f"[{', '.join(map(str, found))}]" if found else ""


def _parameter(trace: Trace, full: str, row: TensorRow) -> str:
    return f"{row.name}{_index(trace, row) or _noted_index(_noted(trace).get(full))}"


def _noted(trace: Trace) -> dict[str, Any]:
    """What the recording found in weights and buffers: by full name."""
    found = trace.meta.get("nonfinite")
    return found if isinstance(found, dict) else {}


def _noted_index(entry: Any) -> str:
    index = entry.get("index") if isinstance(entry, dict) else None
    if not isinstance(index, list) or not all(type(at) is int for at in index):
        return ""
    return f"[{', '.join(map(str, index))}]" if index else ""


def _buffer(trace: Trace, position: int, found: Sources) -> Blame | None:
    """NaN in a buffer of the module that runs: of one that the line names, or of one whose lines are not known."""
    noted = {name: one for name, one in _noted(trace).items() if isinstance(one, dict) and one.get("buffer")}
    if not noted:
        return None
    at: int | None = position
    kinds = trace.column("kind")
    while at is not None and kinds[at] != schema.MODULE:
        at = trace.parent(at)
    path = "" if at is None else trace.column("name")[at] or ""
    below = {name[len(path) :].lstrip("."): one for name, one in noted.items() if name.startswith(path)}
    lines = kinds[position] == schema.LINE
    for name, one in below.items():
        if (name in found.attributes if lines else "." not in name) and one.get("what") == "nan":
            return Blame("parameter", f"{name}{_noted_index(one)}")
    return None


# -- from numbers -----------------------------------------------------------------------------------------------


def _evaluated(trace: Trace, ledger: Ledger, birth: Birth, row: TensorRow) -> Blame | None:
    """By doing it again: a line, an op or a linear layer whose tensors were kept, or on the ends of one tensor."""
    at, kind = birth.position, trace.column("kind")[birth.position]
    if kind == schema.LINE:
        text = written(trace, at)
        ends = _ends(birth.sources.rows)
        found = blame(text, lambda node: _kept(trace, ledger, at, text, node))
        if found is None and ends is not None:
            name, number = ends
            found = blame(text, lambda node: number if isinstance(node, ast.Name) and node.id == name else None, True)
        return found
    type_ = str(trace.column("type")[at] or "")
    operands = list(_operands(trace, birth.sources.rows))
    if kind == schema.OP:
        complete = len(operands) == len(birth.sources.rows)
        return blame_of(type_.rsplit(".", 1)[-1], operands) if operands and complete else None
    weights = [one for one in birth.sources.rows if one.role == schema.PARAMETER]
    if kind == schema.MODULE and type_ == "Linear" and len(operands) == 1 + len(weights):
        return blame_of("linear", operands)
    return None


def _operands(trace: Trace, rows: list[TensorRow]) -> Iterator[Number]:
    for one in rows:
        numbers = numbers_of(trace, one)
        if numbers is not None:
            yield Number(numbers.astype(np.float64), one.dtype)


def _kept(trace: Trace, ledger: Ledger, line: int, text: str, node: ast.expr) -> Number | None:
    """What a name stood for, or a call in the line returned."""
    row: TensorRow | None = None
    if isinstance(node, ast.Name):
        rows, changes = ledger.scope(trace.call_of(line)).lookup(node.id, line)
        row = next((one for one in rows if one.name == node.id), None) if not changes else None
    elif isinstance(node, ast.Call):
        row = _returned(trace, line, text, node)
    return None if row is None else next(_operands(trace, [row]), None)


def _returned(trace: Trace, line: int, text: str, node: ast.Call) -> TensorRow | None:
    """The tensor that the recorded call at this place of the line returned."""
    first, margin = int(trace.column("line")[line]), len(text) - len(text.lstrip())
    begin = (first + node.lineno - 1, node.col_offset + (margin if node.lineno == 1 else 0))
    end = (first + (node.end_lineno or 0) - 1, (node.end_col_offset or 0) + (margin if node.end_lineno == 1 else 0))
    line_of, col, end_line, end_col = (trace.column(name) for name in ("line", "col", "end_line", "end_col"))
    kinds = trace.column("kind")
    for at in trace.children(line):
        if kinds[at] in schema.CALLS and (line_of[at], col[at], end_line[at], end_col[at]) == (*begin, *end):
            return next((r for r in trace.tensors_of(at) if r.role == schema.OUTPUT and r.name == ""), None)
    return None


def _ends(rows: list[TensorRow]) -> tuple[str, Number] | None:
    """Some cells of the only tensor that was read: its least, its largest, and a zero if it has one."""
    names = {row.name for row in rows}
    if len(names) != 1 or rows[-1].min is None or rows[-1].max is None or rows[-1].inf:
        return None
    row = rows[-1]
    return row.name, Number(np.array([row.min, row.max, *([0.0] if row.zero else [])]), row.dtype)


# -- from what is computed and statistics -----------------------------------------------------------------------


def _guessed(trace: Trace, position: int, row: TensorRow, found: Sources) -> Blame:
    text = text_of(trace, position)
    did = operations(trace, position, text)
    zeros = any(one.zero for one in found.rows)
    negative = any(one.min is not None and one.min < 0 for one in found.rows)
    if row.nan:
        return _of_nan(row, found, did, text, zeros, negative)
    if "log" in did and zeros:
        return Blame("log 0", "")
    if "softmax" in did and found.masks:
        return Blame("log 0", "of what was given no probability")
    if did & _DIVIDES and (zeros or not did & _GROWS) and not _near(row):
        return Blame("other", "a number divided by 0")
    return Blame("overflow", beyond(row.dtype))


def _of_nan(row: TensorRow, found: Sources, did: frozenset[str], text: str, zeros: bool, negative: bool) -> Blame:
    infinite = bool(found.masks) or "inf" in text.lower()
    # of finite numbers a cross entropy is NaN in no other way
    no_targets = did == {"softmax"} and "cross_entropy" in text and not found.masks
    if no_targets or any(one.max == _IGNORED and "int" in one.dtype for one in found.rows):
        return Blame("0/0", "a loss over no targets")
    if did & {"softmax", "attention"}:
        hidden = found.masks or any(one.dtype == "bool" for one in found.rows)
        if hidden or not _overflows(row, found, did):
            return Blame("masked row", MASKED)
        return Blame("overflow", beyond(row.dtype))
    if "log" in did and (zeros or negative):
        return Blame("log 0", "") if zeros else Blame("other", "log of a negative number")
    if did & {"sqrt", "rsqrt"} and (negative or "subtract" in did):
        least = min((one.min for one in found.rows if one.min is not None), default=0.0)
        return Blame("negative root", f"root of {least:.4g}" if len(found.rows) == 1 and "subtract" not in did else "")
    if infinite and did & {"multiply", "product"}:
        return Blame("0·inf", "")
    if infinite and did & {"subtract", "add"}:
        return Blame("inf−inf", "")
    if did & _DIVIDES:
        return Blame("0/0", "")
    if did & _GROWS and _overflows(row, found, did):
        return Blame("overflow", beyond(row.dtype))
    return Blame("other", "")


def _overflows(row: TensorRow, found: Sources, did: frozenset[str]) -> bool:
    """Whether products of what was taken may lie beyond the largest number of the dtype."""
    largest = LARGEST.get(row.dtype)
    sizes = [one.l2 for one in found.rows if one.l2 is not None and one.dtype == row.dtype]
    return largest is not None and "product" in did and len(sizes) > 1 and sizes[0] * sizes[1] > largest


def _near(row: TensorRow) -> bool:
    largest = LARGEST.get(row.dtype)
    return largest is not None and any(end is not None and abs(end) > largest / 64 for end in (row.min, row.max))
