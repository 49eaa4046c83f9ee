"""Names that nobody promises to keep: what each is for, whether it is there, and what happens where it is gone."""

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
    """What happens where a name is gone."""

    STOPS = "recording cannot start"
    LESS = "recording goes on with less, and the trace says so"
    ELSE = "something beside recording fails, or takes longer"


@dataclass(frozen=True)
class Private:
    """A private name: `torch.overrides:_push_mode` is `_push_mode` of the module torch.overrides.

    `without` says what is the case without it. Only a recording of `level` feels it, if there is one. `made` gives an
    object that has the name, where its class has not."""

    path: str
    purpose: str
    without: str
    then: Then
    since: str
    level: str = ""
    made: Callable[[], object] | None = None

    @property
    def module(self) -> str:
        """The module that it is found in."""
        return self.path.partition(":")[0]

    @property
    def parts(self) -> list[str]:
        """The attributes that lead to it from there; none, if it is the module."""
        return self.path.partition(":")[2].split(".") if ":" in self.path else []

    @property
    def name(self) -> str:
        """The name itself."""
        return self.path.replace(":", ".").rpartition(".")[2]

    @property
    def library(self) -> str:
        """Whose name it is."""
        package = self.module.partition(".")[0]
        return "Python" if package in sys.stdlib_module_names else package

    def owner(self) -> Any:
        """The class or the module that has it. Raises ImportError or AttributeError where that is gone."""
        at: Any = import_module(self.module)
        for part in self.parts[:-1]:
            at = getattr(at, part)
        return at

    def find(self, instead: Any = None) -> Any:
        """What stands under the name at this moment, or `instead`."""
        try:
            at = self.made() if self.made is not None else self.owner()
        except (ImportError, AttributeError):
            return instead
        return getattr(at, self.name, instead) if self.parts else at

    def there(self) -> bool:
        """Whether it exists."""
        return self.find(_ABSENT) is not _ABSENT

    def loss(self) -> str:
        """In a sentence, what is the case because it is gone."""
        found = platform.python_version() if self.library == "Python" else version(self.library)
        return f"{self.without}: {self.library} {found} has no {self.path.replace(':', '.')}."


class Register:
    """The names that a program leans on. `known` says with which versions of a library it is known to work."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known
        self.names: list[Private] = []
        self.gone: list[Private] = []  # of those that are looked for at once

    def later(
        self, path: str, purpose: str, without: str, then: Then = Then.LESS, since: str = "torch 2.6", **more: Any
    ) -> Private:
        """A name that is looked for when it is needed, since its module is not imported for nothing."""
        self.names.append(Private(path, purpose, without, then, since, **more))
        return self.names[-1]

    def bind(self, path: str, purpose: str, without: str, *rest: Any, instead: Any = _ABSENT, **more: Any) -> Any:
        """What stands under a name now. Where it is gone: `instead`, or else something that may be derived from, but
        whoever makes one, or calls it as a function, gets a TraceError."""
        one = self.later(path, purpose, without, *rest, **more)
        found = one.find(_ABSENT)
        if found is not _ABSENT:
            return found
        self.gone.append(one)
        return self._refusal(one) if instead is _ABSENT else instead

    def name(self, path: str, purpose: str, without: str, *rest: Any, **more: Any) -> str:
        """A name of an attribute, which is looked for now."""
        self.bind(path, purpose, without, *rest, instead=None, **more)
        return self.names[-1].name

    def require(self) -> None:
        """Raise TraceError where a name is gone without which nothing can be recorded."""
        for one in self.gone:
            if one.then is Then.STOPS:
                raise self._error(one)

    def losses(self, level: str) -> list[str]:
        """What a recording of this level lacks, in sentences. Looks for names only in modules that are loaded."""
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
