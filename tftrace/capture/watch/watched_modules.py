"""The modules of the models that a recording watches, and what is done when one of them is called.

How it is learned that one is called is the matter of an engine: `forward_hooks` or `intercepted_calls`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Protocol

import torch
from torch.nn.modules import module as torch_module

from ...trace import schema
from ...trace.writer import TraceWriter
from ..calls import Call, Place, bind_arguments, parameters, place
from ..code_site import NOWHERE, Site, call_site, code_of
from ..recording import Recording
from ..torch_internals import FORWARD_HOOKS, children_of, parameters_of
from ..unseen.made_modules import MadeModules
from ..unseen.went_around import went_around

_PLACES = 1024  # from which calls of a module are remembered
_GONE = 4096  # modules that are remembered when they are gone
_OF_TORCH = (torch.fx.GraphModule, torch.jit.ScriptModule)  # which torch makes of others
_OURS = str(Path(__file__).parents[2]) + os.sep
BETWEEN = {torch_module.__file__, __file__}  # files of the frames between a call and the forward; engines add theirs


class Watched:
    """A module of a recorded model, and what can be worked out before it is called."""

    __slots__ = (
        *(
            "module",
            "kind",
            "names",
            "muted",
            "scripted",
            "type",
            "forward",
            "definition",
            "body",
            "parameters",
            "places",
        ),
        *("children", "described", "handles"),
    )

    def __init__(self, module: torch.nn.Module, name: str, muted: bool) -> None:
        self.module: torch.nn.Module | None = module  # so that its id is not used again
        self.kind = type(module)
        self.names, self.muted = [name], muted
        self.scripted = isinstance(module, torch.jit.ScriptModule)
        self.type = str(module.original_name) if self.scripted else type(module).__name__
        self.forward = _forward if self.scripted else type(module).forward
        self.definition, self.body = defined(self.forward), code_of(self.forward)
        self.parameters, _ = parameters(self.forward)
        self.places: dict[tuple[int, int, str], tuple[CodeType | None, Place]] = {}  # by the id of a caller's code
        self.children: tuple[torch.nn.Module | None, ...] = ()  # when they were last looked at
        self.described: int | None = None  # the forward in which its parameters were recorded
        self.handles: list[Any] = []  # of hooks on a module that was made while another ran


class Forwards(Protocol):
    """What is told where a forward begins, with the frame of its caller, and where it ends."""

    def begin(self, call: Call, frame: FrameType | None) -> None: ...
    def end(self, call: Call, result: Any, raised: bool) -> None: ...


class WatchedModules:
    """The models of one recording with all modules below them; an engine derives from it and tells it of their calls.

    Args:
        recording: Receives the steps.
        writer: Receives the source files of call sites and definitions.
        models: The models by name.
        selected: Whether the calls of a module with this path are recorded.
        advance: Called after each module call, to show progress.

    Attributes:
        unseen: Paths of modules of which some calls could not be seen: those inside code compiled by torch.jit, and
            those that appeared while the module that they are part of ran.
        missed: What could not be seen of calls, in sentences.
        on_left: Called with each call that returned, and its result.
        on_module: Called when a module's call begins (True) and ends (False).
        on_described: Called with each module, and its path, when it is first called.
        forwards: Told where each forward begins and ends.
    """

    def __init__(
        self,
        recording: Recording,
        writer: TraceWriter,
        models: Mapping[str, torch.nn.Module],
        selected: Callable[[str], bool],
        advance: Callable[[], None] | None = None,
    ) -> None:
        self._recording, self._writer, self._selected = recording, writer, selected
        self._advance = advance
        self._models = models
        self._roots = {id(model) for model in models.values()}
        self.watched: dict[int, Watched] = {}
        self._gone: dict[str, Watched] = {}  # those of modules that lived shorter than the recording, and hold none
        self._by_hooks: dict[int, Watched] = {}  # by the dict of hooks, which shallow copies (DataParallel) share
        self.unseen: list[str] = []
        self.missed: list[str] = []
        self.on_left: Callable[[Call, Any], None] | None = None
        self.on_module: Callable[[torch.nn.Module, bool], None] | None = None
        self.on_described: Callable[[str, torch.nn.Module], None] | None = None
        self.forwards: Forwards | None = None
        self._made = MadeModules(self)

    def attach(self) -> None:
        """Begin to watch the models."""
        if self._models:
            self._made.attach()
        for name, model in self._models.items():
            self.adopt(name, model)

    def detach(self) -> None:
        """Stop watching; the models and torch are left as they were."""
        self._made.detach()

    def forget(self) -> None:
        """Forget all modules."""
        self._made.forget()
        self.watched.clear()
        self._gone.clear()
        self._by_hooks.clear()

    def end(self) -> None:
        """End the recording at once."""
        self._recording.over = True

    def is_watched(self, module: torch.nn.Module) -> bool:
        """Whether a module belongs to a recorded model."""
        return id(module) in self.watched

    def adopt(self, name: str, module: torch.nn.Module) -> None:
        """Watch a module and all modules below it; a model may get new ones while it runs."""
        compiled: set[str] = set()
        for path, below in walk(name, module, ()):
            watched = self.watched.get(id(below))
            if watched is None:
                watched = self.watch(below, path)
                if watched.scripted:
                    compiled.add(path)
                    if path.rpartition(".")[0] in compiled:
                        self.unseen.append(path)
                else:
                    self._by_hooks[id(below.__dict__.get(FORWARD_HOOKS))] = watched
            elif path not in watched.names:
                watched.names.append(path)
                watched.muted = watched.muted and not self._selected(path)

    def watch(self, module: torch.nn.Module, path: str) -> Watched:
        """Watch one module, at this path."""
        muted = id(module) not in self._roots and not self._selected(path)
        watched = self.watched[id(module)] = Watched(module, path, muted)
        return watched

    # -- modules that are made while another runs ---------------------------------------------------------

    def made(self, module: torch.nn.Module, frame: FrameType) -> None:
        """A module was made, by code that this frame runs."""
        recording = self._recording
        if recording.stack and not (recording.over or recording.busy or isinstance(module, _OF_TORCH)):
            recording.hook(self._watch_made, module, frame)

    def _watch_made(self, module: torch.nn.Module, frame: FrameType) -> Watched | None:
        """Watch a module that was made while another runs; it gets its name when it is called."""
        running = self._recording.stack[-1]
        if running.muted:
            return None
        key = id(module)
        watched = self.watch(module, _below(running, module))
        watched.names.clear()
        watched.module = None  # a model may make some in each forward, and none of them has to stay

        def forget() -> None:
            if self.watched.get(key) is watched:
                del self.watched[key]
                self.remember(watched)

        self._made.when_gone(module, forget)
        return watched

    def remember(self, watched: Watched) -> None:
        """Remember what was seen of a module that is gone."""
        watched.module, watched.children = None, ()
        if watched.names and len(self._gone) < _GONE:
            self._gone.setdefault(watched.names[0], watched)

    def _name(self, watched: Watched, module: torch.nn.Module) -> str:
        """Choose among the paths of a module; one that was made while another ran may have none yet."""
        stack = self._recording.stack
        caller = stack[-1] if stack else None
        if not watched.names:
            running = None if caller is None else caller.module
            inside = walk(running.name, running.owner, ()) if running is not None else ()
            path = next((path for path, below in inside if below is module), _below(caller, module))
            self.adopt(path, module)
        return _best_name(watched.names, caller)

    def went_around(self) -> list[str]:
        """Tell, in sentences, of which modules calls can have gone around whatever we watch."""
        return went_around([*self.watched.values(), *self._gone.values()])

    def dropped(self, forward: int) -> None:
        """Note that a forward is not kept; parameters that belong to it are recorded with a later one."""
        for watched in self.watched.values():
            if watched.described == forward:
                watched.described = None

    # -- a call: these run inside Recording.hook --------------------------------------------------------

    def enter(
        self, watched: Watched, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType
    ) -> Call | None:
        """Begin the step of a module call; `frame` is that of its caller, or one inside of it."""
        recording = self._recording
        stack = recording.stack
        if watched.muted:
            return recording.mute(module) if stack else None
        caller: FrameType | None = frame
        while caller is not None and caller.f_code.co_filename in BETWEEN:
            caller = caller.f_back
        names = watched.names
        name = names[0] if len(names) == 1 else self._name(watched, module)
        code, at = (None, 0) if caller is None else (caller.f_code, caller.f_lasti)
        known = watched.places.get((id(code), at, name))
        where = self._place(watched, name, at, caller) if known is None else known[1]
        if kwargs or len(args) > len(watched.parameters):
            arguments = bind_arguments(watched.forward, args, kwargs)
        elif len(args) == 1:
            arguments = {watched.parameters[0]: args[0]}
        else:
            arguments = dict(zip(watched.parameters, args, strict=False))
        call = recording.enter(where, module, arguments)
        if call.parent is None and self.forwards is not None:
            self.forwards.begin(call, caller)
        call.body = code_of(module.forward) if "forward" in module.__dict__ else watched.body
        if watched.described is None:
            self.describe(watched, call, module)
        return call

    def describe(self, watched: Watched, call: Call, module: torch.nn.Module) -> None:
        """Record the parameters of a module with the first of its calls."""
        watched.described = call.forward
        self._recording.see(call, schema.PARAMETER, own_parameters(module))
        if self.on_described is not None:
            self.on_described(call.name, module)

    def leave(self, call: Call, result: Any, raised: bool) -> None:
        """End the step of a module call."""
        if call.parent is None and self.forwards is not None and not call.muted:
            self.forwards.end(call, result, raised)
        self._recording.leave(call, result, raised)
        if self.on_left is not None and not raised:
            self.on_left(call, result)
        if self._advance is not None:
            self._advance()

    def _place(self, watched: Watched, name: str, at: int, caller: FrameType | None) -> Place:
        """The place of calls from one point of the code. It is remembered by the id of that code, which stays unique
        since the code is kept: its own hash goes through all of its names and constants, each time."""
        ours = caller is None or caller.f_code.co_filename.startswith(_OURS)
        site = NOWHERE if ours or caller is None else call_site(caller)
        self._writer.keep_source(site.file)
        self._writer.keep_source(watched.definition.file)
        where = place(schema.MODULE, name, watched.type, site, watched.definition)
        if len(watched.places) >= _PLACES:  # of code that is made anew for each forward
            watched.places.clear()
        code = None if caller is None else caller.f_code
        watched.places[id(code), at, name] = code, where
        return where


def _below(caller: Call | None, module: torch.nn.Module) -> str:
    """The path of a module that is no part of the one that calls it."""
    return f"{'' if caller is None else caller.scope}.{type(module).__name__}".lstrip(".")


def _best_name(names: list[str], caller: Call | None) -> str:
    """Choose among several paths of a module the one below the module that calls it."""
    above = None if caller is None else caller.module
    while above is not None:
        below = [n for n in names if n.startswith(f"{above.name}." if above.name else "") and n != above.name]
        if below:
            return min(below, key=len)
        above = above.parent.module if above.parent is not None else None
    return names[0]


@lru_cache(maxsize=4096)
def defined(function: Callable[..., Any]) -> Site:
    """Where a function is defined; `NOWHERE` if it is not written in Python."""
    code = code_of(function)
    return NOWHERE if code is None else Site(code.co_filename, code.co_firstlineno)


def _forward(self: Any, *args: Any) -> None:
    """Takes the place of a forward that is not written in Python."""


def walk(
    name: str, module: torch.nn.Module, above: tuple[torch.nn.Module, ...]
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield every path to every module below one; a module may have several paths, and even be below itself."""
    waiting = [(name, module, above)]
    while waiting:
        name, module, above = waiting.pop()
        yield name, module
        children = (
            children_of(module) if not isinstance(module, torch.jit.ScriptModule) else dict(module.named_children())
        )
        waiting += [
            (f"{name}.{key}" if name else key, child, (*above, module))
            for key, child in reversed(children.items())
            if child is not None and child is not module and all(child is not a for a in above)
        ]


def own_parameters(module: torch.nn.Module) -> dict[str, Any]:
    """The parameters of a module itself, without those of modules below it."""
    if isinstance(module, torch.jit.ScriptModule):
        return dict(module.named_parameters(recurse=False))
    return {name: parameter for name, parameter in parameters_of(module).items() if parameter is not None}
