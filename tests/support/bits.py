"""What the tests of the capture compare: tensors to the bit, and whatever a recording could leave behind."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module


def tensors_in(value: Any, within: tuple[int, ...] = ()) -> Iterator[torch.Tensor]:
    """Every tensor of a value: containers, dataclasses, and the attributes of a cache or any other plain object."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    if value is None or isinstance(value, (str, bytes, int, float, complex, type, nn.Module)) or id(value) in within:
        return
    within = (*within, id(value))
    if isinstance(value, dict):
        parts: Any = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, part.name) for part in dataclasses.fields(value)]
    else:
        parts = [part for _, part in sorted(getattr(value, "__dict__", {}).items())]
    for part in parts:
        yield from tensors_in(part, within)


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers of a tensor of any layout in one strided tensor."""
    tensor = tensor.detach()
    if tensor.is_nested:
        return torch.cat([part.reshape(-1) for part in tensor.unbind()])
    if tensor.is_quantized:
        return tensor.int_repr()
    if tensor.layout != torch.strided:
        return tensor.to_dense()
    return tensor


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in every bit, so that a NaN equals itself and 0 does not equal -0."""
    a, b = plain(a), plain(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_meta or b.is_meta:
        return a.is_meta and b.is_meta
    one, other = (t.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(one, other)


def same(a: Any, b: Any) -> bool:
    """Whether two outputs hold the same tensors, to the bit, and at least one."""
    mine, theirs = list(tensors_in(a)), list(tensors_in(b))
    return len(mine) == len(theirs) > 0 and all(map(same_bits, mine, theirs))


def hooks(model: nn.Module) -> int:
    """How many hooks for the forward stand on a model's modules."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def imprint(model: nn.Module) -> dict[str, Any]:
    """For each module its class, its attributes' names, and the hooks on it in their order."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        held = {key: value for key, value in vars(module).items() if "hook" in key and isinstance(value, dict)}
        found[name] = (
            type(module).__qualname__,  # torch makes classes for modules with parametrisations
            sorted(vars(module)),
            sorted(module._modules),
            {key: [getattr(hook, "__qualname__", hook) for hook in value.values()] for key, value in held.items()},
        )
    return found


def surroundings() -> dict[str, Any]:
    """What is not the model's and must be as it was: of Python, of torch, and of the classes of modules."""
    tables = {name: dict(value) for name, value in vars(torch_module).items() if name.startswith("_global_") and value}
    names = ("__call__", "_call_impl", "_wrapped_call_impl", "__setattr__", "__deepcopy__", "__getstate__", "forward")
    methods = {name: vars(nn.Module).get(name) for name in names}
    return {
        "trace": sys.gettrace(),
        "profile": sys.getprofile(),
        "recursion limit": sys.getrecursionlimit(),
        "random": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "hooks on every module": tables,
        "methods of Module": methods,
    }
