"""What torch.compile was applied to runs eagerly while it is recorded: compiled code calls no module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether torch.compile was applied, to the module or in place."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


@contextmanager
def eagerly() -> Iterator[None]:
    """Whatever a program compiles runs eagerly. Where nothing is compiled, torch's compiler is not even imported,
    which would take longer than many a program."""
    original: Any = torch.compile
    with ExitStack() as until_the_end:

        def compile(*args: Any, **kwargs: Any) -> Any:
            if torch.compile is compile:  # the first time
                torch.compile = original
                until_the_end.enter_context(torch.compiler.set_stance("force_eager"))
            return original(*args, **kwargs)

        if "torch._dynamo" in sys.modules:
            until_the_end.enter_context(torch.compiler.set_stance("force_eager"))
        else:
            torch.compile = compile
        try:
            yield
        finally:
            if torch.compile is compile:
                torch.compile = original
