"""The one registry of attributes, of torch and others, that are replaced while recordings run.

A patch is applied for the first recording that needs it and removed after the last, in whatever order they end. It
covers whatever it finds, which may be somebody else's patch. If somebody has patched over ours meanwhile, theirs stays,
and ours, which they call, passes calls on.

An interruption, or another thread, may come between any two lines. So that nothing is ever left half done, each
operation only brings the attribute to what its holders need at that moment, and can be repeated. There is no lock,
since an interruption could leave it held."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

_on: dict[int, Patch] = {}  # patches that have holders
_ABSENT = object()
_MARK = "_tftrace_layer"


class Patch:
    """The replacement of one attribute of a class or a module.

    Args:
        owner: The class or module.
        name: The name of the attribute.
        make: Makes a new replacement.
        copies: Modules that keep a copy of the attribute, under another name, and take whatever is not it for strange.

    Attributes:
        layer: The replacement that is in use.
        holders: Those who need the patch now.
    """

    def __init__(self, owner: Any, name: str, make: Callable[[Layer], Any], copies: Iterable[tuple[str, str]] = ()):
        self.owner, self.name, self._make, self._copies = owner, name, make, tuple(copies)
        self.layer: Layer | None = None
        self.holders: tuple[Any, ...] = ()
        self._held: dict[Any, None] = {}

    def put(self, holder: Any) -> None:
        """Add a holder, and apply the patch."""
        _on[id(self)] = self
        self._held[holder] = None
        self.settle()

    def take(self, holder: Any) -> None:
        """Remove a holder, and the patch with the last; removing one again does nothing."""
        if id(self) in _on:
            self._held.pop(holder, None)
            self.settle()

    def take_all(self) -> None:
        """Remove all holders, and the patch."""
        self._held.clear()
        self.settle()

    def settle(self) -> None:
        """Apply or remove the patch as its holders need, and again if another thread has changed them meanwhile."""
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
        self._copy(layer.found, layer.raw)

    def _uncover(self) -> None:
        layer = self._ours(self._now())
        if layer is not None:
            _set(self.owner, self.name, layer.found)
            self._copy(layer.raw, layer.found)
        self.layer = None
        _on.pop(id(self), None)

    def _copy(self, old: Any, new: Any) -> None:
        """Let copies of the attribute follow it."""
        for module, name in self._copies:
            if vars(sys.modules.get(module, object)).get(name) is old:
                setattr(sys.modules[module], name, new)

    def _now(self) -> Any:
        return vars(self.owner).get(self.name, _ABSENT)

    def _ours(self, raw: Any) -> Layer | None:
        """The layer of a replacement, if it is ours; `functools.wraps` copies the mark to patches over it."""
        layer = vars(raw).get(_MARK) if hasattr(raw, "__dict__") else None
        return layer if isinstance(layer, Layer) and layer.patch is self and layer.raw is raw else None


class Layer:
    """One replacement of a patched attribute.

    Attributes:
        found: What the patch covers, as it was found.
        original: The function that the replacement calls.
        raw: The replacement.
    """

    def __init__(self, patch: Patch, found: Any) -> None:
        self.patch, self.found = patch, found
        self.original: Any = found.__func__ if isinstance(found, staticmethod) else found
        self.raw: Any = None

    def watching(self) -> tuple[Any, ...]:
        """The holders to tell of a call; none if this replacement is no longer in use, and only passes calls on.

        If it was put back by somebody who had patched over it, it is removed.
        """
        patch = self.patch
        if patch.layer is not self:
            patch.settle()
        return patch.holders if patch.layer is self else ()


class Undo:
    """Steps that restore everything; each does nothing if nothing is left to do.

    If an interruption cuts them short, whoever catches it, or `surely`, runs them again.
    """

    def __init__(self) -> None:
        self.steps: tuple[Callable[[], None], ...] = ()

    def surely(self) -> None:
        """Run all steps, and again after an interruption, which nobody else would catch."""
        try:
            self()
        except BaseException:
            self()
            raise

    def __call__(self) -> None:
        with ExitStack() as every:  # also those after one that fails
            for step in reversed(self.steps):
                every.callback(step)


@contextmanager
def named(owner: ModuleType, names: Mapping[str, Any]) -> Iterator[None]:
    """Let a module have these names for a while."""
    before = {name: getattr(owner, name, _ABSENT) for name in names}
    vars(owner).update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _ABSENT:
                vars(owner).pop(name, None)
            else:
                setattr(owner, name, value)


def replaced() -> list[str]:
    """The names of all attributes that are replaced now."""
    return [f"{getattr(patch.owner, '__name__', patch.owner)}.{patch.name}" for patch in list(_on.values())]


def take_all() -> None:
    """Remove all patches, even if something is still being recorded."""
    for patch in list(_on.values()):
        patch.take_all()


def _set(owner: type | ModuleType, name: str, value: Any) -> None:
    if value is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
