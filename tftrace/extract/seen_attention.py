"""Attention that somebody wrote out, from the tensors that were seen in it: query, key, value, what is hidden or added.

It needs neither the class nor the code of the model, so a trace that has kept these is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..recipes.evaluate.bindings import bindings_of
from ..trace.scalars import numbers
from ..trace.trace import Trace
from ..trace.values import read_value
from .float64_answers import answers

if TYPE_CHECKING:
    from ..models.one_step.step_capture import CaughtStep

EQUATION = "attention-seen"
_NEEDED = {"Q", "K", "V", "out"}
_CODE = """\
def attention(Q, K, V, t, h=None, w=None, A=None, z=None):
    scores = Q @ K.transpose(-2, -1) / (t * Q.shape[-1] ** 0.5)
    if A is not None:  # added: numbers, or whether a key is seen
        scores = scores + (torch.where(A, 0.0, -torch.inf) if A.dtype == torch.bool else A).to(Q.dtype)
    if h is not None:  # hidden by w
        scores = scores.masked_fill(h.bool(), w)
    weights = scores.softmax(-1)
    if z is not None:  # made 0 afterwards
        weights = weights.masked_fill(z.bool(), 0)
    return weights @ V
"""


def caught_attention(trace: Trace, position: int) -> CaughtStep | None:
    """Attention as it was seen in a step, written out anew.

    Args:
        trace: The trace.
        position: The position of the step.

    Returns:
        The step; None if no attention was seen in it, or the trace has not kept its tensors.
    """
    from ..models.one_step.step_capture import CaughtStep

    check = next((one for one in trace.checks_of(position) if one.equation == EQUATION), None)
    tensors = bindings_of(trace, position, EQUATION).tensors if check is not None else {}
    if check is None or not tensors.keys() >= _NEEDED or any(not tensors[name].value for name in _NEEDED):
        return None
    known = numbers(trace, position, EQUATION)
    found = CaughtStep()
    given: dict[str, str] = {}
    for symbol in ("Q", "K", "V", "h", "A", "z"):
        row = tensors.get(symbol)
        if row is None:
            continue
        if not row.value:
            return None
        found.pack.tensors[f"input.{symbol}"] = _kept(trace, row)
        given[symbol] = f"tensor({f'input.{symbol}'!r})"
        if row.dtype in ("float16", "bfloat16"):
            given[symbol] += f".to(torch.{row.dtype})"
    for symbol in ("t", "w"):
        number = known.get(symbol)
        if isinstance(number, float):
            given[symbol] = repr(number) if np.isfinite(number) else f"float({str(number)!r})"
    if "t" not in given:
        return None
    exact = next((one for one in answers(trace, position, check) if one.symbol == "out"), None)
    bound = 0.0 if exact is None else float(np.max(exact.bound[np.isfinite(exact.bound)], initial=0.0))
    found.pack.lines.append(_CODE)
    found.callee, found.named, found.results = "attention", given, [""]
    found.pack.tensors["result."] = _kept(trace, tensors["out"])
    found.tolerances = {"": 2 * bound}
    found.build = {"versions": {}}
    found.pack.notes.append("Its code is not that of the model, but its equation as it was seen, in the run's dtype.")
    return found


def _kept(trace: Trace, row: Any) -> Any:
    found = read_value(trace.path, row.value, row.shape)
    return found.astype(np.float32) if found.dtype.kind == "f" and row.dtype in ("float16", "bfloat16") else found
