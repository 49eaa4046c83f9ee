"""Attention in its five steps (project, score, scale and mask, softmax, weighted sum), each with its lines and tensors.

Where a fused kernel takes several steps at once, they have its line in common, and what it never gave away is rebuilt
(see `tftrace.explain.attention_weights`) and said to be so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isclose, sqrt

import numpy as np

from ..explain.attention_weights import Attention
from ..recipes.typeset import symbol_places
from ..text import number, shape
from ..trace import schema
from ..trace.rows import TensorRow
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
_ASKING = ("if ", "elif ", "for ", "while ", "with ")  # lines that compute nothing of their own
_PROJECTION = re.compile(r"Linear|Conv1D|Projection", re.IGNORECASE)
_TEX = {
    "project": r"Q=XW^Q\quad K=XW^K\quad V=XW^V",
    "score": r"S=QK^T",
    "scale and mask": r"Z=\frac{S}{\sqrt{d_k}}+M",
    "softmax": r"P=\mathrm{softmax}(Z)",
    "weighted sum": r"O=PV",
}
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
_MOST = 4_000  # steps before an attention that are searched for its projections


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor of a sub-step: its symbol, its name, its numbers in words."""

    symbol: str
    name: str
    said: str
    rebuilt: bool = False


@dataclass(frozen=True, slots=True)
class SubStep:
    """One of the five; `places` are the steps whose lines do it."""

    key: str
    name: str
    tex: str
    note: str
    places: list[int]
    fused: bool
    tensors: list[Seen] = field(default_factory=list)
    spelling: dict[str, str] = field(default_factory=dict)


def attention_of(trace: Trace, position: int) -> int | None:
    """The attention that a step stands in, or that its call makes itself."""
    call = trace.call_of(position)
    found = attention_steps(trace)
    first = int(np.searchsorted(found, call))
    if first >= len(found) or found[first] >= trace.ends[call]:
        return None
    at = int(found[first])
    above = trace.parent(at)
    return at if at == call or (above is not None and trace.call_of(above) == call) else None


def substeps(trace: Trace, attention: int, language: str = "en", rebuilt: Attention | None = None) -> list[SubStep]:
    """The five steps of the attention at `attention`; with what `rebuilt` holds, if it is at hand."""
    lines = _lines(trace, attention)
    fused = [at for at, said in lines if _FUSED.search(said)]
    places = {"project": [at for at, _ in _projections(trace, attention)]}
    for key, pattern in _LINES.items():
        found = [at for at, said in lines if pattern.search(said) and at not in fused]
        places[key] = found or fused or ([] if lines else [attention])
    tensors = _tensors(trace, attention, rebuilt)
    tex = dict(_TEX)
    width = _width(trace, attention)
    if rebuilt is not None and width and not isclose(rebuilt.scale, 1 / sqrt(width), rel_tol=1e-6):
        tex["scale and mask"] = rf"Z={number(rebuilt.scale)}S+M"
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
    kinds = trace.column("kind")
    inside = [at for at in trace.children(attention) if kinds[at] == schema.LINE]
    lines = ((at, statement(trace, at)) for at in inside)
    return [(at, said) for at, said in lines if not said.startswith(_ASKING)]


def _projections(trace: Trace, attention: int) -> list[tuple[int, TensorRow]]:
    """The linear maps that the attention's module made before it, each with what it returned."""
    above = trace.parent(attention)
    if above is None:
        return []
    call = trace.call_of(above)
    kinds, types = trace.column("kind"), trace.column("type")
    found = []
    for at in range(max(call + 1, attention - _MOST), attention):
        if kinds[at] == schema.MODULE and _PROJECTION.search(types[at] or ""):
            found += [(at, row) for row in trace.tensors_of(at) if row.role == schema.OUTPUT][:1]
    return found


def _width(trace: Trace, attention: int) -> int:
    """The size of a head of the query."""
    rows = [row for row in trace.tensors_of(attention) if row.role == schema.INPUT and row.shape]
    return rows[0].shape[-1] if rows else 0


def _tensors(trace: Trace, attention: int, rebuilt: Attention | None) -> dict[str, list[Seen]]:
    rows = {(row.role, row.name): row for row in trace.tensors_of(attention)}
    query, key, value, mask = (rows.get((schema.INPUT, name)) for name in ("query", "key", "value", "attention_mask"))
    result = rows.get((schema.OUTPUT, "[0]")) or rows.get((schema.OUTPUT, ""))
    kept = rows.get((schema.OUTPUT, "[1]"))
    projected = [
        Seen("", f"{relative_name(trace, at)}: {tensor_line(row).name}", _said(row))
        for at, row in _projections(trace, attention)
    ]
    found = {
        "project": [*projected, *_seen(("Q", query), ("K", key), ("V", value))],
        "score": _seen(("Q", query), ("K", key)),
        "scale and mask": _seen(("M", mask)),
        "softmax": _seen(("P", kept)),
        "weighted sum": _seen(("V", value), ("out", result)),
    }
    if rebuilt is not None and rebuilt.scores is not None and rebuilt.probabilities is not None:
        hidden = rebuilt.scores * rebuilt.scale
        hidden = hidden if rebuilt.mask is None else hidden + rebuilt.mask
        found["score"].append(Seen("S", "scores", _measured(rebuilt.scores), True))
        found["scale and mask"].append(Seen("Z", "scores, scaled and masked", _measured(hidden), True))
        if rebuilt.rebuilt:
            found["softmax"].append(Seen("P", "weights", _measured(rebuilt.probabilities), True))
    return found


def _seen(*given: tuple[str, TensorRow | None]) -> list[Seen]:
    return [Seen(symbol, tensor_line(row).name, _said(row)) for symbol, row in given if row is not None]


def _said(row: TensorRow) -> str:
    line = tensor_line(row)
    return f"{line.shape}  μ {line.mean} σ {line.std}  [{line.min}, {line.max}]" if line.mean else line.shape


def _measured(values: np.ndarray) -> str:
    """The numbers of an array in words; what is hidden by minus infinity is counted apart."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"{shape(values.shape)}  all hidden"
    hidden = 1 - finite.size / values.size
    spread = f"μ {finite.mean():.3g} σ {finite.std():.3g}  [{finite.min():.3g}, {finite.max():.3g}]"
    return f"{shape(values.shape)}  {spread}" + (f"  {hidden:.0%} hidden" if hidden else "")


def line_of(trace: Trace, position: int) -> str:
    """`193 attn_output = …`: a step's line with its number."""
    return f"{span(trace, position)[0]} {statement(trace, position)}"
