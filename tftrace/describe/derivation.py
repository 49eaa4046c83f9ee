"""The derivation of a cell as text: the terms of its equation, or the softmax row of an attention weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import TraceError
from ..explain.attention_weights import Attention
from ..explain.explain import Explanation, Term, explain
from ..explain.replay import replayed
from ..flow import producer
from ..recipes.typeset import mathtext
from ..text import visible
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from .phrases import base_name

_MOST = 200  # terms listed one by one; the rest are summed up
_BAR = 8  # columns of the bar of the largest term


@dataclass(frozen=True, slots=True)
class Addend:
    """One term of a derivation as text: its value, a bar for its size, its token, its factors and its origin."""

    value: str
    bar: str
    token: str
    product: str
    origin: str
    step: int | None


@dataclass(frozen=True, slots=True)
class Derivation:
    """The derivation of a cell's value as a sum of terms, largest first; `matches` if the sum agrees with the value."""

    title: str
    formula: list[str]
    value: str
    how: str
    terms: list[Addend]
    sum: str
    matches: bool

    @property
    def tokens(self) -> bool:
        """Whether any term belongs to a token."""
        return any(term.token for term in self.terms)


def derive(trace: Trace, position: int, row: TensorRow, cell: tuple[int, ...]) -> Derivation:
    """Derive one cell of a tensor by the equation of the step that made it.

    This may run the forward pass again, if values were not kept.

    Args:
        trace: The trace.
        position: A step that saw the tensor.
        row: The tensor.
        cell: The index of the cell along each axis.

    Raises:
        TraceError: No step with an equation made the tensor, or the cell cannot be derived.
    """
    at = _maker(trace, position, row)
    if at is None:
        raise TraceError(
            f"{row.name or 'The tensor'} was not made by a step with an equation, so it cannot be derived."
        )
    found = explain(trace, at, cell, replay=replayed)
    if not found.terms:
        raise TraceError(f"It cannot be derived: {found.reason}")
    top = max((abs(term.value) for term in found.terms if np.isfinite(term.value)), default=0.0)
    terms = [_addend(term, top) for term in found.terms[:_MOST]]
    if rest := found.terms[_MOST:]:
        terms.append(Addend(f"{sum(t.value for t in rest):+.5g}", "", "", f"the other {len(rest)} terms", "", None))
    token = f"  {found.token}" if found.token else ""
    relation = "≤" if found.matches else ">"
    off = abs(found.total - found.value)
    return Derivation(
        visible(found.cite),
        _formula(trace, found),
        f"{visible(found.symbol)}[{', '.join(map(str, found.cell))}] = {found.value:.6g}{token}",
        found.how,
        terms,
        f"their sum {found.total:.6g}: {off:.1e} {relation} {found.bound:.1e} from the recorded number",
        found.matches,
    )


def _maker(trace: Trace, position: int, row: TensorRow) -> int | None:
    """The call with an equation that returned this tensor: the step itself, or the producer of the tensor."""
    places = [position, producer(trace, position, row.tensor), producer(trace, position + 1, row.tensor)]
    for at in places:
        while at is not None:
            if trace.column("equation")[at] or trace.checks_of(at):
                given = [one for one in trace.tensors_of(at) if one.role == "output"]
                if any(one.tensor == row.tensor and one.shape == row.shape for one in given):
                    return at
            inside = [p for p in trace.children(at) if any(r.tensor == row.tensor for r in trace.tensors_of(p))]
            at = inside[-1] if inside else None
    return None


def _formula(trace: Trace, found: Explanation) -> list[str]:
    """The formula as printed in the paper, and the variant that fits, if any."""
    tex = (trace.equation(found.equation) or {}).get("tex")
    drawn = mathtext.render(tex, 100) if isinstance(tex, str) else [visible(found.formula)]
    return [*drawn, *([f"in the variant: {visible(found.variant)}"] if found.variant else [])]


def _addend(term: Term, top: float) -> Addend:
    """A term as text; `top` is the largest magnitude of all terms."""
    product, origin, step = "", "", None
    for part in term.parts:
        if part.text == "-1":
            product = f"−{product}"
            continue
        sign = " / " if part.inverse else " × " if product.strip("−") else ""
        product += f"{sign}{visible(part.text)} {part.value:.4g}"
        if part.tensor is not None and step is None:
            place = f"[{','.join(map(str, part.cell))}]" if part.cell else ""
            file, _, line = part.line.rpartition(":")
            where = f" {base_name(file)}:{line}" if file else ""
            origin, step = f"{visible(part.tensor.name) or 'result'}{place}{where}", part.step
    share = abs(term.value) / top if top and np.isfinite(term.value) else 0.0
    return Addend(f"{term.value:+.5g}", _bar(share), visible(term.token or ""), product, origin, step)


def _bar(share: float) -> str:
    """A bar for a share in [0, 1]."""
    full, part = divmod(round(share * _BAR * 8), 8)
    return "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")


def derive_weight(
    attention: Attention, position: int, item: int, head: int, query: int, key: int, keys: list[str]
) -> Derivation:
    """Derive one attention weight: its row of the softmax, key by key.

    Args:
        attention: The attention of the call at `position`.
        position: Position of the call, to which every term leads.
        item: Index of the sequence in the batch.
        head: Index of the head.
        query: Index of the query.
        key: Index of the key.
        keys: The tokens of the keys.

    Raises:
        TraceError: The weights are not known.
    """
    if attention.probabilities is None or attention.scores is None:
        raise TraceError(attention.reason)
    weights, raw = attention.probabilities[item, head, query], attention.scores[item, head, query]
    mask = np.zeros_like(raw)
    if attention.mask is not None:
        mask = np.broadcast_to(attention.mask, attention.scores.shape)[item, head, query]
    order = np.argsort(-weights, kind="stable")[:_MOST]
    terms = []
    for at in order.tolist():
        hidden = not np.isfinite(mask[at])
        shown = "hidden by the mask" if hidden else f"e^({raw[at]:.4g} × {attention.scale:.4g}"
        shown += "" if hidden else f" + {mask[at]:.3g})" if mask[at] else ")"
        bar = _bar(float(weights[at]) / float(weights[order[0]] or 1.0))
        terms.append(Addend(f"{weights[at]:.5f}", bar, keys[at], shown, "◂ this cell" if at == key else "", position))
    total = float(weights.sum())
    return Derivation(
        "A row of softmax: each key's share of the sum",
        mathtext.render(r"P_k=\frac{e^{s\,q\cdot k+m}}{\sum_j e^{s\,q\cdot k_j+m_j}}", 80),
        f"weight on {keys[key]} = {weights[key]:.5f}",
        "rebuilt from query, key and mask" if attention.rebuilt else "as the run kept it",
        terms,
        f"their sum {total:.6f}",
        abs(total - 1) < 1e-3 or total == 0,
    )
