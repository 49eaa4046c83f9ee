"""The engine `hooks`: sees each call of a module by torch's public forward hooks, put on every submodule.

The first hook of a call runs after the module's own pre-hooks and the second after its own hooks, so that both see what
the forward really gets and what the caller really gets. Neither learns of an exception that is no `Exception`, such as
a KeyboardInterrupt; what it left open is closed when the next call begins or the recording ends."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import count
from types import FrameType
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling

from ..calls import Call
from ..depth import back_to, take, taken
from ..patches import Layer, Patch
from ..quick.quick_calls import quick_calls
from ..recording import Recording
from ..torch_internals import FORWARD_HOOKS, FORWARD_PRE_HOOKS, children_of, getframe
from ..unseen.torch_only import TORCH_ONLY, runs_only_torch
from ..unseen.went_around import listed
from .modes import WatchingMode, only_ours
from .watched_modules import BETWEEN, Watched, WatchedModules, walk

BETWEEN.add(__file__)
CHANGED = (torch.nn.TransformerEncoderLayer, torch.nn.DataParallel)  # hooks would change what they do, or miss calls

_NO_HOOKS: OrderedDict[int, Any] = OrderedDict()  # stays empty
_NUMBERS = count()  # of recordings, in the order in which they began


class Hooked:
    """What is known of a call that a hook has begun.

    Attributes:
        frame: The frame that runs the hooks of the call and its forward.
        caller: The frame above, which runs our second hook if there is an exception.
        error: The exception that was being handled when it began.
        room: For how many frames it took room, if it is the outermost.
    """

    __slots__ = ("caller", "error", "frame", "room")

    def __init__(self, frame: FrameType | None, error: BaseException | None) -> None:
        self.frame, self.caller, self.error, self.room = frame, frame and frame.f_back, error, 0


class _Owed(threading.local):
    """The frames that calls of this thread no longer need room for."""

    frames = 0


class _Hook:
    """A hook on one module. A copy of the model, or a file that it is pickled to, gets one that does nothing instead,
    which needs no tftrace. A thread that has fetched a hook may call it after its removal, and then without kwargs."""

    __slots__ = ("order", "recording", "watched", "watching")

    def __init__(self, watching: ForwardHooks, recording: Recording, watched: Watched, order: int) -> None:
        self.watching, self.recording, self.watched, self.order = watching, recording, watched, order

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")  # which takes anything and returns None


class _Entering(_Hook):
    """Begins the step of a call."""

    __slots__ = ()

    def __call__(self, module: torch.nn.Module, args: tuple[Any, ...], *kwargs: dict[str, Any]) -> None:
        if not kwargs or is_dynamo_compiling():
            return
        recording, frame = self.recording, getframe(1)
        if recording.quick is not None and recording.quick.entering(self.watched, module, args, kwargs[0], frame):
            return
        untraced = recording.tracing is not None and recording.untrace()
        try:
            self.watching.begin(self.watched, module, args, kwargs[0], frame)
            if untraced and runs_only_torch(module, (*args, *kwargs[0].values())) and only_ours():
                recording.set_aside()
                untraced = False
        finally:
            if untraced:
                recording.retrace()


class _Leaving(_Hook):
    """Ends the step of a call."""

    __slots__ = ()

    def __call__(self, module: torch.nn.Module, args: tuple[Any, ...], *kwargs_and_result: Any) -> None:
        if is_dynamo_compiling():
            return
        recording, frame, result = self.recording, getframe(1), kwargs_and_result[-1]
        if recording.quick is not None and recording.quick.leaving(self.watched, module, result, frame):
            return
        untraced = recording.tracing is not None and recording.untrace()
        try:
            self.watching.finish(module, result, frame)
        finally:
            if untraced:
                recording.retrace()


class ForwardHooks(WatchedModules):
    """Watches the calls of models by a pre-hook and a hook on each of their modules."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._recording.on_abandoned = self._abandoned
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._number, self._owed = next(_NUMBERS), _Owed()
        self._attached = False
        self._nesting = 1  # how deep modules lie in one another

    def attach(self) -> None:
        """Begin to watch the models."""
        known = list(self.watched.values())  # hooks are put on others as they are found
        self._attached = True
        super().attach()
        _SCRIPT.put(self)
        classes = {"Watched": Watched, "Hooked": Hooked, "Entering": _Entering}
        hooked, only_torch = Hooked(None, None), {**TORCH_ONLY, "ours": WatchingMode}
        self._recording.quicken(quick_calls(self._recording, self, classes, hooked, BETWEEN, only_torch))
        for watched in known:
            if watched.module is not None:
                self._put(watched, watched.module)

    def detach(self) -> None:
        """Stop watching; the models are left as they were."""
        super().detach()
        _SCRIPT.take(self)
        self._recording.quicken(None)
        self._attached = False
        self._recording.hook(self._close_left, getframe(1))
        for call in self._recording.stack:
            if call.hooked is not None:  # it runs still
                self._let_go(call)
        self._pay_back()
        while self._handles:
            self._handles[-1].remove()
            self._handles.pop()
        for watched in list(self.watched.values()):  # an interruption may have come before a handle was kept
            while watched.handles:
                watched.handles.pop().remove()
            self._take_off(watched.module)

    def watch(self, module: torch.nn.Module, path: str) -> Watched:
        """Watch one module, at this path."""
        watched = super().watch(module, path)
        watched.children = tuple(children_of(module).values())
        self._nesting = max(self._nesting, path.count(".") + 2)
        if self._attached:
            self._put(watched, module)
        return watched

    @contextlib.contextmanager
    def without(self, scripted: Any) -> Iterator[None]:
        """Take our hooks off a module, and those in it, for a while."""
        below = list(scripted.modules()) if isinstance(scripted, torch.nn.Module) else []
        every = [(watched, one) for one in below if (watched := self.watched.get(id(one))) is not None]
        for _, one in every:
            self._take_off(one)
        try:
            yield
        finally:
            for watched, one in every if self._attached else ():
                self._put(watched, one)

    def _take_off(self, module: torch.nn.Module | None) -> None:
        for name in (FORWARD_HOOKS, FORWARD_PRE_HOOKS):
            if hooks := _hooks(module, name):
                for key in [key for key, hook in hooks.items() if self._is_mine(hook)]:
                    hooks.pop(key, None)

    def _watch_made(self, module: torch.nn.Module, frame: FrameType) -> Watched | None:
        """Put hooks on a module that was made while another runs, unless they would change what it does."""
        if isinstance(module, CHANGED) or any(isinstance(one, CHANGED) for one in _makers(frame)):
            if isinstance(module, CHANGED):
                kind = type(module).__name__
                said = f"Calls of {kind}, which was made in a forward, are not seen: engine='calls' sees them."
                self.missed += [said] if said not in self.missed else []
            return None
        at = len(self._handles)
        watched = super()._watch_made(module, frame)
        if watched is not None:
            watched.handles = self._handles[at:]
            del self._handles[at:]
        return watched

    def _put(self, watched: Watched, module: torch.nn.Module) -> None:
        """Put our hooks on a module, unless it shares them with a shallow copy of it."""
        if not any(map(self._is_mine, _hooks(module, FORWARD_PRE_HOOKS).values())):
            entering = _Entering(self, self._recording, watched, -self._number)
            self._handles.append(module.register_forward_pre_hook(entering, with_kwargs=True))
        if not any(map(self._is_mine, _hooks(module, FORWARD_HOOKS).values())):
            leaving = _Leaving(self, self._recording, watched, self._number)
            self._handles.append(module.register_forward_hook(leaving, with_kwargs=True, always_call=True))
        for name in (FORWARD_PRE_HOOKS, FORWARD_HOOKS):
            if len(hooks := _hooks(module, name)) > 1:
                self._move_last(hooks)

    def _is_mine(self, hook: Any) -> bool:
        return isinstance(hook, _Hook) and hook.watching is self

    # -- a call begins ----------------------------------------------------------------------------------

    def begin(
        self, watched: Watched, module: torch.nn.Module, args: Any, kwargs: dict[str, Any], frame: FrameType
    ) -> None:
        """A module is called; `frame` is torch's frame of the call."""
        recording = self._recording
        if recording.over or recording.busy:
            return
        error = sys.exc_info()[1]
        call = recording.hook(self._begin, watched, module, args, kwargs, frame, error)
        if call is None:
            return
        above = sum(one.hooked is not None for one in recording.stack) - 1
        if call.parent is None or above >= self._nesting:  # the outermost, or a module that calls itself
            self._pay_back()
            room = self._nesting if call.parent is None else 1
            take(room)
            call.hooked.room = room
        if self.on_module is not None:
            self.on_module(module, True)

    def _begin(
        self,
        watched: Watched,
        module: torch.nn.Module,
        args: Any,
        kwargs: dict[str, Any],
        frame: FrameType,
        error: BaseException | None,
    ) -> Call | None:
        watched = self.watched.get(id(module), watched)
        stack = self._recording.stack
        caller = _caller(frame)
        by_itself = stack and caller is not None and caller.f_code is stack[-1].body  # as in nearly every call
        if stack and not by_itself and not self._goes_on(stack, caller, frame):
            self._close_left(frame)
        own = module.__dict__
        if watched.children or children_of(module):
            self._look_for_new(watched, module)
        if (hooks := own.get(FORWARD_PRE_HOOKS)) is not None and len(hooks) != 1 and self._move_last(hooks):
            name = next(iter(watched.names), watched.type) or "The model"  # one that was just made has none yet
            said = f"{name} got a pre-hook while it was recorded: the inputs of its next call are those before it."
            self.missed += [said] if said not in self.missed else []
        if (hooks := own.get(FORWARD_HOOKS)) is not None and len(hooks) != 1:
            self._move_last(hooks)
        if not stack:
            self._put_last()
        call = self.enter(watched, module, args, kwargs, caller or frame)
        if call is not None:
            call.hooked = Hooked(frame, error)
        return call

    def _goes_on(self, stack: list[Call], caller: FrameType | None, frame: FrameType) -> bool:
        """Whether the innermost call that a hook began still runs: an interruption may have left it."""
        above = _innermost(stack)
        if above is None:
            return True
        owner = self.watched.get(id(above.owner))
        if caller is not None and owner is not None and caller.f_code is owner.body:
            return True  # its own forward calls: as good as always the case, and known at once
        return _runs(above, frame)

    def _close_left(self, frame: FrameType) -> None:
        """Close the calls that an interruption left open: those that do not run below this frame."""
        while (above := _innermost(self._recording.stack)) is not None and not _runs(above, frame):
            self.leave(above, None, True)

    def _abandoned(self, call: Call) -> None:
        """A call that an interruption left open was closed."""
        if self.on_module is not None:
            self.on_module(call.owner, False)
        self._let_go(call)

    def _let_go(self, call: Call) -> None:
        """Forget what was noted of a call."""
        self._owed.frames += call.hooked.room
        call.hooked = None

    def _pay_back(self) -> None:
        """Give back the room of calls that have ended; never within a piece of the recording, which has its own."""
        if self._owed.frames:
            owed, self._owed.frames = self._owed.frames, 0
            back_to(max(taken() - owed, 0))

    # -- a call ends ------------------------------------------------------------------------------------

    def finish(self, module: torch.nn.Module, result: Any, frame: FrameType) -> None:
        """A call of a module ends: with a result, or because of the exception that is being handled."""
        stack = self._recording.stack
        if not stack:
            return
        call: Call | None = stack[-1]
        if call is None or not _is_run_by(call, frame):
            if not any(_is_run_by(one, frame) for one in stack):
                return  # a pre-hook before ours raised, or nothing is recorded any more
            while (call := _innermost(stack)) is not None and not _is_run_by(call, frame):
                self._finish(call, None, True)  # left by an exception that hooks do not learn of, and caught here
        if call is not None:
            error = sys.exc_info()[1]
            self._finish(call, result, error is not None and error is not call.hooked.error)

    def _finish(self, call: Call, result: Any, raised: bool) -> None:
        if self.on_module is not None:
            self.on_module(call.owner, False)
        room, call.hooked = call.hooked.room, None
        self._recording.hook(self._leave, call, result, raised)
        if room:
            self._owed.frames += room
            self._pay_back()

    def _leave(self, call: Call, result: Any, raised: bool) -> None:
        module = call.owner
        if not raised and children_of(module):
            self._look_for_new(self.watched.get(id(module)), module, True)
        self.leave(call, result, raised)

    # -- modules and hooks that come later --------------------------------------------------------------

    def _look_for_new(self, watched: Watched | None, module: torch.nn.Module, running: bool = False) -> None:
        """Put hooks on modules that a module got since its last call; what it got while it ran may have been called."""
        if watched is None:
            return
        children = children_of(module)
        if len(children) == len(watched.children) and (not children or tuple(children.values()) == watched.children):
            return
        watched.children = tuple(children.values())
        for name in watched.names:
            new = [path for path, below in walk(name, module, ()) if id(below) not in self.watched]
            if running and new:
                said = f"Calls of {listed(new)} are not seen in the forward in which they came."
                self.missed += [said] if said not in self.missed else []
            self.adopt(name, module)

    def _put_last(self) -> None:
        """Let our pre-hooks run after those that modules got since the last forward."""
        for watched in list(self.watched.values()):
            hooks = _hooks(watched.module, FORWARD_PRE_HOOKS)
            if len(hooks) != 1:
                self._move_last(hooks)

    def _move_last(self, hooks: OrderedDict[int, Any]) -> bool:
        """Let our hooks, and those of other recordings, run after those that were added since; whether there were any.

        The recording that began last is the outermost, as with the other engine.
        """
        ours = [(hook.order, key) for key, hook in hooks.items() if isinstance(hook, _Hook)]
        last = list(hooks)[-len(ours) :]
        if last == (ordered := [key for _, key in sorted(ours)]):
            return False
        late = {*last} != {*ordered}
        for key in ordered:
            hooks.move_to_end(key)
        return late


