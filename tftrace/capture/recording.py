"""The recording itself: which step runs inside which, and the rows that are written when one ends.

Hooks, the line tracer and the op mode call `enter` and `leave`, each through `hook`; nothing here knows how they
found out. Each thread has a stack of its own. A failure in here must never reach the model: it ends the recording,
with one warning."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from time import perf_counter_ns
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import _disable_current_modes

from .. import schema
from .calls import Call, Place, place
from .identity import Identities, Record
from .rows import Rows
from .structure import leaves

_FORWARDS, _NANOSECONDS = 8, 250_000_000  # what may wait in memory, once something has been written
_modes = torch._C._len_torch_dispatch_stack
_PLAIN = (str, int, float, torch.nn.Module)
_NOWHERE = place(schema.MODULE, "", "")


class Equations(Protocol):
    """What the recording asks of the recipes."""

    def begin(self, call: Call) -> None: ...
    def finish(self, call: Call) -> None: ...
    def verdicts(self) -> None: ...


class _Thread(threading.local):
    """What the recording keeps for each thread."""

    def __init__(self, stacks: list[list[Call]]) -> None:
        self.stack: list[Call] = []
        self.counts: dict[Any, int] = {}  # calls of each name in this forward
        self.own = 0  # nanoseconds that the recording itself has taken
        self.began = 0  # when the piece of recording that runs now began
        self.busy = False  # whether a piece of the recording runs now
        self.collecting = 0  # calls on the stack whose recipes ask for calls below them
        stacks.append(self.stack)


class Recording:
    """Steps and tensors of one rank, in the making."""

    def __init__(
        self,
        rows: Rows,
        identities: Identities,
        equations: Equations,
        write: Callable[[], None],
        keep: Callable[[Record, torch.Tensor, str, str], None] | None = None,
    ) -> None:
        self._rows, self._identities, self._equations, self._write = rows, identities, equations, write
        self._keep = keep
        self.failure: str | None = None
        self.on_root: Callable[[bool], None] = lambda entering: None
        self.tracing: Any = None  # our own sys.settrace function, if lines are followed by one
        self.steps = 0
        self._numbers, self._forwards = itertools.count(), itertools.count()
        self._stacks: list[list[Call]] = []
        self._threads = _Thread(self._stacks)
        self._lock = threading.RLock()
        self._start = self._written = perf_counter_ns()
        self._unwritten = _FORWARDS  # forwards that ended since; the first one is written at once

    # -- a piece of the recording -----------------------------------------------------------------

    @property
    def stack(self) -> list[Call]:
        """The steps this thread is inside, outermost first."""
        return self._threads.stack

    @property
    def busy(self) -> bool:
        """Whether this thread is in the recording's own code, of which nothing is to be recorded."""
        return self._threads.busy

    def hook(self, work: Callable[..., Any], *args: Any) -> Any:
        """`guard` for what runs in the midst of the model's code: the line tracer does not follow it."""
        tracing = self.tracing
        if tracing is None or sys.gettrace() is not tracing:
            return self.guard(work, *args)
        sys.settrace(None)
        try:
            return self.guard(work, *args)
        finally:
            if self._threads.stack and self.failure is None:
                sys.settrace(tracing)

    def guard(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a piece of the recording; a failure ends the recording and leaves the model's forward alone.

        Modes that watch torch are off meanwhile: our own code is nobody's business."""
        thread = self._threads
        if self.failure is not None or thread.busy:
            return None
        began = thread.began = perf_counter_ns()
        thread.busy = True
        try:
            with self._lock:
                if _modes():
                    with _disable_current_modes():  # type: ignore[no-untyped-call]
                        return work(*args)
                return work(*args)
        except Exception as error:
            self._fail(error)
            return None
        finally:
            thread.busy = False
            thread.own += perf_counter_ns() - began

    def _fail(self, error: Exception) -> None:
        self.failure = f"{type(error).__name__}: {error}"
        self.stack.clear()
        with contextlib.suppress(Exception):  # what was seen before is not lost
            self._rows.flush()
        with contextlib.suppress(RuntimeWarning):  # it is one where warnings are made errors
            warnings.warn(
                f"tftrace stopped recording at step {self.steps} and the model runs on: {self.failure}. "
                f"Please report this:\n{traceback.format_exc()}",
                RuntimeWarning,
                stacklevel=4,
            )

    # -- the running stack ------------------------------------------------------------------------

    def enter(
        self,
        where: Place,
        owner: Any = None,
        arguments: Mapping[str, Any] | None = None,
        forward: int | None = None,
        direct: bool = False,
    ) -> Call:
        """Begin a step below the one that runs in this thread, or the first of a forward (of `forward` again).

        `direct`: it is a module's forward, called past the module's hooks."""
        thread = self._threads
        stack = thread.stack
        call = Call(where)
        if stack:
            parent: Call | None = stack[-1]
            if parent is not None and parent.muted:
                parent = parent.parent
            if parent is not None:
                call.parent, call.depth, call.forward = parent, parent.depth + 1, parent.forward
        else:
            parent = None
            if forward is None:
                call.forward = next(self._forwards)
                thread.counts = {}
            else:
                call.forward = forward
        key: Any = (where.name, where.line) if where.kind is schema.LINE else where.name
        call.occurrence = thread.counts.get(key, 0)
        thread.counts[key] = call.occurrence + 1
        call.step = next(self._numbers)
        self.steps += 1
        call.owner, call.direct = owner, direct
        stack.append(call)
        if arguments is not None:
            call.arguments = arguments
            self.see(call, schema.INPUT, arguments)
            if where.kind is not schema.OP:
                self._equations.begin(call)
                if call.equations:
                    call.versions = versions(arguments)
                    thread.collecting += call.seen is not None
        if parent is None:
            self.on_root(True)
        now = perf_counter_ns()
        call.own_ns = thread.own + now - thread.began
        call.start_ns = now - self._start
        return call

    def mute(self, owner: Any) -> Call:
        """Go into a module of which nothing is to be recorded."""
        stack = self.stack
        call = Call(_NOWHERE)
        call.muted, call.owner, call.parent = True, owner, stack[-1].parent if stack[-1].muted else stack[-1]
        stack.append(call)
        return call

    def leave(self, call: Call, result: Any = None, raised: bool = False) -> None:
        """End a step, and whatever an exception left open below it."""
        thread = self._threads
        stack, now = thread.stack, thread.began - self._start
        if call not in stack:
            return
        while stack[-1] is not call:
            self._close(stack[-1], None, now, schema.RAISED if raised else schema.OPEN)
        if not raised and not call.muted and call.place.kind is not schema.LINE:
            self._see(call, schema.OUTPUT, "", result)
        self._close(call, result, now, schema.RAISED if raised else schema.RETURNED)

    def _close(self, call: Call, result: Any, now: int, status: str) -> None:
        thread = self._threads
        thread.stack.pop()
        if call.muted:
            return
        equation = None
        if call.equations:
            thread.collecting -= call.seen is not None
            if status is schema.RETURNED:
                call.result = result
                equation = call.equations[0].equation.id
                self._equations.finish(call)
        self._rows.step(call, max(now - call.start_ns - thread.own + call.own_ns, 0), status, equation)
        if thread.collecting and status is schema.RETURNED and call.place.kind in schema.CALLS:
            self._collect(call, result)
        if call.parent is None:
            self.on_root(False)
            self._unwritten += 1
        ended = call.parent is None and self._unwritten >= _FORWARDS
        if ended or self._rows.full or now + self._start - self._written > _NANOSECONDS:
            self.settle(waiting=call.parent is not None)

    def _collect(self, call: Call, result: Any) -> None:
        """Hand a finished call to those above whose recipes ask for it."""
        above = call.parent
        while above is not None:
            if above.seen is not None:
                relative = call.name[len(above.scope) :].lstrip(".")
                if any(_asked(relative, match.children) for match in above.equations):
                    above.seen[relative] = call
                    call.result, call.versions = result, {**call.versions, **versions({"": result})}
            above = above.parent

    def settle(self, waiting: bool = False) -> None:
        """Write out what has gathered; while a forward runs not what an accelerator still computes."""
        if waiting and not self._rows.ready and not self._rows.overfull:
            return
        for stack in self._stacks:
            for call in stack:
                if not call.muted:
                    self._rows.step(call, None, schema.OPEN, None)  # so that a batch is readable without its end
        self._equations.verdicts()
        self._identities.forget_freed()
        self._rows.flush()
        self._write()
        self._written, self._unwritten = perf_counter_ns(), 0

    def end(self, raised: bool = False) -> None:
        """Close what never returned and write everything out."""
        now = perf_counter_ns() - self._start
        while self.stack:
            self._close(self.stack[-1], None, now, schema.RAISED if raised else schema.OPEN)
        self.settle()
        self._identities.close()

    # -- rows -------------------------------------------------------------------------------------

    def see(self, call: Call, role: str, values: Mapping[str, Any]) -> None:
        """Queue a row for each tensor in these values, with its statistics at this moment."""
        for name, value in values.items():
            self._see(call, role, name, value)

    def _see(self, call: Call, role: str, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            self._tensor(call, role, name, value)
        elif value is not None and not isinstance(value, _PLAIN):
            for path, tensor in leaves(value, name):
                self._tensor(call, role, path, tensor)

    def _tensor(self, call: Call, role: str, name: str, tensor: torch.Tensor) -> None:
        record = self._identities.of(tensor)
        if self._keep is not None:
            self._keep(record, tensor, call.place.name, role)
        self._rows.tensor(call.step, role, name, record)


def versions(values: Mapping[str, Any]) -> dict[int, int]:
    """How often each tensor had been written to, to know later whether it still holds what it held."""
    found = {}
    for value in values.values():
        if value is not None and not isinstance(value, _PLAIN):
            for tensor in [value] if isinstance(value, torch.Tensor) else [t for _, t in leaves(value)]:
                try:
                    found[id(tensor)] = tensor._version
                except RuntimeError:  # an inference tensor does not count
                    continue
    return found


@lru_cache(maxsize=4096)
def _asked(relative: str, patterns: frozenset[str]) -> bool:
    return any(fnmatchcase(relative, pattern) for pattern in patterns)
