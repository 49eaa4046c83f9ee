"""The torch functions below a line, as a `TorchFunctionMode` sees them, with the line that called them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode, resolve_name

from .. import schema
from ..source import NOWHERE, Site, call_site
from ..writer import TraceWriter
from .calls import Call, Place, place
from .recording import Recording

_TORCH = os.path.dirname(torch.__file__)
# Wrappers between the line and the function; torch/nn/modules is not one: its lines are the call sites of its ops.
_BETWEEN = {
    os.path.join(_TORCH, *path)
    for path in (
        ("overrides.py",),
        ("functional.py",),
        ("_tensor.py",),
        ("nn", "functional.py"),
        ("utils", "_device.py"),
        ("_jit_internal.py",),
    )
}
# Questions about a tensor's form, which compute nothing.
_QUESTIONS = frozenset(
    (
        *("size", "dim", "ndimension", "nelement", "numel", "stride", "storage_offset", "element_size", "get_device"),
        *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_inference", "is_conj", "is_neg"),
        *("data_ptr", "untyped_storage", "requires_grad_", "register_hook", "result_type"),
        *("__len__", "__hash__", "__repr__", "__format__", "__dir__", "__reduce_ex__", "__deepcopy__"),
    )
)
_VIEWS = ("T", "H", "mT", "mH", "real", "imag")  # properties that give a tensor


class OpMode(TorchFunctionMode):
    """Records each torch function as a step of kind `op`; pushed on the thread's modes while a forward runs."""

    def __init__(self, recording: Recording, writer: TraceWriter) -> None:
        super().__init__()
        self._recording, self._writer = recording, writer
        self._places: dict[Any, Place] = {}

    def start(self) -> bool:
        """Watch this thread."""
        self.__enter__()
        return True

    def stop(self) -> None:
        """Watch this thread no more, unless a mode that came later still stands above."""
        if _get_current_function_mode() is self:
            self.__exit__(None, None, None)

    def close(self) -> None:
        """End; there is nothing to give back but what `stop` does."""
        self.stop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        recording = self._recording
        if recording.busy or recording.failure is not None or not _computes(func):
            return func(*args, **kwargs)
        call = recording.hook(self._enter, func, args, kwargs, sys._getframe(1))
        try:
            result = func(*args, **kwargs)
        except BaseException:
            if call is not None:
                recording.hook(recording.leave, call, None, True)
            raise
        if call is not None:
            recording.hook(recording.leave, call, result)
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
        key = (func, above, caller and caller.f_code, caller and caller.f_lasti)
        where = self._places.get(key)
        if where is None:
            site = NOWHERE if caller is None else call_site(caller)
            where = self._places[key] = self._place(func, above, site)
        arguments = {f"[{at}]": value for at, value in enumerate(args)} | kwargs
        return self._recording.enter(where, stack[-1].owner, arguments)

    def _place(self, func: Callable[..., Any], above: str, site: Site) -> Place:
        self._writer.keep_source(site.file)
        return place(schema.OP, f"{above}.{_short(func)}".lstrip("."), _full(func), site)


def _short(func: Callable[..., Any]) -> str:
    """`softmax`; of a property its name."""
    owner = getattr(func, "__self__", None)
    name = getattr(func, "__name__", type(func).__name__)
    return str(getattr(owner, "__name__", name)) if name in ("__get__", "__set__") else str(name)


@lru_cache(maxsize=1024)
def _full(func: Callable[..., Any]) -> str:
    """`torch.nn.functional.softmax`, `torch.Tensor.add`."""
    return str(resolve_name(func) or f"{getattr(func, '__module__', None) or 'torch'}.{_short(func)}")


@lru_cache(maxsize=4096)
def _computes(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return _short(func) in _VIEWS
    return name not in _QUESTIONS and name != "__set__"
