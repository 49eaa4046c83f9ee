"""Takes the token prints of tensors (`tftrace.trace.prints`) when each is first seen.

Prints computed on an accelerator stay there until rows are written, so that nothing waits for the device before; where
Triton drives it, they come of the launch that makes the statistics (`fused`), and equal those of `_prints.c`."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...trace import schema
from ...trace.prints import LANES, PrintsWriter, axes, weights
from .fetched import fetched
from .fused.device_weights import device_weights
from .fused.launch import Fused, Print
from .identity import NUMBER, SUMMARY, Record
from .kept_values import Values, is_weight
from .plain_memory import address, held
from .stats import PLAIN

try:
    from . import _prints as compiled
except ImportError:  # as for `_stats`
    compiled = None  # type: ignore[assignment]

BUDGET = 64 << 20  # bytes of prints that a recording keeps
FULL = "The room for token prints was full, so that tensors of later steps have none."
_AXIS_BITS = 2  # that hold the axis of a print beside the number of its tensor
_REAL = frozenset(("float16", "bfloat16", "float32", "float64"))  # as records name them
# Takes a record, its tensor, a step's name, a role, and which part of what the screen shows it is.
Keeper = Callable[[Record, torch.Tensor, str, str, str], None]
_Way = tuple[int, int, int, int, np.ndarray]  # axis, rows, tokens, bytes of the print, weights


class TokenPrints:
    """The prints of one rank's floating-point tensors of two to four axes, except weights and tensors kept whole.

    Args:
        rank_folder: The folder of the rank.
        kept: The numbers of tensors that are kept whole; their prints can be made from the values at any time.
        fused: Launches kernels for tensors on accelerators, where it can.

    Attributes:
        full: Whether there was no more room for prints.
        before: Called before prints are written; an exception from it prevents that.
    """

    def __init__(self, rank_folder: Path, kept: Container[int], fused: Fused | None = None) -> None:
        self._writer, self._kept, self._fused = PrintsWriter(rank_folder), kept, fused
        if fused is not None:
            fused.printing = True
        self._seen: set[int] = set()
        # By number and axis, in one integer: what was found, and its way. Nothing here is an object that the garbage
        # collector counts: as one for each tensor, they brought on collections of the whole heap.
        self._waiting: dict[int, Any] = {}
        self._ways: dict[int, _Way] = {}
        self._left = BUDGET
        self.full = False
        self.before: Callable[[], None] = lambda: None

    def keep(self, record: Record, tensor: torch.Tensor, name: str, role: str, part: str = "") -> None:
        """Take the prints of a tensor, unless it has none or has them; `name` and `part` do not matter."""
        number, shape = record[NUMBER], record[1]
        if number in self._seen or self.full or role == schema.PARAMETER:
            return
        self._seen.add(number)
        if record[2] not in _REAL or number in self._kept:
            return
        try:
            if is_weight(tensor) or tensor.layout is not torch.strided or tensor.is_meta:
                return
            if type(tensor) not in PLAIN:
                tensor = held(tensor)
                shape = tuple(tensor.shape)
            launched = self._launched(record, tensor)
            for way in _ways(shape):
                self._take(number, tensor, way, launched)
        except Exception:  # a subclass may raise anything, and no print is worth a forward
            return

    def _launched(self, record: Record, tensor: torch.Tensor) -> tuple[Print, ...]:
        """The prints that a kernel takes of a tensor on an accelerator: with its statistics, or now."""
        if self._fused is None or tensor.is_cpu:
            return ()
        measured = getattr(record[SUMMARY], "measured", None)  # of an `Owed`
        return (measured.prints_of(tensor) if measured is not None else ()) or self._fused.prints(tensor)

    def _take(self, number: int, tensor: torch.Tensor, way: _Way, launched: tuple[Print, ...]) -> None:
        axis, _, _, size, by = way
        if size > self._left:
            self.full = True
            if self._fused is not None:
                self._fused.printing = False
            return
        found: Any = next((one for one in launched if one.axis == axis), None)
        if found is None and compiled is not None and tensor.is_cpu and not tensor.is_neg():
            found = compiled.prints(tensor, axis, by)
        if found is None:
            if not address(tensor):  # one within vmap: what torch makes of it cannot be read once vmap has ended
                return
            found = _by_torch(tensor.detach(), axis)
            if type(found) is not torch.Tensor or not address(found):  # the numbers of a wrapper are elsewhere
                return
            if found.is_cpu:  # at once: when rows are written, a transform may run in which it cannot be read
                found = found.numpy().tobytes()
        key = number << _AXIS_BITS | axis
        self._waiting[key], self._ways[key] = found, way
        self._left -= size

    def drop(self, number: int) -> None:
        """Forget the prints of a tensor, if they have not been written yet."""
        self._seen.discard(number)
        for key in range(number << _AXIS_BITS, number + 1 << _AXIS_BITS):
            if self._waiting.pop(key, None) is not None:
                self._left += self._ways.pop(key)[3]

    def write(self) -> None:
        """Write the prints taken since the last call; this waits for accelerators that still compute some."""
        waiting, self._waiting = self._waiting, {}
        ways, self._ways = self._ways, {}
        if not waiting:
            return
        self.before()
        if any(found.__class__ is not bytes for found in waiting.values()):
            waiting |= {key: found.content for key, found in waiting.items() if isinstance(found, Print)}
            owed = {key: found for key, found in waiting.items() if not isinstance(found, bytes)}
            waiting |= zip(owed, [one.numpy().tobytes() for one in fetched([*owed.values()])], strict=True)
        form = [[way[at] for way in ways.values()] for at in range(3)]  # axes, rows, tokens
        self._writer.append([[key >> _AXIS_BITS for key in waiting], *form, [*waiting.values()]])

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._writer.abandon()


def keeper(values: Values | None, prints: TokenPrints | None) -> Keeper | None:
    """Make the function that keeps tensors whole, or else their prints; None if neither is wanted."""
    if values is None or prints is None:
        return values.keep if values is not None else prints.keep if prints is not None else None

    def keep(record: Record, tensor: torch.Tensor, name: str, role: str, part: str) -> None:
        values.keep(record, tensor, name, role, part)
        prints.keep(record, tensor, name, role)

    return keep


def ways(tensor: torch.Tensor) -> tuple[_Way, ...]:
    """The prints that a plain tensor has, unless it is a weight."""
    real = str(tensor.dtype).removeprefix("torch.") in _REAL
    return _ways(tuple(tensor.shape)) if real else ()


@lru_cache(maxsize=4096)
def _ways(shape: tuple[int, ...]) -> tuple[_Way, ...]:
    """The prints that a tensor of this shape has."""
    found = []
    for axis in axes(shape):
        rows, tokens = shape[0] if axis else 1, shape[axis]
        by = weights(math.prod(shape) // (rows * tokens)).astype(np.float64)  # so that none has to be converted again
        found.append((axis, rows, tokens, 4 * rows * tokens * LANES, by))
    return tuple(found)


def _by_torch(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """Do what `print_of` does on the tensor's own device; float32 of shape [rows, tokens, LANES]."""
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64
    ahead = tensor.unsqueeze(0) if axis == 0 else tensor.movedim(axis, 1)
    flat = ahead.flatten(2).to(wide) * device_weights(ahead.shape[2:].numel(), tensor.device, wide)
    padded = torch.nn.functional.pad(flat, (0, -flat.size(2) % LANES))
    return padded.view(*flat.shape[:2], -1, LANES).sum(2).to(torch.float32)
