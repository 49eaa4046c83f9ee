"""The evidence, apart from numbers, that an equation describes a step; without enough, no step is said to differ."""

from __future__ import annotations

from typing import Any

STATED = "stated"  # the user's own recipe names the step, or a shipped one names exactly this class of a library
FLOWS = "flows"  # tensors were seen to flow as the bind says
WIRED = "wired"  # names and structure fit; tensors that the formula only passes on must be seen to pass
GUESSED = "guessed"  # names and structure fit, no more

# Libraries whose classes and functions are those that recipes name; `transformers_modules` is code from the Hub.
_LIBRARIES = {
    "torch", "torchvision", "transformers", "transformers_modules", "timm", "diffusers", "peft", "x_transformers",
    "torchao", "bitsandbytes", "optimum",
}  # fmt: skip


def in_library(kind: Any) -> bool:
    """Whether a class or function is defined in one of the libraries that the shipped recipes were written for."""
    return str(getattr(kind, "__module__", "")).partition(".")[0] in _LIBRARIES


def file_in_library(file: str | None) -> bool:
    """Whether a source file belongs to one of these libraries, as installed."""
    parts = (file or "").replace("\\", "/").split("/")
    return not _LIBRARIES.isdisjoint(parts[:-1]) and ("site-packages" in parts or "dist-packages" in parts)
