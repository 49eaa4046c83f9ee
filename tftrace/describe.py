"""What is said about a step: its row, its source, its equations, its tensors, as plain data.

The screen and the plain output both draw from here, so that they say the same; every text that came from the
trace has been through `text.visible`."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from . import schema
from .recipes import mathtext
from .recipes.bound import bound
from .text import number, shape, visible
from .trace import CheckRow, TensorRow, Trace

MARKS = {schema.HOLDS: "✓", schema.DIFFERS: "✗", schema.UNCHECKED: "·"}
ROLE_MARKS = {schema.INPUT: "→", schema.OUTPUT: "←", schema.LOCAL: "=", schema.PARAMETER: "θ"}
LANGUAGES = ("en", "zh")

_DEEPEST = 60  # levels of indentation drawn; a trace may claim any depth
_VERDICTS = (schema.DIFFERS, schema.HOLDS, schema.UNCHECKED)  # the first that a step has is its mark
_LATEST_LINES = 200  # executed lines of a call whose values are looked up


@dataclass(frozen=True, slots=True)
class Row:
    """One step in the tree of steps."""

    position: int
    indent: int
    kind: str
    label: str
    detail: str
    place: str
    verdict: str | None
    failed: str


@dataclass(frozen=True, slots=True)
class Code:
    """The source a step stands on: a whole file, the statement's lines (from 1) and the call within it."""

    file: str
    title: str
    lines: list[str]
    first: int
    last: int
    call: tuple[int, int, int, int] | None = None  # line, column, last line, column after it; columns in characters
    done: dict[int, int] = field(default_factory=dict)  # line -> position of its latest run in this call so far
    later: frozenset[int] = frozenset()  # lines that this call runs only after this step


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation of a step, drawn and judged."""

    id: str
    cite: str
    rows: list[str]
    plain: str
    dims: str
    legend: list[tuple[str, str]]
    verdict: str
    judgement: str
    note: str
    within: str  # the call it belongs to, where that is not the step's own


@dataclass(frozen=True, slots=True)
class Line:
    """One tensor in the table of tensors, each column as text."""

    role: str
    name: str
    shape: str
    dtype: str
    mean: str
    std: str
    min: str
    max: str
    odd: str
    fresh: bool = True


def text(value: Any) -> str:
    """A text from meta.json, safe to show; empty for anything that is not a text."""
    return visible(value) if isinstance(value, str) else ""


# -- the tree ---------------------------------------------------------------------------------------


def row(trace: Trace, position: int) -> Row:
    """The step as it stands in the tree: calls below the line that makes them, lines below their call."""
    kind = trace.column("kind")[position]
    kind_name = trace.column("type")[position] or ""
    status = trace.column("status")[position]
    if kind == schema.LINE:
        label, detail = statement(trace, position), ""
    elif kind == schema.MODULE:
        label, detail = relative_name(trace, position), kind_name
        label, detail = (label, detail) if label else (detail, "")
    else:
        label, detail = relative_name(trace, position) or kind_name, ""
        label = f"{label}()" if kind == schema.FUNCTION else label
    return Row(
        position,
        indent(trace, position),
        kind or "",
        visible(label),
        visible(detail),
        place(trace, position),
        verdict(trace, position),
        "" if status == schema.RETURNED else status or "",
    )


def indent(trace: Trace, position: int) -> int:
    """How many calls the step runs in."""
    parents, kinds = trace.parents, trace.column("kind")
    levels, at = 0, int(parents[position])
    while at >= 0 and levels < _DEEPEST:
        levels += kinds[at] in schema.CALLS
        at = int(parents[at])
    return levels


def relative_name(trace: Trace, position: int) -> str:
    """A call's path without that of the module it runs in: `attention.self` below `encoder.layer.0`."""
    names, kinds = trace.column("name"), trace.column("kind")
    name = names[position] or ""
    above = trace.parent(position)
    while above is not None and kinds[above] != schema.MODULE:
        above = trace.parent(above)
    outer = "" if above is None else names[above] or ""
    return name[len(outer) + 1 :] if outer and name.startswith(f"{outer}.") else name


def path(trace: Trace, position: int) -> str:
    """A step's full path, with its class where the path is empty."""
    return visible(trace.column("name")[position] or trace.column("type")[position] or "")


