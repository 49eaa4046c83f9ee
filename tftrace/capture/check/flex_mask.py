"""The mask of flex attention, a function of positions kept in blocks, as a tensor that can be checked with."""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch

_MOST = 1 << 22  # positions of a mask that is laid out
_last: tuple[weakref.ref[Any], torch.Tensor] | None = None  # all layers share one


def laid_out(mask: Any) -> torch.Tensor | None:
    """Which keys each query sees (B H Tq Tk, bool), if this is a block mask of a size that can be laid out."""
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
