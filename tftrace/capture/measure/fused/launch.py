"""Launches the kernels for a tensor: its statistics and prints, without waiting, where Triton drives its device.

Of what Triton does not drive, and of tensors that the kernels do not take (float64, float8, views with a pending sign
or of more than four separate axes, wrappers), the callers make the same with torch's own operations."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch

from ..plain_memory import address
from ..stats import PLAIN
from . import partials, shares
from .device_weights import device_weights
from .room import LARGEST, SMALLEST, Room

DRIVEN = frozenset({"cuda", "xpu"})  # types of devices; AMD's are called cuda as well
_SINGLE = frozenset({torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16})
_DOUBLE = frozenset({torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64})  # read as float64
_PRINTED = frozenset({torch.float32, torch.float16, torch.bfloat16})
FAILED = "Measuring tensors on the accelerator takes longer, as Triton could not run our kernel: {}"


class Print(NamedTuple):
    """A print on a device: its axis, and where its numbers lie."""

    axis: int
    room: Room
    begin: int
    numbers: int

    @property
    def content(self) -> bytes:
        """The print in bytes; this waits for the device, unless it has been waited for."""
        found: np.ndarray = self.room.read()[self.begin : self.begin + self.numbers // 2]
        return found.tobytes()


class Measured(NamedTuple):
    """What was launched for a tensor: the rows of its statistics, and prints of its shape and strides."""

    room: Room
    begin: int
    programs: int
    form: tuple[Any, ...]
    prints: tuple[Print, ...]

    @property
    def table(self) -> np.ndarray:
        """The rows; this waits for the device, unless it has been waited for."""
        return self.room.read()[self.begin : self.begin + self.programs * partials.WIDTH].reshape(-1, partials.WIDTH)

    def prints_of(self, tensor: torch.Tensor) -> tuple[Print, ...]:
        """The prints, if they are those of this view."""
        return self.prints if self.form == _form(tensor) else ()


class Fused:
    """What launches for the tensors of one recording.

    Attributes:
        printing: Whether prints are wanted.
        failure: Why no more kernels are launched, in a sentence.
    """

    def __init__(self) -> None:
        self.printing = False
        self.failure: str | None = None
        self._kernels: Any = None
        self._rooms: dict[torch.device, Room] = {}

    def measure(self, tensor: torch.Tensor, printed: bool) -> Measured | None:
        """Launch for a tensor's statistics, and its prints if they are wanted of it.

        Returns:
            Where they will be; None if nothing can be launched for this tensor, or it has no numbers.
        """
        return self._launched(tensor, True, printed and self.printing) if self._takes(tensor) else None

    def prints(self, tensor: torch.Tensor) -> tuple[Print, ...]:
        """Launch for a tensor's prints alone; none if that cannot be."""
        found = self._launched(tensor, False, True) if self._takes(tensor) else None
        return found.prints if found is not None else ()

    def _takes(self, tensor: torch.Tensor) -> bool:
        if self.failure is not None or tensor.device.type not in DRIVEN or type(tensor) not in PLAIN:
            return False
        if self._kernels is None and not self._ready():
            return False
        kind = tensor.dtype
        taken = (kind in _SINGLE or kind in _DOUBLE) and tensor.layout is torch.strided and not tensor.is_neg()
        return taken and tensor.numel() > 0 and bool(address(tensor))

    def _ready(self) -> bool:
        """Import the kernels; where there is no Triton, nothing is lost but time."""
        if find_spec("triton") is None:
            self.failure = ""
            return False
        try:
            self._kernels = import_module(".kernels", __package__)
        except Exception as error:  # whatever another version of it raises
            self._fail(error)
        return self.failure is None

    def _launched(self, tensor: torch.Tensor, statistics: bool, printed: bool) -> Measured | None:
        shape, stride = form = _form(tensor)
        parts = shares.parts(shape, stride) if printed and tensor.dtype in _PRINTED else ()
        flat = None if parts else shares.flat(shape, stride)
        try:
            with _on(tensor.device):
                if parts:
                    return self._prints(tensor.detach(), form, parts, statistics)
                return self._flat(tensor.detach(), form, flat) if flat is not None and statistics else None
        except Exception as error:  # it does not compile, or runs out of memory
            self._fail(error)
            return None

    def _flat(self, tensor: torch.Tensor, form: tuple[Any, ...], flat: shares.Flat) -> Measured:
        room, begin = self._room(tensor.device, flat.programs * partials.WIDTH)
        self._kernels.statistics[(flat.programs,)](
            *(tensor, room.numbers, begin, *flat.numbers),
            KIND=self._kernels.kind(tensor.dtype in _SINGLE),
            STRIDED=flat.strided,
            BLOCK=shares.BLOCK,
        )
        return Measured(room, begin, flat.programs, form, ())

    def _prints(
        self, tensor: torch.Tensor, form: tuple[Any, ...], parts: tuple[shares.Part, ...], statistics: bool
    ) -> Measured:
        one, two = parts[0], parts[-1]
        programs = one.programs if statistics else 0
        room, begin = self._room(tensor.device, programs * partials.WIDTH + sum(part.lanes // 2 for part in parts))
        first = begin + programs * partials.WIDTH
        prints = [Print(one.axis, room, first, one.lanes)]
        if two is not one:
            prints.append(Print(two.axis, room, first + one.lanes // 2, two.lanes))
        at = [(room.halves, 2 * print_.begin) if part.segments == 1 else (_sums(part, room), 0)
              for part, print_ in zip(parts, prints, strict=True)]  # fmt: skip
        by = [device_weights(part.width, tensor.device, torch.float64) for part in parts]
        self._kernels.statistics_and_prints[(one.programs + (two.programs if two is not one else 0),)](
            *(tensor, room.numbers, by[0], at[0][0], by[-1], at[-1][0], begin, at[0][1], at[-1][1], one.programs),
            *(*one.numbers, *two.numbers),
            KIND=self._kernels.kind(True),
            STATISTICS=statistics,
            TWO=two is not one,
            SPLIT=one.segments > 1,
            TOKENS=one.together,
            UNROLLED=one.unrolled,
            SPLIT_2=two.segments > 1,
            TOKENS_2=two.together,
            UNROLLED_2=two.unrolled,
        )
        for part, print_, (sums, _) in zip(parts, prints, at, strict=True):
            if part.segments > 1:
                place = room.halves[2 * print_.begin :][: part.lanes]
                place.copy_(sums.view(part.segments, part.lanes).sum(0))
        return Measured(room, begin, programs, form, tuple(prints))

    def _room(self, device: torch.device, count: int) -> tuple[Room, int]:
        """Room for so many numbers: which, and where they begin in it."""
        room = self._rooms.get(device)
        begin = None if room is None else room.take(count)
        if room is None or begin is None:
            size = SMALLEST if room is None or room.closed else min(2 * room.size, LARGEST)
            room = self._rooms[device] = Room(device, max(size, count))
            begin = room.take(count)
        assert begin is not None
        return room, begin

    def _fail(self, error: Exception) -> None:
        self.failure = FAILED.format(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")


def _form(tensor: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(tensor.shape), tensor.stride()


def _sums(part: shares.Part, room: Room) -> torch.Tensor:
    """Room for the sums of the segments of a print, which are added after the launch."""
    return room.numbers.new_empty(part.segments * part.lanes)


def _on(device: torch.device) -> Any:
    """Makes a device the current one: Triton launches there, wherever the tensor is."""
    return torch.get_device_module(device).device(device)
