"""The twelve mistakes, and how each is planted in a model of transformers: in the last layer that has room for it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ..mutations.breaks_layers import Backwards

Patch = pytest.MonkeyPatch
# The path of the module where the mistake is made; None where the model has nothing to make it in.
Run = Callable[[], Any]  # of a forward
Plant = Callable[[nn.Module, Run, Patch], "str | None"]

NAMES = {
    "scale": "the scale of the scores × 1.25",
    "head": "one head's values × 1.2",
    "mask": "the mask ignored",
    "bias": "a bias dropped",
    "norm": "a norm × 1.0005",
    "epsilon": "an epsilon × 100",
    "gelu": "the other form of GELU",
    "residual": "a residual left out",
    "positions": "positions + 1",
    "base": "another rotary base",
    "routing": "routing weights × 1.05",
    "swapped": "two layers swapped",
}
SCALE, HEAD, MASK, BIAS, NORM, EPSILON, GELU, RESIDUAL, POSITIONS, BASE, ROUTING, SWAPPED = MISTAKES = tuple(
    NAMES.values()
)
PLANTS: dict[str, Plant] = {}

_EXACT = ("GELUActivation", "GELU")
_TANH = ("NewGELUActivation", "GELUTanh", "PytorchGELUTanh", "FastGELUActivation")
_TABLE = re.compile(r"(?:.*\.)?(position_embeddings?|embed_positions|wpe|positions_embed|pos_embed)$")
_EPSILONS = ("variance_epsilon", "eps")
_ROUTER = re.compile(r"Router|Gate$")


def plant(mistake: str) -> Callable[[Plant], Plant]:
    """Register how a mistake is planted."""

    def register(how: Plant) -> Plant:
        PLANTS[mistake] = how
        return how

    return register


def last(model: nn.Module, wanted: Callable[[str, Any], bool]) -> tuple[str, Any] | None:
    """The last module of this kind, with its path."""
    found = [(path, module) for path, module in model.named_modules() if wanted(path, module)]
    return found[-1] if found else None


def layer_lists(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    """Lists of layers: of at least two modules of one class that have a norm inside."""
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) < 2 or len({type(m) for m in module}) > 1:
            continue
        if any("Norm" in type(part).__name__ for part in list(module[0].modules())[1:]):
            yield path, module


@plant(SCALE)
def _scale(model: nn.Module, run: Run, patch: Patch) -> str | None:
    def factor(module: Any) -> str | None:
        known = "Attention" in type(module).__name__ or "Attend" in type(module).__name__
        return next((n for n in ("scaling", "scale") if known and isinstance(module.__dict__.get(n), float)), None)

    found = last(model, lambda _, module: factor(module) is not None)
    if found is None:
        return None
    name = factor(found[1]) or ""
    setattr(found[1], name, 1.25 * getattr(found[1], name))
    return found[0]


def in_last_kernel(model: nn.Module, run: Run, patch: Patch, change: Callable[..., Any]) -> str | None:
    """The fused kernel is given something else by the last attention that calls it; None if none does."""
    fused, callers = F.scaled_dot_product_attention, list[Any]()

    def watched(*args: Any, **kwargs: Any) -> Any:
        callers.append(_caller(sys._getframe(1)))
        return fused(*args, **kwargs)

    with patch.context() as dry:
        dry.setattr(F, "scaled_dot_product_attention", watched)
        run()
    paths: dict[int, str] = {id(module): path for path, module in model.named_modules()}
    if not callers or id(callers[-1]) not in paths:
        return None

    def changed(query: Any, key: Any, value: Any, **rest: Any) -> Any:
        if _caller(sys._getframe(1)) is callers[-1]:
            query, key, value, rest = change(query, key, value, rest)
        return fused(query, key, value, **rest)

    patch.setattr(F, "scaled_dot_product_attention", changed)
    return paths[id(callers[-1])]


def _caller(frame: Any) -> Any:
    """The module whose attention a function computes."""
    return frame.f_locals.get("module", frame.f_locals.get("self"))


@plant(HEAD)
def _head(model: nn.Module, run: Run, patch: Patch) -> str | None:
    def change(query: Any, key: Any, value: Any, rest: Any) -> Any:
        factors = torch.ones(value.shape[1], 1, 1, dtype=value.dtype)
        factors[-1] = 1.2
        return query, key, value * factors, rest

    return in_last_kernel(model, run, patch, change)


@plant(MASK)
def _mask(model: nn.Module, run: Run, patch: Patch) -> str | None:
    masked = list[bool]()

    def change(query: Any, key: Any, value: Any, rest: Any) -> Any:
        masked.append(rest.get("attn_mask") is not None or rest.get("is_causal") is True)
        return query, key, value, rest | {"attn_mask": None, "is_causal": False}

    path = in_last_kernel(model, run, patch, change)
    if path is not None:
        run()
    return path if masked and masked[-1] else None


@plant(BIAS)
def _bias(model: nn.Module, run: Run, patch: Patch) -> str | None:
    found = last(model, lambda _, m: type(m) is nn.Linear and m.bias is not None and called(run, m))
    if found is None:
        return None
    path, dense = found
    patch.setattr(dense, "forward", lambda input: F.linear(input, dense.weight))
    return path


def called(run: Run, module: nn.Module) -> bool:
    """Whether a forward calls this module."""
    calls = list[int]()
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    run()
    handle.remove()
    return bool(calls)


@plant(NORM)
def _norm(model: nn.Module, run: Run, patch: Patch) -> str | None:
    found = last(model, lambda _, m: type(m).__name__.endswith("Norm") and called(run, m))
    if found is None:
        return None
    found[1].register_forward_hook(lambda module, args, out: out * 1.0005 if isinstance(out, torch.Tensor) else out)
    return found[0]


@plant(EPSILON)
def _epsilon(model: nn.Module, run: Run, patch: Patch) -> str | None:
    def wanted(_: str, module: Any) -> bool:
        held = [isinstance(getattr(module, name, None), float) for name in _EPSILONS]
        return type(module).__name__.endswith("Norm") and any(held) and called(run, module)

    if (found := last(model, wanted)) is None:
        return None
    name = next(name for name in _EPSILONS if isinstance(getattr(found[1], name, None), float))
    setattr(found[1], name, 100 * getattr(found[1], name))
    return found[0]


@plant(GELU)
def _gelu(model: nn.Module, run: Run, patch: Patch) -> str | None:
    found = last(model, lambda _, m: type(m).__name__ in _EXACT + _TANH and called(run, m))
    if found is None:
        return None
    form = "none" if type(found[1]).__name__ in _TANH or getattr(found[1], "approximate", "") == "tanh" else "tanh"
    patch.setattr(found[1], "forward", lambda input: F.gelu(input, approximate=form))  # modules may share one
    return found[0]


@plant(RESIDUAL)
def _residual(model: nn.Module, run: Run, patch: Patch) -> str | None:
    lists = [(path, layers) for path, layers in layer_lists(model) if called(run, layers[-1])]
    if not lists:
        return None
    path, layers = lists[-1]
    same = list[bool]()

    def without(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        whole = isinstance(out, torch.Tensor)
        first = out if whole else out[0]
        same.append(first.shape == given.shape)
        if not same[-1]:  # the layer makes something of another size
            return out
        return first - given if whole else (first - given, *out[1:])

    layers[-1].register_forward_hook(without, with_kwargs=True)
    run()
    return f"{path}.{len(layers) - 1}" if all(same) else None


@plant(POSITIONS)
def _positions(model: nn.Module, run: Run, patch: Patch) -> str | None:
    found = last(model, lambda path, m: bool(_TABLE.match(path)) and isinstance(m, nn.Embedding))
    found = found or last(model, lambda path, m: type(m).__name__.endswith("RotaryEmbedding"))
    if found is None or not called(run, found[1]):
        return None

    def later(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def one_more(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or value.is_floating_point():
                return value
            return (value + 1) % module.num_embeddings if isinstance(module, nn.Embedding) else value + 1

        return tuple(map(one_more, args)), {name: one_more(value) for name, value in kwargs.items()}

    if isinstance(getattr(found[1], "offset", None), int):  # it counts by itself
        found[1].offset += 1
    else:
        found[1].register_forward_pre_hook(later, with_kwargs=True)
    return found[0]


@plant(BASE)
def _base(model: nn.Module, run: Run, patch: Patch) -> str | None:
    def wanted(_: str, module: nn.Module) -> bool:
        return any(name.endswith("inv_freq") for name, _ in module.named_buffers(recurse=False))

    if (found := last(model, wanted)) is None:
        return None
    for name, buffer in dict(found[1].named_buffers(recurse=False)).items():
        if name.endswith("inv_freq"):
            setattr(found[1], name, buffer**1.05)
    return found[0]


@plant(ROUTING)
def _routing(model: nn.Module, run: Run, patch: Patch) -> str | None:
    found = last(model, lambda _, m: bool(_ROUTER.search(type(m).__name__)) and called(run, m))
    if found is None:
        return None

    def more(module: nn.Module, args: Any, out: Any) -> Any:
        parts = list(out) if isinstance(out, tuple) else [out]
        at = max(i for i, part in enumerate(parts) if isinstance(part, torch.Tensor) and part.is_floating_point())
        parts[at] = parts[at] * 1.05
        return tuple(parts) if isinstance(out, tuple) else parts[0]

    found[1].register_forward_hook(more)
    return found[0]


@plant(SWAPPED)
def _swapped(model: nn.Module, run: Run, patch: Patch) -> str | None:
    lists = [(path, layers) for path, layers in layer_lists(model) if called(run, layers[0])]
    if not lists:
        return None
    path, layers = lists[-1]
    ran = list[int]()
    for layer in layers:
        layer.register_forward_pre_hook(lambda module, args: ran.append(id(module)))
    patch.setattr(layers, "__class__", Backwards)
    run()
    if ran[0] == id(layers[0]):  # the layers are not iterated over
        layers[0], layers[1] = layers[1], layers[0]
    return path