def _scripting(layer: Layer) -> Callable[..., Any]:
    """Make the replacement of `torch.jit.script`, which would compile hooks and cannot compile ours."""
    original = layer.original

    @wraps(original)
    def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
        with contextlib.ExitStack() as bare:
            for watching in layer.watching():
                bare.enter_context(watching.without(obj))
            return original(obj, *args, **kwargs)

    return script


_SCRIPT = Patch(torch.jit, "script", _scripting)


def _caller(frame: FrameType | None) -> FrameType | None:
    """The frame that calls a module, above those of torch and ours."""
    while frame is not None and frame.f_code.co_filename in BETWEEN:
        frame = frame.f_back
    return frame


def _makers(frame: FrameType | None) -> Iterator[Any]:
    """The objects whose `__init__` is running."""
    while frame is not None:
        if frame.f_code.co_name == "__init__" and frame.f_code.co_varnames:
            yield frame.f_locals.get(frame.f_code.co_varnames[0])
        frame = frame.f_back


def _innermost(stack: list[Call]) -> Call | None:
    """The innermost call that a hook has begun."""
    for call in reversed(stack):
        if call.hooked is not None:
            return call
    return None


def _is_run_by(call: Call, frame: FrameType) -> bool:
    """Whether this frame runs the hooks of a call."""
    return call.hooked is not None and (call.hooked.frame is frame or call.hooked.caller is frame)


def _runs(call: Call, frame: FrameType) -> bool:
    """Whether a call runs below, or in, this frame's callers."""
    at: FrameType | None = frame
    while at is not None and at is not call.hooked.frame:
        at = at.f_back
    return at is not None


def _hooks(module: torch.nn.Module | None, name: str) -> OrderedDict[int, Any]:
    """The hooks of a kind that a module has, in the order in which they run."""
    return _NO_HOOKS if module is None else module.__dict__.get(name) or _NO_HOOKS
