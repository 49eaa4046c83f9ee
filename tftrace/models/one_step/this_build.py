"""What the bits of a result depend on besides its code: versions, machine, processor and device."""

from __future__ import annotations

import contextlib
import platform
from importlib.metadata import version
from typing import Any

import torch


def build(device: str, transformers: bool) -> dict[str, Any]:
    """This build, as the written test asks for it again.

    Args:
        device: The kind of device that the step ran on.
        transformers: Whether its code is that of transformers.
    """
    versions = {"torch": torch.__version__} | ({"transformers": version("transformers")} if transformers else {})
    return {"versions": dict(versions), "machine": platform.machine(), "processor": _processor(), "device": device}


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return platform.processor()
