"""The tensors of a step as rows of text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..language import tr
from ..text import number, shape, visible
from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace

_LATEST_LINES = 200  # how many executed lines of a call are searched for values


@dataclass(frozen=True, slots=True)
class TensorLine:
    """One row of the table of tensors.

    Attributes:
        odd: What is unusual about the values: NaN, Inf, many zeros.
        row: The tensor itself.
        at: Position of the step that saw it.
        fresh: Whether the current step bound it, rather than an earlier line of the same call.
    """

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
    at: int
    fresh: bool = True


def tensors(trace: Trace, position: int) -> list[TensorLine]:
    """Describe the tensors of a step.

    For a call, its inputs, parameters and results; for a line, every variable bound so far in its call.
    """
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
            names.pop(found.name, None)  # the variable bound last comes last
            names[found.name] = (found, at)
    return [tensor_line(found, at, fresh=at == position) for found, at in names.values()]


def tensor_line(tensor: TensorRow, at: int = -1, fresh: bool = True) -> TensorLine:
    """Describe one tensor."""
    odd = [f"{count} {name}" for count, name in ((tensor.nan, "NaN"), (tensor.inf, "Inf")) if count]
    if tensor.zero and tensor.numel and tensor.dtype.startswith(("float", "bfloat")):
        share = tensor.zero / tensor.numel
        odd += [tr("{share} zero", share=f"{share:.0%}")] if share >= 0.01 else []
    return TensorLine(
        role=visible(tensor.role),
        name=visible(tensor.name) or ("result" if tensor.role in (schema.OUTPUT, schema.GRADIENT) else tensor.role),
        shape=shape(tensor.shape),
        dtype=visible(tensor.dtype),
        mean=_three_digits(tensor.mean),
        std=_three_digits(tensor.std),
        min=_three_digits(tensor.min),
        max=_three_digits(tensor.max),
        odd=" ".join(odd),
        row=tensor,
        at=at,
        fresh=fresh,
    )


def summary(tensor: TensorRow) -> str:
    """A tensor in one line: `query_layer  1×12×128×64  μ 0.01 σ 0.98  [-4.1, 4.3]`."""
    line = tensor_line(tensor)
    spread = f"μ {line.mean} σ {line.std}" if line.mean and "int" not in line.dtype and line.dtype != "bool" else ""
    bounds = f"[{line.min}, {line.max}]" if line.min else ""
    return "  ".join(filter(None, (line.name, line.shape, spread, bounds, line.odd)))


def _three_digits(value: float | None) -> str:
    """A statistic in three significant digits."""
    if value is None or not math.isfinite(value) or (value == int(value) and abs(value) < 1e5):
        return number(value)
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"
