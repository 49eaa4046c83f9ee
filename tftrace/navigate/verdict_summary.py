"""The verdicts of a run, summarised per equation."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..trace import schema
from ..trace.trace import Trace


@dataclass(frozen=True, slots=True)
class VerdictSummary:
    """The verdicts of one equation over all its steps.

    Attributes:
        equation: The id of the equation.
        cite: The citation of its paper.
        holds: How many steps hold.
        differs: How many steps differ.
        unchecked: How many steps were not checked.
        cells: How many cells were compared in all.
        residual: The largest difference of the worst step, the one with the largest residual/bound ratio.
        bound: The rounding bound of that step.
        worst: The position of that step.
        first: The position of the first step that differs.
        variants: The variants that fit where the equation differs, with counts.
        reasons: Why steps were not checked, or what differs, with counts.
        covers: What the checks cover, where that is less than the equation shows.
    """

    equation: str
    cite: str
    holds: int
    differs: int
    unchecked: int
    cells: int
    residual: float | None
    bound: float | None
    worst: int | None
    first: int | None
    variants: dict[str, int]
    reasons: dict[str, int]
    covers: str = ""

    @property
    def share(self) -> float | None:
        """The ratio residual/bound of the worst step: at most 1 where the equation holds."""
        if self.residual is None or self.bound is None:
            return None
        return self.residual / self.bound if self.bound else (float("inf") if self.residual else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The fields and `share` as a dictionary for JSON."""
        return asdict(self) | {"share": self.share}


def summaries(trace: Trace) -> list[VerdictSummary]:
    """Summarise each equation: those that differ first, else in order of first appearance in the trace."""
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
        # an unchecked step has no ratio (-1), so it is never the worst
        worst = int(rows[share[rows].argmax()])
        measured = share[worst] >= 0
        recipe = trace.equation(name) or {}
        found.append(
            VerdictSummary(
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
    """The column dictionary-encoded: a code per row (-1 for null) and the texts."""
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _counted(column: pa.ChunkedArray, rows: np.ndarray) -> dict[str, int]:
    """The distinct texts in these rows with their counts, the most frequent first."""
    return dict(Counter(text for text in column.take(pa.array(rows)).to_pylist() if text).most_common())
