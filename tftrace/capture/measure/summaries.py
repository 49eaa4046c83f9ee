"""Statistics of tensors: computed at once on the host, and read from accelerators when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .device_stats import DeviceSums
from .fused.launch import Fused, Measured
from .kept_values import is_weight
from .plain_memory import held
from .stats import PLAIN, plain_summary
from .summary import NO_NUMBERS


class Owed:
    """Takes the place of statistics that an accelerator still computes, and later holds them.

    A tensor's record may be needed in rows long after, so the statistics live in this object, as long as it is needed.

    Attributes:
        summary: The statistics, once they have been read.
        measured: What was launched for them, with prints that were taken in the same launch; None once it was read.
    """

    __slots__ = ("measured", "summary")

    def __init__(self, measured: Measured | None = None) -> None:
        self.summary: tuple[Any, ...] = NO_NUMBERS
        self.measured = measured


class Summaries:
    """The statistics of the tensors of one recording.

    Args:
        fused: Launches kernels for tensors on accelerators, where it can.
    """

    def __init__(self, fused: Fused | None = None) -> None:
        self._sums = DeviceSums(fused)
        self._owed: list[Owed] = []  # in the order of `DeviceSums.read()`
        self._any = False  # whether there ever was a tensor on an accelerator

    @property
    def ready(self) -> bool:
        """Whether no statistics are owed by an accelerator."""
        return not self._owed

    def of(self, tensor: torch.Tensor) -> Any:
        """Return the statistics of a tensor, or an `Owed` in their place."""
        if type(tensor) not in PLAIN:
            tensor = held(tensor)
        if tensor.is_cpu or tensor.is_meta:
            return plain_summary(tensor)
        self._sums.add(tensor, not is_weight(tensor))
        self._any = True
        self._owed.append(owed := Owed(self._sums.latest))
        return owed

    def __call__(self, found: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Resolve statistics.

        Args:
            found: What `of` returned.

        Returns:
            The statistics; if an accelerator owes any, they are all read at once, which waits for it.
        """
        if self._owed:
            owed, self._owed = self._owed, []
            for one, summary in zip(owed, self._sums.read(), strict=True):
                one.summary, one.measured = tuple(summary), None
        return [one.summary if one.__class__ is Owed else one for one in found] if self._any else found
