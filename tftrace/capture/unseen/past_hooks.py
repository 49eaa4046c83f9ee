"""Finds in code the calls of `forward` itself, as in `self.child.forward(x)`, which go past the hooks of modules."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

import torch

from ..code_site import code_of

ANY = ""  # a module that code does not call by the name of an attribute
_METHOD = 1 if sys.version_info >= (3, 12) else 0  # the bit of LOAD_ATTR by which it loads a method


@lru_cache(maxsize=4096)
def called_forwards(kind: type) -> frozenset[str]:
    """Find whose `forward` the methods of a class call.

    Args:
        kind: A class of modules.

    Returns:
        The attributes that hold these modules; `ANY` for one that is called otherwise, as in a loop. A module's own
        forward, and that of its base class, do not count.
    """
    found: set[str] = set()
    for base in kind.__mro__:
        if base is torch.nn.Module or base.__module__.startswith(("torch.", "transformers.")) or base is object:
            continue
        for method in vars(base).values():
            code = code_of(method) if callable(method) else None
            if isinstance(code, CodeType) and "forward" in code.co_names:
                found.update(_called(code))
    return frozenset(found)


def _called(code: CodeType) -> Iterator[str]:
    before = None
    for now in dis.get_instructions(code):
        is_method = now.opname == "LOAD_METHOD" or (now.opname == "LOAD_ATTR" and bool(_METHOD & (now.arg or 0)))
        if is_method and now.argval == "forward" and before is not None:
            if before.opname == "LOAD_ATTR":
                yield str(before.argval)
            elif before.opname.startswith(("LOAD_FAST", "BINARY_")) and before.argval != code.co_varnames[0]:
                yield ANY
        before = now
