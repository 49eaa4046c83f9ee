"""The recording itself: which step runs inside which, and the rows that are queued when a step ends.

Hooks, the line tracer and the op mode call `enter` and `leave` through `hook`; how they learn of calls does not matter
here. Each thread has a stack of its own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import Any, Protocol

import torch

from ..trace import schema
from .calls import QUERY_KEY_VALUE, Call, Place, place
from .guard import Guard, State
from .measure.identity import Identities, View
from .measure.kept_values import ATTENTION, RESULT
from .measure.structure import leaves
from .measure.token_prints import Keeper
from .pending_rows import Rows

_FORWARDS, _STEPS, _NANOSECONDS = 64, 4096, 1_000_000_000  # that may wait in memory, once something has been written
_WRITTEN = -1  # the step number of a line's call between two lines
_PLAIN = (str, int, float, torch.nn.Module)
_NOWHERE = place(schema.MODULE, "", "")


class Equations(Protocol):
    """What the recording needs from the checker of equations."""

    def begin(self, call: Call) -> None: ...
    def finish(self, call: Call) -> None: ...
    def edited(self, step: int, above: Sequence[int]) -> None: ...
    def verdicts(self, ended: bool) -> None: ...


class Sieve(Protocol):
    """What the recording needs from whatever keeps only some forwards."""

    def end(self, forward: int) -> None: ...
    def flush(self, running: int, ended: bool) -> None: ...
    def write_kept(self) -> None: ...


class StepWatch(Protocol):
    """What is told of each step as it begins and ends, inside of `Recording.hook`, and of what lines bind."""

    def entered(self, call: Call) -> None: ...
    def bound(self, name: str, tensor: torch.Tensor) -> None: ...
    def line_ended(self, call: Call) -> None: ...
    def left(self, call: Call, result: Any, raised: bool) -> None: ...


class Recording(Guard):
    """The recording of one rank.

    Args:
        rows: The queues of rows.
        identities: Identifies tensors.
        equations: Checks equations, if they are checked.
        write: Writes everything that has been gathered, except rows.
        keep: Called with each tensor that a step sees, to keep it or its prints.

    Attributes:
        sieve: Keeps only some forwards, if there is one.
        on_failure: Called when a failure has ended the recording.
        on_root: Called when an outermost step begins (True) and ends (False).
        on_abandoned: Called with each call that a hook has begun and none has ended, when it is closed.
        watch: Is told of each step as it begins and ends, if there is one.
        quick: Begins and ends most steps, if that is compiled; see `quick.quick_calls`.
    """

    def __init__(
        self,
        rows: Rows,
        identities: Identities,
        equations: Equations | None,
        write: Callable[[], None],
        keep: Keeper | None = None,
    ) -> None:
        super().__init__()
        self._rows, self._identities, self._equations, self._write = rows, identities, equations, write
        self._keep = keep
        self.sieve: Sieve | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.on_root: Callable[[bool], None] = lambda entering: None
        self.on_abandoned: Callable[[Call], None] = lambda call: None
        self.watch: StepWatch | None = None
        self.quick: Any = None
        self._forwards = itertools.count()
        self._running: dict[int, State] = {}  # the states of threads that are in a forward
        self._written = self._start
        self._settled = 0  # how many steps had been entered when rows were last written
        self._unwritten = _FORWARDS  # forwards that have ended since then; the first is written at once

    @property
    def stack(self) -> list[Call]:
        """The running steps of this thread, outermost first."""
        return self._local.state.stack

    def pass_over(self) -> None:
        """Count a forward that is not recorded, so that each keeps its number within the run."""
        next(self._forwards)

    def parts(self) -> tuple[dict[str, Any], Rows, Identities, Keeper | None]:
        """What compiled code works on in our place: guard, rows, identities, and what keeps tensors."""
        guard = {"local": self._local, "acquire": self._lock.acquire, "release": self._lock.release}
        return guard, self._rows, self._identities, self._keep

    def quicken(self, quick: Any) -> None:
        """Let steps begin and end in compiled code, or with None in Python again."""
        self.quick, self.hook = quick, self.run if quick is None else quick.hook

    def failed(self, running: list[Call]) -> None:
        """Stop watching, and write what was recorded before."""
        self.on_root(False)
        for call in running:
            if call.hooked is not None:
                self.on_abandoned(call)
        with contextlib.suppress(Exception):
            if self.sieve is None:
                self._rows.flush()
            else:
                self.sieve.write_kept()
        with contextlib.suppress(Exception):
            self.on_failure()

    # -- the running stack ------------------------------------------------------------------------

    def enter(
        self,
        where: Place,
        owner: Any = None,
        arguments: Mapping[str, Any] | None = None,
        forward: int | None = None,
        direct: bool = False,
    ) -> Call:
        """Begin a step below the running one of this thread, or the first of a forward.

        Args:
            where: Its place.
            owner: The module that runs.
            arguments: Its arguments, by name.
            forward: The number of the forward, if this step repeats an earlier one; by default a new one.
            direct: Whether it is a module's forward, called past the module's hooks.
        """
        if self.quick is not None and forward is None and arguments is not None:
            quick: Call | None = self.quick.enter(where, owner, arguments, direct)
            if quick is not None:
                return quick
        state = self._local.state
        call = self._begin(state, where, where.name, forward)
        call.owner, call.direct = owner, direct
        if arguments is not None:
            call.arguments = arguments
            call.attends = "query" in arguments and "key" in arguments and "value" in arguments
            if self._equations is None or where.kind is schema.OP:
                self.see(call, schema.INPUT, arguments)
            else:
                given: dict[int, View] = {}
                call.given, call.returned = given, {}
                self.see(call, schema.INPUT, arguments, given)
                self._equations.begin(call)
                if call.seen is not None:
                    state.collectors.append(call)
            if self.watch is not None:
                self.watch.entered(call)
        if call.parent is None:
            self.on_root(True)
        return call

    def next_line(self, call: Call | None, where: Place, key: Any, owner: Any) -> Call:
        """Begin the step of a line after another, whose call object is used again, since its row has been queued.

        Args:
            call: The call of the line that ended; None for the first line.
            where: The place of the line.
            key: By this its occurrences are counted.
            owner: The module that runs.
        """
        state = self._local.state
        if call is None:
            call = self._begin(state, where, key)
            call.owner = owner
            return call
        call.place = where
        counts = state.counts
        call.occurrence = occurrence = counts.get(key, 0)
        counts[key] = occurrence + 1
        call.step = self.steps
        self.steps += 1
        state.entered = call
        return call

    def end_line(self, call: Call) -> None:
        """Queue the row of a line that ended, and leave its call on the stack for the next line."""
        state = self._local.state
        if state.stack[-1] is not call:
            now = state.began - self._start
            while state.stack and state.stack[-1] is not call:
                self._close(state, None, now, self._left(state.stack[-1]))
        took = state.began - self._start - call.start_ns - state.own + call.own_ns
        self._rows.step(call, took if took > 0 else 0, schema.RETURNED, None)
        if self.watch is not None:
            self.watch.line_ended(call)
        call.step = _WRITTEN
        if self.steps - self._settled > _STEPS:
            self.settle(waiting=True)

    def _begin(self, state: State, where: Place, key: Any, forward: int | None = None) -> Call:
        stack = state.stack
        call = Call(where)
        if stack:
            parent: Call | None = stack[-1]
            if parent is not None and parent.muted:
                parent = parent.parent
            if parent is not None:
                call.parent, call.depth, call.forward = parent, parent.depth + 1, parent.forward
        else:
            self._running[id(state)] = state
            if forward is None:
                call.forward = next(self._forwards)
                state.counts = {}
            else:
                call.forward = forward
        counts = state.counts
        call.occurrence = occurrence = counts.get(key, 0)
        counts[key] = occurrence + 1
        call.step = self.steps
        self.steps += 1
        stack.append(call)
        state.entered = call
        return call

    def mute(self, owner: Any) -> Call:
        """Enter a module of which nothing is recorded."""
        stack = self._local.state.stack
        call = Call(_NOWHERE)
        call.muted, call.owner, call.parent = True, owner, stack[-1].parent if stack[-1].muted else stack[-1]
        if call.parent is not None and type(owner) in (latest := call.parent.call.latest):
            call.parent.call.latest = {kind: c for kind, c in latest.items() if kind is not type(owner)}
        stack.append(call)
        return call

    def drop(self, call: Call) -> None:
        """Remove the call of lines from the stack, after its last line."""
        stack = self._local.state.stack
        if stack and stack[-1] is call:
            stack.pop()

    def leave(self, call: Call, result: Any = None, raised: bool = False) -> None:
        """End a step, and those below it that an exception left open."""
        if self.quick is not None and not raised and self.quick.leave(call, result):
            return
        state = self._local.state
        stack, now = state.stack, state.began - self._start
        failed = schema.RETURNED if state.stopping else schema.RAISED
        if not stack or stack[-1] is not call:
            if call not in stack:
                return
            while stack[-1] is not call:
                self._close(state, None, now, failed if raised else self._left(stack[-1]))
        if not raised and not call.muted:
            self.see_one(call, schema.OUTPUT, "", result, call.returned)
        self._close(state, result, now, failed if raised else schema.RETURNED)
        if self.watch is not None and not call.muted:
            self.watch.left(call, result, raised)

    def stopping(self, on: bool) -> None:
        """Whether this thread is about to stop its steps on purpose: by an exception that is no failure."""
        self._local.state.stopping = on

    @staticmethod
    def _left(call: Call) -> str:
        """The status of a call that has not ended though the one above it has."""
        return schema.OPEN if call.hooked is None else schema.RAISED  # hooks learn of all else

    def _close(self, state: State, result: Any, now: int, status: str) -> None:
        call = state.stack.pop()
        if call.hooked is not None:
            self.on_abandoned(call)
        if call.muted:
            return
        if state.entered is call:
            state.entered = None
        call.result = result
        equation = self._conclude(state, call, status) if call.equations or call.noted else None
        took = now - call.start_ns - state.own + call.own_ns
        self._rows.step(call, took if took > 0 else 0, status, equation)
        if state.collectors and status is schema.RETURNED and call.place.kind in schema.CALLS:
            self._collect(state.collectors, call, result)
        parent = call.parent
        if parent is None:
            self._running.pop(id(state), None)
            self.on_root(False)
            if self.sieve is not None:
                self.sieve.end(call.forward)
            self._unwritten += 1
            self._identities.forget_freed()
        due = self.steps - self._settled > _STEPS or (parent is None and self._unwritten >= _FORWARDS)
        if due or now + self._start - self._written > _NANOSECONDS:
            self.settle(waiting=parent is not None)

    def _conclude(self, state: State, call: Call, status: str) -> str | None:
        """Check the equations of a call that has ended; the one that its step is said to compute."""
        returned = status is schema.RETURNED and not state.stopping
        if call.equations:
            if call.seen is not None:
                state.collectors.pop()
            if returned and self._equations is not None:
                self._equations.finish(call)
            # Steps above may keep this call for its arguments and result, but not all that was computed below it.
            call.seen, call.before, call.latest = None, None, {}
        return call.equation if returned else None

    def settle(self, waiting: bool = False, ended: bool = False) -> None:
        """Write everything that has been gathered.

        Args:
            waiting: Whether a forward is running; nothing is then written if an accelerator still computes some of it.
            ended: Whether the recording has ended.
        """
        if waiting and not self._rows.ready and not self._rows.overfull:
            return
        if self.sieve is None:
            self._gather(ended)
        self._identities.forget_freed()
        self._write()  # values and recipes before the rows that name them, in case of a kill in between
        if self.sieve is None:
            self._rows.flush()
        else:
            roots = (state.stack[0].step for state in self._running.values() if state.stack)
            self.sieve.flush(min(roots, default=self.steps), ended)
        self._written, self._unwritten, self._settled = perf_counter_ns(), 0, self.steps

    def _gather(self, ended: bool) -> None:
        """Queue rows of steps that are still running, and verdicts."""
        for state in self._running.values():
            for call in state.stack:
                if not call.muted and call.step != _WRITTEN:
                    self._rows.step(call, None, schema.OPEN, None)  # so that a batch can be read before the step ends
        if self._equations is not None:
            self._equations.verdicts(ended)

    def end(self, raised: bool = False) -> None:
        """End the steps that never returned, and write everything."""
        now = perf_counter_ns() - self._start
        for state in list(self._running.values()):
            while state.stack:
                self._close(state, None, now, schema.RAISED if raised else schema.OPEN)
        self.settle(ended=True)
        self._identities.close()
        self.over = True

    # -- rows -------------------------------------------------------------------------------------

    def see(self, call: Call, role: str, values: Mapping[str, Any], seen: dict[int, View] | None = None) -> None:
        """Queue a row for each tensor in some values, with its present statistics.

        Args:
            call: The step that sees them.
            role: Their role in the step.
            values: The values, by name.
            seen: Takes the view of each tensor, under its id.
        """
        for name, value in values.items():
            if value is not None:
                self.see_one(call, role, name, value, seen)

    def see_one(self, call: Call, role: str, name: str, value: Any, seen: dict[int, View] | None = None) -> None:
        """Do what `see` does for one value."""
        if self.quick is not None and self.watch is None:
            self.quick.see(call, role, name, value, seen)
        else:
            self.see_any(call, role, name, value, seen)

    def see_any(self, call: Call, role: str, name: str, value: Any, seen: dict[int, View] | None) -> None:
        """Do what `see_one` does, of any value."""
        if isinstance(value, torch.Tensor):
            record = self._identities.of(value, seen)
            if self._keep is not None:
                part = RESULT if call.parent is None and role is schema.OUTPUT else ATTENTION if call.attends else ""
                self._keep(record, value, call.place.name, role, part)
            self._rows.tensors += (call.step, role, name, record)
            if self.watch is not None and role is schema.LOCAL:
                self.watch.bound(name, value)
        elif value is not None and not isinstance(value, _PLAIN):
            for path, tensor in leaves(value, name):
                self.see_one(call, role, path, tensor, seen)

    def see_symbols(self, call: Call, equation: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Queue rows for what the symbols of an equation stand for that a call was seen to compute, the first time."""
        if equation in call.told:
            return
        call.told = (*call.told, equation)
        part = ATTENTION if tensors.keys() >= QUERY_KEY_VALUE else ""
        for symbol, tensor in tensors.items():
            record = self._identities.of(tensor)
            if self._keep is not None:
                self._keep(record, tensor, call.place.name, schema.SEEN, part)
            self._rows.seen(call.step, equation, symbol, record)

    def see_edit(self, call: Call, what: str) -> None:
        """Note that the result of a running call was changed on purpose: it is not checked, nor held against those that
        it is part of."""
        call.edited = f"{call.edited}; {what}".removeprefix("; ")
        self._rows.edited.append((call.step, what))
        if self._equations is not None:
            above, at = [], call.parent
            while at is not None:
                above.append(at.step)
                at = at.parent
            self._equations.edited(call.step, above)

    def see_gradient(self, step: int, of: str, name: str, gradient: torch.Tensor, parameter: bool) -> None:
        """Queue a row for a gradient.

        Args:
            step: The number of the step.
            of: The name of the step.
            name: The name of the tensor that it is the gradient of.
            gradient: The gradient.
            parameter: Whether that tensor is a parameter of the step's module, rather than returned by the step.
        """
        record = self._identities.of(gradient)
        if self._keep is not None:
            self._keep(record, gradient, of, schema.PARAMETER if parameter else schema.GRADIENT, "")
        self._rows.tensors += (step, schema.GRADIENT, name, record)
        if self._local.state.began - self._written > _NANOSECONDS:
            self.settle(waiting=True)

    def _collect(self, collectors: list[Call], call: Call, result: Any) -> None:
        """Hand a finished call to those above whose recipes need it."""
        name = call.place.name
        for above in collectors:
            relative = above.wanted[name]
            if relative is not None and above.seen is not None:
                call.result = result
                above.wanted.collect(above.seen, relative, call)
                if above.attends and self._keep is not None:  # queries, keys or values that were made below it
                    for _, tensor in leaves(result, ""):
                        self._keep(self._identities.of(tensor), tensor, name, schema.OUTPUT, ATTENTION)
