"""The recording itself: which step runs inside which, and the rows that are written when one ends.

Hooks and the line tracer call `enter` and `leave`; nothing here knows how they found out. Each thread has a
stack of its own. A failure in here must never reach the model: it ends the recording, with one warning."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from time import perf_counter_ns
from typing import Any, Protocol

import torch

from .. import schema
from ..source import NOWHERE, Site
from ..writer import TraceWriter
from .calls import Call
from .identity import Identities
from .stats import Summary
from .structure import leaves


class Equations(Protocol):
    """What the recording asks of the recipes."""

    def begin(self, call: Call) -> None: ...
    def finish(self, call: Call) -> None: ...
    def verdicts(self) -> list[tuple[Any, ...]]: ...


class _Thread(threading.local):
    """What the recording keeps for each thread."""

    def __init__(self) -> None:
        self.stack: list[Call] = []
        self.counts: Counter[Any] = Counter()  # calls of each name in this forward
        self.own = 0  # nanoseconds that the recording itself has taken
        self.began = 0  # when the piece of recording that runs now began
        self.trace: Any = None  # the function that sys.settrace has while the model's own code runs


class Recording:
    """Rows of one rank, in the making."""

    def __init__(self, writer: TraceWriter, equations: Equations | None = None, rank: int = 0) -> None:
        self.writer, self.rank = writer, rank
        self.equations = equations
        self.identities = Identities()
        self.failure: str | None = None
        self.on_root: Callable[[bool], None] = lambda entering: None
        self.steps = 0
        self._numbers, self._forwards = itertools.count(), itertools.count()
        self._threads = _Thread()
        self._roots: list[Call] = []
        self._start = perf_counter_ns()
        self._parameters: set[int] = set()  # modules whose parameters have been written

    # -- the running stack ------------------------------------------------------------------------

    @property
    def stack(self) -> list[Call]:
        """The steps this thread is inside, outermost first."""
        return self._threads.stack

    def from_hook(self, work: Callable[..., Any], *args: Any) -> Any:
        """`guard`, with line tracing off: following our own code would double the cost."""
        self._threads.trace = sys.gettrace()
        sys.settrace(None)
        try:
            return self.guard(work, *args)
        finally:
            sys.settrace(self._threads.trace)

    @property
    def trace(self) -> Any:
        """This thread's trace function, as it is outside our hooks."""
        return sys.gettrace() or self._threads.trace

    def follow(self, trace: Any) -> None:
        """Set this thread's trace function, also when called from within a hook."""
        self._threads.trace = trace
        sys.settrace(trace)

    def guard(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a piece of the recording; a failure ends the recording and leaves the model's forward alone."""
        if self.failure is not None:
            return None
        stack = self.stack
        began = self._threads.began = perf_counter_ns()
        try:
            return work(*args)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            stack.clear()
            self.on_root(False)
            with contextlib.suppress(RuntimeWarning):  # it is one where warnings are made errors
                warnings.warn(
                    f"tftrace stopped recording at step {self.steps} and the model runs on: {self.failure}. "
                    f"Please report this:\n{traceback.format_exc()}",
                    RuntimeWarning,
                    stacklevel=4,
                )
            return None
        finally:
            self._threads.own += perf_counter_ns() - began

    def enter(
        self,
        kind: str,
        name: str,
        type_name: str,
        *,
        owner: Any = None,
        site: Site = NOWHERE,
        definition: Site = NOWHERE,
        arguments: dict[str, Any] | None = None,
    ) -> Call:
        """Begin a step below the one that runs in this thread."""
        stack = self.stack
        parent = stack[-1] if stack else None
        if parent is None:
            forward = next(self._forwards)
            self._threads.counts.clear()
        else:
            forward = parent.forward
        counts = self._threads.counts
        if kind is schema.LINE:
            occurrence = counts[(name, site.line)]
            counts[(name, site.line)] += 1
        else:
            occurrence = counts[name]
            counts[name] += 1
        depth = 0 if parent is None else parent.depth + 1
        call = Call(next(self._numbers), kind, name, type_name, parent, forward, occurrence, depth, site, definition)
        self.steps += 1
        stack.append(call)
        if parent is None:
            self._roots.append(call)
        call.owner = owner
        call.error = sys.exc_info()[1]
        if arguments is not None:
            call.arguments = arguments
            self.see(call.step, schema.INPUT, arguments)
            if self.equations is not None:
                self.equations.begin(call)
                remember_versions(call, arguments)
        if parent is None:
            self.on_root(True)
        now = perf_counter_ns()
        call.own_ns = self._threads.own + now - self._threads.began
        call.start_ns = now - self._start
        return call

    def leave(self, call: Call, result: Any = None, raised: bool = False) -> None:
        """End a step, and whatever an exception left open below it."""
        now = perf_counter_ns() - self._start
        stack = self.stack
        if call not in stack:
            return
        while stack[-1] is not call:
            self._close(stack[-1], None, now, schema.RAISED if raised else schema.OPEN)
        if call.kind is not schema.LINE and not raised:
            self.see(call.step, schema.OUTPUT, {"": result})
        self._close(call, result, now, schema.RAISED if raised else schema.RETURNED)
        if call.parent is None:
            self.settle()

    def _close(self, call: Call, result: Any, now: int, status: str) -> None:
        stack = self.stack
        stack.pop()
        equation = None
        if status is schema.RETURNED and call.equations and self.equations is not None:
            call.result = result
            equation = call.equations[0].equation.id
            self.equations.finish(call)
        own = self._threads.own - call.own_ns
        self.writer.add("steps", call.row(self.rank, max(now - call.start_ns - own, 0), status, equation))
        if call.parent is None:
            self._roots.remove(call)
            self.on_root(False)
        if status is schema.RETURNED and call.kind in schema.CALLS and self._kept(call):
            call.result, call.seen, call.equations = result, None, ()
            remember_versions(call, result)
        else:
            call.release()

    def _kept(self, call: Call) -> bool:
        """Hand a finished call to those above whose recipes ask for it."""
        kept = False
        above = call.parent
        while above is not None:
            if above.seen is not None:
                relative = call.name[len(above.scope) :].lstrip(".")
                if any(fnmatchcase(relative, pattern) for match in above.equations for pattern in match.children):
                    above.seen[relative] = call
                    kept = True
            above = above.parent
        return kept

    # -- rows -------------------------------------------------------------------------------------

    def see(self, step: int, role: str, values: dict[str, Any]) -> None:
        """Write a row for each tensor in these values, with its statistics at this moment."""
        for name, value in values.items():
            for path, tensor in leaves(value, name):
                number, summary = self.identities.of(tensor)
                self.writer.add("tensors", _tensor_row(step, role, path, number, tensor, summary))

    def see_parameters(self, call: Call, module: torch.nn.Module) -> None:
        """Write a row for each parameter that is the module's own, at the module's first call."""
        if id(module) not in self._parameters:
            self._parameters.add(id(module))
            own = {name: p for name, p in module._parameters.items() if p is not None}
            self.see(call.step, schema.PARAMETER, own)

    def settle(self) -> None:
        """Evaluate the checks that wait, forget tensors that are gone, and write everything out."""
        if self.equations is not None:
            for row in self.equations.verdicts():
                self.writer.add("checks", row)
        self.identities.forget_freed()
        self.writer.flush()

    def open_rows(self) -> list[tuple[Any, ...]]:
        """Rows of the steps that are running, so that a batch is readable without their end."""
        running = dict.fromkeys([*self._roots, *self.stack])
        return [call.row(self.rank, None, schema.OPEN, None) for call in running]

    def end(self) -> None:
        """Close what never returned and settle."""
        now = perf_counter_ns() - self._start
        while self.stack:
            self._close(self.stack[-1], None, now, schema.OPEN)
        self.settle()


def remember_versions(call: Call, value: Any) -> None:
    """Note how often each tensor had been written to, to know later whether it still holds what it held."""
    for _, tensor in leaves(value):
        if not tensor.is_inference():
            call.versions.setdefault(id(tensor), tensor._version)


def _tensor_row(
    step: int, role: str, name: str, number: int, tensor: torch.Tensor, summary: Summary
) -> tuple[Any, ...]:
    return (
        step,
        role,
        name,
        number,
        list(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        str(tensor.device),
        tensor.numel(),
        tensor.numel() * tensor.element_size(),
        *summary,
        None,
    )
