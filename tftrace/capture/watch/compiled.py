"""Makes compiled models run eagerly while they are recorded, since compiled code calls no modules.

torch.compile returns a wrapper, which is a module itself; or a model is compiled in place, and the compiled call is put
into an attribute of it. Anything else stays compiled, such as a function that a model calls."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, wraps
from typing import Any

import torch

from ..patches import Layer, Patch
from ..torch_internals import COMPILED_CALL, COMPILED_FRAMES, COMPILER, FORCE_EAGER, ORIGINAL, STANCE, children_of

SAID = "tftrace runs the compiled model eagerly while it records."
UNSEEN = (
    "No call of the model was seen: if a function that was compiled with torch.compile calls it, "
    "record it within 'with torch.compiler.set_stance(\"force_eager\"):'."
)


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether a module is a wrapper made by torch.compile, or was compiled in place."""
    held = vars(module)
    return held.get(COMPILED_CALL) is not None or ORIGINAL in held or ORIGINAL in children_of(module)


def has_compiled() -> bool:
    """Whether torch.compile has compiled anything in this process."""
    return COMPILER in sys.modules and bool(COMPILED_FRAMES.find({"frames": {"total": 0}})["frames"]["total"])


class Eagerly:
    """Makes compiled code run eagerly during one recording.

    If nothing is compiled, torch's compiler is not even imported, since that takes longer than many a program.

    Args:
        is_recorded: Whether a module is recorded; compiled modules that are, or contain, one run eagerly.
        everything: Whether all compiled code runs eagerly.
    """

    def __init__(self, is_recorded: Callable[[torch.nn.Module], bool], everything: bool) -> None:
        self._is_recorded, self._everything = is_recorded, everything
        self._said = everything

    def attach(self) -> None:
        """Begin now, or as soon as something is compiled."""
        if COMPILER in sys.modules:
            self.begin()
        else:
            _COMPILE.put(self)

    def begin(self) -> None:
        """Begin; torch's compiler has been, or is being, imported."""
        if self._everything:
            self._eagerly()
        _CALL.put(self)
        _COMPILE.take(self)

    def remove(self) -> None:
        """Stop; the compiler is left as it was."""
        _COMPILE.take(self)
        _CALL.take(self)
        if COMPILER in sys.modules:
            for stance in _stances():
                stance.take(self)

    def _eagerly(self) -> None:
        for stance in _stances():
            stance.put(self)

    def all(self) -> None:
        """Let all compiled code run eagerly for the rest of the recording, and warn once that it does."""
        if not self._said:
            self._said = True
            with suppress(UserWarning):  # raised where warnings are turned into errors
                warnings.warn(SAID, stacklevel=3)
        self._eagerly()

    def called(self, module: torch.nn.Module) -> bool:
        """Whether a compiled module, which is being called, runs eagerly."""
        wanted = self._everything or any(map(self._is_recorded, module.modules()))
        if wanted:
            self.all()
        return wanted


@contextmanager
def eagerly() -> Iterator[None]:
    """Let all compiled code run eagerly in this block."""
    block = object()
    try:
        for stance in _stances():
            stance.put(block)
        yield
    finally:
        for stance in _stances():
            stance.take(block)


def _compiling(layer: Layer) -> Callable[..., Any]:
    original = layer.original

    @wraps(original)
    def compile(*args: Any, **kwargs: Any) -> Any:
        for recording in layer.watching():
            recording.begin()
        return original(*args, **kwargs)

    return compile


class _Call:
    """Replaces the attribute with a module's compiled call, which torch asks for at each call of a module.

    While the module is recorded it hides that call, and the wrapper that torch.compile made of it runs eagerly."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __get__(self, module: torch.nn.Module | None, kind: type) -> Any:
        compiled = None if module is None else vars(module).get(COMPILED_CALL)
        if module is None or torch.compiler.is_dynamo_compiling():
            return compiled
        if compiled is None and ORIGINAL not in children_of(module):
            return None
        return None if any(recording.called(module) for recording in self._layer.watching()) else compiled

    def __set__(self, module: torch.nn.Module, compiled: Any) -> None:
        vars(module)[COMPILED_CALL] = compiled

    def __delete__(self, module: torch.nn.Module) -> None:
        vars(module).pop(COMPILED_CALL, None)


_COMPILE = Patch(torch, "compile", _compiling)
_CALL = Patch(torch.nn.Module, COMPILED_CALL, _Call)


@lru_cache(maxsize=1)
def _stances() -> list[Patch]:
    """The setting that makes the compiler run everything eagerly, if it has one."""
    force = FORCE_EAGER.find()
    return [Patch(STANCE.owner(), STANCE.name, lambda layer: force("force_eager"))] if force and STANCE.there() else []
