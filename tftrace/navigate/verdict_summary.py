"""The verdicts of a run, equation by equation."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..trace import schema
from ..trace.trace import Trace


@dataclass(frozen=True, slots=True)
class Summary:
    """One equation on all the steps it describes. `residual` and `bound` are of the step that came closest to the
    bound, or went furthest beyond it."""

    equation: str
    cite: str
    holds: int
    differs: int
    unchecked: int
    cells: int
    residual: float | None
    bound: float | None
    worst: int | None  # position of that step
    first: int | None  # position of the first step that differs
    variants: dict[str, int]  # names of those that fit where it differs, and how often
    reasons: dict[str, int]  # why it was not checked, or what differs
    covers: str = ""  # what the checks cover, where that is less than the equation shows

    @property
    def share(self) -> float | None:
        """The residual in parts of its bound: at most 1 where the equation holds."""
        if self.residual is None or self.bound is None:
            return None
        return self.residual / self.bound if self.bound else (float("inf") if self.residual else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"share": self.share}


def summaries(trace: Trace) -> list[Summary]:
    """One for each equation: those that differ first, then in the order in which they first stand in the trace."""
    table, positions = trace.checks, trace.check_positions
    codes, names = _codes(table["equation"])
    verdict, verdicts = _codes(table["verdict"])
    residual, bound = (table[c].to_numpy().astype(np.float64) for c in ("residual", "bound"))
    cells = table["cells"].fill_null(0).to_numpy()
    with np.errstate(all="ignore"):
        share = np.where(bound > 0, residual / bound, np.where(residual > 0, np.inf, 0.0))
    share = np.where(np.isnan(residual), -1.0, np.where(np.isnan(share), np.inf, share))
    found = []
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        counts = Counter(verdicts[v] for v in verdict[rows].tolist() if v >= 0)
        wrong = rows[[verdicts[v] == schema.DIFFERS if v >= 0 else False for v in verdict[rows].tolist()]]
        # of what differs the furthest beyond; unchecked steps have no share
        worst = int(rows[share[rows].argmax()])
        measured = share[worst] >= 0
        recipe = trace.equation(name) or {}
        found.append(
            Summary(
                equation=name,
                cite=str(recipe.get("cite") or ""),
                holds=counts[schema.HOLDS],
                differs=counts[schema.DIFFERS],
                unchecked=counts[schema.UNCHECKED],
                cells=int(cells[rows].sum()),
                residual=float(residual[worst]) if measured else None,
                bound=float(bound[worst]) if measured else None,
                worst=int(positions[worst]) if measured else None,
                first=int(positions[wrong].min()) if len(wrong) else None,
                variants=_counted(table["variant"], wrong),
                reasons=_counted(table["reason"], rows),
                covers=str(recipe.get("covers") or ""),
            )
        )
    return sorted(found, key=lambda s: not s.differs)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _counted(column: pa.ChunkedArray, rows: np.ndarray) -> dict[str, int]:
    """The texts in these rows, the most frequent first."""
    return dict(Counter(text for text in column.take(pa.array(rows)).to_pylist() if text).most_common())
