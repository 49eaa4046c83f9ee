"""Attention on the tape: a softmax between two products, whatever stands around it, or torch's function for it."""

from __future__ import annotations

import math

import torch

from .expressions.product import Product, product
from .expressions.scale import factor, is_weight, number
from .letters import chained, laid, moved, taken_apart, thin
from .proposal import Proposal, Unfit, need
from .scores import HIDES, MOVES, Scores, dropped, follow, way
from .tape import Attended, Made, Operand

_VALUE, _QUERY = "#", "?"  # letters that no einsum has
_DEEPEST = 16


def attention(made: Made) -> Proposal | None:
    """The attention that this result ends, if it does."""
    if made.kind == "fused_attention":
        return _fused(made)
    mixed = product(made)
    if mixed is None:
        return None
    for at, operand in enumerate(mixed.operands):
        found = _weights(operand)
        if found is None:
            continue
        softmax, after = found
        given = chained(softmax)
        steps = None if given is None else way(given)
        if steps is not None:
            return _written(made, mixed, at, softmax, after, steps)
    return None


def _weights(operand: Operand) -> tuple[Made, list[Made]] | None:
    """The softmax that a factor comes from, and what was done to its result since."""
    after: list[Made] = []
    made = operand.maker
    while made is not None and len(after) < _DEEPEST:
        if made.kind == "softmax":
            return made, after[::-1]
        if made.kind not in MOVES and made.kind not in ("dropout", "masked_fill"):
            return None
        after.append(made)
        before = chained(made)
        made = None if before is None else before.maker
    return None


def _written(
    made: Made, mixed: Product, at: int, softmax: Made, after: list[Made], steps: list[Made]
) -> Proposal | None:
    """Attention in several functions."""
    scores = follow(steps)
    dim = softmax.get(1, "dim")
    if not isinstance(dim, int) or not -len(scores.axes) <= dim < len(scores.axes):
        raise Unfit
    sizes, axes, over = scores.sizes, scores.axes, scores.axes[dim]
    random, masks = "", []
    for one in after:
        if one.kind == "dropout":
            random = random or ("random: dropout is active (training mode)" if dropped(one) else "")
        elif one.kind == "masked_fill":
            mask = one.get(1, "mask")
            if number(one.get(2, "value")) != 0 or not isinstance(mask, Operand):
                raise Unfit
            masks.append((need(mask.tensor).expand(one.shape), axes, False))
        else:
            turned = moved(one, axes, sizes)
            if turned is None:
                raise Unfit
            axes = turned
    roles = _Roles(mixed, at, axes, over, scores)
    found = Proposal("attention", scores.since)
    key, query = roles.key, scores.product.operands[1 - roles.key_at]
    total = _total(scores, query, key)
    if total is None or ((is_weight(query) or is_weight(key)) and not _is_root(total, query, scores)):
        return None
    put = found.tensors
    put["Q"] = roles.laid(need(query.tensor), scores.product.letters[1 - roles.key_at], [roles.query, roles.width])
    put["K"] = roles.laid(need(key.tensor), scores.product.letters[roles.key_at], [roles.keys, roles.width])
    put["V"] = roles.laid(need(mixed.operands[1 - at].tensor), roles.of_value, [roles.keys, _VALUE])
    put["out"] = roles.laid(need(made.result), roles.of_result, [roles.query, _VALUE])
    weights = need(mixed.operands[at].tensor)
    if random:
        found.random = random
        dry = softmax.result
        if dry is not None and not masks and axes == scores.axes:
            found.random, found.pattern, weights = "", "attention-dropout", dry
            put.pop("out"), put.pop("V")
    put["P"] = roles.laid(weights, axes, [roles.query, roles.keys])
    _masks(found, scores, roles, masks)
    before = total / scores.factor if scores.factor else 1.0
    found.values |= {"t": before, "c": scores.factor, "r": scores.cap}
    if scores.spread:
        found.tensors["s"] = roles.factors(scores.spread)
    values, heads = mixed.operands[1 - at], put.get("out")
    sure = roles.in_four(found, query)
    if roles.over != roles.keys:  # the weights of a query do not add up to 1
        if is_weight(query) or is_weight(key):
            return None
        found.sure = False
    if heads is not None and sure:
        _remember(made, found, (query, key, values))
    return thin_masks(found)


def _total(scores: Scores, query: Operand, key: Operand) -> float | None:
    """The factor of the scores, what query and key had been multiplied by before included."""
    one, two = factor(query), factor(key)
    return None if one is None or two is None else one * two * scores.factor


def _is_root(total: float, query: Operand, scores: Scores) -> bool:
    width = scores.sizes[scores.product.summed()]
    return not scores.spread and math.isclose(total, width**-0.5, rel_tol=1e-4)


