"""The verdicts of a run, summarised per equation."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..trace import schema
from ..trace.trace import Trace
from .accepted import NOTHING, Accepted
from .difference_kinds import BY_DESIGN, by_design, kind_of


@dataclass(frozen=True, slots=True)
class VerdictSummary:
    """The verdicts of one equation over all its steps.

    Attributes:
        equation: The id of the equation.
        cite: The citation of its paper.
        holds: How many steps hold.
        differs: How many steps differ, in all.
        design: How many of them by design.
        accepted: How many of them are accepted (see `navigate.accepted`).
        wrong: How many of them are neither: mistakes that are not accepted.
        unchecked: How many steps were not checked.
        cells: How many cells were compared in all.
        residual: The largest difference of the worst step, the one with the largest residual/bound ratio.
        bound: The rounding bound of that step.
        worst: The position of that step.
        first: The position of the first step that differs, of one that is wrong if there is any.
        variants: The variants that fit where the equation differs, with counts.
        reasons: Why steps were not checked, or what differs, with counts.
        covers: What the checks cover, where that is less than the equation shows.
        kinds: Of each fitting variant the kind, design or mistake.
        why: Why differences are accepted.
    """

    equation: str
    cite: str
    holds: int
    differs: int
    design: int
    accepted: int
    wrong: int
    unchecked: int
    cells: int
    residual: float | None
    bound: float | None
    worst: int | None
    first: int | None
    variants: dict[str, int]
    reasons: dict[str, int]
    covers: str = ""
    kinds: dict[str, str] = field(default_factory=dict)
    why: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """What is shown of all steps together: a mistake, if there is any, else a design, else what holds."""
        if self.differs > self.design:
            return schema.DIFFERS
        return BY_DESIGN if self.design else schema.HOLDS if self.holds else schema.UNCHECKED

    @property
    def kind(self) -> str | None:
        """The kind of the worst difference: mistake or design; None if no step differs."""
        return {schema.DIFFERS: schema.MISTAKE, BY_DESIGN: schema.DESIGN}.get(self.verdict)

    @property
    def design_left(self) -> int:
        """How many differ by design and are not accepted."""
        return self.differs - self.accepted - self.wrong

    @property
    def share(self) -> float | None:
        """The ratio residual/bound of the worst step: at most 1 where the equation holds."""
        if self.residual is None or self.bound is None:
            return None
        return self.residual / self.bound if self.bound else (float("inf") if self.residual else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The fields, `share` and `kind` as a dictionary for JSON."""
        return asdict(self) | {"share": self.share, "kind": self.kind}


def summaries(trace: Trace, accepted: Accepted = NOTHING) -> list[VerdictSummary]:
    """Summarise each equation: mistakes first, then designs, else in order of first appearance in the trace.

    Args:
        trace: The trace.
        accepted: The differences that are known and wanted; by default none.
    """
    table, positions = trace.checks, trace.check_positions
    codes, names = _codes(table["equation"])
    verdict, verdicts = _codes(table["verdict"])
    residual, bound = (table[c].to_numpy().astype(np.float64) for c in ("residual", "bound"))
    cells = table["cells"].fill_null(0).to_numpy()
    design, wanted = by_design(trace), accepted.rows(trace)
    with np.errstate(all="ignore"):
        share = np.where(bound > 0, residual / bound, np.where(residual > 0, np.inf, 0.0))
    share = np.where(np.isnan(residual), -1.0, np.where(np.isnan(share), np.inf, share))
    found = []
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        counts = Counter(verdicts[v] for v in verdict[rows].tolist() if v >= 0)
        differing = rows[[verdicts[v] == schema.DIFFERS if v >= 0 else False for v in verdict[rows].tolist()]]
        wrong = differing[~design[differing] & (wanted[differing] < 0)]
        first = wrong if len(wrong) else differing
        variants = _counted(table["variant"], differing)
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
                design=int(design[rows].sum()),
                accepted=int((wanted[differing] >= 0).sum()),
                wrong=len(wrong),
                unchecked=counts[schema.UNCHECKED],
                cells=int(cells[rows].sum()),
                residual=float(residual[worst]) if measured else None,
                bound=float(bound[worst]) if measured else None,
                worst=int(positions[worst]) if measured else None,
                first=int(positions[first].min()) if len(first) else None,
                variants=variants,
                reasons=_counted(table["reason"], rows),
                covers=str(recipe.get("covers") or ""),
                kinds={variant: kind_of(trace, name, variant) for variant in variants},
                why=accepted.why(wanted[differing]),
            )
        )
    order = (schema.DIFFERS, BY_DESIGN)
    return sorted(found, key=lambda s: order.index(s.verdict) if s.verdict in order else len(order))


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """The column dictionary-encoded: a code per row (-1 for null) and the texts."""
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _counted(column: pa.ChunkedArray, rows: np.ndarray) -> dict[str, int]:
    """The distinct texts in these rows with their counts, the most frequent first."""
    return dict(Counter(text for text in column.take(pa.array(rows)).to_pylist() if text).most_common())
