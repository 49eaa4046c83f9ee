"""How the numbers of a tensor get into a trace that has not kept them whole: advice that has not been followed yet."""

from __future__ import annotations

from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace

# As `capture.measure.kept_values` has them, which cannot be imported here: it needs torch.
_WHOLE = ("uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64")
_FLOATING = ("float16", "bfloat16", "float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2")
_KEPT = frozenset(("bool", *_WHOLE, *_FLOATING))
_AUTO = 256 << 20

# What takes `values=`, by the face that made a trace; the others take the option of the command.
_CALLS = {"record": "tftrace.record(model, {})", "traced": "@tftrace.traced({})"}


def advice(trace: Trace, row: TensorRow) -> str:
    """What to do, or why nothing helps, as the end of a sentence that says what was not kept."""
    if row.dtype not in _KEPT:
        return f"{row.dtype} cannot be kept"
    if trace.meta.get("pruned"):
        return f"kept tensors were pruned, so record again with {way_to_keep(trace)}"
    if _all_wanted(trace):
        return "sparse and nested tensors cannot be, nor can those of torch.vmap"
    return f"record with {way_to_keep(trace, row)}"


def way_to_keep(trace: Trace, row: TensorRow | None = None) -> str:
    """How to say that a tensor is to be kept, by default any, in the words of the face that the trace was made by."""
    few = trace.meta.get("values") in ("none", "screen")
    enough = row is not None and row.role != schema.PARAMETER and (row.nbytes or 0) <= _AUTO
    word, face = "auto" if few and enough else "all", trace.meta.get("face")
    if isinstance(face, str) and face in _CALLS:
        return _CALLS[face].format(f"values={word!r}")
    return f"{'%%trace ' if face == 'notebook' else ''}--values {word}"


def _all_wanted(trace: Trace) -> bool:
    """Whether the run kept all that it could: all of its weights are there, which nothing less than `all` keeps."""
    wanted = trace.meta.get("values")
    if isinstance(wanted, str):
        return wanted == "all"
    weights = (trace.column("role", "tensors") == schema.PARAMETER).nonzero()[0]
    kept, _ = trace.words("value", "tensors")
    return bool(len(weights)) and bool((kept[weights] >= 0).all())
