"""Finite numbers that stand where torch saturates: what was beyond the largest of a dtype and was put at it."""

from __future__ import annotations

import re

import numpy as np

from ...trace.rows import TensorRow
from ...trace.trace import Trace
from .dtype_limits import LARGEST
from .fills import text_of
from .statement import operations
from .step_sources import Sources

_NARROW = frozenset(LARGEST) - {"float32", "float64"}  # where what is cut is worth a word
_CLAMPS = re.compile(r"\b(?:clamp|clip|nan_to_num)_?\s*\(")
_CONSTANT = re.compile(r"finfo|masked_fill|\bfull|\bfill_|\bwhere\b|float_info")


def saturated(trace: Trace) -> np.ndarray:
    """Which rows of the tensors table hold the largest number of their dtype, or the least."""
    codes, words = trace.words("dtype", "tensors")
    known = [LARGEST.get(word, np.nan) if word in _NARROW else np.nan for word in words]
    if np.isnan(known).all():
        return np.zeros(len(codes), bool)
    largest = np.array([*known, np.nan])[codes]
    found: np.ndarray = (trace.column("max", "tensors") == largest) | (trace.column("min", "tensors") == -largest)
    return found


def is_saturation(trace: Trace, position: int, row: TensorRow, found: Sources) -> bool:
    """Whether what a step or line made of these was cut at the largest number, and not filled with it."""
    largest, text = LARGEST[row.dtype], text_of(trace, position)
    if row.dtype.startswith("float8"):  # scaled to fit, its largest number is just that
        beyond = any(max(abs(one.min or 0), abs(one.max or 0)) > largest for one in found.rows)
        return beyond and not operations(trace, position, text) & {"divide", "multiply"}
    clamps, above = bool(_CLAMPS.search(text)), row.max == largest
    if "mask" in f"{row.name} {text}".lower():
        return clamps and above
    return clamps or (above and not _CONSTANT.search(text))
