"""What speaks for an equation describing a step, apart from its numbers: without enough of it no step differs."""

from __future__ import annotations

from typing import Any

STATED = "stated"  # a recipe of the user's own names the step, or one of ours the very class of a library
FLOWS = "flows"  # the flow of tensors that a bind states was seen
WIRED = "wired"  # names and structure: what its formula only passes on must be seen to pass
GUESSED = "guessed"  # names and structure alone

# Whose classes and functions are what recipes mean by their names; `transformers_modules` is code from the Hub.
_LIBRARIES = {
    "torch", "torchvision", "transformers", "transformers_modules", "timm", "diffusers", "peft", "x_transformers",
    "torchao", "bitsandbytes", "optimum",
}  # fmt: skip


def in_library(kind: Any) -> bool:
    """Whether a class or function is defined in a library that recipes were written for."""
    return str(getattr(kind, "__module__", "")).partition(".")[0] in _LIBRARIES


def file_in_library(file: str | None) -> bool:
    """Whether a source file is one of such a library."""
    parts = (file or "").replace("\\", "/").split("/")
    return not _LIBRARIES.isdisjoint(parts[:-1]) and ("site-packages" in parts or "dist-packages" in parts)
