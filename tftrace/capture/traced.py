"""`@traced`: a function, or a class of modules, of which each call is recorded."""

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
from .watch.hooks import BETWEEN

BETWEEN.add(__file__)


def record_calls(target: Any, path: Any, choice: Choice, options: dict[str, Any]) -> Any:
    """`tftrace.traced`, of a function or class: its calls are recorded by a `Recorder` with these options."""
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
    """The call, in a recording of its own; the trace of that is kept by the holder."""

    @wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Call(own) as holder.trace:
            return run(call, args, kwargs)

    holder = holder or wrapper
    holder.trace = None
    return wrapper


class _Own:
    """A recorder that is awake while something is called, in one thread or in several."""

    def __init__(self, recorder: Recorder[Trace], keep: bool) -> None:
        self._recorder, self._keep = recorder, keep
        self._trace: Trace | None = None
        self._lock = threading.RLock()
        self._awake: set[int] = set()  # the calls that run

    def begin(self, call: int) -> Trace:
        """A call begins."""
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
        """`end`, once more if it is interrupted."""
        try:
            self.end(call)
        except BaseException:
            self.end(call)
            raise

    def end(self, call: int) -> None:
        """A call ends; that it does may be said again."""
        with self._lock:
            self._awake.discard(call)
            if not self._awake and self._trace is not None:
                self._recorder.rest()
                with suppress(TraceError):  # somebody may have deleted it
                    self._trace.reload()

    def _end(self) -> None:
        if self._trace is not None and self._recorder.there:  # else it was deleted or replaced meanwhile
            self._recorder.__exit__(None, None, None)


class _Call:
    """One call, during which the recorder is awake. Where it is kept from its end, it ends when it is gone."""

    def __init__(self, own: _Own) -> None:
        self._own = own
        self._gone = weakref.finalize(self, own.surely_end, id(self))
        self._gone.atexit = False

    def __enter__(self) -> Trace:
        return self._own.begin(id(self))

    def __exit__(self, *error: object) -> None:
        self._own.surely_end(id(self))
        self._gone.detach()
