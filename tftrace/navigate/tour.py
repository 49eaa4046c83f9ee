"""A guided tour: the first step of each equation from a paper, in the order in which the model runs."""

from __future__ import annotations

import numpy as np

from ..trace.trace import Trace

_PLAIN = ("dropout", "identity")  # they do nothing at evaluation
_TORCH = "PyTorch documentation"  # the citation of building blocks without a paper


def stops(trace: Trace) -> list[int]:
    """Sorted positions of the first step of each equation that cites a paper."""
    codes, names = trace.words("equation")
    cited = [code for code, name in enumerate(names) if _cites_paper(trace, name)]
    found = np.flatnonzero(np.isin(codes, cited))
    _, first = np.unique(codes[found], return_index=True)
    return sorted(found[first].tolist())


def _cites_paper(trace: Trace, name: str) -> bool:
    cite = (trace.equation(name) or {}).get("cite")
    return name not in _PLAIN and isinstance(cite, str) and not cite.startswith(_TORCH)


def next_stop(trace: Trace, position: int, by: int) -> int | None:
    """The next stop after `position`, or the previous one if `by` is negative; None if there is no further stop."""
    found = stops(trace)
    if by > 0:
        return next((at for at in found if at > position), None)
    return next((at for at in reversed(found) if at < position), None)
