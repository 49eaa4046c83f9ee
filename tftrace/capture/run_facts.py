"""What meta.json says about a run and its model."""

from __future__ import annotations

import platform
import re
import sys
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from .measure.plain_memory import is_spread
from .torch_internals import parameters_of

_TRAINED = re.compile(r"dropout|batchnorm|droppath|stochastic", re.IGNORECASE)  # classes that look at their mode


def about_run(level: str) -> dict[str, Any]:
    """The command, versions and settings that a run depends on."""
    return {
        "command": sys.argv,
        "versions": {"python": platform.python_version()} | _versions("tftrace", "torch", "transformers"),
        "seed": torch.initial_seed(),
        "level": level,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def about_model(model: torch.nn.Module) -> dict[str, Any]:
    """The class, configuration, device and dtype of a model."""
    config = getattr(model, "config", None)
    first = next(iter(model.parameters()), None)
    parts = dict(model.named_modules())
    return {
        "model": type(model).__name__,
        "config": config.to_dict() if config is not None and hasattr(config, "to_dict") else None,
        "device": str(first.device) if first is not None else None,
        "dtype": str(first.dtype).removeprefix("torch.") if first is not None else None,
        "mode": _mode(model, parts),
        "dropout": _dropout(parts),
    } | _placements(model, parts)


def _mode(model: torch.nn.Module, parts: Mapping[str, torch.nn.Module]) -> str:
    """`training` or `evaluation`, or `mixed` where a part that computes otherwise while it is trained is in the other
    of the two."""
    modes = {model.training, *(part.training for part in parts.values() if _looks_at_its_mode(type(part).__name__))}
    return "mixed" if len(modes) > 1 else "training" if model.training else "evaluation"


@lru_cache(maxsize=4096)
def _looks_at_its_mode(kind: str) -> bool:
    return _TRAINED.search(kind) is not None


def _dropout(parts: Mapping[str, torch.nn.Module]) -> list[str]:
    """The paths of the modules that drop numbers out as they are now: those of torch, and those that hold a rate of
    their own, as attention does."""
    found = []
    for path, module in parts.items():
        if not module.training:
            continue
        held = vars(module)
        rates = [held.get("p")] if "dropout" in type(module).__name__.lower() else []
        rates += [rate for name, rate in held.items() if "dropout" in name]
        if any(isinstance(rate, float) and rate > 0 for rate in rates):
            found.append(path)
    return found


def _placements(model: torch.nn.Module, parts: Mapping[str, torch.nn.Module]) -> dict[str, Any]:
    """How the parameters that are spread over processes (DTensors) lie along each axis of their mesh: `shard 0`,
    `replicate` or `partial`; nothing if there are none."""
    own = (one for part in parts.values() for one in parameters_of(part).values() if one is not None)
    if not any(map(is_spread, own)):  # as nearly always, and known at once
        return {}
    found = {path: _placed(one) for path, one in model.named_parameters() if is_spread(one)}
    return {"placements": found}


def _placed(tensor: Any) -> list[str]:
    kinds = ((one.is_replicate(), one.is_partial(), getattr(one, "dim", None)) for one in tensor.placements)
    return ["replicate" if whole else "partial" if part else f"shard {axis}" for whole, part, axis in kinds]


@cache
def _versions(*packages: str) -> dict[str, str]:
    """The versions of installed packages, which take milliseconds to find."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
