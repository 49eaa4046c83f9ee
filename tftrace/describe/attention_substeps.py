"""Attention in five sub-steps (project, score, scale and mask, softmax, weighted sum), with their lines and tensors.

Sub-steps that a fused kernel performs at once share its line. Tensors that it does not return are rebuilt (see
`tftrace.explain.attention_weights`) and marked as such.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2 and equation (1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isclose, sqrt

import numpy as np

from ..explain.attention_weights import Attention
from ..recipes.typeset import mathtext, symbol_places
from ..text import number, shape
from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.seen_tensors import seen_tensors
from ..trace.trace import Trace
from .attention_heads import attention_steps
from .step_row import relative_name, span, statement
from .tensor_rows import tensor_line

_FUSED = re.compile(r"scaled_dot_product_attention\(|flash_attn|flash_attention|flex_attention|efficient_attention")
_PRODUCT = r"(?:matmul\(|einsum\(|b?a?d?d?bmm\(|\s@\s)"
_LINES = {
    "score": re.compile(rf"^(?=.*{_PRODUCT})(?=.*key|.*\bk\b)", re.IGNORECASE),
    "scale and mask": re.compile(
        r"[*/+]=?\s*(?:self\.)?(?:scal|math\.sqrt|sqrt|\w*mask|softcap)|masked_fill|position_bias|tanh\("
    ),
    "softmax": re.compile(r"softmax\("),
    "weighted sum": re.compile(rf"^(?=.*{_PRODUCT})(?=.*value|.*\bv\b)", re.IGNORECASE),
}
_MASK = re.compile(r"(?:^|_)(?:mask|bias)$", re.IGNORECASE)
_COMPOUND = (
    "if ",
    "elif ",
    "for ",
    "while ",
    "with ",
)  # compound statements compute nothing themselves
_PROJECTION = re.compile(r"Linear|Conv1D|Projection", re.IGNORECASE)
_TEX = {
    "project": r"Q=XW^Q\quad K=XW^K\quad V=XW^V",
    "score": r"S=QK^T",
    "scale and mask": r"Z=\frac{S}{\sqrt{d_k}}+M",
    "softmax": r"P=\mathrm{softmax}(Z)",
    "weighted sum": r"O=PV",
}
_BRIEF = {_TEX["project"]: "Q = X·W^Q, K = X·W^K, V = X·W^V", _TEX["scale and mask"]: "Z = S/√dₖ + M"}  # in one row
_NOTES = {
    "project": (
        "Three linear maps of the input; each is split into heads: B T h·d becomes B h T d.",
        "对输入做三个线性变换，再各自拆成多个头：B T h·d 变为 B h T d。",
    ),
    "score": ("Each query times each key: how well they fit.", "每个查询与每个键做内积：二者有多匹配。"),
    "scale and mask": (
        "Scaled so that softmax stays soft; minus infinity hides padding and, in a decoder, later tokens.",
        "缩放使 softmax 不过于尖锐；负无穷遮住填充，在解码器中还遮住后面的词元。",
    ),
    "softmax": ("Each row becomes weights that sum to 1.", "每一行变成总和为 1 的权重。"),
    "weighted sum": ("The values, mixed by the weights.", "按权重混合各个值。"),
}
_NAMES = {
    "project": "投影",
    "score": "打分",
    "scale and mask": "缩放与掩码",
    "softmax": "softmax",
    "weighted sum": "加权求和",
}
_MOST = 4_000  # how many steps before an attention are searched for its projections


@dataclass(frozen=True, slots=True)
class SubStepTensor:
    """A tensor of a sub-step: its symbol, its name and its statistics as text."""

    symbol: str
    name: str
    text: str
    rebuilt: bool = False


@dataclass(frozen=True, slots=True)
class SubStep:
    """One of the five sub-steps of an attention.

    Attributes:
        key: Its English name, which identifies it.
        name: Its name in the language asked for.
        tex: Its formula.
        note: A sentence that explains it.
        places: Positions of the steps that perform it.
        fused: Whether one kernel performs it together with others.
        tensors: Its tensors.
        spelling: How the formula writes each symbol.
    """

    key: str
    name: str
    tex: str
    note: str
    places: list[int]
    fused: bool
    tensors: list[SubStepTensor] = field(default_factory=list)
    spelling: dict[str, str] = field(default_factory=dict)


def attention_of(trace: Trace, position: int) -> int | None:
    """The attention that contains a step, or that the call of the step performs directly."""
    call = trace.call_of(position)
    found = attention_steps(trace)
    first = int(np.searchsorted(found, call))
    if first >= len(found) or found[first] >= trace.ends[call]:
        return None
    at = int(found[first])
    above = trace.parent(at)
    return at if at == call or (above is not None and trace.call_of(above) == call) else None


def substeps(trace: Trace, attention: int, language: str = "en", rebuilt: Attention | None = None) -> list[SubStep]:
    """Describe the five sub-steps of an attention.

    Args:
        trace: The trace.
        attention: Position of the attention call.
        language: Language of names and notes, one of `LANGUAGES`.
        rebuilt: Rebuilt weights, whose tensors are added if given.
    """
    lines = _lines(trace, attention)
    fused = [at for at, text in lines if _FUSED.search(text)]
    places = {"project": [at for at, _ in _projections(trace, attention)]}
    for key, pattern in _LINES.items():
        found = [at for at, text in lines if pattern.search(text) and at not in fused]
        places[key] = found or fused or ([] if lines else [attention])
    tensors = _tensors(trace, attention, rebuilt, places, fused)
    tex = dict(_TEX)
    width = _width(trace, attention)
    known = rebuilt is not None and rebuilt.scores is not None and width
    if rebuilt is not None and known and not isclose(rebuilt.scale, 1 / sqrt(width), rel_tol=1e-6):
        tex["scale and mask"] = rf"Z={'' if rebuilt.scale == 1 else number(rebuilt.scale)}S+M"
    chinese = language == "zh"
    return [
        SubStep(
            key,
            _NAMES[key] if chinese else key,
            tex[key],
            _NOTES[key][chinese],
            places[key],
            bool(fused) and places[key] == fused,
            tensors[key],
            symbol_places.spelled(("Q", "K", "V", "M"), tex[key], {"out": "O"} if "O=" in tex[key] else {}),
        )
        for key in _TEX
    ]


def _lines(trace: Trace, attention: int) -> list[tuple[int, str]]:
    """Position and text of the source lines of an attention that compute something."""
    kinds = trace.column("kind")
    inside = [at for at in trace.children(attention) if kinds[at] == schema.LINE]
    lines = ((at, statement(trace, at)) for at in inside)
    return [(at, text) for at, text in lines if not text.startswith(_COMPOUND)]


def _projections(trace: Trace, attention: int) -> list[tuple[int, TensorRow]]:
    """Positions of the linear maps that the attention's module ran before it, each with its result.

    Attention that was seen in the lines of a module has them inside, before its first product.
    """
    lines = _lines(trace, attention)
    inside = next((at for at, text in lines if _LINES["score"].search(text) or _FUSED.search(text)), attention)
    if inside > attention and (found := _linear_maps(trace, attention + 1, inside)):
        return found
    above = trace.parent(attention)
    return [] if above is None else _linear_maps(trace, max(trace.call_of(above) + 1, attention - _MOST), attention)


def _linear_maps(trace: Trace, first: int, last: int) -> list[tuple[int, TensorRow]]:
    """The linear maps among these steps, each with its result."""
    kinds, types = trace.column("kind"), trace.column("type")
    found = []
    for at in range(first, last):
        if kinds[at] == schema.MODULE and _PROJECTION.search(types[at] or ""):
            found += [(at, row) for row in trace.tensors_of(at) if row.role == schema.OUTPUT][:1]
    return found


def _width(trace: Trace, attention: int) -> int:
    """The size of a head, d_k; 0 if unknown."""
    query = _seen(trace, attention).get("Q")
    rows = [query] if query is not None else [row for row in trace.tensors_of(attention) if row.role == schema.INPUT]
    sizes = [row.shape[-1] for row in rows if row.shape]
    return max(sizes[0], 0) if sizes else 0  # a damaged trace may say anything


def _seen(trace: Trace, attention: int) -> dict[str, TensorRow]:
    """The tensors by symbol, where the attention was seen in what ran; empty where a recipe names its arguments."""
    equation = trace.column("equation")[attention]
    return seen_tensors(trace, attention, equation) if equation else {}


def _tensors(
    trace: Trace, attention: int, rebuilt: Attention | None, places: dict[str, list[int]], fused: list[int]
) -> dict[str, list[SubStepTensor]]:
    """The tensors of each sub-step, kept ones first."""
    rows = {(row.role, row.name): row for row in trace.tensors_of(attention)}
    query, key, value, mask = (rows.get((schema.INPUT, name)) for name in ("query", "key", "value", "attention_mask"))
    result = rows.get((schema.OUTPUT, "[0]")) or rows.get((schema.OUTPUT, ""))
    kept = rows.get((schema.OUTPUT, "[1]"))
    if seen := _seen(trace, attention):
        query, key, value, result, kept = (seen.get(symbol) for symbol in ("Q", "K", "V", "out", "P"))
        mask = seen.get("h") or seen.get("A")
    projected = [
        SubStepTensor("", f"{relative_name(trace, at)}: {tensor_line(row).name}", _statistics(row))
        for at, row in _projections(trace, attention)
    ]
    found = {
        "project": [*projected, *_with_symbols(("Q", query), ("K", key), ("V", value))],
        "score": _with_symbols(("Q", query), ("K", key)),
        "scale and mask": _with_symbols(("M", mask)),
        "softmax": _with_symbols(("P", kept)),
        "weighted sum": _with_symbols(("V", value), ("out", result)),
    }
    recorded = _bound_in_lines(trace, places, fused)
    for name, one in recorded.items():
        if all(known.symbol != one.symbol for known in found[name]):
            found[name].append(one)
    if rebuilt is not None and rebuilt.scores is not None and rebuilt.probabilities is not None:
        hidden = rebuilt.scores * rebuilt.scale
        hidden = hidden if rebuilt.mask is None else hidden + rebuilt.mask
        if "score" not in recorded:
            found["score"].append(SubStepTensor("S", "scores", _measured(rebuilt.scores), True))
        if all(one.symbol != "Z" for one in recorded.values()):
            found["scale and mask"].append(SubStepTensor("Z", "scores, scaled and masked", _measured(hidden), True))
        if rebuilt.rebuilt and "softmax" not in recorded:
            found["softmax"].append(SubStepTensor("P", "weights", _measured(rebuilt.probabilities), True))
    return found


def _bound_in_lines(trace: Trace, places: dict[str, list[int]], fused: list[int]) -> dict[str, SubStepTensor]:
    """What the lines of attention written out step by step have bound: scores, hidden scores, weights."""
    found = {}
    for key, symbol in (("score", "S"), ("scale and mask", "Z"), ("softmax", "P")):
        at = max((place for place in places[key] if place not in fused), default=-1)
        kinds = trace.column("kind")
        rows = [row for row in trace.tensors_of(at) if row.role == schema.LOCAL] if at >= 0 else []
        if not rows or kinds[at] != schema.LINE:
            continue
        named = tensor_line(rows[-1]).name
        symbol = "S/√dₖ" if key == "score" and at in places["scale and mask"] else symbol  # the line scales at once
        symbol = "M" if key == "scale and mask" and _MASK.search(named) else symbol  # the line makes what is added
        found[key] = SubStepTensor(symbol, named, _statistics(rows[-1]))
    return found


def _with_symbols(*given: tuple[str, TensorRow | None]) -> list[SubStepTensor]:
    return [SubStepTensor(symbol, tensor_line(row).name, _statistics(row)) for symbol, row in given if row is not None]


def _statistics(row: TensorRow) -> str:
    line = tensor_line(row)
    return f"{line.shape}  μ {line.mean} σ {line.std}  [{line.min}, {line.max}]" if line.mean else line.shape


def _measured(values: np.ndarray) -> str:
    """The statistics of an array as text; the share of masked cells (minus infinity) is given separately."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"{shape(values.shape)}  all hidden"
    hidden = 1 - finite.size / values.size
    spread = f"μ {finite.mean():.3g} σ {finite.std():.3g}  [{finite.min():.3g}, {finite.max():.3g}]"
    return f"{shape(values.shape)}  {spread}" + (f"  {hidden:.0%} hidden" if hidden else "")


def numbered_line(trace: Trace, position: int) -> str:
    """A step's source line with its number: `193 attn_output = …`."""
    return f"{span(trace, position)[0]} {statement(trace, position)}"


def brief_formula(one: SubStep) -> str:
    """The formula of a sub-step in one row: `Z = S/√dₖ + M`."""
    return _BRIEF.get(one.tex) or mathtext.render(one.tex)[0].strip()
