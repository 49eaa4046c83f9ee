"""Names for the axes of a tensor, and the tokens along them."""

from __future__ import annotations

from ..recipes.evaluate.bindings import bindings_of
from ..text import visible
from ..trace import tokens
from ..trace.rows import TensorRow
from ..trace.trace import Trace

_AROUND = 4  # how many calls around a step are searched for an equation that names the axes
_SIZES = {  # axis name -> configuration keys with its size
    "E": ("hidden_size", "n_embd", "d_model", "dim"),
    "H": ("num_attention_heads", "n_head", "encoder_attention_heads", "n_heads"),
    "F": ("intermediate_size", "n_inner", "encoder_ffn_dim", "d_ff"),
    "V": ("vocab_size",),
}
TOKENS = ("T", "Tq", "Tk", "N")  # names of axes of tokens


def axes(trace: Trace, position: int, row: TensorRow) -> tuple[str, ...]:
    """Name the axes of a tensor, such as B H T D.

    The names come from an equation of the call or of the calls around it, else from the model's sizes, else they are
    d0, d1 …

    Returns:
        One name per axis of `row`.
    """
    call = trace.call_of(position)
    for _ in range(_AROUND):
        equations = [trace.column("equation")[call], *(check.equation for check in trace.checks_of(call))]
        for name in dict.fromkeys(filter(None, equations)):
            found = bindings_of(trace, call, name)
            for symbol, tensor in found.tensors.items():
                names = found.axes.get(symbol, ())
                if tensor.tensor == row.tensor and tensor.shape == row.shape and names and all(names):
                    return tuple(map(visible, names))
        above = trace.parent(call)
        if above is None:
            break
        call = trace.call_of(above)
    return _guess_axes(trace, row.shape)


def _guess_axes(trace: Trace, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names for the axes of a shape, by the sizes in the model's configuration."""
    config = trace.meta.get("config")
    sizes = config if isinstance(config, dict) else {}
    texts = tokens.of(trace)
    known: dict[int, str] = {}
    for name, keys in _SIZES.items():
        for key in keys:
            if isinstance(size := sizes.get(key), int):
                known.setdefault(size, name)
    known |= {len(row): "T" for row in texts}
    names: list[str] = []
    for at, size in enumerate(shape):
        name = "B" if at == 0 and len(shape) > 1 and size == max(1, len(texts)) else known.get(size, f"d{at}")
        names.append("Tk" if name == "T" and "T" in names else name if name not in names else f"d{at}")
    return tuple(names)


def tokens_along(trace: Trace, position: int, name: str, size: int, batch: int = 0) -> list[str]:
    """The tokens along an axis of this name and size; empty if it has none."""
    return tokens.along(trace, position, size, batch, keys=name == "Tk") if name in TOKENS else []
