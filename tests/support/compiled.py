"""The compiled twin of what a module does in Python."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def compiled_part(module: ModuleType) -> Any:
    """What is compiled of `stats`, `route` or `products`; None where there was no compiler."""
    return vars(module)["compiled"]


def held(watched: list[Any], run: Callable[[], object]) -> bool:
    """Whether a run leaves a reference too many or too few to something that is watched.

    None and small numbers are everybody's: garbage that is collected meanwhile would change their counts, and the list
    of the counts before holds a few itself.
    """
    gc.collect()
    gc.disable()
    try:
        before = list(map(sys.getrefcount, watched))
        for _ in range(400):
            run()
        return max(abs(x - y) for x, y in zip(before, map(sys.getrefcount, watched), strict=True)) > 200
    finally:
        gc.enable()