def statement(trace: Trace, position: int) -> str:
    """The source text of a line step on one line; its place where the trace has no copy of the file."""
    return _statement(trace, len(trace), trace.column("file")[position], *span(trace, position))


@lru_cache(maxsize=8192)
def _statement(trace: Trace, size: int, file: str | None, first: int, last: int) -> str:
    lines = trace.source(file)[max(first - 1, 0) : min(last, first + 20)] if first else []
    parts = (line.strip() for line in lines)
    joined = (
        " ".join(part for part in parts if part and not part.startswith("#"))
        .replace("( ", "(")
        .replace(" )", ")")
        .replace(",)", ")")
    )
    return visible(joined) if joined else f"{_base(file)}:{first}"


def span(trace: Trace, position: int) -> tuple[int, int]:
    """First and last line of a step's site; 0, 0 where it is not known."""
    first = _integer(trace, "line", position)
    return (first, max(first, _integer(trace, "end_line", position))) if first > 0 else (0, 0)


def place(trace: Trace, position: int) -> str:
    """`modeling_bert.py:175`, or nothing."""
    first, _ = span(trace, position)
    file = trace.column("file")[position]
    return f"{_base(file)}:{first}" if file and first else ""


def verdict(trace: Trace, position: int) -> str | None:
    """What the checks of a step come to: `differs` if one does, else `holds` if one does."""
    found = _verdicts(trace, len(trace))[position]
    return _VERDICTS[found] if found < len(_VERDICTS) else None


@lru_cache(maxsize=4)
def _verdicts(trace: Trace, size: int) -> np.ndarray:
    found = np.full(size, len(_VERDICTS), np.int8)
    given = trace.checks["verdict"].to_numpy()
    for code, name in enumerate(_VERDICTS):
        positions = trace.check_positions[given == name]
        found[positions] = np.minimum(found[positions], code)
    return found


def totals(trace: Trace) -> dict[str, int]:
    """How many checks came to each verdict."""
    given = Counter(trace.checks["verdict"].to_pylist())
    return {name: given[name] for name in schema_verdicts()}


def schema_verdicts() -> tuple[str, ...]:
    """The verdicts in the order they are reported."""
    return (schema.HOLDS, schema.DIFFERS, schema.UNCHECKED)


# -- the source ----------------------------------------------------------------------------------------


def code(trace: Trace, position: int) -> Code | None:
    """Where the step stands: a line on itself, a call where it is made, or defined if that is not known."""
    return _line_code(trace, position) or _definition(trace, position)


def _line_code(trace: Trace, position: int) -> Code | None:
    file = trace.column("file")[position]
    lines = trace.source(file)
    first, last = expression = span(trace, position)
    above = trace.parent(position)
    if not 0 < first <= len(lines) or (above is None and trace.column("def_file")[position]):
        return None
    call = None
    caller = trace.call_of(position)
    if caller == position:
        caller = position if above is None else trace.call_of(above)
        if above is not None and above != caller and trace.column("file")[above] == file:
            outer, end = span(trace, above)
            first, last = (outer, max(end, last)) if 0 < outer <= first else (first, last)
        call = _columns(trace, position, lines, expression)
    done, later = _executed(trace, caller, position, file)
    qualname = trace.column("type")[position if call is None or above is None else above] or ""
    if call is not None and above is not None and trace.column("kind")[above] == schema.MODULE:
        qualname = f"{qualname}.forward"
    title = " ─ ".join(filter(None, (_base(file), visible(qualname))))
    return Code(file, title, lines, first, min(last, len(lines)), call, done, later)


def _definition(trace: Trace, position: int) -> Code | None:
    file, first = trace.column("def_file")[position], _integer(trace, "def_line", position)
    lines = trace.source(file)
    if not 0 < first <= len(lines):
        return None
    qualname = trace.column("type")[position] or ""
    if trace.column("kind")[position] == schema.MODULE:
        qualname = f"{qualname}.forward"
    call = trace.call_of(position)
    _, later = _executed(trace, call, call, file)
    while first < len(lines) and lines[first - 1].lstrip().startswith("@"):
        first += 1  # the statement that a reader looks for is the `def` below its decorators
    return Code(file, f"{_base(file)} ─ {visible(qualname)}", lines, first, first, None, {}, later)


