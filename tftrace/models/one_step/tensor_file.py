"""Writes tensors and NumPy arrays into one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file


def save(tensors: Mapping[str, Any], path: Path) -> None:
    """Write tensors by their names.

    Raises:
        OSError: The file cannot be written.
    """
    given = {
        name: one.contiguous() if isinstance(one, torch.Tensor) else torch.from_numpy(np.array(one, order="C"))
        for name, one in tensors.items()
    }
    save_file(given, path)
