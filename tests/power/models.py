"""Every model type of the suite, with weights wide enough that masks, scores and activations matter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..mutations import breaks_experts, breaks_families, breaks_layers, breaks_stated  # noqa: F401 - their models
from ..mutations.breaks_layers import MODELS, build
from ..support.zoo_models import ZOO


def names() -> list[str]:
    return sorted({*ZOO, *MODELS})


def made(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """A model in evaluation mode and its inputs, always alike."""
    model, inputs = build(name)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.is_floating_point() and p.requires_grad):
            parameter.mul_(5) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval(), inputs
