"""Which torch functions the tape notes, under one name each: `a * b`, `torch.mul(a, b)` and `a.mul_(b)` are `mul`.

A function that is not listed breaks the chain: what came of it was made by something unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

# kind: the names that torch has for it, without those of the forms in place
_NAMES = {
    # matrix products, and attention in one call
    "matmul": "matmul __matmul__ bmm mm",
    "einsum": "einsum",
    "baddbmm": "baddbmm",
    "linear": "linear",
    "addmm": "addmm",
    "conv1d": "conv1d",
    "fused_attention": "scaled_dot_product_attention",
    # number by number, with what is passed first as the one that goes on
    "add": "add __add__ __radd__ __iadd__",
    "sub": "sub subtract __sub__ __isub__",
    "sub_from": "rsub __rsub__",
    "mul": "mul multiply __mul__ __rmul__ __imul__",
    "div": "div divide true_divide __truediv__ __itruediv__ __div__",
    "div_into": "__rtruediv__ __rdiv__",
    "neg": "neg negative __neg__",
    "pow": "pow __pow__ __ipow__",
    "square": "square",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "reciprocal": "reciprocal",
    "addcmul": "addcmul",
    "exp": "exp",
    "tanh": "tanh",
    "erf": "erf",
    "sigmoid": "sigmoid",
    "sin": "sin",
    "cos": "cos",
    "clamp": "clamp clip clamp_min relu6 hardtanh",
    # masks
    "masked_fill": "masked_fill",
    "where": "where",
    "set": "__setitem__",
    # activations
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "mish": "mish",
    "softplus": "softplus",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "hardswish": "hardswish",
    "glu": "glu",
    # along a dimension
    "softmax": "softmax",
    "mean": "mean",
    "sum": "sum",
    "var": "var",
    "std": "std",
    "var_mean": "var_mean",
    "std_mean": "std_mean",
    "norm": "norm vector_norm",
    "amax": "amax",
    "max": "max",
    # in one call
    "layer_norm": "layer_norm",
    "rms_norm": "rms_norm",
    "normalize": "normalize",
    "embedding": "embedding",
    "cross_entropy": "cross_entropy",
    "mse_loss": "mse_loss",
    "dropout": "dropout",
    # the same numbers, in another place, form or dtype
    "transpose": "transpose swapaxes swapdims",
    "permute": "permute",
    "movedim": "movedim moveaxis",
    "turned": "t T mT",
    "shaped": "view reshape flatten unflatten squeeze unsqueeze view_as reshape_as",
    "same": "contiguous to float half bfloat16 double type type_as clone detach data cpu cuda",
    "expand": "expand expand_as repeat repeat_interleave broadcast_to",
    "part": "chunk split unbind __getitem__ tensor_split narrow select split_with_sizes tensor_split",
    "joined": "cat concat concatenate stack",
    "complex": "view_as_complex view_as_real",
}

_OWNERS: tuple[Any, ...] = (torch, torch.Tensor, F, torch.special, torch.linalg)


def _functions() -> dict[Callable[..., Any], str]:
    found: dict[Callable[..., Any], str] = {}
    for kind, names in _NAMES.items():
        for name in names.split():
            for owner in _OWNERS:
                for function in (getattr(owner, name, None), getattr(owner, f"{name}_", None)):
                    own = getattr(function, "__get__", None) if not callable(function) else function
                    if own is not None:
                        found[own] = kind
    return found


KINDS = _functions()
# Those that write to what they are given.
IN_PLACE = frozenset(
    f for f in KINDS if (n := getattr(f, "__name__", "")).startswith("__i") or (n.endswith("_") and n[0] != "_")
) | {torch.Tensor.__setitem__}
SAME_NUMBERS = frozenset(("transpose", "permute", "movedim", "turned", "shaped", "same", "expand", "part"))
