"""Several heads on the tape: maps of the input in front of an attention, and a map of the joined heads behind it."""

from __future__ import annotations

import torch

from .expressions.maps import Map, linear_map, linear_map_of
from .expressions.scale import number
from .letters import Sizes, chained, moved
from .proposal import Proposal, Unfit, need
from .scores import MOVES, dropped
from .tape import Made, Operand

_DEEPEST = 16


def multi_head(made: Made) -> Proposal | None:
    """The map that ends several heads, with the maps that made queries, keys and values where they can be told."""
    last = linear_map(made)
    end = None if last is None else _attention(last.given)
    if last is None or end is None or end[0].attends is None:
        return None
    made_heads, weighed = end
    attended = end[0].attends
    heads = attended.heads
    batch, count, queries, width = heads.shape
    found = Proposal("multi-head", attended.since)
    found.sure = len({batch, count, queries}) == 3 or batch == 1
    put = found.tensors
    put["z"], put["O"] = heads, last.weight
    by = None if weighed is None else _by_heads(weighed)
    if by is None:
        found.values["f"] = 1.0
    else:
        put["f"] = by.reshape(-1)
    put["c"] = _rows(need(last.given.tensor), batch, queries)
    put["out"] = _rows(need(made.result), batch, queries)
    joined = _in_order(last.given, count, width)
    if put["c"].shape[-1] != count * width or joined is False:
        return None
    found.sure = found.sure and joined is True
    if mixed := _mixed_as_joined(made_heads if weighed is None else weighed, heads, last.given):
        found.sure = True
    _add_bias(found, "o", last)
    maps = [_projection(operand) for operand in attended.operands]
    operands = dict(zip("QKV", attended.operands, strict=True))
    for (symbol, given, weight, bias), (operand, one) in zip(
        _SYMBOLS, zip(attended.tensors, maps, strict=True), strict=True
    ):
        if operand is None or one is None or one[0].weight.shape[0] != count * operand.shape[-1]:
            return found
        split = _tail(one[2], count, operand.shape[-1])
        if split is False:
            return found
        mixed = mixed or _mixed_as_split(one[0], operands[symbol])
        found.sure = mixed or (found.sure and split is True)
        put |= {
            symbol: operand,
            given: _rows(need(one[0].given.tensor), batch, operand.shape[2]),
            weight: one[0].weight,
        }
        _add_bias(found, bias, one[0])
        found.values[f"{weight}f"] = one[1]
        found.since = min(found.since, one[0].since)
    found.pattern = "multi-head-projections"
    return found


_SYMBOLS = (("Q", "x", "A", "a"), ("K", "y", "B", "b"), ("V", "v", "C", "w"))


def _add_bias(found: Proposal, symbol: str, one: Map) -> None:
    if one.bias is None:
        found.values[symbol] = 0.0
    else:
        found.tensors[symbol] = one.bias


def _attention(operand: Operand) -> tuple[Made, Made | None] | None:
    """The attention whose result a tensor is, moved but not changed, and the product that gives each head a factor of
    its own, if there is one."""
    made, weighed = operand.maker, None
    for _ in range(_DEEPEST):
        if made is None:
            return None
        if made.attends is not None:
            return (made, weighed) if weighed is None or made.attends.heads.shape == weighed.shape else None
        before: Operand | None = None
        if made.kind == "mul" and weighed is None and _by_heads(made) is not None:
            weighed, before = made, chained(made)
        elif made.kind in (MOVES if weighed is None else ("shaped", "same")) or (
            made.kind == "dropout" and not dropped(made)
        ):
            before = chained(made)
        made = None if before is None else before.maker
    return None


def _by_heads(made: Made) -> torch.Tensor | None:
    """The factors of a product with one number for each head."""
    other = made.get(1, "other")
    if len(made.shape) != 4 or not isinstance(other, Operand) or made.shape[1] < 2:
        return None
    shape = (1,) * (4 - len(other.shape)) + other.shape
    return other.tensor if shape == (1, made.shape[1], 1, 1) else None


