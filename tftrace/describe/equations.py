"""The equations of a step as printed in the paper, with the dimensions of this run and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from rich.cells import cell_len

from ..navigate.difference_kinds import shown_verdict
from ..recipes.evaluate.bindings import Bindings, bindings_of
from ..recipes.format.covers import COVERS
from ..recipes.typeset import mathtext, symbol_places
from ..text import visible
from ..trace import schema
from ..trace.rows import CheckRow, TensorRow
from ..trace.trace import Trace
from .paper_letters import letters, symbols_drawn
from .phrases import LANGUAGES, MARKS, integer, text, wrapped
from .step_row import path, relative_name
from .tensor_rows import tensor_line

_EXPRESSION = 16  # cells of a short expression in a legend


@dataclass(frozen=True, slots=True)
class StepEquation:
    """One equation of a step with its verdict.

    Attributes:
        id: The id of the equation.
        cite: The citation of its paper.
        tex: The equation in TeX.
        formula: The equation in the formula language of recipes.
        dims: The sizes of its dimensions in this run, as text.
        legend: Symbols and the tensors that they stand for, as text.
        verdict: The verdict of its check, as `MARKS` has them.
        judgement: The verdict with residual and bound, or the reason why it was not checked.
        note: A remark on the equation.
        within: The call that it belongs to, if that is not the step's own call.
        tensors: For each symbol the number of its tensor.
        spelling: For each symbol how the TeX writes it.
        papers: The papers that it cites, each with title, edition and address.
    """

    id: str
    cite: str
    tex: str
    formula: str
    dims: str
    legend: list[tuple[str, str]]
    verdict: str
    judgement: str
    note: str
    within: str
    tensors: dict[str, int] = field(default_factory=dict)
    spelling: dict[str, str] = field(default_factory=dict)
    papers: list[str] = field(default_factory=list)

    def spans(self, width: int) -> list[list[symbol_places.Span]]:
        """The positions of symbols in each row of `drawn`."""
        if self.tex and max(map(cell_len, mathtext.render(self.tex, width)), default=0) <= width:
            return symbols_drawn(self.tex, width, self.spelling)
        return [[] for _ in self.drawn(width)]

    @property
    def letters(self) -> dict[str, str]:
        """For each symbol that stands in the equation how the paper writes it, short enough for a column."""
        return letters(self.tex, self.spelling)

    @property
    def meanings(self) -> list[tuple[str, str, str]]:
        """The legend as the paper would have it: symbol, its letter or short expression (or nothing), and tensor."""
        said = letters(self.tex, self.spelling, longest=_EXPRESSION)
        return [(symbol, said.get(symbol, ""), meaning) for symbol, meaning in self.legend]

    def drawn(self, width: int) -> list[str]:
        """The equation in two dimensions; if that is wider than `width` cells, its formula, wrapped."""
        rows = mathtext.render(self.tex, width) if self.tex else []
        if rows and max(map(cell_len, rows)) <= width:
            return rows
        return wrapped(self.formula or mathtext.plain(self.tex), width)


def equations(trace: Trace, position: int, language: str = "en") -> list[StepEquation]:
    """Describe the equations of the call that contains a step, the principal one first.

    If the call has none, those of the nearest call around it that has some.

    Args:
        trace: The trace.
        position: The step.
        language: Language of the notes, one of `LANGUAGES`.
    """
    own = call = trace.call_of(position)
    while not (names := _names(trace, call)):
        above = trace.parent(call)
        if above is None:
            return []
        call = trace.call_of(above)
    within = "" if call == own else path(trace, call)
    return [_equation(trace, call, name, check, language, within) for name, check in names]


def _names(trace: Trace, call: int) -> list[tuple[str, CheckRow | None]]:
    """The equations of a call with their checks, the principal one first."""
    names: list[tuple[str, CheckRow | None]] = [(check.equation, check) for check in trace.checks_of(call)]
    principal = trace.column("equation")[call]
    if principal and all(name != principal for name, _ in names):
        names.insert(0, (principal, None))
    return sorted(names, key=lambda found: found[0] != principal)


def _equation(trace: Trace, call: int, name: str, check: CheckRow | None, language: str, within: str) -> StepEquation:
    recipe = trace.equation(name) or {}
    found = _bound(trace, len(trace), call, name)
    notes = recipe.get("note")
    note = (notes.get(language) or notes.get(LANGUAGES[0])) if isinstance(notes, dict) else notes
    given = recipe.get("tex")
    tex = given if isinstance(given, str) else ""
    written = recipe.get("signs")
    spelling = {k: v for k, v in written.items() if isinstance(v, str)} if isinstance(written, dict) else {}
    return StepEquation(
        id=visible(name),
        cite=text(recipe.get("cite")) or visible(name),
        tex=tex,
        formula=text(recipe.get("formula")),
        dims="  ".join(f"{visible(symbol)}={size}" for symbol, size in found.dims.items()),
        legend=[(visible(symbol), _named(trace, call, tensor)) for symbol, tensor in found.tensors.items()],
        verdict=(verdict := shown_verdict(trace, check) if check else schema.UNCHECKED),
        judgement=judgement(check, verdict, text(recipe.get("covers")), language),
        note=text(note),
        within=within,
        tensors={visible(symbol): tensor.tensor for symbol, tensor in found.tensors.items()},
        spelling=symbol_places.spelled(found.tensors, tex, spelling),
        papers=_papers(recipe.get("papers")),
    )


def _papers(kept: Any) -> list[str]:
    """The papers that a trace keeps, each once, as text."""
    known = [paper for paper in kept if isinstance(paper, dict)] if isinstance(kept, list) else []
    return list(dict.fromkeys(f"{text(paper.get('whole'))}. {text(paper.get('address'))}" for paper in known))


@lru_cache(maxsize=256)
def _bound(trace: Trace, size: int, call: int, name: str) -> Bindings:
    """Cached, as both panes ask for it; `size` invalidates the cache when the trace grows."""
    return bindings_of(trace, call, name)


class TensorSymbol(NamedTuple):
    """What an equation calls a tensor.

    Attributes:
        symbol: Its name in the formula of the recipe.
        number: The number of its colour.
        letter: How the paper writes it; empty if the paper does not.
    """

    symbol: str
    number: int
    letter: str


def symbols_of_tensors(trace: Trace, position: int) -> dict[int, TensorSymbol]:
    """The symbol of each tensor that an equation of the step names, by tensor number.

    A tensor of several equations keeps its first symbol that a paper writes.
    """
    found: dict[int, TensorSymbol] = {}
    for equation in equations(trace, position):
        written = equation.letters
        for symbol, tensor in equation.tensors.items():
            known, said = found.get(tensor), written.get(symbol, "")
            if known is None:
                found[tensor] = TensorSymbol(symbol, len(found), said)
            elif said and not known.letter:
                found[tensor] = TensorSymbol(symbol, known.number, said)
    return found


def _named(trace: Trace, call: int, tensor: TensorRow) -> str:
    """The name and shape of a tensor, with the inner call that it belongs to, if any."""
    line = tensor_line(tensor)
    at = call + tensor.step - integer(trace, "step", call)  # the steps of one rank are consecutive
    inside = call < at < trace.ends[call] and trace.call_of(at) == at
    prefix = f"{visible(relative_name(trace, at))}: " if inside else ""
    return f"{prefix}{line.name}  {line.shape}"


def judgement(check: CheckRow | None, verdict: str, covers: str = "", language: str = LANGUAGES[0]) -> str:
    """A check as text: `✓ holds  3.0e-07 ≤ 1.2e-05 (32 cells)`, with the fitting variant or the reason, if any.

    A check that covers less than the TeX shows: `wiring ✓: the products are checked in rows of their own (32 cells)`.
    """
    if check is None:
        return f"{MARKS[schema.UNCHECKED]} unchecked"
    mark = MARKS.get(verdict, "?")
    reason = visible(check.reason or "")
    if check.verdict == schema.UNCHECKED:
        return f"{mark} unchecked: {reason}" if reason else f"{mark} unchecked"
    holds = check.verdict == schema.HOLDS
    exact = holds and not check.residual and not check.bound  # nothing was computed that could round
    rounded = f"{_short(check.residual)} {'≤' if holds else '>'} {_short(check.bound)}"
    alike = "equal" if covers in COVERS else "equal, and nothing rounds"
    compared = alike if exact else rounded
    measured = f"{compared} ({check.cells} cells)"
    if holds and covers in COVERS:
        measured = f"{measured} · {reason}" if reason else measured
        return f"{covers} {mark}: {COVERS[covers][language]}  {measured}"
    parts = [f"{mark} {visible(verdict)}  {measured}"]
    if check.variant:
        parts.append(f"fits: {visible(check.variant)}")
    elif reason:
        parts.append(reason)
    return " · ".join(parts)


def _short(value: float | None) -> str:
    return "?" if value is None else "0" if value == 0 else f"{value:.1e}"
