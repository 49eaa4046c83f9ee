"""See `_prints.c`."""

from typing import Any

import torch

def prints(tensor: torch.Tensor, axis: int, weights: Any, /) -> bytes | None: ...
