"""From a product to the softmax behind it: what scales, caps, shifts and hides the scores on the way.

The way is walked back from the softmax, and then forward with the axes. A step that is none of these ends it: then this
is no attention that could be told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from .expressions.product import PRODUCTS, Product, product
from .expressions.scale import is_weight, number
from .letters import Axes, Sizes, moved
from .proposal import Unfit, need
from .tape import Made, Operand

_DEEPEST = 40
MOVES = frozenset(("transpose", "permute", "movedim", "turned", "shaped", "same", "expand"))
HIDES = -1e3  # what hidden scores are set to is below this


@dataclass
class Scores:
    """What became of a product of queries and keys on its way to the softmax."""

    product: Product
    sizes: Sizes
    axes: Axes = ()
    factor: float = 1.0  # after the product, before a cap
    spread: list[tuple[torch.Tensor, Axes, bool]] = field(default_factory=list)  # factors that are tensors; divided by
    cap: float = 0.0  # a soft cap: cap * tanh(scores / cap)
    capped: bool = False  # whether it is under way
    added: list[tuple[torch.Tensor, Axes, float]] = field(default_factory=list)
    hidden: list[tuple[torch.Tensor, Axes, bool]] = field(
        default_factory=list
    )  # a mask, and whether it says what stays
    fill: float = -math.inf
    since: int = 0


def way(operand: Operand) -> list[Made] | None:
    """The results from a product to this one, if there is such a way; products of two tensors that are no weights stand
    before those with weights."""
    found: list[Made] | None = None
    for one in _ways(operand, 0):
        first = product(one[0])
        if first is not None and not any(map(is_weight, first.operands)):
            return one
        found = found or one
    return found


def _ways(operand: Operand, deep: int) -> Iterator[list[Made]]:
    made = operand.maker
    if made is None or deep > _DEEPEST:
        return
    if made.kind in PRODUCTS:
        if product(made) is not None:
            yield [made]
        return
    for before in _before(made):
        for found in _ways(before, deep + 1):
            yield [*found, made]


def _before(made: Made) -> list[Operand]:
    """The operands that may be the scores."""
    if made.kind in MOVES or made.kind in ("masked_fill", "set", "tanh", "dropout"):
        places = made.args[:1]
    elif made.kind in ("add", "sub", "mul", "div"):
        places = made.args[:2]
    elif made.kind == "where":
        places = made.args[1:3]
    else:
        places = ()
    return [one for one in places if isinstance(one, Operand)]


def follow(steps: list[Made]) -> Scores:
    """What happens on the way; raises Unfit where it cannot be told."""
    first = product(steps[0])
    if first is None:
        raise Unfit
    scores = Scores(first, Sizes(first.sizes()), tuple(first.result), first.factor, since=steps[0].step)
    if first.added is not None:
        operand, by = first.added
        scores.added.append((_spread(need(operand.tensor), steps[0].shape), scores.axes, by))
    for before, made in pairwise(steps):
        _step(scores, before, made)
    if scores.capped:
        raise Unfit
    return scores


def _step(scores: Scores, before: Made, made: Made) -> None:
    if made.kind in MOVES:
        axes = moved(made, scores.axes, scores.sizes)
        if axes is None:
            raise Unfit
        scores.axes = axes
        return
    if made.kind == "dropout":
        if dropped(made):
            raise Unfit
        return
    if made.shape != before.shape or made.kwargs.get("alpha", 1) != 1 or made.kwargs.get("rounding_mode"):
        raise Unfit
    if made.kind in ("mul", "div"):
        _scale(scores, before, made)
    elif made.kind in ("add", "sub"):
        _add(scores, before, made)
    elif made.kind == "tanh":
        if scores.added or scores.hidden or scores.cap:
            raise Unfit
        scores.cap, scores.capped = 1.0 / scores.factor if scores.factor else 0.0, True
    else:
        _hide(scores, before, made)


def _is(operand: object, before: Made) -> bool:
    return isinstance(operand, Operand) and operand.maker is before


def _other(before: Made, made: Made) -> object:
    """Beside the scores the other operand."""
    one, two = made.get(0, "input"), made.get(1, "other")
    if _is(one, before):
        return two
    if made.kind == "div" or (made.kind == "sub"):
        raise Unfit  # something divided by the scores
    return one


def _scale(scores: Scores, before: Made, made: Made) -> None:
    other = _other(before, made)
    by = number(other)
    if by is not None and by:
        by = by if made.kind == "mul" else 1 / by
        if scores.capped:
            _uncap(scores, by)
            return
        scores.factor *= by
        scores.added = [(tensor, axes, one * by) for tensor, axes, one in scores.added]
        scores.fill *= abs(by) if scores.hidden else 1.0
    elif isinstance(other, Operand) and not (scores.added or scores.hidden or scores.capped or scores.cap):
        scores.spread.append((_spread(need(other.tensor), made.shape), scores.axes, made.kind == "div"))
    else:
        raise Unfit


def _uncap(scores: Scores, by: float) -> None:
    """`cap * tanh(x / cap)`: what stood before the tanh was the scores times their factor, divided by the cap."""
    scores.cap, scores.capped = by, False
    scores.factor *= by


def _add(scores: Scores, before: Made, made: Made) -> None:
    other = _other(before, made)
    if scores.capped or not isinstance(other, Operand):
        if number(other) == 0:
            return
        raise Unfit
    if made.kind == "sub" and _is_largest(other, before):
        return  # a softmax does not feel it
    sign = -1.0 if made.kind == "sub" else 1.0
    scores.added.append((_spread(need(other.tensor), made.shape), scores.axes, sign))


def _is_largest(operand: Operand, scores: Made) -> bool:
    """Whether this is the largest of the scores, which keeps a softmax from overflowing."""
    made = operand.maker
    return made is not None and made.kind in ("amax", "max") and _is(made.get(0, "input"), scores)


def _hide(scores: Scores, before: Made, made: Made) -> None:
    if scores.capped:
        raise Unfit
    stays = False
    if made.kind == "masked_fill":
        mask, fill = made.get(1, "mask"), made.get(2, "value")
    elif made.kind == "set":
        mask, fill = _index(made.get(1, "key"), made), made.get(2, "value")
    elif _is(made.get(1, "input"), before):
        mask, fill, stays = made.get(0, "condition"), made.get(2, "other"), True
    else:
        mask, fill = made.get(0, "condition"), made.get(1, "input")
    by = number(fill)
    if by is None or not isinstance(mask, Operand):
        raise Unfit
    tensor = need(mask.tensor)
    twice = bool(scores.hidden) and scores.fill != by and max(by, scores.fill) > HIDES
    if twice or tensor.dtype not in (torch.bool, torch.uint8):
        raise Unfit
    scores.hidden.append((_spread(tensor, made.shape), scores.axes, stays))
    scores.fill = by


def _index(key: object, made: Made) -> object:
    """The mask in `scores[:, :, mask] = …`, which is one for the last dimensions."""
    *before, last = key if isinstance(key, tuple) else (key,)
    if not isinstance(last, Operand) or not all(one == slice(None) or one is Ellipsis for one in before):
        raise Unfit
    plain = [one for one in before if one is not Ellipsis]
    if len(plain) == len(before) and len(before) + len(last.shape) != len(made.shape):
        raise Unfit
    return last


def _spread(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor as broadcasting sees it."""
    try:
        return tensor.expand(shape)
    except RuntimeError as error:
        raise Unfit from error


def dropped(made: Made) -> bool:
    """Whether a dropout set something to zero."""
    p, training = made.get(1, "p", 0.5), made.get(2, "training", made.get(2, "train", True))
    return bool(training) and bool(p)
