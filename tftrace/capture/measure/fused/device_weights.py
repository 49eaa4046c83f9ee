"""The weights of token prints, made on a device."""

from __future__ import annotations

from functools import lru_cache

import torch

from ....trace.prints import MIXED, SEED


@lru_cache(maxsize=64)
def device_weights(count: int, device: torch.device, wide: torch.dtype) -> torch.Tensor:
    """Make `weights` on a device: a copy from the host would wait for everything that the device still has to do."""
    with torch.inference_mode(False):
        mixed = torch.arange(1, count + 1, device=device) * _signed(SEED)
        for shift, factor in MIXED:
            mixed = (mixed ^ _shifted(mixed, shift)) * _signed(factor)
        mixed = mixed ^ _shifted(mixed, 31)
        return ((_shifted(mixed, 11).to(wide) * 2.0**-52 - 1) * 3**0.5).to(torch.float32).to(wide)


def _signed(number: int) -> int:
    """The same 64 bits read as a signed integer, since torch has no unsigned ones."""
    return number - (1 << 64) if number >> 63 else number


def _shifted(numbers: torch.Tensor, by: int) -> torch.Tensor:
    """Shift to the right as for unsigned numbers, filling with zeros."""
    return (numbers >> by) & ((1 << (64 - by)) - 1)
