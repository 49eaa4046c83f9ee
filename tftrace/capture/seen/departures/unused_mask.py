"""A mask that a call was given, or holds, and that its attention does not use."""

from __future__ import annotations

import re

import torch

from ....trace import schema
from ...calls import Call
from ...torch_internals import buffers_of
from ..proposal import Proposal
from ..scores import HIDES

_NAMED = re.compile(r"mask|padding(?!_idx)")
_MOST = 1 << 22  # numbers of a mask that is read


def unused_mask(attention: Proposal, call: Call) -> Proposal | None:
    """What a mask would hide from an attention that hides nothing."""
    if attention.pattern not in ("attention", "attention-dropout", "fused-attention") or _hides(attention):
        return None
    queries, keys = attention.tensors["Q"].shape[-2], attention.tensors["K"].shape[-2]
    if queries < 2:
        return None
    for mask in _given(call):
        hidden = _hidden(mask, queries, keys)
        if hidden is not None and hidden.any() and not hidden.all():
            found = Proposal("mask-given", attention.since)
            found.tensors |= {"m": hidden, "a": torch.zeros_like(hidden)}
            return found
    return None


def _hides(attention: Proposal) -> bool:
    """Whether some scores are hidden or shifted, or may be."""
    if attention.values.get("i") or "z" in attention.tensors:
        return True
    parts = [attention.tensors[name] for name in ("h", "A") if name in attention.tensors]
    return any(part.numel() > _MOST or bool((part != 0).any()) for part in parts)


def _given(call: Call) -> list[torch.Tensor]:
    """Masks among the arguments of a call and of those around it in its module, and triangles among the buffers of that
    module."""
    at: Call | None = call
    while at is not None:
        masks = [value for name, value in at.arguments.items() if _NAMED.search(name)]
        found = [one for one in masks if isinstance(one, torch.Tensor)]
        if len(found) > 1:  # such as a decoder's, of which each attention has its own
            return []
        if at.kind == schema.MODULE and isinstance(at.owner, torch.nn.Module):
            found += [one for one in buffers_of(at.owner).values() if one is not None and _is_triangle(one)]
        if found or at.kind == schema.MODULE:
            return [one for one in found if one.is_cpu and one.numel() <= _MOST]
        at = at.parent
    return []


def _is_triangle(buffer: torch.Tensor) -> bool:
    if buffer.dim() < 2 or buffer.shape[-1] != buffer.shape[-2] or buffer.shape[-1] < 2:
        return False
    if buffer.numel() != buffer.shape[-1] ** 2 or buffer.numel() > _MOST:
        return False
    square = (buffer.reshape(buffer.shape[-2:]) != buffer.flatten()[0]).cpu()
    return bool((square == torch.ones_like(square).triu(1)).all())


def _hidden(mask: torch.Tensor, queries: int, keys: int) -> torch.Tensor | None:
    """Where a mask hides keys, as far as its form tells: by numbers that are very small, or else those places that are
    not as the first token is to itself."""
    if mask.dim() < 2 or mask.shape[-1] < keys:
        return None
    if mask.shape[-1] == mask.shape[-2]:
        mask = mask[..., :queries, :keys]
    if mask.dim() == 2 and mask.shape[0] != queries:  # a text a row
        mask = mask[:, None]
    if mask.shape[-1] != keys or mask.shape[-2] not in (1, queries):
        return None
    low = mask < HIDES if mask.is_floating_point() else torch.zeros((), dtype=torch.bool)
    if low.any():
        return low
    if mask.shape[-2] == 1 and (mask.is_floating_point() or mask.dtype is torch.bool) and mask.unique().numel() > 2:
        return None
    if mask.unique().numel() != 2:
        return None
    return mask != mask[..., :1, :1]
