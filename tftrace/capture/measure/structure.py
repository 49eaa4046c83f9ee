"""Finds the tensors inside whatever a model passes around, each with a readable path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import torch

_DEPTH = 8
_NOTHING, _SEQUENCE, _NAMED, _MAPPING, _DATA, _CACHE = range(6)  # as in `_leaves.h`


def leaves(value: Any, path: str = "") -> list[tuple[str, torch.Tensor]]:
    """Find the tensors in a value.

    Args:
        value: A tensor, or lists, tuples, dicts, dataclasses and caches that hold tensors, nested in any way.
        path: The path of the value itself.

    Returns:
        Each tensor with its path, such as `[0]`, `last_hidden_state` or `past_key_values.layers[1].keys`.
    """
    found: list[tuple[str, torch.Tensor]] = []
    _collect(value, path, (), found)
    return found


def _collect(value: Any, path: str, within: tuple[int, ...], found: list[tuple[str, torch.Tensor]]) -> None:
    if isinstance(value, torch.Tensor):
        found.append((path, value))
        return
    of: Any = type(value)
    kind = kind_of(of)
    if kind == _NOTHING or id(value) in within or len(within) > _DEPTH:  # a value may hold itself
        return
    within = (*within, id(value))
    if kind == _SEQUENCE:
        for index, item in enumerate(value):
            if item is not None:
                _collect(item, f"{path}[{index}]", within, found)
    elif kind == _NAMED:
        for key in value._fields:
            _collect(getattr(value, key), _join(path, key), within, found)
    elif kind == _MAPPING:  # a ModelOutput is one
        for key, item in value.items():
            _collect(item, _join(path, key), within, found)
    elif kind == _DATA:
        stored = getattr(value, "__dict__", {})  # no getattr of a field: that of a config may run code, and raise
        for part in dataclasses.fields(value):
            item = stored.get(part.name) if stored else getattr(value, part.name, None)
            _collect(item, _join(path, part.name), within, found)
    else:
        for key, item in vars(value).items():
            if isinstance(item, (torch.Tensor, list)) or _is_cache(cast(Any, type(item))):
                _collect(item, _join(path, key), within, found)


@lru_cache(maxsize=4096)
def kind_of(kind: Any) -> int:
    """What a class of values, which are no tensors, holds."""
    if kind is type(None) or issubclass(kind, (str, int, float, torch.nn.Module)):
        return _NOTHING
    if issubclass(kind, (list, tuple)):
        return _NAMED if hasattr(kind, "_fields") else _SEQUENCE
    if issubclass(kind, (dict, Mapping)):
        return _MAPPING
    if dataclasses.is_dataclass(kind):
        return _DATA
    return _CACHE if _is_cache(kind) else _NOTHING


@lru_cache(maxsize=1024)
def _is_cache(kind: Any) -> bool:
    """Whether this is a key/value cache of transformers, or a layer of one, told by its methods without an import."""
    return hasattr(kind, "get_seq_length") and hasattr(kind, "__dict__")


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
