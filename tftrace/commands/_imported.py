"""Does something as soon as a module has been imported, without importing it: a program may never do so, or may want
to say something in its environment before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def when_imported(name: str, work: Callable[[], None]) -> None:
    """Call `work` once the module of this name has been imported; at once if it has been."""
    if name in sys.modules:
        work()
    else:
        sys.meta_path.insert(0, _Finder(name, work))


class _Finder(MetaPathFinder):
    """Finds nothing itself, but puts the work behind what the others find; being asked does not mean to import."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name, self._work, self._asking = name, work, False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name or self._asking:
            return None
        self._asking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            loading: Any = _Loader(spec.loader, self._imported)
            spec.loader = loading
        return spec

    def _imported(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self._work()


class _Loader:
    """A module's own loader, and the work after it."""

    def __init__(self, loader: Any, work: Callable[[], None]) -> None:
        self._loader, self._work = loader, work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, leave no trace of this in it, and do the work."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._work()
