"""Private names of libraries: what each is for, whether it exists, and what happens without it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from importlib.metadata import version
from typing import Any

from ..errors import TraceError

_ABSENT = object()


class Then(Enum):
    """What happens if a name is gone."""

    STOPS = "recording cannot start"
    LESS = "recording goes on with less, and the trace says so"
    ELSE = "something beside recording fails, or takes longer"


@dataclass(frozen=True)
class Private:
    """A private name.

    Attributes:
        path: Its module and the way from there: `torch.overrides:_push_mode` is `_push_mode` in torch.overrides.
        purpose: What it is used for.
        without: What is the case without it.
        then: Whether recording stops, goes on with less, or is not affected.
        since: The oldest supported version of the library, which has it.
        level: The only level at which a recording needs it; empty for all.
        made: Makes an object that has the name, if the class does not have it.
    """

    path: str
    purpose: str
    without: str
    then: Then
    since: str
    level: str = ""
    made: Callable[[], object] | None = None

    @property
    def module(self) -> str:
        """The module that it is in."""
        return self.path.partition(":")[0]

    @property
    def parts(self) -> list[str]:
        """The attributes that lead to it from the module; none if it is the module itself."""
        return self.path.partition(":")[2].split(".") if ":" in self.path else []

    @property
    def name(self) -> str:
        """The name itself."""
        return self.path.replace(":", ".").rpartition(".")[2]

    @property
    def library(self) -> str:
        """The library that it belongs to."""
        package = self.module.partition(".")[0]
        return "Python" if package in sys.stdlib_module_names else package

    def owner(self) -> Any:
        """The class or module that has it.

        Raises:
            ImportError: The module is gone.
            AttributeError: The class is gone.
        """
        at: Any = import_module(self.module)
        for part in self.parts[:-1]:
            at = getattr(at, part)
        return at

    def find(self, instead: Any = None) -> Any:
        """What the name refers to now; `instead` if it is gone."""
        try:
            at = self.made() if self.made is not None else self.owner()
        except (ImportError, AttributeError):
            return instead
        return getattr(at, self.name, instead) if self.parts else at

    def there(self) -> bool:
        """Whether it exists."""
        return self.find(_ABSENT) is not _ABSENT

    def loss(self) -> str:
        """Say in one sentence what is the case because it is gone."""
        found = platform.python_version() if self.library == "Python" else version(self.library)
        return f"{self.without}: {self.library} {found} has no {self.path.replace(':', '.')}."


class Register:
    """The private names that a program relies on.

    Args:
        known: The versions of each library with which the program is known to work.

    Attributes:
        names: All names.
        gone: The names that were looked up at once and are gone.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known
        self.names: list[Private] = []
        self.gone: list[Private] = []

    def later(
        self, path: str, purpose: str, without: str, then: Then = Then.LESS, since: str = "torch 2.6", **more: Any
    ) -> Private:
        """Register a name that is looked up only when it is needed, so that its module is not imported in vain.

        The arguments are those of `Private`.
        """
        self.names.append(Private(path, purpose, without, then, since, **more))
        return self.names[-1]

    def bind(self, path: str, purpose: str, without: str, *rest: Any, instead: Any = _ABSENT, **more: Any) -> Any:
        """Register a name and look it up.

        Returns:
            What the name refers to. If it is gone, `instead`; without that, a class from which others may be derived,
            but which raises TraceError when it is called.
        """
        one = self.later(path, purpose, without, *rest, **more)
        found = one.find(_ABSENT)
        if found is not _ABSENT:
            return found
        self.gone.append(one)
        return self._refusal(one) if instead is _ABSENT else instead

    def name(self, path: str, purpose: str, without: str, *rest: Any, **more: Any) -> str:
        """Register the name of an attribute and check that it exists; return the name itself."""
        self.bind(path, purpose, without, *rest, instead=None, **more)
        return self.names[-1].name

    def require(self) -> None:
        """Raise TraceError if a name is gone without which nothing can be recorded."""
        for one in self.gone:
            if one.then is Then.STOPS:
                raise self._error(one)

    def losses(self, level: str) -> list[str]:
        """Say, in sentences, what a recording at this level lacks; names are looked up only in loaded modules."""
        loaded = [one for one in self.names if one.made is None and one.module in sys.modules]
        less = [one for one in loaded if one.then is Then.LESS and one.level in ("", level)]
        gone = [one for one in less if one in self.gone or not one.there()]
        return list({one.without: one.loss() for one in reversed(gone)}.values())

    def _error(self, one: Private) -> TraceError:
        known = f"install {one.library} {self._known[one.library]}, with which tftrace is known to work"
        return TraceError(f"{one.loss().rstrip('.')}; {known}.")

    def _refusal(self, one: Private) -> type:
        class Gone:
            def __init__(gone, *args: Any, **kwargs: Any) -> None:
                raise self._error(one)

        return Gone
