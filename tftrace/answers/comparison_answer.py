"""A comparison as an answer that fits: `tftrace compare`, and the tool of that name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import compare
from ..text import number, visible
from .brief import cut, rounded
from .paged import Answer, listed

BORN, LAYERS, PAIRS = 1, 2, 3  # what --depth asks for
_BEFORE = 6  # of what differs before the numbers, in facts
_SIDE = ("step", "name", "kind", "type", "file", "line", "text", "tensor", "row", "token")
_WIDE = 80  # characters of a text of a side


def comparison_answer(found: compare.Comparison, said: str = "", *, depth: int | None = None) -> Answer:
    """What a comparison came to.

    Args:
        found: The comparison.
        said: What the two runs answered, in a sentence.
        depth: 1 for the differences that are born, 2 for the healed ones and the layers too, 3 for every pair of
            tensors instead.
    """
    facts: dict[str, Any] = {"verdict": found.verdict, "exit": found.exit_code}
    facts["before"] = [
        {"what": one.what, "left": cut(one.left, _WIDE), "right": cut(one.right, _WIDE)}
        for one in found.before[:_BEFORE]
    ]
    facts["pairs"] = found.to_dict()["pairs"]
    sentences = [found.sentence, *map(compare.prerequisite, found.before), said]
    items = list(_items(found, BORN if depth is None else depth))
    return Answer("compare", sentences, listed(items), len(items), facts, code=found.exit_code)


def _items(found: compare.Comparison, depth: int) -> Iterator[tuple[dict[str, Any], str]]:
    if depth >= PAIRS:
        yield from map(_pair, found.tensors)
    elif depth >= BORN:
        yield from (_difference("born", one) for one in found.born)
    if depth == LAYERS:
        yield from (_difference("healed", one) for one in found.healed)
        for one in found.layers:
            local, inherited = number(one.local) or "–", number(one.inherited) or "–"
            data = {"layer": one.layer, "local": rounded(one.local, 2), "inherited": rounded(one.inherited, 2)}
            yield {"item": "layer", **data}, f"layer {one.layer}: local {local}, inherited {inherited}"


def _difference(item: str, one: compare.BornDifference) -> tuple[dict[str, Any], str]:
    data: dict[str, Any] = {"item": item, "left": _side(one.left), "right": _side(one.right)}
    data |= {"difference": rounded(one.difference, 2), "bound": rounded(one.bound, 2), "cause": cut(one.cause)}
    why = f" ({visible(one.cause)})" if one.cause else ""
    size = f"{number(one.difference)} where rounding explains {number(one.bound)}{why}"
    return data, f"{item}: {_told(one.left)} | {_told(one.right)}: {size}"


def _pair(one: compare.TensorPair) -> tuple[dict[str, Any], str]:
    sides = {side: _brief(place) for side, place in (("left", one.left), ("right", one.right))}
    data = {"item": "pair", **sides, "status": one.status, "difference": rounded(one.difference, 2)}
    data |= {"bound": rounded(one.bound, 2), "layer": one.layer, "note": cut(one.note)}
    size = f"{number(one.difference)} (rounding explains {number(one.bound)})"
    return data, f"{one.status}: {_told(one.left, False)} | {_told(one.right, False)}: {size}"


def _side(place: compare.Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    given = {key: getattr(place, key) for key in _SIDE}
    return {key: cut(value, _WIDE) if isinstance(value, str) else value for key, value in given.items()}


def _brief(place: compare.Place) -> dict[str, Any]:
    return {"step": place.step, "name": cut(place.name, _WIDE), "tensor": cut(place.tensor, _WIDE)}


def _told(place: compare.Place | None, code: bool = True) -> str:
    """`q_embed in layers.0.self_attn (step 57, modeling.py:12 q_embed = …)`."""
    if place is None:
        return "no such step"
    token = "" if place.token is None else f", row {place.row} token {place.token}"
    step = "" if place.step is None else f"step {place.step}{token}"
    file = (place.file or "").replace("\\", "/").rpartition("/")[2]
    line = f"{visible(file)}:{place.line} {visible(place.text)}" if code and file and place.line is not None else ""
    inside = ", ".join(part for part in (step, cut(line, 120)) if part)
    return f"{cut(compare.where(place), 120)}{f' ({inside})' if inside else ''}"
