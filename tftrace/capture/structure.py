"""The tensors inside whatever a model passes around, each with a path a reader can follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

_DEPTH = 8


def leaves(value: Any, path: str = "", within: tuple[int, ...] = ()) -> Iterator[tuple[str, torch.Tensor]]:
    """`(path, tensor)` for each tensor in a value: `[0]`, `last_hidden_state`, `past_key_values.layers[1].keys`."""
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if value is None or isinstance(value, (str, int, float, torch.nn.Module)):
        return
    if id(value) in within or len(within) > _DEPTH:  # a value may hold itself
        return
    within = (*within, id(value))
    if isinstance(value, Mapping):  # a ModelOutput is one
        for key, item in value.items():
            yield from leaves(item, _join(path, key), within)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key in value._fields:
            yield from leaves(getattr(value, key), _join(path, key), within)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]", within)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        stored = getattr(value, "__dict__", {})  # not getattr of a field: a config's may run code, and raise
        for part in dataclasses.fields(value):
            item = stored.get(part.name) if stored else getattr(value, part.name, None)
            yield from leaves(item, _join(path, part.name), within)
    elif _is_cache(value):
        for key, item in vars(value).items():
            if isinstance(item, (torch.Tensor, list)) or _is_cache(item):
                yield from leaves(item, _join(path, key), within)


def _is_cache(value: Any) -> bool:
    """A key/value cache of transformers, or one of its layers, known by its methods: not an import of it."""
    return hasattr(value, "get_seq_length") and hasattr(value, "__dict__")


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
