"""Where the heads of an attention stand side by side: in what the module returns, or in what its last map takes in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from ..torch_internals import children_of

_COUNTS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "nhead", "num_query_heads", "heads")
_OF_CONFIG = ("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads", "n_head", "num_heads")
# What families call the maps before the heads, and the one behind them.
_BEFORE = frozenset(
    (
        *("query", "q_proj", "q", "q_lin", "to_q", "wq", "linear_q", "query_proj"),
        *("c_attn", "qkv", "query_key_value", "Wqkv", "in_proj", "to_qkv", "qkv_proj"),
    )
)
_BEHIND = (
    *("o_proj", "out_proj", "c_proj", "out_lin", "o", "wo", "dense", "proj", "to_out"),
    *("linear_out", "output_proj", "proj_out"),
)


class Heads(NamedTuple):
    """The heads of one attention.

    Attributes:
        number: How many there are.
        behind: The map whose input holds them side by side; None if the module's own result does.
        fused: Whether that map is part of the kernel, and is never called (`torch.nn.MultiheadAttention`).
    """

    number: int
    behind: torch.nn.Module | None
    fused: bool = False


def heads_of(module: torch.nn.Module) -> Heads | None:
    """The heads of a module, if it is an attention itself."""
    if isinstance(module, torch.nn.MultiheadAttention):
        return Heads(module.num_heads, module.out_proj, True)
    parts = children_of(module)
    named = "attention" in type(module).__name__.lower() or "attn" in type(module).__name__.lower()
    if not (_BEFORE & parts.keys() or (named and _own_count(module) is not None)):
        return None
    behind = next((found for name in _BEHIND if (found := _map(parts.get(name))) is not None), None)
    count = _own_count(module) or _count_by_width(module, behind) or _configured(module)
    return None if count is None or count < 1 else Heads(count, behind)


def attentions(model: torch.nn.Module, prefix: str = "") -> Iterator[tuple[str, torch.nn.Module, Heads]]:
    """The attentions of a model in its own order, each once, with their paths."""
    for path, module in model.named_modules(prefix=prefix):
        found = heads_of(module)
        if found is not None:
            yield path, module, found


def _own_count(module: torch.nn.Module) -> int | None:
    for name in _COUNTS:
        found = vars(module).get(name)
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def _count_by_width(module: torch.nn.Module, behind: torch.nn.Module | None) -> int | None:
    """How many heads of the width that the module states its last map takes in."""
    each, width = vars(module).get("head_dim"), _width(behind)
    return width // each if isinstance(each, int) and each and width and width % each == 0 else None


def _configured(module: torch.nn.Module) -> int | None:
    config = getattr(module, "config", None)
    found = (getattr(config, name, None) for name in _OF_CONFIG)
    return next((one for one in found if isinstance(one, int)), None)


def _map(part: torch.nn.Module | None) -> torch.nn.Module | None:
    """A linear map, or the first one in a list of modules."""
    if isinstance(part, (torch.nn.Sequential, torch.nn.ModuleList)):
        return next((found for one in part if (found := _map(one)) is not None), None)
    return part if _width(part) else None


def _width(part: Any) -> int | None:
    """The width that a linear map takes in; of transformers' Conv1D, whose weight is transposed, as well."""
    found = getattr(part, "in_features", getattr(part, "nx", None))
    return found if isinstance(found, int) else None
