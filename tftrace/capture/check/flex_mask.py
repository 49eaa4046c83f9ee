"""Lays out the block mask of flex attention, a function of positions, as a tensor."""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch

_MOST = 1 << 22  # positions of the largest mask that is laid out
_last: tuple[weakref.ref[Any], torch.Tensor] | None = None  # all layers share one mask


def laid_out(mask: Any) -> torch.Tensor | None:
    """Lay out a block mask.

    Returns:
        A tensor of booleans of shape (batch, heads, queries, keys), true where a query sees a key; None if this is no
        block mask, or too large.
    """
    global _last
    flex: Any = sys.modules.get("torch.nn.attention.flex_attention")
    if flex is None or not isinstance(mask, flex.BlockMask) or mask.numel() > _MOST:
        return None
    if _last is None or _last[0]() is not mask:
        batch, heads, queries, keys = mask.shape
        with torch.no_grad():
            found = flex.create_mask(mask.mask_mod, batch, heads, queries, keys, device=mask.kv_num_blocks.device)
        _last = weakref.ref(mask), found
    return _last[1]
