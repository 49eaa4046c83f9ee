"""Writes tensors and NumPy arrays into one safetensors file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
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
    try:
        save_file(given, path)
    except SafetensorError as error:  # which tells the system's error only in words
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error
