"""The largest finite number of each dtype, and how what goes beyond it is said."""

from __future__ import annotations

import math

from ...text import number

LARGEST = {
    "float8_e4m3fn": 448.0,
    "float8_e4m3fnuz": 240.0,
    "float8_e5m2": 57344.0,
    "float8_e5m2fnuz": 57344.0,
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}
_DIGITS = {"float8_e4m3fn": 3, "float8_e4m3fnuz": 3, "float8_e5m2": 2, "float8_e5m2fnuz": 2, "float16": 10,
           "bfloat16": 7, "float32": 23, "float64": 52}  # fmt: skip
_WIDTH = ("float64", "float32", "bfloat16", "float16", *list(LARGEST)[:4])  # which of two dtypes a result has


def edge(dtype: str) -> float:
    """The size from which a number rounds to infinity: half a digit beyond the largest."""
    largest = LARGEST.get(dtype, math.inf)
    if not math.isfinite(largest) or dtype == "float64":
        return math.inf
    return largest + math.ldexp(1.0, math.frexp(largest)[1] - 2 - _DIGITS[dtype])


def promoted(left: str, right: str) -> str:
    """The dtype of what two tensors give; a Python number has none and changes none."""
    floats = [name for name in (left, right) if name in LARGEST]
    if len(floats) == 2 and set(floats) == {"float16", "bfloat16"}:
        return "float32"
    return min(floats, key=_WIDTH.index) if floats else left or right


def beyond(dtype: str, size: str | float | None = None) -> str:
    """`66246 > 65504, the largest float16`; without a size, that it is more."""
    largest = LARGEST.get(dtype)
    if largest is None:
        return f"beyond the largest {dtype}"
    said = _whole(size) if isinstance(size, float) else size
    return (
        f"{said} > {_whole(largest)}, the largest {dtype}" if said else f"beyond {_whole(largest)}, the largest {dtype}"
    )


def _whole(value: float) -> str:
    return str(round(value)) if 1 <= abs(value) < 1e6 else number(value)
