"""Keeps Python from looking for garbage while torch, transformers and a model are loaded.

Hardly anything of it is garbage, and looking through it again and again takes a fifth of the time of importing it. In a
process of our own, what was loaded is not looked through later either, while the screen waits for keys."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_own = [False]  # whether this process runs a command of ours, and nothing else


def own_process() -> None:
    """Note that this process runs nothing but a command of ours."""
    _own[0] = True


@contextmanager
def no_collecting() -> Iterator[None]:
    """Look for no garbage within the block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if _own[0]:
                gc.freeze()
            gc.enable()
