"""The name by which a class or function can be found again elsewhere: of an installed library, or as the user's own."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import TraceError

OWN = "own_code"  # the module that the user's own classes are put into
_HOMES = ("torch", "torch.nn.functional", "torch.nn.init", "math", "operator", "builtins")  # of functions written in C


class NoName(TraceError):
    """Raised for a class or function without a name by which it could be found."""


def path_of(named: Any) -> tuple[str, ModuleType | None]:
    """`module:name` of a class or function, and its module if it is the user's own.

    Raises:
        NoName: It cannot be found again by name.
    """
    module, name = getattr(named, "__module__", None), getattr(named, "__qualname__", None) or named.__name__
    for home in (module, *_HOMES):
        if isinstance(home, str) and _at(home, name) is named:
            found = sys.modules[home]
            return (f"{home}:{name}", None) if is_library(found) else (f"{OWN}:{name}", found)
    raise NoName(f"is {name!r}, which has no name by which it could be found again")


def _at(module: str, name: str) -> Any:
    """What stands under a name in a module that is loaded."""
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
    except Exception:  # a module may raise anything
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def is_library(module: ModuleType) -> bool:
    """Whether a module belongs to Python or to an installed library."""
    file = getattr(module, "__file__", None)
    if module.__name__ == "__main__" or module.__name__.partition(".")[0] == "transformers_modules":
        return False
    return file is None or any(file.startswith(place) for place in _places())


@lru_cache(maxsize=1)
def _places() -> tuple[str, ...]:
    """The folders of Python and of what is installed."""
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    torch = sys.modules.get("torch")
    if torch is not None and torch.__file__ is not None:
        found.add(str(Path(torch.__file__).parents[1]))
    found |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return tuple(f"{place.rstrip('/')}/" for place in found if place)
