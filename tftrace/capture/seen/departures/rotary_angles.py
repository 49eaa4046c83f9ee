"""The angles of a rotary embedding, as its tables of cosines and sines have them."""

from __future__ import annotations

import math

import torch

from ..letters import thin
from ..proposal import Proposal

_MOST = 1 << 20  # numbers of a table that is read
_FAR = 3  # positions that the first row may be from 0; farther ones follow tokens that were read before


def rotary_angles(rotation: Proposal) -> Proposal | None:
    """The table of a rotation, where its frequencies fall from 1 as the powers of one base do."""
    if rotation.pattern != "rotary":
        return None
    cosines, sines = (_table(rotation.tensors[name]) for name in ("c", "s"))
    if cosines is None or sines is None or cosines.shape != sines.shape:
        return None
    if cosines.dtype not in (torch.float32, torch.float64) or min(cosines.shape) < 2:
        return None
    angles = torch.atan2(sines.double(), cosines.double())
    first = float(angles[0, 0])
    offset, steps = round(first), angles[1] - angles[0]
    if not 0 <= offset <= _FAR or abs(first - offset) > 1e-5 or abs(float(steps[0]) - 1) > 1e-5:
        return None
    pairs = cosines.shape[1]
    if not 0 < float(steps[1]) < 1:
        return None
    base = float(f"{float(steps[1]) ** -pairs:.4g}")
    frequencies = base ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
    meant = torch.outer(torch.arange(len(angles), dtype=torch.float64) + offset, frequencies)
    off = torch.maximum((meant.cos() - cosines).abs(), (meant.sin() - sines).abs())
    if not base > 1 or float(off.max()) > 1e-5 * (1 + len(angles)):
        return None
    found = Proposal("rotary-angles", rotation.since, {"c": cosines, "s": sines})
    found.values |= {"B": base, "o": float(offset)}
    return found


def _table(tensor: torch.Tensor) -> torch.Tensor | None:
    """A table with a row for each position; None where it is not the same for every text and head."""
    small = thin(tensor)
    shape = tensor.shape
    places = [at for at, size in enumerate(small.shape[:-1]) if size > 1]
    if len(places) != 1 or not math.prod(small.shape) <= _MOST or small.shape[-1] != shape[-1]:
        return None
    found = small.reshape(small.shape[places[0]], shape[-1])
    return found if found.is_cpu else None
