"""The compiled way of a call whose equations are read as they were on the call before; see `_checks.h`. Python does the
same for every other, and for all of them where nothing could be compiled."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

from ...recipes.format.library import Match
from ..calls import Call
from . import route as routes
from .batches import Group
from .finder import Known
from .flow import seen
from .references import getter
from .route import Route
from .stated_variants import StatedVariants

if TYPE_CHECKING:
    from . import _route as compiled

_MOST_OWNERS = 4096  # modules whose plans for an equation of a function are remembered


def quick_checks(checker: Any, **parts: Any) -> compiled.Checks | None:
    """Make what checks the calls of a recording; None where nothing is compiled.

    Args:
        checker: The checker, which does what is left.
        parts: What its parts say of themselves.
    """
    parts_in_c = _compiled()
    if parts_in_c is None:
        return None
    parts_in_c.bind(Call, Group, Known)
    made: compiled.Checks = parts_in_c.Checks(
        checker=checker, own=checker.__dict__, autocast=torch.is_autocast_enabled, **parts
    )
    return made


def remember(route: Route, match: Match, stated: Match, call: Call, variants: StatedVariants) -> None:
    """Plan to read the next call of a module or function along a route that was followed.

    Args:
        route: The route.
        match: The equation, as it was found for the call.
        stated: The same, with what the call states about its variants.
        call: The call.
        variants: What told that.
    """
    if route.draws:
        return
    known, plans, key, owner = call.known, call.known.plans, id(match), call.owner
    if not match.equation.stating:
        if route.plan is None:
            route.plan = _plan(route, stated, [], None)
        plans[key] = route.plan
        return
    if not isinstance(owner, torch.nn.Module):
        return
    others = [(_value_or_kind(source), value) for source, value in variants.changing(match, call)]
    if known.owner() is None:  # a function's, in several modules, each of which states something else
        plans = plans.setdefault(key, {})
        if len(plans) >= _MOST_OWNERS:
            plans.clear()
        key = id(owner)
    plans[key] = _plan(route, stated, others, weakref.ref(owner))


def _plan(route: Route, match: Match, others: list[Any], owner: Any) -> Any:
    """What compiled code does along a route, if `others` and the owner are the same as well."""
    parts, reading, flows = route.parts(), route.reading, match.bind.flow
    if any(settled is None for *_, settled in parts["tensors"]):
        return None
    usual, products = reading.usual
    return _compiled().Plan(
        **{**parts, "others": [*others, *parts["others"]]},
        match=match,
        id=match.equation.id,
        owner=owner,
        masks=bool(reading.masks),
        products=products,
        cells=reading.passes.cells,
        usual=usual,
        guessed=seen(match, False) if flows else match.evidence,
        flowing=seen(match, True) if flows else match.evidence,
    )


def _compiled() -> Any:
    return vars(routes)["compiled"]


def _value_or_kind(source: Any) -> Any:
    """What `StatedVariants.changing` says of a source."""
    get, plain = getter(source), StatedVariants.PLAIN
    return lambda call: value if isinstance(value := get(call), plain) else type(value)
