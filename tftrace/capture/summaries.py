"""Statistics of tensors wherever they are: at once on the host, and on accelerators when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .identity import Record
from .stats import Summary, summarize


class Summaries:
    """The statistics of one recording."""

    ready = True  # whether all that was asked for is known on the host

    def of(self, tensor: torch.Tensor) -> Any:
        """The tensor's statistics, or what stands for them until `__call__`."""
        return summarize(tensor)

    def __call__(self, records: Sequence[Record]) -> list[Summary]:
        """The statistics of these records."""
        return [record.summary for record in records]
