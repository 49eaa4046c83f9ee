"""The tensor of a result that is edited, the first floating-point one, and the result with another in its place."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

Way = tuple[Any, ...]  # keys and attributes that lead to a tensor


def find(result: Any, within: int = 4) -> tuple[Way, torch.Tensor] | None:
    """The way to the first floating-point tensor in a result, and the tensor; None if there is none."""
    if isinstance(result, torch.Tensor):
        return ((), result) if result.is_floating_point() else None
    if within == 0 or result is None:
        return None
    for key, part in _parts(result):
        found = find(part, within - 1)
        if found is not None:
            return (key, *found[0]), found[1]
    return None


def with_tensor(result: Any, way: Way, tensor: torch.Tensor) -> Any:
    """The result with this tensor at the end of the way; a copy as far as the way leads, of the same classes."""
    if not way:
        return tensor
    key, *rest = way
    inner = dict(_parts(result))[key]
    changed = with_tensor(inner, tuple(rest), tensor)
    if isinstance(result, tuple):
        items = [changed if at == key else part for at, part in enumerate(result)]
        return type(result)(*items) if hasattr(result, "_fields") else tuple(items)
    made = copy.copy(result)
    if isinstance(made, (list, dict)) or hasattr(made, "__setitem__"):
        made[key] = changed
    else:
        vars(made)[key] = changed
    return made


def _parts(result: Any) -> list[tuple[Any, Any]]:
    if isinstance(result, (list, tuple)):
        return list(enumerate(result))
    if isinstance(result, Mapping):
        return list(result.items())
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return [(name, part) for name, part in vars(result).items()]
    return []
