"""Records torch functions, as a `TorchFunctionMode` sees them, with the line that called each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

import torch
from torch.overrides import resolve_name

from ...trace import schema
from ...trace.writer import TraceWriter
from ..calls import Call, Place, place
from ..code_site import NOWHERE, Site, call_site
from ..recording import Recording
from ..torch_internals import NO_OPS, OP_WRAPPERS, getframe
from . import tape_mode
from .modes import WatchingMode, may_be_fused, modes

_TORCH = os.path.dirname(torch.__file__)
# Files of wrappers between a line and the function. torch/nn/modules is none: its own lines are call sites of ops.
_BETWEEN = {
    *(os.path.join(_TORCH, *path) for path in (("overrides.py",), ("functional.py",), ("nn", "functional.py"))),
    *(module.__file__ for module in (*OP_WRAPPERS, tape_mode)),
}
# Functions that only ask for the form of a tensor, and compute nothing.
_QUESTIONS = frozenset(
    (
        *("size", "dim", "ndimension", "nelement", "numel", "stride", "storage_offset", "element_size", "get_device"),
        *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_inference", "is_conj", "is_neg"),
        *("data_ptr", "untyped_storage", "requires_grad_", "register_hook", "result_type"),
        *NO_OPS,
        *("__len__", "__hash__", "__repr__", "__format__", "__dir__", "__reduce_ex__", "__deepcopy__"),
    )
)
_VIEWS = ("T", "H", "mT", "mH", "real", "imag", "data")  # properties that return a tensor
FUSED_LOST = "The ops inside torch's fused encoder layers are not seen: watching them would switch the fused path off."


class _Aside(threading.local):
    """For each module call that runs in this thread, whether the mode was inactive before it."""

    def __init__(self) -> None:
        self.before: list[bool] = []


class OpMode(WatchingMode):
    """Records each torch function as a step of kind `op`; pushed on the thread's modes while a forward runs.

    Args:
        recording: Receives the steps.
        writer: Receives the source files of call sites.
        lost: Gets a sentence, once, if some ops cannot be seen.
    """

    def __init__(self, recording: Recording, writer: TraceWriter, lost: list[str]) -> None:
        super().__init__()
        self._recording, self._writer, self._lost = recording, writer, lost
        self._places: dict[Any, tuple[CodeType | None, Place]] = {}  # by the id of code that is kept
        self._aside = _Aside()
        self._closed = False

    def close(self) -> None:
        """Stop watching all threads."""
        self._closed = True
        self.stop()

    def on_module(self, module: torch.nn.Module, entering: bool) -> None:
        """Stay inactive for a module that would compute differently under a mode, but not for modules inside it."""
        before = self._aside.before
        if entering:
            watching = self.watches
            before.append(not watching)
            fused = may_be_fused(module)
            if watching and fused and all(isinstance(mode, WatchingMode) for mode in modes()):
                self.stop()
                if FUSED_LOST not in self._lost:
                    self._lost.append(FUSED_LOST)
            elif not watching and not fused and self._recording.stack:
                self.start()
        elif before and before.pop():
            self.stop()
        elif not self._closed and self._recording.stack:
            self.start()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not _computes(func):
            return func(*args, **kwargs)
        recording, frame = self._recording, getframe(1)
        quick = recording.quick
        call = None if quick is None else quick.begin_op(func, args, kwargs, frame, self._places, _BETWEEN)
        if call is None:
            if recording.busy or recording.over:
                return func(*args, **kwargs)
            call = recording.hook(self._enter, func, args, kwargs, frame)
        try:
            result = func(*args, **kwargs)
        except BaseException:
            if call is not None:
                recording.hook(recording.leave, call, None, True)
            raise
        if call is not None:
            made = args[0] if func is torch.Tensor.__setitem__ else result
            if quick is None or not quick.end_op(call, made):
                recording.hook(recording.leave, call, made)
        return result

    def _enter(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType
    ) -> Call | None:
        stack = self._recording.stack
        if not stack or stack[-1].muted:
            return None
        caller: FrameType | None = frame
        while caller is not None and caller.f_code.co_filename in _BETWEEN:
            caller = caller.f_back
        above = stack[-1].call.name
        code, at = (None, 0) if caller is None else (caller.f_code, caller.f_lasti)
        known = self._places.get((func, above, id(code), at))
        if known is None:
            where = self._place(func, above, NOWHERE if caller is None else call_site(caller))
            self._places[func, above, id(code), at] = code, where
        else:
            where = known[1]
        arguments = {f"[{at}]": value for at, value in enumerate(args)} | kwargs
        return self._recording.enter(where, stack[-1].owner, arguments)

    def _place(self, func: Callable[..., Any], above: str, site: Site) -> Place:
        self._writer.keep_source(site.file)
        return place(schema.OP, f"{above}.{_short(func)}".lstrip("."), _full(func), site)


def _short(func: Callable[..., Any]) -> str:
    """The name of a function, such as `softmax`, or of a property."""
    owner = getattr(func, "__self__", None)
    name = getattr(func, "__name__", type(func).__name__)
    return str(getattr(owner, "__name__", name)) if name in ("__get__", "__set__") else str(name)


@lru_cache(maxsize=1024)
def _full(func: Callable[..., Any]) -> str:
    """The qualified name of a function, such as `torch.nn.functional.softmax` or `torch.Tensor.add`."""
    return str(resolve_name(func) or f"{getattr(func, '__module__', None) or 'torch'}.{_short(func)}")


@lru_cache(maxsize=4096)
def _computes(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return _short(func) in _VIEWS
    return name not in _QUESTIONS and name != "__set__"
