"""Pairs the steps of two runs by role, in an order that respects both runs where they agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..trace.trace import Trace
from .roles import Role, roles

_SPLIT = ("query projection", "key projection", "value projection")
_FUSED = "query, key and value projection"


@dataclass(frozen=True, slots=True)
class Pair:
    """A role and the position of its step in each run, None if a run has no such step."""

    label: str
    layer: int | None
    part: str
    left: int | None
    right: int | None


def align(left: Trace, right: Trace) -> list[Pair]:
    """Pair every role of either run.

    Encoders are paired with encoders and decoders with decoders, unless each run has only one of the two.

    Args:
        left: The first trace; its order leads.
        right: The second trace.
    """
    left_roles, right_roles = roles(left), roles(right)
    stacks = [{role.stack for role in found} for found in (left_roles, right_roles)]
    if len(stacks[0]) == len(stacks[1]) == 1:
        left_roles, right_roles = ([_with_stack(role, "") for role in found] for found in (left_roles, right_roles))
    by_key = {role.key: role for role in right_roles}
    known = {role.key for role in left_roles}
    after: dict[tuple[str, int | None, str] | None, list[Role]] = {}  # only in `right`, by the shared role before
    before: tuple[str, int | None, str] | None = None
    for role in right_roles:
        if role.key in known:
            before = role.key
        else:
            after.setdefault(before, []).append(role)
    found = [_pair(None, role) for role in after.get(None, [])]
    for role in left_roles:
        found.append(_pair(role, by_key.get(role.key)))
        found += (_pair(None, other) for other in after.get(role.key, []))
    return _by_layer(_with_fused(found))


def _with_fused(pairs: list[Pair]) -> list[Pair]:
    """Pair query, key and value projections with the one projection that is all three of them in the other run."""
    fused = {pair.label: pair for pair in pairs if pair.label.endswith(_FUSED) and None in (pair.left, pair.right)}
    used: set[str] = set()
    found = []
    for pair in pairs:
        part = next((part for part in _SPLIT if pair.label.endswith(part)), None)
        whole = fused.get(pair.label.removesuffix(part) + _FUSED) if part else None
        if whole and pair.left is None and pair.right is not None and whole.left is not None:
            pair = replace(pair, left=whole.left)
            used.add(whole.label)
        elif whole and pair.right is None and pair.left is not None and whole.right is not None:
            pair = replace(pair, right=whole.right)
            used.add(whole.label)
        found.append(pair)
    return [pair for pair in found if pair.label not in used]


def _with_stack(role: Role, stack: str) -> Role:
    return Role(role.position, stack, role.layer, role.part)


def _pair(left: Role | None, right: Role | None) -> Pair:
    role = left or right
    assert role is not None
    label = f"{role.stack} {role.label}".strip()
    places = (None if side is None else side.position for side in (left, right))
    return Pair(label, role.layer, role.part, *places)


def _by_layer(pairs: Iterable[Pair]) -> list[Pair]:
    """Keep the pairs of a layer together, so that a norm that changes sides does not end up in the next layer."""
    found = list(pairs)
    starts: dict[str, int] = {}
    for at, pair in enumerate(found):
        starts.setdefault(_group(pair), at)
    return [pair for _, pair in sorted(enumerate(found), key=lambda one: (starts[_group(one[1])], one[0]))]


def _group(pair: Pair) -> str:
    return pair.label.partition(" · ")[0] if pair.layer is not None else f"{pair.label} itself"