def _in_order(operand: Operand, heads: int, width: int) -> bool | None:
    """Whether the features of a head stand together where heads were joined; None where that cannot be told."""
    made = operand.maker
    for _ in range(_DEEPEST):
        before = None if made is None or made.kind not in (*MOVES, "dropout") else chained(made)
        if made is None or before is None:
            return None
        if made.kind == "shaped" and len(before.shape) > len(made.shape):
            return _tail(before.shape, heads, width)
        made = before.maker
    return None


def _tail(shape: tuple[int, ...], heads: int, width: int) -> bool | None:
    """Whether a shape ends in heads and their features, in this order; None where it cannot be told."""
    last = tuple(shape[-2:])
    if heads == width or last not in ((heads, width), (width, heads)):
        return None
    return last == (heads, width)


def _projection(operand: Operand) -> tuple[Map, float, tuple[int, ...]] | None:
    """The map that made queries, keys or values, the factor that they were multiplied by since, and the shape in which
    they were first split."""
    factor, split = 1.0, tuple[int, ...]()
    for _ in range(_DEEPEST):
        one = linear_map_of(operand)
        if one is not None:
            return None if one.by_channel else (one, factor, split)
        made = operand.maker
        if made is not None and made.kind == "shaped":
            split = made.shape
        if made is None or made.kind not in (*MOVES, "mul", "div"):
            return None
        if made.kind in ("mul", "div"):
            by = number(made.get(1, "other"))
            if not by:
                return None
            factor = factor * by if made.kind == "mul" else factor / by
        before = made.get(0, "input")
        if not isinstance(before, Operand):
            return None
        operand = before
    return None


def _mixed_as_joined(end: Made, heads: torch.Tensor, joined: Operand) -> bool:
    """Whether tokens and heads were mixed when heads were joined: reshaped without being moved behind the tokens."""
    result = end.result
    if result is None or result.shape != heads.shape:
        return False
    if end.attends is not None and result.stride() != heads.stride():
        return False
    return _mixed(_moves(joined, end), ("b", "h", "t", "d"), heads.shape)


def _mixed_as_split(projection: Map, operand: Operand) -> bool:
    """Whether tokens and features were mixed when a projection was split into heads."""
    made = projection.made
    if made is None or len(made.shape) != 3:
        return False
    return _mixed(_moves(operand, made), ("b", "t", "e"), made.shape)


def _moves(operand: Operand, since: Made) -> list[Made]:
    """What moved the numbers of a result on their way to an operand; nothing where there is no such way."""
    found: list[Made] = []
    made = operand.maker
    while made is not None and made is not since and len(found) < _DEEPEST:
        found.append(made)
        before = made.get(0, "input") if made.kind in ("mul", "div") else chained(made) if made.kind in MOVES else None
        made = before.maker if isinstance(before, Operand) else None
    return found[::-1] if made is since else []


def _mixed(moves: list[Made], axes: tuple[str, ...], shape: tuple[int, ...]) -> bool:
    """Whether some axis came to hold a part of the tokens and something of the heads or features."""
    sizes = Sizes(dict(zip(axes, shape, strict=True)))
    if min(shape) < 2:
        return False
    for made in moves:
        if made.kind in ("mul", "div"):
            continue
        moved_axes = moved(made, axes, sizes)
        if moved_axes is None:
            return made.kind == "shaped" and made.name in ("view", "reshape")
        axes = moved_axes
        tokens, others = sizes.in_parts("t"), "".join(sizes.in_parts(one) for one in "hde" if one in sizes)
        if len(tokens) > 1 and any(
            set(one) & set(tokens) and set(one) & set(others) for one in map(sizes.in_parts, axes)
        ):
            return True
    return False


def _rows(tensor: torch.Tensor, batch: int, count: int) -> torch.Tensor:
    """A tensor as texts, positions, features."""
    if tensor.dim() == 2 and batch == 1:
        tensor = tensor[None]
    if tensor.dim() != 3:
        raise Unfit
    if tuple(tensor.shape[:2]) == (batch, count):
        return tensor
    if tuple(tensor.shape[:2]) == (count, batch):
        return tensor.transpose(0, 1)
    raise Unfit
