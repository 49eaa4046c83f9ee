"""Watches all models that a program calls, without knowing them in advance; each outermost module call is a forward."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import torch

from ...trace.writer import TraceWriter
from ..forward_choice import Choice, is_model
from ..recording import Recording
from ..torch_internals import FORWARD_HOOKS, getframe
from ..unseen.preparation import has_model, is_own_and_stateless, prepares
from .intercepted_calls import InterceptedCalls
from .watched_modules import BETWEEN, Watched

BETWEEN.add(__file__)


_NAMED = 4  # classes that a sentence names


class _Thread(threading.local):
    """Whether this thread is inside a forward that is not recorded, and what its last one counted as."""

    away = False
    besides = False


class ProgramHooks(InterceptedCalls):
    """Adopts the models of a program as it calls them, and forgets those that are gone.

    A model is named after its class, and the second of the same class gets a number: `Linear`, `Linear-2`. Modules that
    prepare data begin no forward; those that hold nothing and are not torch's are counted apart.

    Args:
        recording: Receives the steps.
        writer: Receives the source files.
        choice: Which forwards are recorded.
        describe: Called with each new model.

    Attributes:
        on_left_out: Called with the model or the code that begins a forward which is not recorded.
        on_adopted: Called when there are new modules.
    """

    _run_frames = 2

    def __init__(
        self, recording: Recording, writer: TraceWriter, choice: Choice, describe: Callable[[torch.nn.Module], None]
    ) -> None:
        super().__init__(recording, writer, {}, lambda path: True)
        self._choice, self._describe = choice, describe
        self._named: Counter[str] = Counter()
        self._calls: dict[int, int] = {}  # how often each model was the outermost call
        self._ends: dict[int, Any] = {}
        self._thread = _Thread()
        self._kept, self._beyond = [0, 0], [0, 0]  # forwards of models, and of modules besides
        self._prepared: Counter[str] = Counter()  # calls that prepare data, by class
        self._unclear, self._there = 0, False  # calls that do so if there is a model besides, and whether there is
        self.on_left_out: Callable[[Any], None] = lambda begun: None
        self.on_adopted: Callable[[], None] = lambda: None

    def run(
        self, inner: Callable[..., Any], module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run `inner`, which calls the module, as a step, if the forward that it begins or belongs to is wanted."""
        recording = self._recording
        if recording.over or recording.busy or recording.stack:
            return super().run(inner, module, args, kwargs)
        if self._thread.away or not self._choice.fits(type(module)):
            return inner(module, *args, **kwargs)
        if not recording.hook(self._prepares, module, args, kwargs, getframe(1)) and recording.hook(
            self.wanted, module
        ):
            return super().run(inner, module, args, kwargs)
        return self.aside(inner, module, *args, **kwargs)

    def aside(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run something without recording any of it."""
        self._thread.away = True
        try:
            return inner(*args, **kwargs)
        finally:
            self._thread.away = False

    def functions_begin(self) -> bool:
        """Whether a traced function may be the outermost step of a forward."""
        return self._choice.model_class is None and not self._thread.away

    def _prepares(self, module: torch.nn.Module, args: Any, kwargs: dict[str, Any], frame: FrameType) -> bool:
        """Whether a module that begins a forward only prepares data; if so, count it."""
        if self._choice.model_class is not None:
            return False
        found = prepares(module, args, kwargs, frame)
        if found is None:
            found = not self._is_part(module) and self._has_model()
        self._prepared[type(module).__name__] += found
        return found

    def _is_part(self, module: torch.nn.Module) -> bool:
        """Whether a module belongs to a model, whose method calls it."""
        watched = self.watched.get(id(module))
        return _whole(module) is not module if watched is None else any("." in name for name in watched.names)

    def _has_model(self) -> bool:
        """Whether there is a model with parameters, called or not; it is looked for less and less often."""
        self._unclear += 1
        self._there |= bool(self._named) or (self._unclear & (self._unclear - 1) == 0 and has_model())
        return self._there

    def wanted(self, begun: torch.nn.Module | CodeType) -> bool:
        """Count a forward, which a model or a function begins, and tell whether it is recorded."""
        besides = isinstance(begun, torch.nn.Module) and is_own_and_stateless(begun)
        self._thread.besides = besides
        if self._kept[besides] == self._choice.max_forwards:
            self._beyond[besides] += 1
            self.on_left_out(begun)
            return False
        if isinstance(begun, torch.nn.Module):
            self.find(begun)
        number = self._calls.get(id(begun), 0)
        self._calls[id(begun)] = number + 1
        wanted = self._choice.counts(number)
        self._kept[besides] += wanted
        if not wanted:
            self._recording.pass_over()
            self.on_left_out(begun)
        return wanted

    def dropped(self, forward: int) -> None:
        """Note that a forward is not kept, so that another may take its place."""
        super().dropped(forward)
        self._kept[self._thread.besides] -= 1

    def left_out(self) -> list[str]:
        """Say, in sentences, what was not recorded because there were enough forwards, or because it was none."""
        said = []
        if beyond := self._beyond[not self._named]:
            most = self._choice.max_forwards
            said.append(f"After {most} forwards there came {beyond} more: --max-forwards records more of them.")
        if prepared := [name for name, _ in (+self._prepared).most_common()]:
            named = ", ".join(prepared[:_NAMED]) + (", …" if len(prepared) > _NAMED else "")
            said.append(
                f"{self._prepared.total()} calls of modules that prepare data ({named}) are no forwards of a model: "
                "--model-class records them."
            )
        return said

    def find(self, module: torch.nn.Module) -> Watched | None:
        """Find the record of a called module; a new one is adopted, with the whole model that it belongs to."""
        found = super().find(module)
        if found is None:
            model = _whole(module)
            name = type(model).__name__
            if next(model.parameters(), None) is not None:  # else all are alike, such as a loss made for each forward
                self._named[name] += 1
                name = name if self._named[name] == 1 else f"{name}-{self._named[name]}"
            self._describe(model)
            self.adopt(name, model)
            found = self.watched.get(id(module))
            self.on_adopted()
        return found

    def watch(self, module: torch.nn.Module, path: str) -> Watched:
        """Watch one module only while it lives: a program may make any number of models."""
        watched = super().watch(module, path)
        watched.module = None
        end = weakref.finalize(module, self._forget, id(module), id(module.__dict__.get(FORWARD_HOOKS)))
        end.atexit = False
        self._ends[id(module)] = end
        return watched

    def forget(self) -> None:
        """Forget all modules."""
        super().forget()
        while self._ends:
            self._ends.popitem()[1].detach()

    def _forget(self, module: int, hooks: int) -> None:
        self._ends.pop(module, None)
        watched = self.watched.pop(module, None)
        if watched is not None:
            self.remember(watched)
        self._by_hooks.pop(hooks, None)
        self._calls.pop(module, None)


def _whole(module: torch.nn.Module) -> torch.nn.Module:
    """The model whose method calls this module, as `generate` calls the encoder; or else the module itself."""
    whole, frame = module, getframe(1).f_back
    while frame is not None:
        if frame.f_code.co_varnames[:1] == ("self",):
            caller = frame.f_locals.get("self")
            if isinstance(caller, torch.nn.Module) and caller is not whole and is_model(type(caller)):
                whole = caller if any(part is whole for part in caller.modules()) else whole
        frame = frame.f_back
    return whole
