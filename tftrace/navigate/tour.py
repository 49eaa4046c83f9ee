"""A guided walk: the first step of each equation that a paper gives, in the order in which the model runs."""

from __future__ import annotations

import numpy as np

from ..trace.trace import Trace

_PLAIN = ("dropout", "identity")  # nothing to learn at evaluation
_TORCH = "PyTorch documentation"  # cites that explain a building block and no paper


def stops(trace: Trace) -> list[int]:
    """Positions in order; of the first forward that has an equation, else none."""
    codes, names = trace.words("equation")
    told = [code for code, name in enumerate(names) if _tells(trace, name)]
    found = np.flatnonzero(np.isin(codes, told))
    _, first = np.unique(codes[found], return_index=True)
    return sorted(found[first].tolist())


def _tells(trace: Trace, name: str) -> bool:
    cite = (trace.equation(name) or {}).get("cite")
    return name not in _PLAIN and isinstance(cite, str) and not cite.startswith(_TORCH)


def onward(trace: Trace, position: int, by: int) -> int | None:
    """The next stop after `position`, or with `by` -1 the one before; None past the last."""
    found = stops(trace)
    if by > 0:
        return next((at for at in found if at > position), None)
    return next((at for at in reversed(found) if at < position), None)
