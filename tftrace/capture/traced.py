"""`@traced`: a function, or a class of modules, of which each call is recorded."""

from __future__ import annotations

import atexit
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any, TypeVar, overload

import torch

from ..errors import TraceError
from ..trace.trace import Trace
from .forward_choice import Choice
from .recorder import Recorder
from .watch import traced_functions
from .watch.hooks import BETWEEN

BETWEEN.add(__file__)
T = TypeVar("T", bound=Callable[..., Any])


@overload
def traced(target: T) -> T: ...
@overload
def traced(
    target: None = None,
    *,
    path: str | os.PathLike[str] | None = ...,
    max_forwards: int | None = ...,
    skip: int = ...,
    every: int = ...,
    when: str | None = ...,
    level: str = ...,
    values: str | Sequence[str] = ...,
    check: bool | None = ...,
    recipes: Any = ...,
    backward: bool = ...,
    overwrite: bool = ...,
    meta: dict[str, Any] | None = ...,
) -> Callable[[T], T]: ...
def traced(
    target: Any = None,
    *,
    path: str | os.PathLike[str] | None = None,
    max_forwards: int | None = None,
    skip: int = 0,
    every: int = 1,
    when: str | None = None,
    meta: dict[str, Any] | None = None,
    level: str = "lines",
    overwrite: bool = False,
    **options: Any,
) -> Any:
    """Record each call of a function, or of the modules of a class.

        @tftrace.traced
        def step(model, batch):
            loss = model(**batch).loss
            return loss

        step(model, batch)
        step.trace.to_pandas()

    The function is a step with its lines, and below it are the models and the functions of its file that it calls. All
    calls go to one trace, each as a forward: `step.trace`, a `Trace`, complete after each call. In a recording that
    runs around it (`tftrace.record`, `tftrace run`) the function is a step, too.

    Args:
        target: the function or the subclass of `torch.nn.Module`, which is changed in nothing else.
        path: folder of the trace; without one the trace lives as long as the function.
        max_forwards, skip, every: record no more calls than this, leave out the first ones, record each n-th only.
        when: keep only calls with a step of which this is true, such as `loss > 5` or `nan > 0`.
        level, values, check, recipes, backward, overwrite, meta: as in `tftrace.record`. The backward pass must run
            inside of the function.

    Raises:
        TraceError: the target cannot be traced, or an option is mistaken.
    """
    if target is None:
        choice = Choice(skip=skip, every=every, max_forwards=max_forwards, when=when)
        options |= {"level": level, "overwrite": overwrite, "meta": meta or {}}
        return partial(_traced, path=path, choice=choice, options=options)
    return _traced(target, None, Choice(), {"level": level, "overwrite": False, "meta": {}})


def _traced(target: Any, path: Any, choice: Choice, options: dict[str, Any]) -> Any:
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

    def __init__(self, recorder: Recorder, keep: bool) -> None:
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
        self._gone = weakref.finalize(self, own.end, id(self))
        self._gone.atexit = False

    def __enter__(self) -> Trace:
        return self._own.begin(id(self))

    def __exit__(self, *error: object) -> None:
        try:
            self._own.end(id(self))
        except BaseException:
            self._own.end(id(self))
            raise
        self._gone.detach()
