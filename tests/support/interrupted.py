"""KeyboardInterrupts at chosen lines of the recorder, and what must be as it was afterwards."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import torch
from torch.nn.modules import module as torch_module
from torch.utils import checkpoint

import tftrace

_OF_THE_COMPILER = [
    ("torch._dynamo.eval_frame", "_stance"),
    ("torch._dynamo.utils", "unpatched_nn_module_call_impl"),
    ("torch._dynamo.variables.nn_module", "unpatched_nn_module_call_impl"),
]
_NEVER = "state.busy = False"  # Python looks for signals when a call returns and at jumps back; neither is before this
PACKAGE = str(Path(tftrace.__file__).parent)


class Interrupt:
    """Counts the lines of tftrace that run while it is on, and raises KeyboardInterrupt at the one of this number."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.lines, self.where = at, 0, ""

    @contextmanager
    def on(self) -> Iterator[None]:
        """Count, and interrupt, in this block."""
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Neither count nor interrupt, in this block inside."""
        before = sys.gettrace()
        sys.settrace(None)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() != _NEVER:
            self.lines += 1
            if self.lines == self.at:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._line


def interrupted(run: Callable[[Interrupt], object], at: int) -> str | None:
    """Run something that is interrupted at a line; where that was, or None if there were not so many lines."""
    interrupt = Interrupt(at)
    try:
        run(interrupt)
    except KeyboardInterrupt:
        assert interrupt.where
    return interrupt.where or None


def lines(run: Callable[[Interrupt], object]) -> int:
    """How many lines there are at which something may be interrupted."""
    interrupt = Interrupt()
    run(interrupt)
    return interrupt.lines


def replaceable() -> dict[str, Any]:
    """The attributes of torch and of Python that anybody may have replaced, each as it is stored."""
    owners: list[type | ModuleType] = [torch, torch_module, torch.nn.Module, torch.Tensor, checkpoint]
    owners += [checkpoint._CheckpointFrame, checkpoint.CheckpointFunction, torch.compiler]
    if torch.distributed.is_available():
        owners += [torch.distributed, torch.distributed.ProcessGroup]
    found = {f"{owner.__name__}.{name}": _plain(value) for owner in owners for name, value in vars(owner).items()}
    for module, name in _OF_THE_COMPILER:
        if module in sys.modules:
            found[f"{module}.{name}"] = vars(sys.modules[module])[name]
    found |= {"trace": sys.gettrace(), "profile": sys.getprofile(), "path hooks": list(sys.meta_path)}
    found["function modes"] = torch._C._len_torch_function_stack()
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is not None:
        found["monitoring"] = [monitoring.get_tool(place) for place in range(6)]
    return found


def _plain(value: Any) -> Any:
    return value.__func__ if type(value) is staticmethod else value


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not what it was. What torch has come to hold meanwhile, such as modules, is none of it."""
    return [name for name, value in before.items() if not _same(value, after.get(name, ...))]


def _same(value: Any, now: Any) -> bool:
    return now is value or (isinstance(value, (list, int)) and bool(now == value))
