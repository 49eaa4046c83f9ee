"""Tells modules that prepare data, such as a crop of a picture, from models: they begin no forward of a model.

Torchvision and its kin write their transforms as modules, which have no parameters and are called once for each
picture. So may be somebody's own attention, which is to be recorded; hence several signs have to agree."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

import torch

from ..code_site import code_of
from ..measure.structure import leaves
from ..torch_internals import PARAMETERS

_LOADING = os.path.join(os.path.dirname(torch.__file__), "utils", "data") + os.sep
_LIBRARIES = ("torchvision.transforms", "torchaudio.transforms", "kornia.augmentation", "timm.data")
_PICTURES = ("PIL.", "numpy")  # whose objects are raw data
_OF_MODELS = frozenset({"softmax", "scaled_dot_product_attention", "matmul", "bmm", "einsum"})  # what models compute by
_CHANNELS = (1, 3, 4)
_SOUND = 4000  # samples: what is shorter is no sound


def is_own_and_stateless(module: torch.nn.Module) -> bool:
    """Whether neither a module nor those in it have parameters or buffers, and torch has not defined it."""
    if next(module.parameters(), None) is not None or next(module.buffers(), None) is not None:
        return False
    return any(not type(part).__module__.startswith("torch.") for part in module.modules())


def prepares(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> bool | None:
    """Whether a module that no other has called prepares data.

    Args:
        module: The module.
        args: Its arguments.
        kwargs: Its named arguments.
        frame: A frame below its caller's.

    Returns:
        True if it certainly does, False if it does not, None if it does in a program that has a model besides.
    """
    if next(module.parameters(), None) is not None:
        return False
    kinds: list[Any] = [kind for part in module.modules() if not (kind := type(part)).__module__.startswith("torch.")]
    if any(kind.__module__.startswith(_LIBRARIES) for kind in kinds):
        return True
    if next(module.buffers(), None) is not None or not kinds:
        return False
    if _is_raw((args, kwargs)) or _is_loading(frame):
        return True
    given = [tensor for _, tensor in leaves((args, kwargs), "")]
    if len(given) > 1 or any(tensor.requires_grad or not _is_sample(tensor) for tensor in given):
        return False
    return False if any(_computes_as_models(kind) for kind in kinds) else None


def has_model() -> bool:
    """Whether any module with parameters of its own lives in this process; it takes some fifty milliseconds."""
    modules = (vars(one) for one in gc.get_objects() if issubclass(type(one), torch.nn.Module))
    return any(any(part is not None for part in one.get(PARAMETERS, {}).values()) for one in modules)


def _is_raw(given: Any) -> bool:
    """Whether a picture or an array is among some arguments."""
    args, kwargs = given
    return any(type(one).__module__.startswith(_PICTURES) for one in (*args, *kwargs.values()))


def _is_loading(frame: FrameType | None) -> bool:
    """Whether torch's data loader, or a dataset of torch's, is at work."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_LOADING):
            return True
        frame = frame.f_back
    return False


def _is_sample(tensor: torch.Tensor) -> bool:
    """Whether a tensor has the shape of pictures or of a sound."""
    shape = tensor.shape
    if tensor.dtype == torch.uint8:
        return True
    if not tensor.is_floating_point() or not shape:
        return False
    if len(shape) < 3:
        return shape[-1] >= _SOUND
    return len(shape) < 6 and (shape[-3] in _CHANNELS or shape[-1] in _CHANNELS)


@lru_cache(maxsize=4096)
def _computes_as_models(kind: type) -> bool:
    """Whether the forward of a class, or another method of it, has what attention and its kin have."""
    return any(not _OF_MODELS.isdisjoint(names) for names in _names(kind))


def _names(kind: type) -> Iterator[tuple[str, ...]]:
    """The names in the code of the methods of a class and of its base classes, but for torch's."""
    for base in kind.__mro__:
        if not base.__module__.startswith("torch.") and base is not object:
            for found in vars(base).values():
                code = code_of(found) if callable(found) else None
                if isinstance(code, CodeType):
                    yield code.co_names
