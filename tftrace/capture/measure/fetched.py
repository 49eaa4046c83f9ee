"""Copies tensors from accelerators to the host, all at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .device_stats import wait


def fetched(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same tensors on the host, with one copy from each device; those that are there already are given back."""
    found = list(tensors)
    there: dict[torch.device, list[int]] = {}
    for at, tensor in enumerate(tensors):
        if not tensor.is_cpu:
            there.setdefault(tensor.device, []).append(at)
    for device, places in there.items():
        wait(device)
        places.sort(key=lambda at: -tensors[at].itemsize)  # so that each begins at a multiple of its elements
        flat = torch.cat([tensors[at].detach().reshape(-1).view(torch.uint8) for at in places]).cpu()
        parts = flat.split([tensors[at].nbytes for at in places])
        for at, part in zip(places, parts, strict=True):
            found[at] = part.view(tensors[at].dtype).view(tensors[at].shape)
    return found
