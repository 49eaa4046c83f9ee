"""Chooses which forwards of a program are recorded: of which models, how many, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from ..errors import TraceError
from ..navigate.condition import parse

# Classes that only pass a call on to the model inside.
_WRAPPERS = frozenset({"DistributedDataParallel", "FullyShardedDataParallel", "ONNXTracedModule", "OptimizedModule"})


@dataclass(frozen=True)
class Choice:
    """Which outermost module calls of a program are recorded. The calls of each model are counted separately.

    Attributes:
        model_class: A glob pattern of class names, for a module's own class or a base class of it; None for any model.
        skip: How many calls to skip first.
        every: Record only every n-th call after that.
        max_forwards: Record at most this many calls of all models together.
        when: Keep only forwards with a step that meets this condition, as `tftrace.navigate.condition` parses it; it
            may name tensors.

    Raises:
        TraceError: A number is too small, or the condition cannot be parsed.
    """

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
        """Whether modules of this class may begin a forward."""
        return _fits(kind, self.model_class)

    def counts(self, number: int) -> bool:
        """Whether the n-th call of a model, from 0, is wanted."""
        return number >= self.skip and (number - self.skip) % self.every == 0


def is_model(kind: type) -> bool:
    """Whether a class of modules does more than pass calls on."""
    return kind.__name__ not in _WRAPPERS


@lru_cache(maxsize=4096)
def _fits(kind: type, pattern: str | None) -> bool:
    if pattern is None:
        return is_model(kind)
    return any(fnmatchcase(base.__name__, pattern) for base in kind.__mro__[:-1])
