"""One step: where it is, its source line, its equations, its tensors: `tftrace show --step`, and the tool `step`."""

from __future__ import annotations

from typing import Any

from .. import describe
from ..navigate.nonfinite import origins
from ..recipes.typeset import mathtext
from ..text import duration
from ..trace import schema
from ..trace.trace import Trace
from .brief import cut, rounded
from .paged import Answer, listed
from .step_items import check_step, step_item

_AROUND = 2  # source lines before and after the statement
_LINES = 12  # of a statement


def step_answer(trace: Trace, step: int | None) -> Answer:
    """Everything about one step; its items are its tensors, of a line those bound so far in its call.

    Raises:
        TraceError: There is no such step.
    """
    at = check_step(trace, step)
    tensors, equations = [_tensor(one) for one in describe.tensors(trace, at)], describe.equations(trace, at)
    source = _source(trace, at)
    facts = {key: value for key, value in step_item(trace, at).data.items() if key != "indent"}
    facts |= {"parent": trace.parent(at), "inside": int(trace.ends[at]) - at - 1}
    facts["source"] = [{"line": number, "text": text} for number, text in source]
    facts["equations"] = [
        {"equation": one.id, "verdict": one.verdict, "judgement": one.judgement, "of": one.within or None}
        for one in equations
    ]
    made = [f"NaN or Inf was made here: {describe.nan_sentence(one)}" for one in origins(trace).of(at)]
    said = [_title(trace, at), *made, *map(_judged, equations)]
    code = [f"{number:>5}  {text}" for number, text in source]
    return Answer("step", said, listed(tensors), len(tensors), facts, detail=code)


def _title(trace: Trace, at: int) -> str:
    kind, type_, status = (str(trace.column(key)[at] or "") for key in ("kind", "type", "status"))
    taken = trace.column("duration_ns")[at]
    said = [f"step {at} of {len(trace)}", describe.path(trace, at), kind, type_, describe.place(trace, at)]
    said += [duration(int(taken)) if taken is not None and taken == taken else ""]
    said += [status if status != schema.RETURNED else ""]
    return " · ".join(cut(part) for part in dict.fromkeys(said) if part)


def _judged(one: describe.StepEquation) -> str:
    where = f" (of {one.within})" if one.within else ""
    return f"{one.judgement}: {one.id}{where}, {one.cite}: {one.formula or mathtext.plain(one.tex)}"


def _source(trace: Trace, at: int) -> list[tuple[int, str]]:
    """The statement of a step with the lines around it, numbered."""
    code = describe.code(trace, at)
    if code is None:
        return []
    first, last = max(1, code.first - _AROUND), min(len(code.lines), min(code.last, code.first + _LINES) + _AROUND)
    return [(number, cut(code.lines[number - 1])) for number in range(first, last + 1)]


def _tensor(one: describe.TensorLine) -> tuple[dict[str, Any], str]:
    row = one.row
    data = {
        "role": cut(row.role), "name": cut(row.name), "shape": list(row.shape), "dtype": cut(row.dtype),
        "mean": rounded(row.mean), "std": rounded(row.std), "min": rounded(row.min), "max": rounded(row.max),
        "nan": row.nan, "inf": row.inf, "kept": row.value is not None, "step": one.at,
    }  # fmt: skip
    spread = f"μ {one.mean} σ {one.std} [{one.min}, {one.max}]" if one.mean else ""
    parts = (describe.ROLE_MARKS.get(one.role, "?"), cut(one.name, 80), one.shape, one.dtype, spread, one.odd)
    return data, "  ".join(part for part in parts if part)
