"""Running a model that has shapes but no numbers: torch's meta device, where even 70 billion weights take no memory."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

_Mode: Any = TorchDispatchMode
_NUMBER, _NONZERO = torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default
_GROUPED, _INDEX = getattr(torch.ops.aten, "_grouped_mm", None), torch.ops.aten.index.Tensor


def numberless(model: torch.nn.Module) -> bool:
    """Whether a model has shapes alone; a weight that was made in an odd way may have numbers all the same."""
    return any(one.is_meta for one in model.parameters())


class Shapes(_Mode):  # type: ignore[misc]
    """While it is entered, a forward can run on a model of the meta device, whatever it asks of numbers.

    A number that is asked for is 0 (or False): most models look whether a mask hides anything. Where the numbers would
    say how many are picked, all are. What the code makes on the CPU beside has its shape only."""

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
        if _GROUPED is not None and func is _GROUPED.default and args[0].dim() == 2 and args[1].dim() == 3:
            return args[0].new_empty(len(args[0]), args[1].size(2))
        if any(not one.is_meta for one in tensors):
            flat = [one.to("meta") if isinstance(one, torch.Tensor) else one for one in flat]
        args, kwargs = tree_unflatten(flat, form)
        if kwargs.get("device") is not None:  # there are no numbers to bring anywhere
            kwargs["device"] = torch.device("meta")
        return func(*args, **kwargs)


def _picked(index: Any) -> list[Any]:
    """An index with the positions that a mask picks, which are all, in its place."""
    found: list[Any] = []
    for one in index:
        if one is not None and one.dtype in (torch.bool, torch.uint8):
            found += [torch.empty(one.numel(), dtype=torch.long, device="meta")] * one.dim()
        else:
            found.append(one)
    return found
