"""What an epsilon must be: an equation is held to what the constructor's line or the configuration states, not to what
a module was set to."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

from ...recipes.format.recipe import Bind, Reference
from ..calls import Call
from .constructors.passed_arguments import stated
from .references import Unbound, configuration, getter

_Sources = list[tuple[str, Sequence[Reference | float]]]
_PART = "eps"  # of the names of epsilons: eps, layer_norm_eps, layer_norm_epsilon, variance_epsilon


def other_epsilons(bind: Bind, call: Call) -> dict[str, float]:
    """The symbols that stand for an epsilon of the module's own which is not what is stated, and what that is.

    Stated is what the line says that made the module. Where that cannot be read, an epsilon of the configuration or the
    default of the module's class is taken as such; raises Unbound for any other. A module that is not part of another
    is what its author made it. Optional symbols stay what they are, for variants."""
    found = {}
    for name, sources in _epsilons(bind):
        given = ((source, getter(source)(call)) for source in sources)
        source, value = next(((s, v) for s, v in given if isinstance(v, float)), (None, None))
        if not isinstance(source, Reference) or source.kind != "attr" or len(source.path) > 1:
            continue
        line = stated(call, str(source.path[0]))
        if isinstance(line, float) and value != line:
            found[name] = line
        elif isinstance(line, float) or value == getattr(line, "value", None) or _is_alone(call):
            continue
        elif value not in _possible(call):
            raise Unbound(f"{name} is {value:g}, which neither a constructor nor the configuration is seen to state")
    return found


_known: dict[int, tuple[Bind, _Sources]] = {}


def _epsilons(bind: Bind) -> _Sources:
    """The symbols that may stand for an epsilon of the module's own, and their sources."""
    known = _known.get(id(bind))
    if known is None:
        every = ((name, bound) for name, bound in bind.symbols.items() if not bound.optional)
        found: _Sources = [(name, bound.sources) for name, bound in every if any(map(_is_own, bound.sources))]
        known = _known[id(bind)] = bind, found  # the bind is kept, so that its id stays its own
    return known[1]


def _is_alone(call: Call) -> bool:
    """Whether a module is part of no other, so that its author's line is not one of a constructor."""
    return call.parent is None or call.parent.module is None


def _is_own(source: Reference | float) -> bool:
    return (
        isinstance(source, Reference) and source.kind == "attr" and not source.child and _PART in str(source.path[-1])
    )


def _possible(call: Call) -> set[float]:
    """What an epsilon may be where no line says it."""
    return {*_of_config(configuration(call)), *_of_class(cast(Any, type(call.owner)))}


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
