"""The tensors of a step: a row of texts for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..text import number, shape, visible
from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace

_LATEST_LINES = 200  # executed lines of a call whose values are looked up


@dataclass(frozen=True, slots=True)
class Line:
    """One tensor in the table of tensors, each column as text."""

    role: str
    name: str
    shape: str
    dtype: str
    mean: str
    std: str
    min: str
    max: str
    odd: str
    row: TensorRow
    at: int  # position of the step that saw it
    fresh: bool = True


def tensors(trace: Trace, position: int) -> list[Line]:
    """What a call took, holds and returned; for a line every name bound so far in its call, its own marked fresh."""
    if trace.column("kind")[position] != schema.LINE:
        order = {schema.INPUT: 0, schema.PARAMETER: 1, schema.LOCAL: 2, schema.OUTPUT: 3, schema.GRADIENT: 4}
        rows = sorted(trace.tensors_of(position), key=lambda found: order.get(found.role, 9))
        return [tensor_line(found, position) for found in rows]
    call = trace.call_of(position)
    names = {found.name: (found, call) for found in trace.tensors_of(call) if found.role == schema.INPUT}
    kinds = trace.column("kind")
    lines = [at for at in trace.children(call) if at <= position and kinds[at] == schema.LINE]
    for at in lines[-_LATEST_LINES:]:
        for found in trace.tensors_of(at):
            names.pop(found.name, None)  # what was bound last stands last
            names[found.name] = (found, at)
    return [tensor_line(found, at, fresh=at == position) for found, at in names.values()]


def tensor_line(tensor: TensorRow, at: int = -1, fresh: bool = True) -> Line:
    """One tensor's columns as text; what is odd about it (NaN, Inf, mostly zeros) in words."""
    odd = [f"{count} {name}" for count, name in ((tensor.nan, "NaN"), (tensor.inf, "Inf")) if count]
    if tensor.zero and tensor.numel and tensor.dtype.startswith(("float", "bfloat")):
        share = tensor.zero / tensor.numel
        odd += [f"{share:.0%} zero"] if share >= 0.01 else []
    return Line(
        role=visible(tensor.role),
        name=visible(tensor.name) or ("result" if tensor.role in (schema.OUTPUT, schema.GRADIENT) else tensor.role),
        shape=shape(tensor.shape),
        dtype=visible(tensor.dtype),
        mean=_three(tensor.mean),
        std=_three(tensor.std),
        min=_three(tensor.min),
        max=_three(tensor.max),
        odd=" ".join(odd),
        row=tensor,
        at=at,
        fresh=fresh,
    )


def summary(tensor: TensorRow) -> str:
    """`query_layer  1×12×128×64  μ 0.01 σ 0.98  [-4.1, 4.3]`."""
    line = tensor_line(tensor)
    spread = f"μ {line.mean} σ {line.std}" if line.mean and "int" not in line.dtype and line.dtype != "bool" else ""
    bounds = f"[{line.min}, {line.max}]" if line.min else ""
    return "  ".join(filter(None, (line.name, line.shape, spread, bounds, line.odd)))


def _three(value: float | None) -> str:
    """A statistic in three digits: what the eye compares in a column."""
    if value is None or not math.isfinite(value) or (value == int(value) and abs(value) < 1e5):
        return number(value)
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"
