"""Runs a model on torch's meta device, which tracks shapes without numbers: 70 billion weights take no memory there."""

from __future__ import annotations

from typing import Any

import torch

from ...capture.torch_internals import TorchDispatchMode, grouped_product, number_of, tree_flatten, tree_unflatten

_Mode: Any = TorchDispatchMode
_NUMBER, _GROUPED = getattr(number_of, "default", None), getattr(grouped_product, "default", None)
_NONZERO, _INDEX = torch.ops.aten.nonzero.default, torch.ops.aten.index.Tensor


def has_only_shapes(model: torch.nn.Module) -> bool:
    """Whether a model has shapes only; a single weight may have numbers nonetheless."""
    return any(one.is_meta for one in model.parameters())


class ShapesOnly(_Mode):  # type: ignore[misc]
    """A dispatch mode in which a model on the meta device can run even if its code reads values.

    A value that the code reads is 0 (or False): most models only ask whether a mask hides anything. If values would
    decide how many elements are selected, all are. CPU tensors that the code mixes in contribute their shape only."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat, form = tree_flatten((args, kwargs or {}))
        tensors = [one for one in flat if isinstance(one, torch.Tensor)]
        if not any(one.is_meta for one in tensors):
            return func(*args, **(kwargs or {}))
        if func is _NUMBER:
            return torch.zeros((), dtype=args[0].dtype).item()
        if func is _NONZERO:
            return torch.empty((args[0].numel(), args[0].dim()), dtype=torch.long, device="meta")
        if func is _INDEX:
            args = (args[0].to("meta"), _picked(args[1]))
            flat, form = tree_flatten((args, kwargs or {}))
        if func is _GROUPED and args[0].dim() == 2 and args[1].dim() == 3:
            return args[0].new_empty(len(args[0]), args[1].size(2))
        if any(not one.is_meta for one in tensors):
            flat = [one.to("meta") if isinstance(one, torch.Tensor) else one for one in flat]
        args, kwargs = tree_unflatten(flat, form)
        if kwargs.get("device") is not None:  # there are no numbers to move
            kwargs["device"] = torch.device("meta")
        return func(*args, **kwargs)


def _picked(index: Any) -> list[Any]:
    """The index with each mask replaced by the positions that it selects, which here are all."""
    found: list[Any] = []
    for one in index:
        if one is not None and one.dtype in (torch.bool, torch.uint8):
            found += [torch.empty(one.numel(), dtype=torch.long, device="meta")] * one.dim()
        else:
            found.append(one)
    return found
