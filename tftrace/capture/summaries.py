"""Statistics of tensors wherever they are: at once on the host, and on accelerators when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .stats import Summary, summarize


class Summaries:
    """The statistics of one recording."""

    ready = True  # whether all that was asked for is known on the host

    def of(self, tensor: torch.Tensor) -> Any:
        """The tensor's statistics, or what stands for them until `__call__`."""
        return tuple(summarize(tensor))  # a plain tuple, which the garbage collector leaves alone

    def __call__(self, found: Sequence[Any]) -> Sequence[Summary]:
        """The statistics that these stand for."""
        return found
