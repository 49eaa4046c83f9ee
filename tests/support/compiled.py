"""The compiled twin of what a module does in Python."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def compiled_part(module: ModuleType) -> Any:
    """What is compiled of `stats`, `route` or `products`; None where there was no compiler."""
    return vars(module)["compiled"]
