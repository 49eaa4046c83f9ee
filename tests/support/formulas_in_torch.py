"""The same formulas computed by torch, as a model would: what the evaluator is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from tftrace.recipes.evaluate.evaluator import Evaluator
from tftrace.recipes.evaluate.value import Value, constant
from tftrace.recipes.formula.analysis import base_tensor, named_dims
from tftrace.recipes.formula.functions import argument_kinds
from tftrace.recipes.formula.nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
REDUCTIONS = ("softmax", "sum", "mean", "var", "amax", "amin")


class Named(NamedTuple):
    """A torch tensor whose axes have names."""

    dims: tuple[str, ...]
    t: torch.Tensor


class Known:
    """Symbols for the evaluator, from named tensors and sizes."""

    def __init__(self, tensors: dict[str, Named], sizes: dict[str, int], numbers: dict[str, float] | None = None):
        self.tensors, self.sizes, self.numbers = tensors, sizes, numbers or {}

    def value(self, name: str) -> Value | None:
        if name in self.numbers:
            return constant(self.numbers[name])
        found = self.tensors.get(name)
        return None if found is None else self._value(*found)

    def _value(self, names: tuple[str, ...], t: torch.Tensor) -> Value:
        v = t.numpy() if t.dtype is torch.bool else t.to(torch.float64).numpy()
        return Value(names, v, np.zeros(v.shape))

    def lookup(self, table: str, index: Value) -> Value:
        found = self.tensors[table]
        return self._value(index.dims + found.dims[1:], found.t[torch.from_numpy(index.v.astype(np.int64))])

    def select(self, name: str, dim: str, index: int) -> Value:
        found = self.tensors[name]
        rest = tuple(d for d in found.dims if d != dim)
        return self._value(rest, found.t.select(found.dims.index(dim), index))

    def positions(self, dim: str) -> Any:
        return np.arange(self.sizes[dim])

    def moved(self, leaf: Apply, numbers: tuple[int, ...]) -> Value:
        return self._value(*moved(self.tensors[base_tensor(leaf)], leaf, numbers, self.sizes))

    def size(self, dim: str) -> int:
        return self.sizes[dim]


def moved(x: Named, leaf: Apply, numbers: tuple[int, ...], sizes: dict[str, int]) -> Named:
    """`rename`, `window` and `unwindow`, by positions along each dimension that is taken apart."""
    names, t, of = list(x.dims), x.t, named_dims(leaf)
    if leaf.function == "rename":
        return Named(tuple(of[1] if n == of[0] else n for n in names), t)
    for at in range(len(of) // 3):
        (dim, out, kernel), (stride, padding, dilation) = of[3 * at : 3 * at + 3], numbers[3 * at : 3 * at + 3]
        axis = names.index(dim)
        if leaf.function == "window":
            places = torch.arange(sizes[out])[:, None] * stride + torch.arange(sizes[kernel]) * dilation - padding
        else:  # the place whose window is there
            places = torch.full((sizes[out], sizes[kernel]), -1)
            for place in range(t.shape[axis]):
                for k in range(sizes[kernel]):
                    at_out = place * stride + k * dilation - padding
                    if 0 <= at_out < sizes[out]:
                        places[at_out, k] = place
        inside = (places >= 0) & (places < t.shape[axis])
        wide = t.movedim(axis, -1)[..., places.clamp(0, t.shape[axis] - 1)] * inside.to(t.dtype)
        t = wide.movedim((-2, -1), (axis, axis + 1))
        names[axis : axis + 1] = [out, kernel]
    return Named(tuple(names), t)


class Run:
    """What a model does: each operation by torch in one dtype, rounded every time."""

    def __init__(self, known: Known, dtype: torch.dtype) -> None:
        self.known, self.dtype = known, dtype
        self.finite: list[torch.Tensor] = []

    def node(self, node: Node) -> Named:
        found = self._node(node)
        self.finite.append(torch.isfinite(found.t))
        return found

    def _node(self, node: Node) -> Named:
        known, dtype = self.known, self.dtype
        match node:
            case Number(value):
                return Named((), torch.tensor(value, dtype=dtype))
            case Name(name) if name in known.tensors:
                names, t = known.tensors[name]
                return Named(names, t.to(dtype) if t.is_floating_point() else t)
            case Name(name):
                return Named((), torch.tensor(float(known.numbers.get(name, known.sizes.get(name, 0))), dtype=dtype))
            case Negative(operand):
                inner = self.node(operand)
                return Named(inner.dims, -inner.t)
            case Select(Name(name), dim, index):
                names, t = known.tensors[name]
                return Named(tuple(d for d in names if d != dim), t.to(dtype).select(names.index(dim), index))
            case Lookup(Name(table), index):
                at = self.node(index)
                return Named(at.dims + known.tensors[table].dims[1:], known.tensors[table].t.to(dtype)[at.t.long()])
            case Operation("@", left, right):
                a, b = self.node(left), self.node(right)
                last = a.dims[-1]
                rest = tuple(dict.fromkeys(d for x in (a, b) for d in x.dims if d != last))
                a, b = self.spread(a, (*rest, last)), self.spread(b, (*rest, last))
                return Named(rest, product(a.t, b.t))
            case Operation(operator, left, right):
                names, (x, y) = self.align(self.node(left), self.node(right))
                with_operator: dict[str, Callable[..., torch.Tensor]] = {
                    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "**": torch.pow,
                    "<": torch.lt, ">": torch.gt, "<=": torch.le, ">=": torch.ge, "==": torch.eq,
                }  # fmt: skip
                return Named(names, with_operator[operator](x, y))
            case Apply("single", (x,)):
                names, t = Run(known, torch.promote_types(dtype, torch.float32)).node(x)
                return Named(names, t.to(dtype))
            case Apply("pos", (Name(dim),)):
                return Named((dim,), torch.arange(known.sizes[dim]).to(dtype))
            case Apply("causal", (Name(query), Name(key))):
                rows, columns = known.sizes[query], known.sizes[key]
                late = torch.ones(rows, columns).triu(columns - rows + 1).bool()
                return Named((query, key), torch.zeros(rows, columns, dtype=dtype).masked_fill(late, -math.inf))
            case Apply(function, (first, *rest)) if function in REDUCTIONS:
                names, t = self.node(first)
                axes = [names.index(n) for n in named(rest)] or [len(names) - 1]
                if function == "softmax":
                    return Named(names, t.softmax(axes[0]))
                kept = tuple(n for at, n in enumerate(names) if at not in axes)
                if function == "var":
                    return Named(kept, t.var(axes, correction=0))
                return Named(kept, getattr(t, function)(axes))
            case Apply("dot", (a, b, *over)):
                summed = named(over)
                p, q = self.node(a), self.node(b)
                rest = tuple(dict.fromkeys(d for x in (p, q) for d in x.dims if d not in summed))
                p, q = (self.spread(x, (*rest, *summed)) for x in (p, q))
                shape = torch.broadcast_shapes(p.t.shape, q.t.shape)
                return Named(rest, product(*(x.t.expand(shape).flatten(len(rest)) for x in (p, q))))
            case Apply("window" | "unwindow" | "rename", (Name(name), *rest)):
                given = zip(argument_kinds(node.function, len(rest) + 1) or "", (node, *rest), strict=True)
                numbers = tuple(int(self.node(r).t) for kind, r in given if kind == "n")
                names, t = known.tensors[name]
                return moved(Named(names, t.to(dtype)), node, numbers, known.sizes)
            case Apply("cumsum", (x, Name(dim))):
                names, t = self.node(x)
                return Named(names, t.cumsum(names.index(dim)))
            case Apply("scan", (a, b, Name(dim))):
                names, (x, y) = self.align(self.node(a), self.node(b))
                x, y = (part.movedim(names.index(dim), 0) for part in torch.broadcast_tensors(x, y))
                states = [torch.zeros_like(y[0])]
                for decay, more in zip(x, y, strict=True):
                    states.append(decay * states[-1] + more)
                return Named(names, torch.stack(states[1:], names.index(dim)))
            case Apply("topk", (x, Name(dim), Name(count))):
                names, t = self.node(x)
                best = t.topk(known.sizes[count], names.index(dim)).values
                return Named(tuple(count if n == dim else n for n in names), best)
            case Apply("gather", (x, Name(dim), index)):
                (names, t), (own, picked) = self.node(x), self.node(index)
                shared = tuple(n for n in own if n in names and n != dim)
                rest = tuple(n for n in names if n not in (*shared, dim))
                extra = tuple(n for n in own if n not in shared)
                t = t.permute([names.index(n) for n in (*shared, *rest, dim)])
                wide = picked.permute([own.index(n) for n in (*shared, *extra)])
                flat = wide.reshape(*wide.shape[: len(shared)], *(1,) * len(rest), -1).expand(*t.shape[:-1], -1)
                found = t.gather(-1, flat.long()).reshape(*t.shape[:-1], *wide.shape[len(shared) :])
                return Named((*shared, *rest, *extra), found)
            case Apply("concat", (*parts, Name(dim))):
                found_parts = [self.node(x) for x in parts]
                rest = tuple(dict.fromkeys(d for x in found_parts for d in x.dims[:-1]))
                spread = [self.spread(x, (*rest, x.dims[-1])).t for x in found_parts]
                shape = torch.broadcast_shapes(*(t.shape[:-1] for t in spread))
                return Named((*rest, dim), torch.cat([t.expand(*shape, t.shape[-1]) for t in spread], -1))
            case Apply("split_heads", (x, Name(heads), Name(dim))):
                names, t = self.node(x)
                sizes = known.sizes[heads], known.sizes[dim]
                return Named((*names[:-1], heads, dim), t.unflatten(-1, sizes))
            case Apply("join_heads", (x, Name(heads), Name(dim), Name(joined))):
                names, t = self.node(x)
                rest = tuple(n for n in names if n not in (heads, dim))
                return Named((*rest, joined), self.spread(Named(names, t), (*rest, heads, dim)).t.flatten(-2))
            case Apply("rotate_half" | "rotate_pairs" as function, (x,)):
                names, t = self.node(x)
                if function == "rotate_half":
                    front, back = t.chunk(2, -1)
                    return Named(names, torch.cat([-back, front], -1))
                return Named(names, torch.stack([-t[..., 1::2], t[..., ::2]], -1).flatten(-2))
            case Apply("roll" | "shift" as function, (x, Name(dim), by)):
                (names, t), n = self.node(x), int(self.node(by).t)
                moved_on = t.roll(n, names.index(dim))
                if function == "shift":
                    moved_on.narrow(names.index(dim), 0 if n > 0 else t.shape[names.index(dim)] + n, abs(n)).zero_()
                return Named(names, moved_on)
            case Apply("T", (only,)):
                names, t = self.node(only)
                return Named((*names[:-2], names[-1], names[-2]), t.transpose(-1, -2))
            case Apply("mask" | "hide" as function, (only,)):
                names, t = self.node(only)
                if t.dtype is torch.bool:
                    t = torch.zeros(t.shape, dtype=dtype).masked_fill(t if function == "hide" else ~t, -math.inf)
                return Named(names, t)
            case Apply("where", (c, a, b)):
                names, (cond, x, y) = self.align(self.node(c), self.node(a), self.node(b))
                return Named(names, torch.where(cond.bool(), x, y))
            case Apply("max" | "min" as function, (a, b)):
                names, (x, y) = self.align(self.node(a), self.node(b))
                return Named(names, (torch.maximum if function == "max" else torch.minimum)(x, y))
            case Apply(function, (only,)):
                names, t = self.node(only)
                return Named(names, getattr(torch, function)(t))
        raise AssertionError(node)

    def align(self, *values: Named) -> tuple[tuple[str, ...], list[torch.Tensor]]:
        names = tuple(dict.fromkeys(d for x in values for d in x.dims))
        return names, [self.spread(x, names).t for x in values]

    @staticmethod
    def spread(x: Named, names: tuple[str, ...]) -> Named:
        for d in [d for d in x.dims if d not in names and x.t.shape[x.dims.index(d)] == 1]:
            x = Named(tuple(n for n in x.dims if n != d), x.t.squeeze(x.dims.index(d)))
        t = x.t.permute([x.dims.index(d) for d in names if d in x.dims])
        for axis, d in enumerate(names):
            if d not in x.dims:
                t = t.unsqueeze(axis)
        return Named(names, t)


def named(nodes: Iterable[Node]) -> list[str]:
    """The dimensions that the arguments of a function name."""
    return [node.id for node in nodes if isinstance(node, Name)]


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The sum of products along the last axis, in the dtype's own matrix product."""
    shape = torch.broadcast_shapes(a.shape, b.shape)
    a, b = a.expand(shape).reshape(-1, 1, shape[-1]), b.expand(shape).reshape(-1, shape[-1], 1)
    return torch.bmm(a, b).reshape(shape[:-1])


def evaluated(node: Node, known: Known, dtype: torch.dtype) -> Value:
    return Evaluator(known, UNIT[dtype], min(UNIT[dtype], 2.0**-24)).evaluate(node)
