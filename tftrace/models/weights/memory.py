"""Checks before loading that a model's weights fit into memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import PreTrainedConfig

from ...errors import TraceError
from ..request import ModelOptions
from ..source.locate import Place

_SPARE = 256 << 20  # bytes reserved for the run itself
_HEADER = 100 << 20  # most bytes of a safetensors header
_WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_QUANTIZED = {"8bit": 1.0, "int8": 1.0, "4bit": 0.5, "int4": 0.5}  # bytes per weight


def check_memory(place: Place, config: PreTrainedConfig, empty: Callable[[], Any], options: ModelOptions) -> None:
    """Raise TraceError if the weights take more than the free memory.

    Weights are counted in the headers of safetensors files, or else in `empty()`, the model on the meta device."""
    if options.device_map is not None:
        return
    count, saved = None, None
    if not options.untrained and not options.settings and place.local:
        count, saved = count_weights(Path(place.path_or_id))
    if count is None:
        model = empty()
        count = sum(one.numel() for one in {id(one): one for one in model.parameters()}.values())
    need, free = int(count * _bytes_per_weight(config, options, saved)), free_memory(options.device)
    if need + _SPARE > free:
        fewer = "--shapes-only reads it without weights, --random --set num_hidden_layers=2 a smaller one"
        raise TraceError(
            f"{place.name} has {count / 1e9:.3g} billion weights, which take {_gigabytes(need)}, and "
            f"{_gigabytes(max(free - _SPARE, 0))} are free: {fewer}."
        )


def count_weights(folder: Path) -> tuple[int | None, float | None]:
    """Count the weights in a folder's safetensors files, without loading them.

    Returns:
        The number of weights and the mean bytes per weight; (None, None) if there are no readable files.
    """
    count = total = 0
    for file in folder.glob("*.safetensors"):
        try:
            with open(file, "rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(min(length, _HEADER)))
            for name, entry in header.items():
                if name != "__metadata__":
                    first, last = entry["data_offsets"]
                    total += last - first
                    count += (last - first) // _WIDTHS.get(entry["dtype"], 1)
        except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError):
            return None, None
    return (count, total / count) if count else (None, None)


def free_memory(device: str) -> int:
    """Free bytes on a device; on the host, the limit of a container counts too."""
    kind = torch.device(device)
    if kind.type == "cuda" and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(kind)[0])
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines()).get("file", "0")
        return min(free, limit - used + int(cached))
    except (OSError, ValueError):  # not in a container, or in one without a limit
        return free


def _bytes_per_weight(config: PreTrainedConfig, options: ModelOptions, saved: float | None) -> float:
    """Bytes per weight once it is loaded."""
    if options.quantize is not None:
        return _QUANTIZED[options.quantize.split("-")[1]]
    if options.dtype != "auto":
        return float(getattr(torch, options.dtype).itemsize)
    if saved is not None:
        return saved
    return float(config.dtype.itemsize) if isinstance(config.dtype, torch.dtype) else 4.0


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
