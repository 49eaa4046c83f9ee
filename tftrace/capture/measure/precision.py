"""How exactly tensors are stored, and products of float32 computed. That belongs to the device that computes them: a
program that allows TF32 on a GPU changes nothing on the host."""

from __future__ import annotations

from typing import Any

import torch

from ..torch_internals import has_amx

UNIT = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}  # unit roundoff
_COARSE = {"tf32": 2.0**-10, "bf16": UNIT[torch.bfloat16]}  # TF32 may cut off digits instead of rounding
_FINE = UNIT[torch.float32]


class Precision:
    """The unit roundoff of products of float32, as it was set when this was made."""

    def __init__(self) -> None:
        self._units = {
            (device, windows): _COARSE.get(_setting(device, windows), _FINE)
            for device in ("cpu", "cuda")
            for windows in (False, True)
        }
        self._others = _COARSE["bf16"] if _legacy() != "highest" else _FINE

    def unit(self, device: str, windows: bool) -> float:
        """Of products on a kind of device, of sliding windows (convolutions) or matrices; autocast is looked at now."""
        if torch.is_autocast_enabled(device):
            return UNIT.get(torch.get_autocast_dtype(device), UNIT[torch.bfloat16])
        return self._units.get((device, windows), self._others)


def _setting(device: str, windows: bool) -> str:
    """What may be computed instead of float32: tf32 or bf16."""
    if device == "cpu":
        found = _new(torch.backends.mkldnn, windows) or {"medium": "bf16"}.get(_legacy(), "")
        return found if has_amx() else ""  # the only hosts that have products of these
    library: Any = torch.backends.cudnn if windows else torch.backends.cuda.matmul
    try:
        return "tf32" if library.allow_tf32 else ""
    except RuntimeError:  # the program has set it by the newer names
        return _new(torch.backends.cudnn if windows else torch.backends.cuda, windows)


def _new(library: Any, windows: bool) -> str:
    """What is set by the names of torch 2.9, if they are there."""
    return str(getattr(getattr(library, "conv" if windows else "matmul", None), "fp32_precision", ""))


def _legacy() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the program has set it by the newer names
        return "highest"
