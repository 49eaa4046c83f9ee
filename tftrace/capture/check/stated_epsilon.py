"""What an epsilon must be: an equation is held to what the configuration states, not to what a module was set to."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

from ...recipes.format.recipe import Bind, Reference
from ..calls import Call
from .references import Asked, configuration

_USUAL = {1e-12, 1e-8, 1e-6, 1e-5}  # that code sets where no configuration says so
_PART = "eps"  # of the names of epsilons: eps, layer_norm_eps, layer_norm_epsilon, variance_epsilon


def other_epsilons(bind: Bind, call: Call, asked: Asked) -> dict[str, float]:
    """The symbols that stand for an epsilon of the module's own which neither a configuration nor its class states, nor
    is usual; and what it should be. Optional symbols stay what they are, for variants."""
    found = {}
    for name, source, value in asked:
        if not isinstance(source, Reference) or source.kind != "attr" or _PART not in str(source.path[-1]):
            continue
        if isinstance(value, float) and name in bind.symbols and not bind.symbols[name].optional:
            config = configuration(call)  # a model without one is its author's, and states it by the module
            stated = [] if config is None else [*_of_config(config), *_of_class(cast(Any, type(call.owner)))]
            if stated and value not in _USUAL.union(stated):
                found[name] = stated[0]
    return found


def _of_config(config: Any) -> Iterator[float]:
    for name, value in getattr(config, "__dict__", {}).items():
        if _PART in name and isinstance(value, float):
            yield value


@lru_cache(maxsize=4096)
def _of_class(kind: type) -> tuple[float, ...]:
    """The defaults of its constructor."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(p.default for p in parameters if _PART in p.name and isinstance(p.default, float))
