"""The one registry of what stands, while recordings last, in the place of attributes of torch and of others.

A patch is put on with the first recording that asks for it and taken off with the last, in whatever order they end.
What it covers is what was found there, which may be somebody else's patch. Where somebody has patched over ours
meanwhile, theirs stays, and ours, which they call, passes on what it is called with.

An interruption may come between any two lines, and other threads too: so that nothing is ever half done, each step only
brings the attribute to what the holders of the moment ask for, and can be done again. No lock could be left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

_on: dict[int, Patch] = {}  # those that somebody holds
_ABSENT = object()
_MARK = "_tftrace_layer"


class Patch:
    """One attribute of a class or a module, and what stands in its place: what `make` gives, an object of its own.

    `copies` are modules that keep the attribute under another name, if they are imported while ours is there."""

    def __init__(self, owner: Any, name: str, make: Callable[[Layer], Any], copies: Iterable[tuple[str, str]] = ()):
        self.owner, self.name, self._make, self._copies = owner, name, make, tuple(copies)
        self.layer: Layer | None = None  # the one that works
        self.holders: tuple[Any, ...] = ()
        self._held: dict[Any, None] = {}

    def put(self, holder: Any) -> None:
        """Put it on, for one holder more."""
        _on[id(self)] = self
        self._held[holder] = None
        self.settle()

    def take(self, holder: Any) -> None:
        """Take it off, for one holder less; who holds it no longer may say so again."""
        if id(self) in _on:
            self._held.pop(holder, None)
            self.settle()

    def take_all(self) -> None:
        """Take it off for all."""
        self._held.clear()
        self.settle()

    def settle(self) -> None:
        """Bring the attribute to what its holders ask for, and again if they changed meanwhile in another thread."""
        while True:
            self.holders = held = tuple(self._held)
            if held:
                self._cover()
            else:
                self._uncover()
            if tuple(self._held) == held:
                return

    def _cover(self) -> None:
        _on[id(self)] = self
        raw = self._now()
        layer = self._ours(raw)
        if layer is None:
            layer = Layer(self, raw)
            layer.raw = self._make(layer)
            vars(layer.raw)[_MARK] = layer
            self.layer = layer
            _set(self.owner, self.name, layer.raw)
        self.layer = layer

    def _uncover(self) -> None:
        layer = self._ours(self._now())
        if layer is not None:
            _set(self.owner, self.name, layer.found)
            for module, name in self._copies:
                if vars(sys.modules.get(module, object)).get(name) is layer.raw:
                    setattr(sys.modules[module], name, layer.found)
        self.layer = None
        _on.pop(id(self), None)

    def _now(self) -> Any:
        return vars(self.owner).get(self.name, _ABSENT)

    def _ours(self, raw: Any) -> Layer | None:
        """The layer that this is, if it is one of ours; `functools.wraps` gives a mark away to who patches over it."""
        layer = vars(raw).get(_MARK) if hasattr(raw, "__dict__") else None
        return layer if isinstance(layer, Layer) and layer.patch is self and layer.raw is raw else None


class Layer:
    """What a patch covers, and whether it still does."""

    def __init__(self, patch: Patch, found: Any) -> None:
        self.patch, self.found = patch, found
        self.original: Any = found.__func__ if isinstance(found, staticmethod) else found
        self.raw: Any = None  # what stands over it

    def watching(self) -> tuple[Any, ...]:
        """The holders, whom to tell of a call; none where this is only passed through.

        One that should not be there, since who had patched over it has put it back, is taken off."""
        patch = self.patch
        if patch.layer is not self:
            patch.settle()
        return patch.holders if patch.layer is self else ()


class Undo:
    """Steps that leave all as it was, each of which does nothing where nothing is left to be done.

    If an interruption ends them, they are done once more by whoever catches it, or `surely`."""

    def __init__(self) -> None:
        self.steps: tuple[Callable[[], None], ...] = ()

    def surely(self) -> None:
        """All of them, where nobody would catch it."""
        try:
            self()
        except BaseException:
            self()
            raise

    def __call__(self) -> None:
        with ExitStack() as every:  # also those behind one that fails
            for step in reversed(self.steps):
                every.callback(step)


def replaced() -> list[str]:
    """What is replaced at this moment, for whoever wants to be sure that it is nothing."""
    return [f"{getattr(patch.owner, '__name__', patch.owner)}.{patch.name}" for patch in list(_on.values())]


def take_all() -> None:
    """Leave all as it was, whoever still records."""
    for patch in list(_on.values()):
        patch.take_all()


def _set(owner: type | ModuleType, name: str, value: Any) -> None:
    if value is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
