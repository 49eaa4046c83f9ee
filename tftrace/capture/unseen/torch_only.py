"""Modules in which no code runs that is followed. While one runs, our trace function stays aside: Python would call it
for each function, and look for a new line at each instruction.

If a model catches a KeyboardInterrupt that left such a module, and goes on, its lines are recorded again from the next
module that it calls."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..code_site import code_of
from ..measure.stats import PLAIN
from ..torch_internals import (
    FORWARD_HOOKS,
    children_of,
    global_hooks,
    parameters_of,
)

_TORCH = os.path.dirname(torch.__file__) + os.sep
# The one function that each calls. Classes derived from these may call others.
_KINDS: dict[type, tuple[Any, str]] = {
    nn.Linear: (nn.functional, "linear"),
    nn.Embedding: (nn.functional, "embedding"),
    nn.LayerNorm: (nn.functional, "layer_norm"),
    nn.RMSNorm: (nn.functional, "rms_norm"),
    nn.Dropout: (nn.functional, "dropout"),
    nn.ReLU: (nn.functional, "relu"),
    nn.GELU: (nn.functional, "gelu"),
    nn.SiLU: (nn.functional, "silu"),
    nn.Tanh: (torch, "tanh"),
    nn.Softmax: (nn.functional, "softmax"),
}


def runs_only_torch(module: torch.nn.Module, given: tuple[Any, ...]) -> bool:
    """Whether only torch's code runs from the last pre-hook of a module to its first hook, which is ours.

    Args:
        module: The module, which is called.
        given: What it is called with: tensors of a class of their own may bring code along, as hooks do.
    """
    function = _KINDS.get(type(module))
    if function is None or global_hooks or not _is_torchs(getattr(*function)):
        return False
    own = module.__dict__
    if "forward" in own or len(own.get(FORWARD_HOOKS, ())) != 1 or children_of(module):
        return False
    return all(one is None or type(one) in PLAIN for one in (*given, *parameters_of(module).values()))


@lru_cache(maxsize=256)
def _is_torchs(function: Any) -> bool:
    """Whether a function is torch's own, and not what somebody has put in its place."""
    code = code_of(function)
    return code is None or code.co_filename.startswith(_TORCH)


# What compiled code needs to answer the same, of a module that has our hooks alone.
TORCH_ONLY: dict[str, Any] = {"kinds": _KINDS, "is_torchs": _is_torchs, "global_hooks": global_hooks}
