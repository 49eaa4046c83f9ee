"""See `_stats.c`."""

import torch

Found = tuple[float, float, float, float, float, int, int, int]

def summary(tensor: torch.Tensor) -> Found | None: ...
