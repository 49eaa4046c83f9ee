"""Statistics of tensors wherever they are: at once on the host, and on accelerators when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .device_stats import DeviceSums
from .plain_memory import held
from .stats import PLAIN, summarize
from .summary import NO_NUMBERS


class Owed:
    """Stands for the statistics that an accelerator still computes. They are kept in here, not with who computed
    them: a tensor's record may come up in rows long after, and lives just as long as somebody needs it."""

    __slots__ = ("summary",)

    def __init__(self) -> None:
        self.summary: tuple[Any, ...] = NO_NUMBERS


class Summaries:
    """The statistics of one recording."""

    def __init__(self) -> None:
        self._sums = DeviceSums()
        self._owed: list[Owed] = []  # in the order of `DeviceSums.read`
        self._any = False  # whether there ever was a tensor on an accelerator

    @property
    def ready(self) -> bool:
        """Whether all that was asked for is known on the host."""
        return not self._owed

    def of(self, tensor: torch.Tensor) -> Any:
        """The tensor's statistics, or what stands for them until `__call__`."""
        if type(tensor) not in PLAIN:
            tensor = held(tensor)
        if tensor.is_cpu or tensor.is_meta:
            return tuple(summarize(tensor))  # a plain tuple, which the garbage collector leaves alone
        self._sums.add(tensor)
        self._any = True
        self._owed.append(owed := Owed())
        return owed

    def __call__(self, found: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """The statistics that these stand for; those that are still owed are read all at once, which waits."""
        if self._owed:
            owed, self._owed = self._owed, []
            for one, summary in zip(owed, self._sums.read(), strict=True):
                one.summary = tuple(summary)
        return [one.summary if one.__class__ is Owed else one for one in found] if self._any else found
