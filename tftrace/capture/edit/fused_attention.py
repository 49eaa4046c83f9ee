"""The heads of `torch.nn.MultiheadAttention`, which its kernel mixes before it returns."""

from __future__ import annotations

from typing import Any

import torch

from ...errors import TraceError


def before_projection(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """What the heads of a call gave, side by side: computed again, with the identity for the last projection.

    Args:
        module: The `torch.nn.MultiheadAttention`.
        args: The arguments of its call.
        kwargs: Those by name.

    Returns:
        [batch, tokens, heads · width] or [tokens, batch, heads · width], as the module's own result.

    Raises:
        TraceError: Dropout is active, so that the heads cannot be computed again.
    """
    if module.training and module.dropout:
        raise TraceError("Heads of torch's own attention can be edited without dropout only: call model.eval() first.")
    width = module.embed_dim
    kept = module.out_proj.weight, module.out_proj.bias
    names = (
        "query",
        "key",
        "value",
        "key_padding_mask",
        "need_weights",
        "attn_mask",
        "average_attn_weights",
        "is_causal",
    )
    given = dict(zip(names, args, strict=False)) | kwargs
    query, key, value = (given[name] for name in names[:3])
    if turned := module.batch_first and query.dim() == 3:
        query, key, value = (one.transpose(0, 1) for one in (query, key, value))
    separate = module.in_proj_weight is None
    found, _ = torch.nn.functional.multi_head_attention_forward(
        query,
        key,
        value,
        width,
        module.num_heads,
        module.in_proj_weight,
        module.in_proj_bias,
        module.bias_k,
        module.bias_v,
        module.add_zero_attn,
        0.0,
        torch.eye(width, dtype=kept[0].dtype, device=kept[0].device),
        None,
        training=False,
        key_padding_mask=given.get("key_padding_mask"),
        need_weights=False,
        attn_mask=given.get("attn_mask"),
        use_separate_proj_weight=separate,
        q_proj_weight=module.q_proj_weight,
        k_proj_weight=module.k_proj_weight,
        v_proj_weight=module.v_proj_weight,
        is_causal=bool(given.get("is_causal", False)),
    )
    return found.transpose(0, 1) if turned else found
