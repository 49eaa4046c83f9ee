"""Finds the tensors inside whatever a model passes around, each with a readable path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

_DEPTH = 8


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
    if value is None or isinstance(value, (str, int, float, torch.nn.Module)):
        return
    if id(value) in within or len(within) > _DEPTH:  # a value may hold itself
        return
    within = (*within, id(value))
    if isinstance(value, (list, tuple)):
        if hasattr(value, "_fields"):
            for key in value._fields:
                _collect(getattr(value, key), _join(path, key), within, found)
        else:
            for index, item in enumerate(value):
                _collect(item, f"{path}[{index}]", within, found)
    elif isinstance(value, (dict, Mapping)):  # a ModelOutput is one
        for key, item in value.items():
            _collect(item, _join(path, key), within, found)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        stored = getattr(value, "__dict__", {})  # no getattr of a field: that of a config may run code, and raise
        for part in dataclasses.fields(value):
            item = stored.get(part.name) if stored else getattr(value, part.name, None)
            _collect(item, _join(path, part.name), within, found)
    elif _is_cache(value):
        for key, item in vars(value).items():
            if isinstance(item, (torch.Tensor, list)) or _is_cache(item):
                _collect(item, _join(path, key), within, found)


def _is_cache(value: Any) -> bool:
    """Whether this is a key/value cache of transformers, or a layer of one, told by its methods without an import."""
    kind: Any = type(value)
    return _is_cache_class(kind)


@lru_cache(maxsize=1024)
def _is_cache_class(kind: Any) -> bool:
    return hasattr(kind, "get_seq_length") and hasattr(kind, "__dict__")


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
