"""One number of a run derived, in lines and as an answer that fits: `tftrace explain`, and the tool of that name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..explain.explain import Explanation, Term
from ..language import tr
from ..language.retell import retold
from .brief import as_exact_as, cut, rounded
from .paged import Answer, listed


def derivation_answer(found: Explanation) -> Answer:
    """The terms of the equation that one number is the result of, largest first."""
    said = [" ".join(line.split()) for line in head(found)]
    said += [" ".join(foot(found).split())] if found.terms else []
    facts: dict[str, Any] = {"equation": cut(found.equation), "variant": cut(found.variant) or None}
    facts |= {"symbol": cut(found.symbol), "cell": list(found.cell), "bound": rounded(found.bound, 2)}
    facts |= {"value": as_exact_as(found.value, found.bound), "total": as_exact_as(found.total, found.bound)}
    facts |= {"matches": found.matches, "reason": cut(found.reason) or None}
    items = [
        ({"value": rounded(term.value), "text": cut(term_line(term))}, cut(term_line(term))) for term in found.terms
    ]
    return Answer("explain", said, listed(items), len(items), facts, code=int(not found.terms))


def head(found: Explanation) -> list[str]:
    """The lines above the terms: the equation, and the number; or why it cannot be derived."""
    out = [f"{found.equation}  {found.cite}", f"    {found.formula}"]
    if found.variant:
        out.append(tr("    in the variant: {name}", name=retold(found.variant)))
    if not found.terms:
        return [*out, tr("It cannot be derived: {reason}", reason=retold(found.reason))]
    at = ",".join(map(str, found.cell))
    token = f"  “{found.token}”" if found.token else ""
    return [*out, f"{found.symbol}[{at}] = {found.value:.7g}{token}, {retold(found.how)}"]


def foot(found: Explanation) -> str:
    """The line below the terms: their sum against the number."""
    difference = abs(found.total - found.value)
    relation = "≤" if found.matches else ">"
    said = tr("their sum: {difference} from the recorded number ({relation} {bound}, what rounding explains)",
              difference=f"{difference:.2g}", relation=relation, bound=f"{found.bound:.2g}")  # fmt: skip
    return f"{found.total:>+14.7g}  {said}"


def term_line(term: Term) -> str:
    """A term: its value, its factors, and where they were made."""
    product, origins = "", {}
    for part in term.parts:
        if part.text == "-1":
            product = "-" if product != "-" else ""
            continue
        place = f"[{','.join(map(str, part.cell))}]" if part.cell else ""
        sign = "" if product in ("", "-") and not part.inverse else " / " if part.inverse else " × "
        product += f"{sign}{part.text}{place} {part.value:.5g}"
        if part.tensor is not None:
            what = part.tensor.name or tr("result")
            origins[what] = (
                f"{what} at {Path(part.line.rpartition(':')[0]).name}:{part.line.rpartition(':')[2]}"
                if part.line
                else what
            )
    along = ", ".join(f"{dim}={at}" for dim, at in term.along)
    token = f"“{term.token}”" if term.token else ""
    about = "  ".join(filter(None, (token, along, "; ".join(origins.values()))))
    return f"{term.value:>+14.7g}  {product}    {about}".rstrip()
