"""Feed-forward parts on the tape: two linear maps with an activation between them, or with a gate."""

from __future__ import annotations

from .expressions.activation import PASSING, activation, factors, same, through
from .expressions.maps import Map, linear_map, linear_map_of
from .proposal import Proposal, need
from .scores import dropped
from .tape import Made, Operand


def feedforward(made: Made) -> Proposal | None:
    """The feed-forward part that this map ends, if it does."""
    down = linear_map(made)
    if down is None:
        return None
    hidden = through(down.given)
    dry = _dry(down.given)
    plain = activation(hidden)
    up = None if plain is None else linear_map_of(plain[1])
    if plain is not None and up is not None:
        found = Proposal("feed-forward", up.since)
        _maps(found, up, "U", "b")
        found.values["A"] = plain[0]
    else:
        gated = _gated(hidden)
        if gated is None:
            return None
        name, up, gate = gated
        found = Proposal("gated-feed-forward", min(up.since, gate.since))
        _maps(found, up, "U", "b")
        _maps(found, gate, "G", "d")
        found.values["A"] = name
    _maps(found, down, "W", "c")
    if up.by_channel != down.by_channel:
        return None
    found.tensors["x"] = need(up.given.tensor)
    found.tensors["g"] = need(down.given.tensor)
    found.tensors["h"] = found.tensors["g"] if dry is None else need(dry.result)
    found.tensors["out"] = need(made.result)
    if down.by_channel:
        found.tensors |= {name: found.tensors[name].mT for name in ("x", "g", "h", "out")}
    return found


def _maps(found: Proposal, one: Map, weight: str, bias: str) -> None:
    found.tensors[weight] = one.weight
    if one.bias is None:
        found.values[bias] = 0.0
    else:
        found.tensors[bias] = one.bias


def _dry(operand: Operand) -> Made | None:
    """What made the hidden numbers, where some of them were dropped out since."""
    made, wet = operand.maker, False
    while made is not None and made.kind in PASSING:
        wet = wet or (made.kind == "dropout" and dropped(made))
        first = made.get(0, "input")
        made = first.maker if isinstance(first, Operand) else None
    return made if wet else None


def _gated(hidden: Operand) -> tuple[str, Map, Map] | None:
    """`act(x U) * (x G)`, in either order; the two may be parts of one map."""
    made = hidden.maker
    if made is not None and made.kind == "glu":
        return _halves(made)
    if made is None or made.kind != "mul":
        return None
    factor, _ = factors(made)
    parts = [part for part in (made.get(0, "input"), made.get(1, "other")) if isinstance(part, Operand)]
    if factor != 1 or len(parts) != 2:
        return None
    for one, other in (parts, parts[::-1]):
        plain, gate = activation(one), linear_map_of(other)
        name, given = plain if plain is not None else ("linear", one)
        up = linear_map_of(given)
        if up is not None and gate is not None and same(up.given, gate.given):
            return name, up, gate
    return None


def _halves(made: Made) -> tuple[str, Map, Map] | None:
    """`F.glu`: the first half of a map's outputs times the sigmoid of the second."""
    given = made.get(0, "input")
    whole = linear_map_of(given) if isinstance(given, Operand) else None
    if whole is None or whole.by_channel or made.get(1, "dim", -1) not in (-1, len(made.shape) - 1):
        return None
    size = made.shape[-1]
    return "sigmoid", whole.part(size, size), whole.part(0, size)