def _columns(
    trace: Trace, position: int, lines: list[str], expression: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The expression of a call, its columns in characters (the trace has them in UTF-8 bytes)."""
    first, last = expression
    start, end = (_integer(trace, name, position, -1) for name in ("col", "end_col"))
    if start < 0 or end < 0 or last > len(lines):
        return None
    characters = (
        len(lines[at - 1].encode()[:column].decode(errors="ignore")) for at, column in ((first, start), (last, end))
    )
    return (first, next(characters), last, next(characters))


def _executed(trace: Trace, call: int, position: int, file: str) -> tuple[dict[int, int], frozenset[int]]:
    kinds, files = trace.column("kind"), trace.column("file")
    lines = [at for at in trace.children(call) if kinds[at] == schema.LINE and files[at] == file]
    done = {span(trace, at)[0]: at for at in lines if at <= position}
    later = frozenset(span(trace, at)[0] for at in lines if at > position)
    return done, later - done.keys()


def values(trace: Trace, position: int) -> list[str]:
    """What a line bound, or what a call returned, one text a tensor."""
    role = schema.LOCAL if trace.column("kind")[position] == schema.LINE else schema.OUTPUT
    return [summary(found) for found in trace.tensors_of(position) if found.role == role]


def summary(tensor: TensorRow) -> str:
    """`query_layer  1×12×128×64  μ 0.01 σ 0.98  [-4.1, 4.3]`."""
    line = tensor_line(tensor)
    spread = f"μ {line.mean} σ {line.std}" if line.mean and "int" not in line.dtype and line.dtype != "bool" else ""
    bounds = f"[{line.min}, {line.max}]" if line.min else ""
    return "  ".join(filter(None, (line.name, line.shape, spread, bounds, line.odd)))


# -- the equation --------------------------------------------------------------------------------------


def equations(trace: Trace, position: int, language: str = "en") -> list[Equation]:
    """The equations of the call that a step belongs to, the principal one first; of the nearest call around it that
    has one, where it has none."""
    own = call = trace.call_of(position)
    while not (names := _names(trace, call)):
        above = trace.parent(call)
        if above is None:
            return []
        call = trace.call_of(above)
    within = "" if call == own else path(trace, call)
    return [_equation(trace, call, name, check, language, within) for name, check in names]


def _names(trace: Trace, call: int) -> list[tuple[str, CheckRow | None]]:
    names: list[tuple[str, CheckRow | None]] = [(check.equation, check) for check in trace.checks_of(call)]
    principal = trace.column("equation")[call]
    if principal and all(name != principal for name, _ in names):
        names.insert(0, (principal, None))
    return sorted(names, key=lambda found: found[0] != principal)


def _equation(trace: Trace, call: int, name: str, check: CheckRow | None, language: str, within: str) -> Equation:
    recipe = trace.equation(name) or {}
    found = bound(trace, call, name)
    notes = recipe.get("note")
    note = (notes.get(language) or notes.get(LANGUAGES[0])) if isinstance(notes, dict) else notes
    tex = recipe.get("tex") if isinstance(recipe.get("tex"), str) else ""
    formula = text(recipe.get("formula"))
    return Equation(
        id=visible(name),
        cite=text(recipe.get("cite")) or visible(name),
        rows=mathtext.render(tex) if tex else [formula],
        plain=formula or mathtext.plain(tex),
        dims=" ".join(f"{visible(symbol)}={size}" for symbol, size in found.dims.items()),
        legend=[(visible(symbol), summary(tensor)) for symbol, tensor in found.tensors.items()],
        verdict=check.verdict if check else schema.UNCHECKED,
        judgement=judgement(check),
        note=text(note),
        within=within,
    )


def judgement(check: CheckRow | None) -> str:
    """`✓ holds  3.0e-07 ≤ 1.2e-05 (32 cells)`; what differs and which variant fits; or why it was not checked."""
    if check is None:
        return f"{MARKS[schema.UNCHECKED]} unchecked"
    mark = MARKS.get(check.verdict, "?")
    reason = visible(check.reason or "")
    if check.verdict == schema.UNCHECKED:
        return f"{mark} unchecked: {reason}" if reason else f"{mark} unchecked"
    relation = "≤" if check.verdict == schema.HOLDS else ">"
    measured = f"{_short(check.residual)} {relation} {_short(check.bound)} ({check.cells} cells)"
    parts = [f"{mark} {visible(check.verdict)}  {measured}"]
    if check.variant:
        parts.append(f"fits: {visible(check.variant)}")
    if reason:
        parts.append(reason)
    return " · ".join(parts)


def _short(value: float | None) -> str:
    return "?" if value is None else "0" if value == 0 else f"{value:.1e}"


# -- the tensors --------------------------------------------------------------------------------------


def tensors(trace: Trace, position: int) -> list[Line]:
    """What a call took, holds and returned; for a line every name bound so far in its call, its own marked fresh."""
    if trace.column("kind")[position] != schema.LINE:
        order = {schema.INPUT: 0, schema.PARAMETER: 1, schema.LOCAL: 2, schema.OUTPUT: 3}
        rows = sorted(trace.tensors_of(position), key=lambda found: order.get(found.role, 9))
        return [tensor_line(found) for found in rows]
    call = trace.call_of(position)
    names = {found.name: (found, call) for found in trace.tensors_of(call) if found.role == schema.INPUT}
    kinds = trace.column("kind")
    lines = [at for at in trace.children(call) if at <= position and kinds[at] == schema.LINE]
    for at in lines[-_LATEST_LINES:]:
        for found in trace.tensors_of(at):
            names.pop(found.name, None)  # what was bound last stands last
            names[found.name] = (found, at)
    return [tensor_line(found, fresh=at == position) for found, at in names.values()]


def tensor_line(tensor: TensorRow, fresh: bool = True) -> Line:
    """One tensor's columns as text; what is odd about it (NaN, Inf, mostly zeros) in words."""
    odd = [f"{count} {name}" for count, name in ((tensor.nan, "NaN"), (tensor.inf, "Inf")) if count]
    if tensor.zero and tensor.numel and tensor.dtype.startswith(("float", "bfloat")):
        share = tensor.zero / tensor.numel
        odd += [f"{share:.0%} zero"] if share >= 0.01 else []
    return Line(
        role=visible(tensor.role),
        name=visible(tensor.name) or ("result" if tensor.role == schema.OUTPUT else tensor.role),
        shape=shape(tensor.shape),
        dtype=visible(tensor.dtype),
        mean=_three(tensor.mean),
        std=_three(tensor.std),
        min=_three(tensor.min),
        max=_three(tensor.max),
        odd=" ".join(odd),
        fresh=fresh,
    )


def _three(value: float | None) -> str:
    """A statistic in three digits: what the eye compares in a column."""
    if value is None or not math.isfinite(value) or (value == int(value) and abs(value) < 1e5):
        return number(value)
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"


# -- the run --------------------------------------------------------------------------------------------


def about(trace: Trace) -> list[tuple[str, str]]:
    """The run in a few lines: name and value."""
    meta = trace.meta
    given = meta.get("text")
    texts = given if isinstance(given, list) else [given]
    found = [
        (
            "model",
            " · ".join(filter(None, (text(meta.get("model")), text(meta.get("dtype")), text(meta.get("device"))))),
        ),
        ("source", text(meta.get("source"))),
        ("text", " | ".join(filter(None, map(text, texts)))),
        ("result", text(meta.get("result"))),
        ("error", text(meta.get("error"))),
    ]
    checks = totals(trace)
    judged = "  ".join(f"{MARKS[name]} {count} {name}" for name, count in checks.items() if count)
    forwards = int(trace.column("forward").max()) + 1 if len(trace) else 0
    size = f"{len(trace)} in {forwards} forward pass{'es' if forwards != 1 else ''}"
    cut = "" if meta.get("complete", True) else "the recording did not end: what was written until then"
    found += [("steps", size), ("checks", judged or "none recorded"), ("note", cut)]
    return [(name, value) for name, value in found if value]


def _base(file: str | None) -> str:
    return visible((file or "").replace("\\", "/").rsplit("/", 1)[-1])


def _integer(trace: Trace, name: str, position: int, missing: int = 0) -> int:
    value = trace.column(name)[position]
    return missing if value is None or value != value else int(value)
