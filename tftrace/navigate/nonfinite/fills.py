"""Which infinities are meant: the -Inf that fills a mask or suppresses tokens, told from numbers that overflowed."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from ...errors import TraceError
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from ...trace.values import read_value
from .call_scope import body, written
from .dtype_limits import LARGEST
from .statement import operations
from .step_sources import Sources

_INFINITY = re.compile(
    r"-\s*(?:float\(\s*['\"]\+?inf|(?:math|torch|np|numpy)\.inf\b|inf\b|INF\w*\b)|['\"]-inf(?:inity)?['\"]"
    r"|finfo\([^)]*\)\s*\.\s*min\b|\b(?:neg_?inf\w*|min_value|min_dtype|mask_value|masked_bias)\b",
    re.IGNORECASE,
)
_LARGE = re.compile(r"-\s*(?:1(?:\.0*)?e\d+|\d{5,})")
_PLUS = re.compile(r"(?<![-\w])(?:float\(\s*['\"]\+?inf|(?:math|torch|np|numpy)\.inf\b)")
_FILLING = re.compile(
    r"\b(?:masked_fill_?|index_fill_?|masked_scatter_?|fill_|full(?:_like)?|new_full|where|triu|tril)\b"
)
_NUMBER = re.compile(r"(?:masked_fill_?|where|full(?:_like)?)\([^()]*,\s*-?\d[\d.e+_]*\s*[,)]")  # a finite one
_EMPTY = re.compile(r"\b(?:new_)?empty(?:_like|_strided|_permuted)?\s*\(")
_MASKLIKE = re.compile(r"mask|bias|causal|alibi|keep", re.IGNORECASE)
_MAKES_INFINITY = frozenset(("log", "exp", "divide", "rsqrt", "reciprocal"))
_OVERFLOWS = frozenset(("product", "multiply", "square", "sum"))
_NEAR = 1 / 64  # a tensor that overflowed has finite numbers beyond this share of the largest
_READ = 1 << 24  # elements of a tensor that is looked at


def signs(trace: Trace, row: TensorRow) -> str:
    """`-`, `+` or `±`: which infinities a tensor has; empty if it was not kept."""
    numbers = numbers_of(trace, row)
    if numbers is None:
        return ""
    low, high = bool(np.isneginf(numbers).any()), bool(np.isposinf(numbers).any())
    return "±" if low and high else "-" if low else "+" if high else ""


def numbers_of(trace: Trace, row: TensorRow) -> np.ndarray | None:
    """A tensor's numbers, if they were kept and are not too many to look at."""
    if row.value is None or (row.numel or 0) > _READ:
        return None
    try:
        found = _kept(trace, row.value, row.shape)
    except TraceError:
        return None
    return found if found.dtype.kind in "fbiu" else None


@lru_cache(maxsize=8)
def _kept(trace: Trace, place: str, shape: tuple[int, ...]) -> np.ndarray:
    return read_value(trace.path, place, shape)


def far_from_largest(row: TensorRow) -> bool:
    """Whether the finite numbers of a tensor are so small that it did not overflow."""
    largest = LARGEST.get(row.dtype)
    sizes = [abs(end) for end in (row.min, row.max) if end is not None]
    return largest is None or max(sizes, default=0.0) < largest * _NEAR


def is_mask_input(trace: Trace, row: TensorRow) -> bool:
    """Whether what a model was given is a mask with -Inf in it."""
    if row.nan or not row.inf:
        return False
    sign = signs(trace, row)
    plain = row.l2 is None or row.l2 == 0  # nothing else but zeros
    return sign in ("", "-") and (plain or bool(_MASKLIKE.search(row.name or "")))


def is_unwritten(trace: Trace, position: int, found: Sources) -> bool:
    """Whether a tensor is memory that nothing was written to yet, which holds anything."""
    if found.rows or found.changes:
        return False
    op = trace.column("kind")[position] == schema.OP
    name = str(trace.column("type")[position] or "").rsplit(".", 1)[-1]
    return bool(_EMPTY.search(f"{name}(" if op else text_of(trace, position)))


def is_fill(trace: Trace, position: int, row: TensorRow, found: Sources) -> bool:
    """Whether the Inf that a step or line made of these is a mask's, or was put where tokens are suppressed."""
    sign = signs(trace, row)
    text = "\n".join((text_of(trace, position), *(_change(trace, at) for at in found.changes)))
    if sign in ("+", "±"):
        return bool(_PLUS.search(text))
    did = operations(trace, position, text)
    if found.masks:
        summed = row.inf == row.numel and bool(did & {"softmax", "sum"})  # a loss, of which nothing is left
        return sign == "-" or not (summed or _near_above(row))
    if _INFINITY.search(text):
        return True
    if any(map(_lowest, found.rows)) and not _near_above(row):
        return True
    far = far_from_largest(row)
    if did & _MAKES_INFINITY:
        return "log" in did and bool(found.rows) and all(map(_binary, found.rows))
    if _FILLING.search(text) and not _NUMBER.search(text) and not did & _OVERFLOWS:
        return True
    if not far or (trace.column("kind")[position] in (schema.OP, schema.MODULE) and "product" in did):
        return False
    masklike = any(_MASKLIKE.search(name) for name in (row.name or "", *found.attributes, *found.unknown))
    brought = (found.attributes or found.unknown) and not did & _OVERFLOWS
    grows = did & (_OVERFLOWS if text.strip() else {"product"})
    return masklike or bool(brought or _LARGE.search(text)) or (sign == "-" and not grows)


def _change(trace: Trace, line: int) -> str:
    """What a line that writes in place runs, with the bodies of the functions that it calls."""
    kinds = trace.column("kind")
    called = [body(trace, at) for at in trace.children(line) if kinds[at] == schema.FUNCTION]
    return "\n".join((written(trace, line), *called))


def _near_above(row: TensorRow) -> bool:
    """Whether the largest finite number is such that others may have overflowed upwards."""
    largest = LARGEST.get(row.dtype)
    return largest is not None and row.max is not None and row.max > largest / 4


def _lowest(row: TensorRow) -> bool:
    """Whether a tensor was filled with the least number of its dtype, or is a mask with numbers nearly as low."""
    if row.min is None or row.dtype not in LARGEST:
        return False
    return row.min == -LARGEST[row.dtype] or (
        row.max == 0 and row.min <= -1e4 and bool(_MASKLIKE.search(row.name or ""))
    )


def text_of(trace: Trace, position: int) -> str:
    """What a step runs, as it is written: a line its statement, an op the line that called it, a call its body."""
    kind = trace.column("kind")[position]
    return written(trace, position) if kind in (schema.LINE, schema.OP) else body(trace, position)


def _binary(row: TensorRow) -> bool:
    """Whether a tensor has no numbers but 0 and 1, which are those whose variance is m(1 - m)."""
    if row.dtype == "bool":
        return True
    if row.min != 0 or row.max != 1 or row.mean is None or row.std is None:
        return False
    return abs(row.std**2 - row.mean * (1 - row.mean)) < 1e-6
