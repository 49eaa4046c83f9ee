"""`@traced`: records each call of a function, or of a class of modules."""

from __future__ import annotations

import atexit
import inspect
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import torch

from ..errors import TraceError
from ..trace.trace import Trace
from .forward_choice import Choice
from .recorder import Recorder
from .watch import traced_functions
from .watch.watched_modules import BETWEEN

BETWEEN.add(__file__)


def record_calls(target: Any, path: Any, choice: Choice, options: dict[str, Any]) -> Any:
    """Make the target of `tftrace.traced` record its calls.

    Args:
        target: A function, or a class of modules.
        path: The folder of the trace; None for a temporary one.
        choice: Which calls are recorded.
        options: Further arguments of `Recorder`.

    Returns:
        The function that replaces the target; a class is returned itself.

    Raises:
        TraceError: The target is neither.
    """
    own = _Own(Recorder(None, path, choice=choice, **options), keep=path is not None)
    if isinstance(target, type) and issubclass(target, torch.nn.Module):
        kind: Any = target
        kind.__call__ = _recorded(kind.__call__, own, lambda call, args, kwargs: call(*args, **kwargs), kind)
        return target
    if not inspect.isfunction(target) or inspect.iscoroutinefunction(target) or inspect.isgeneratorfunction(target):
        what, way = f"a {type(target).__name__}", "it takes plain functions, and classes of modules"
        if isinstance(target, torch.nn.Module):
            what, way = "a model", "'with tftrace.record(model):' records one"
        raise TraceError(f"traced cannot take {what}, async functions or generators: {way}.")
    return _recorded(target, own, traced_functions.run)


def _recorded(call: Any, own: _Own, run: Callable[..., Any], holder: Any = None) -> Any:
    """Wrap a call in a recording of its own, whose trace becomes an attribute of the holder."""

    @wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Call(own) as holder.trace:
            return run(call, args, kwargs)

    holder = holder or wrapper
    holder.trace = None
    return wrapper


class _Own:
    """A recorder that is active while something is called, in one thread or in several."""

    def __init__(self, recorder: Recorder[Trace], keep: bool) -> None:
        self._recorder, self._keep = recorder, keep
        self._trace: Trace | None = None
        self._lock = threading.RLock()
        self._awake: set[int] = set()  # ids of running calls

    def begin(self, call: int) -> Trace:
        """Begin a call."""
        with self._lock:
            if self._trace is None:
                self._trace = self._recorder.__enter__()
                if self._keep:
                    atexit.register(self._end)
            elif not self._awake:
                self._recorder.resume()
            self._awake.add(call)
            return self._trace

    def surely_end(self, call: int) -> None:
        """Do what `end` does, and again if it is interrupted."""
        try:
            self.end(call)
        except BaseException:
            self.end(call)
            raise

    def end(self, call: int) -> None:
        """End a call; ending it again does nothing."""
        with self._lock:
            self._awake.discard(call)
            if not self._awake and self._trace is not None:
                self._recorder.rest()
                with suppress(TraceError):  # the trace may have been deleted
                    self._trace.reload()

    def _end(self) -> None:
        if self._trace is not None and self._recorder.there:  # not if it was deleted or replaced meanwhile
            self._recorder.__exit__(None, None, None)


class _Call:
    """One call, during which the recorder is active. If something prevents its end, it ends when it is collected."""

    def __init__(self, own: _Own) -> None:
        self._own = own
        self._gone = weakref.finalize(self, own.surely_end, id(self))
        self._gone.atexit = False

    def __enter__(self) -> Trace:
        return self._own.begin(id(self))

    def __exit__(self, *error: object) -> None:
        self._own.surely_end(id(self))
        self._gone.detach()