class _Roles:
    """What the letters of both products stand for: queries, keys, and what stands before them."""

    def __init__(self, mixed: Product, at: int, axes: tuple[str, ...], over: str, scores: Scores) -> None:
        self.sizes = sizes = scores.sizes
        first = scores.product
        own, other, summed = mixed.letters[at], mixed.letters[1 - at], mixed.summed()
        self.keys = sizes.in_parts(axes[own.index(summed)])
        self.over = sizes.in_parts(over)
        if len(self.keys) != 1 or len(self.over) != 1:
            raise Unfit
        inside = [sizes.in_parts(letters) for letters in first.letters]
        if (self.keys in inside[0]) == (self.keys in inside[1]):
            raise Unfit
        self.key_at = int(self.keys in inside[1])
        self.key, self.width = first.operands[self.key_at], first.summed()
        named = dict(zip(own, (sizes.in_parts(axis) for axis in axes), strict=True))
        free = [letter for letter in other if letter not in named]
        if len(free) != 1 or free[0] not in mixed.result or any(c not in named for c in mixed.result if c != free[0]):
            raise Unfit
        value = mixed.operands[1 - at]
        sizes[_VALUE] = value.shape[other.index(free[0])]
        named[free[0]] = _VALUE
        self.of_value, self.of_result = [named[c] for c in other], [named[c] for c in mixed.result]
        lead = [letter for axis in axes for letter in sizes.in_parts(axis) if letter != self.keys]
        shared = set(inside[self.key_at])
        shared |= {c for letters, size in zip(self.of_value, value.shape, strict=True) for c in letters if size != 1}
        alone = [letter for letter in lead if letter not in shared]
        long = [letter for letter in alone if sizes[letter] > 1]
        self.query = (long or alone or [_QUERY])[-1]
        sizes.setdefault(_QUERY, 1)
        self.lead = [letter for letter in lead if letter != self.query]

    def laid(self, tensor: torch.Tensor, axes: str | list[str] | tuple[str, ...], last: list[str]) -> torch.Tensor:
        """A tensor with its dimensions in order: those before, and then the last two."""
        return need(laid(tensor, list(axes), [*self.lead, *last], self.sizes))

    def factors(self, found: list[tuple[torch.Tensor, tuple[str, ...], bool]]) -> torch.Tensor:
        """The tensors that scores are multiplied by, as one."""
        parts = [(self.laid(tensor, axes, [self.query, self.keys]), over) for tensor, axes, over in found]
        if len(parts) == 1 and not parts[0][1]:
            return parts[0][0]
        whole = torch.ones((), dtype=torch.float64, device=parts[0][0].device)
        for part, over in parts:
            whole = whole / thin(part).double() if over else whole * thin(part).double()
        return whole.expand(parts[0][0].shape)

    def in_four(self, found: Proposal, query: Operand) -> bool:
        """Lay the tensors out with batch and heads in front, and no more than these; whether it is sure which is which.

        Where both are one dimension, what it was made of tells.
        """
        if len(self.lead) == 0:
            found.tensors = {name: tensor[None, None] for name, tensor in found.tensors.items()}
        elif len(self.lead) == 1:
            size, batch = self.sizes[self.lead[0]], _batch(query)
            heads = size // batch if batch and size % batch == 0 else 1
            before = _before_joined(query, size)
            if before == (heads, batch) and heads != batch:
                found.tensors = {n: taken_apart(t, 0, before).transpose(0, 1) for n, t in found.tensors.items()}
                return True
            shape = (size // heads, heads)
            found.tensors = {name: taken_apart(tensor, 0, shape) for name, tensor in found.tensors.items()}
            return heads == 1 or (before == shape and heads != batch)
        elif len(self.lead) > 2:
            found.tensors = {name: tensor.flatten(1, -3) for name, tensor in found.tensors.items()}
        return len(self.lead) <= 2


def _before_joined(operand: Operand, size: int) -> tuple[int, int] | None:
    """The two dimensions that became one of this size."""
    made = operand.maker
    for _ in range(_DEEPEST):
        before = None if made is None or made.kind not in (*MOVES, "mul", "div") else chained(made)
        if made is None or before is None:
            return None
        if made.kind == "shaped" and len(before.shape) == len(made.shape) + 1 and made.shape[0] == size:
            return before.shape[0], before.shape[1]
        made = before.maker
    return None


def _remember(made: Made, found: Proposal, operands: tuple[Operand, Operand, Operand]) -> None:
    """Note on a result that it ends an attention, until its heads are joined."""
    tensors = tuple(found.tensors.get(name) for name in ("Q", "K", "V"))
    made.attends = Attended(operands, (tensors[0], tensors[1], tensors[2]), found.tensors["out"], found.since)


def thin_masks(found: Proposal) -> Proposal:
    """What is the same for several queries or heads once, as a mask often is."""
    for name in ("A", "h", "z", "s"):
        if name in found.tensors:
            found.tensors[name] = thin(found.tensors[name])
    return found


def _batch(operand: Operand) -> int:
    """How many texts a tensor is of, by the tensor that it was split from."""
    made = operand.maker
    for _ in range(_DEEPEST):
        before = None if made is None or made.kind not in (*MOVES, "part", "mul", "div", "add") else chained(made)
        if before is None:
            break
        operand, made = before, before.maker
    return operand.shape[0] if len(operand.shape) > 2 else 1


def _masks(
    found: Proposal, scores: Scores, roles: _Roles, after: list[tuple[torch.Tensor, tuple[str, ...], bool]]
) -> None:
    """What is added to the scores, and what hides some of them."""
    ends = [roles.query, roles.keys]
    parts = [(roles.laid(tensor, axes, ends), by) for tensor, axes, by in scores.added]
    if len(parts) == 1 and parts[0][1] == 1:
        found.tensors["A"] = parts[0][0]
    elif parts:
        whole = sum((thin(part).double() * by for part, by in parts), torch.zeros((), dtype=torch.float64))
        found.tensors["A"] = whole.expand(parts[0][0].shape)
    else:
        found.values["A"] = 0.0
    _hidden(found, roles, "h", scores.hidden)
    _hidden(found, roles, "z", after)
    found.values["w"] = scores.fill if scores.fill <= HIDES else -math.inf
    found.values["u"] = scores.fill


def _hidden(found: Proposal, roles: _Roles, name: str, masks: list[tuple[torch.Tensor, tuple[str, ...], bool]]) -> None:
    parts = [(roles.laid(tensor, axes, [roles.query, roles.keys]), stays) for tensor, axes, stays in masks]
    if not parts:
        found.values[name] = 0.0
        return
    if len(parts) == 1 and not parts[0][1]:
        found.tensors[name] = parts[0][0]
        return
    whole = torch.zeros((), dtype=torch.bool, device=parts[0][0].device)
    for part, stays in parts:
        whole = whole | (thin(part).logical_not() if stays else thin(part).bool())
    found.tensors[name] = whole.expand(parts[0][0].shape)


# -- torch's function ------------------------------------------------------------------------------------


def _fused(made: Made) -> Proposal:
    """`scaled_dot_product_attention`, with its arguments."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    query, key, value, mask, dropout, causal, scale, grouped = (made.get(at, name) for at, name in enumerate(names))
    if not all(isinstance(one, Operand) for one in (query, key, value)):
        raise Unfit
    one, two = factor(query), factor(key)
    if one is None or two is None:
        raise Unfit
    found = Proposal("fused-attention", made.step)
    if dropout:
        found.random = f"random: dropout_p is {dropout}"
    tensors = {"Q": need(query.tensor), "K": need(key.tensor), "V": need(value.tensor), "out": need(made.result)}
    if isinstance(mask, Operand):
        tensors["A"] = need(mask.tensor).expand((*made.shape[:-1], key.shape[-2]))
    heads, given = (tensors[name].shape[-3] if tensors[name].dim() > 2 else 1 for name in ("Q", "K"))
    if grouped and heads != given:
        tensors = {name: _grouped(name, tensor, given) for name, tensor in tensors.items()}
    most = max(tensor.dim() for tensor in tensors.values())
    for name, tensor in tensors.items():
        found.tensors[name] = (
            tensor[(None,) * (max(most, 4) - tensor.dim())] if most > 3 or tensor.dim() == 2 else tensor[:, None]
        )
    _spread_lead(found.tensors)
    found.tensors = {n: t.flatten(1, -3) if t.dim() > 4 else t for n, t in found.tensors.items()}
    width = query.shape[-1]
    own = float(scale) if isinstance(scale, (int, float)) else width**-0.5
    found.values |= {"t": one * two, "c": own, "i": float(bool(causal)), **({} if "A" in tensors else {"A": 0.0})}
    _remember(made, found, (query, key, value))
    return thin_masks(found)


def _grouped(name: str, tensor: torch.Tensor, given: int) -> torch.Tensor:
    """Several query heads share one of the key and value heads."""
    return tensor.unsqueeze(-3) if name in ("K", "V") else taken_apart(tensor, -3, (given, tensor.shape[-3] // given))


def _spread_lead(tensors: dict[str, torch.Tensor]) -> None:
    """What stands before the last two dimensions, as broadcasting sees it."""
    lead = [max(sizes) for sizes in zip(*(tensor.shape[:-2] for tensor in tensors.values()), strict=True)]
    for name, tensor in tensors.items():
        tensors[name] = tensor.expand((*lead, *tensor.shape[-2:]))
