"""What meta.json says of a run and of its model."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch


def about_run(level: str) -> dict[str, Any]:
    """The command, the versions and the settings that a run depends on."""
    return {
        "command": sys.argv,
        "versions": {"python": platform.python_version()} | _versions("tftrace", "torch", "transformers"),
        "seed": torch.initial_seed(),
        "level": level,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def about_model(model: torch.nn.Module) -> dict[str, Any]:
    """The model's class and configuration, and where its numbers are."""
    config = getattr(model, "config", None)
    first = next(iter(model.parameters()), None)
    return {
        "model": type(model).__name__,
        "config": config.to_dict() if config is not None and hasattr(config, "to_dict") else None,
        "device": str(first.device) if first is not None else None,
        "dtype": str(first.dtype).removeprefix("torch.") if first is not None else None,
    }


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
