"""The steps of two runs in pairs of one role, in an order that keeps that of both where they agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..trace.trace import Trace
from .roles import Role, roles


@dataclass(frozen=True, slots=True)
class Pair:
    """A role, and the step that has it in each run; None where a run has none."""

    label: str
    layer: int | None
    part: str
    left: int | None
    right: int | None


def align(left: Trace, right: Trace) -> list[Pair]:
    """Every role of either run. Where one run has an encoder alone and the other a decoder alone, the two are
    compared; else encoders with encoders and decoders with decoders."""
    ours, theirs = roles(left), roles(right)
    stacks = [{role.stack for role in found} for found in (ours, theirs)]
    if len(stacks[0]) == len(stacks[1]) == 1:
        ours, theirs = ([_in(role, "") for role in found] for found in (ours, theirs))
    by_key = {role.key: role for role in theirs}
    known = {role.key for role in ours}
    after: dict[tuple[str, int | None, str] | None, list[Role]] = {}  # what only the right has, after what both have
    before: tuple[str, int | None, str] | None = None
    for role in theirs:
        if role.key in known:
            before = role.key
        else:
            after.setdefault(before, []).append(role)
    found = [_pair(None, role) for role in after.get(None, [])]
    for role in ours:
        found.append(_pair(role, by_key.get(role.key)))
        found += (_pair(None, other) for other in after.get(role.key, []))
    return _by_layer(found)


def _in(role: Role, stack: str) -> Role:
    return Role(role.position, stack, role.layer, role.part)


def _pair(left: Role | None, right: Role | None) -> Pair:
    role = left or right
    assert role is not None
    label = f"{role.stack} {role.label}".strip()
    places = (None if side is None else side.position for side in (left, right))
    return Pair(label, role.layer, role.part, *places)


def _by_layer(pairs: Iterable[Pair]) -> list[Pair]:
    """A layer's pairs together: a norm that stands before its sublayer in one run and after it in the other must not
    end up in the next layer."""
    found = list(pairs)
    starts: dict[str, int] = {}
    for at, pair in enumerate(found):
        starts.setdefault(_group(pair), at)
    return [pair for _, pair in sorted(enumerate(found), key=lambda one: (starts[_group(one[1])], one[0]))]


def _group(pair: Pair) -> str:
    return pair.label.partition(" · ")[0] if pair.layer is not None else f"{pair.label} itself"
