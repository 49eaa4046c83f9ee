"""The answer to a comparison in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import number, visible
from .comparison import BornDifference, PairCounts, Place, Prerequisite
from .judged_pair import Judged
from .noise import finer

_UNITS = {2.0**-53: "float64", 2.0**-24: "float32", 2.0**-11: "float16", 2.0**-8: "bfloat16"}


def equal(counts: PairCounts) -> str:
    """Every number is the same."""
    return f"The two runs are equal: all {counts.compared} pairs of tensors have the same numbers."


def rounding(counts: PairCounts, pairs: Sequence[Judged]) -> str:
    """There is no difference that rounding does not explain."""
    if not counts.rounding:
        return f"No difference reaches the answer: {counts.healed} that were born are gone again before it."
    worst = max(pairs, key=lambda pair: pair.distance.most if pair.status == "rounding" else -1.0)
    unit = _UNITS.get(worst.unit, "its precision")
    size = f"up to {number(worst.distance.most)}, {number(worst.distance.most / worst.unit)} roundings of {unit}"
    said = f"No difference beyond rounding: {counts.rounding} of {counts.compared} pairs of tensors differ by {size}"
    healed = f"; {counts.healed} that were born are gone again before the answer" if counts.healed else ""
    return f"{said}{healed}."


def differs(first: BornDifference, more: int) -> str:
    """The first difference that is real."""
    said = f"The first difference is born at {_at(first)}: {number(first.difference)} of a token's length"
    said += f" where rounding explains {number(first.bound)}"
    cause = f" ({first.cause})" if first.cause else ""
    others = f"; {more} more are born after it" if more else ""
    return f"{said}{cause}{others}."


def undecided(first: BornDifference, unit: float) -> str:
    """A difference that may be rounding or not."""
    dtype = _UNITS.get(unit, "this precision")
    said = f"It cannot be told in {dtype}: {number(first.difference)} of a token's length at {_at(first)},"
    advice = first.cause or f"record both in {finer(unit)}"
    return f"{said} where rounding explains {number(first.bound)} ({advice})."


def swallowed(first: BornDifference, unit: float) -> str:
    """A difference that is born and lost in rounding before the answer."""
    dtype = _UNITS.get(unit, "this precision")
    cause = f" ({first.cause})" if first.cause else ""
    said = (
        f"It cannot be told in {dtype}: {number(first.difference)} of a token's length is born at {_at(first)}{cause}"
    )
    return f"{said}, and lost in rounding before the answer: record both in {finer(unit)}."


def incomparable(reason: str) -> str:
    """The runs have too little in common."""
    return f"The two runs cannot be compared: {reason}."


def prerequisite(one: Prerequisite) -> str:
    """A line about what differs before the numbers."""
    names = ", ".join(map(visible, one.names[:4])) + (", …" if len(one.names) > 4 else "")
    sides = f"{visible(one.left)} | {visible(one.right)}"
    return f"{one.what}: {sides}" + (f" ({names})" if names else "")


def place(one: Place | None) -> str:
    """Where a tensor was made, in a few words: `layers.0.self_attn.q_proj`, `q_embed in layers.0.self_attn`."""
    if one is None:
        return "nowhere"
    name = visible(one.name or one.type or "the model")
    return f"{visible(one.tensor)} in {name}" if one.tensor and one.kind != "module" else name


def _at(first: BornDifference) -> str:
    one = first.left or first.right
    if one is None or one.row is None:
        return place(one)
    return f"{place(one)} (row {one.row}{'' if one.token is None else f', token {one.token}'})"
