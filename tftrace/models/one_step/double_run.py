"""Runs one step again in float64, apart from the model: the answer of its code without the rounding of the run."""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from typing import Any

import torch

from ...capture.calls import Call
from ...capture.measure.structure import leaves
from ...capture.torch_internals import FORWARD_HOOKS, FORWARD_PRE_HOOKS
from ...trace import schema

_DEPTH = 12


def in_float64(call: Call, given: Mapping[str, Any], function: Any = None) -> dict[str, torch.Tensor]:
    """The tensors that a step returns in float64, by their paths; empty if its code does not run in float64.

    Args:
        call: The call of a module or function, which has ended.
        given: Copies of its arguments as they were, which may be changed.
        function: What is called, if that is no module.
    """
    try:
        doubled = {name: _doubled(value, 0, {}) for name, value in given.items()}
        called = _module(call.owner) if call.kind == schema.MODULE or call.direct else function
        named = {name: value for name, value in doubled.items() if not name.endswith("]")}
        starred = [value for name, value in doubled.items() if name.endswith("]")]
        if starred or not callable(called):
            return {}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            result = called(**named)
        return dict(leaves(result))
    except Exception:  # code may insist on another dtype, and refuse in any way
        return {}


def _module(module: torch.nn.Module) -> torch.nn.Module:
    """A copy in float64, without the hooks of the model."""
    made = copy.deepcopy(module).double()
    for below in made.modules():
        for hooks in (FORWARD_HOOKS, FORWARD_PRE_HOOKS):
            vars(below)[hooks].clear()
        vars(below).pop("forward", None)
        for key, value in vars(below).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                vars(below)[key] = value.double()
    return made


def _doubled(value: Any, depth: int, memo: dict[int, Any]) -> Any:
    """A value with every floating-point tensor in it in float64; containers and objects are changed in place."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if depth > _DEPTH or id(value) in memo or isinstance(value, (torch.nn.Module, types.ModuleType, type)):
        return value
    memo[id(value)] = value
    if isinstance(value, tuple):
        parts = [_doubled(one, depth + 1, memo) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        value[:] = [_doubled(one, depth + 1, memo) for one in value]
    elif isinstance(value, dict):
        for key in list(value):
            value[key] = _doubled(value[key], depth + 1, memo)
    elif hasattr(value, "get_seq_length"):  # a cache
        for key, one in list(vars(value).items()):
            vars(value)[key] = (
                torch.float64
                if one in (torch.float32, torch.float16, torch.bfloat16)
                else _doubled(one, depth + 1, memo)
            )
    return value
