"""Attributes of a model's objects, read without running any code of the model's: no property, no `__getattr__`."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

import torch

from ...torch_internals import buffers_of, children_of, parameters_of


def static_attribute(value: Any, name: str) -> Any:
    """An attribute of an object, or a module's parameter, buffer or child; None if there is none."""
    if value is None:
        return None
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    kind: Any = type(value)
    if name not in own:
        if isinstance(value, torch.nn.Module):
            for store in (parameters_of(value), buffers_of(value), children_of(value)):
                if name in store:
                    return store[name]
        other = of_class(kind, "attribute_map")  # a configuration may have another name for it
        name = other.get(name, name) if isinstance(other, dict) else name
    if name in own:
        found = own[name]
        return None if hasattr(type(found), "__get__") else found
    return of_class(kind, name)


@lru_cache(maxsize=4096)
def of_class(kind: type, name: str) -> Any:
    """What a class has under a name, unless it is computed."""
    found = inspect.getattr_static(kind, name, None)
    return None if hasattr(type(found), "__get__") else found
