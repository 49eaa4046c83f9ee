"""Which forwards of a program are recorded: of which models, how many, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from ..errors import TraceError
from ..navigate.condition import parse

# What only passes a call on: the model is what it holds.
_WRAPPERS = frozenset({"DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule"})


@dataclass(frozen=True)
class Choice:
    """What is wanted of the outermost module calls of a program; each model's calls are counted by themselves.

    `model_class` is a glob pattern of class names, of a module's own class or of one that it derives from; `when` is a
    condition on steps, one of which must meet it (`tftrace.navigate.condition`, with names of tensors)."""

    model_class: str | None = None
    skip: int = 0
    every: int = 1
    max_forwards: int | None = None
    when: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("skip", 0), ("every", 1), ("max_forwards", 1)):
            number = getattr(self, name)
            if number is not None and number < least:
                raise TraceError(f"{name.replace('_', '-')} is {number}: it must be {least} or more.")

        if self.when is not None:
            parse(self.when, tensors=True)

    def fits(self, kind: type) -> bool:
        """Whether modules of this class may be the outermost of a forward."""
        return _fits(kind, self.model_class)

    def counts(self, number: int) -> bool:
        """Whether the call of this number, from 0, of one model is wanted."""
        return number >= self.skip and (number - self.skip) % self.every == 0


def is_model(kind: type) -> bool:
    """Whether a class of modules does more than pass a call on."""
    return kind.__name__ not in _WRAPPERS


@lru_cache(maxsize=4096)
def _fits(kind: type, pattern: str | None) -> bool:
    if pattern is None:
        return is_model(kind)
    return any(fnmatchcase(base.__name__, pattern) for base in kind.__mro__[:-1])
