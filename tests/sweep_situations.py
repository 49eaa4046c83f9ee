"""The situations in which a sweep runs a model: padded texts, and generation with a static cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_PADDED = 5  # tokens of the first text


def padded(model: Any, inputs: dict[str, Any], side: str) -> dict[str, Any]:
    """Two texts, the first of which is padded on this side, with its mask, as a tokenizer makes them. Where the model
    takes positions and is padded on the left, they begin at the first token, as `generate` has them.

    Raises:
        ValueError: The model reads no text, or takes no mask.
    """
    import torch

    accepted = inspect.signature(model.forward).parameters
    ids = inputs.get("input_ids")
    if ids is None or "attention_mask" not in accepted or ids.dim() != 2 or ids.shape[1] <= _PADDED:
        raise ValueError("this reads no text that could be padded")
    if len(ids) == 1:
        inputs = {n: torch.cat((v, v)) if isinstance(v, torch.Tensor) and v.dim() else v for n, v in inputs.items()}
    ids, mask = inputs["input_ids"].clone(), torch.ones_like(inputs["input_ids"])
    hidden = slice(None, _PADDED) if side == "left" else slice(-_PADDED, None)
    pad = getattr(model.config.get_text_config(), "pad_token_id", None)
    ids[0, hidden] = pad if isinstance(pad, int) and pad >= 0 else 0
    mask[0, hidden] = 0
    found = inputs | {"input_ids": ids, "attention_mask": mask}
    if side == "left" and "position_ids" in accepted and not model.config.is_encoder_decoder:
        found["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    return found


def generating(model: Any, inputs: dict[str, Any]) -> Callable[[], Any]:
    """A call that reads the text and generates three tokens with a static cache.

    Raises:
        ValueError: The model generates nothing.
    """
    if not getattr(model, "can_generate", bool)():
        raise ValueError("this generates nothing")
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False, "cache_implementation": "static"}
    return lambda: model.generate(**inputs, **options)
