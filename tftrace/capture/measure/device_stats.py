"""Computes statistics of tensors on an accelerator without waiting for it while a model runs.

`add` launches a kernel for it (`fused`) or else enqueues torch's reductions into a buffer on the device, and `read`
copies each buffer to the host once."""

from __future__ import annotations

import math

import numpy as np
import torch

from .fused.launch import Fused, Measured
from .fused.partials import merged
from .plain_memory import address
from .summary import EMPTY, NO_NUMBERS, REAL, Summary, flat_parts

_BLOCK = 1 << 22  # elements: no temporary is larger than 32 MiB
_ROWS = 1 << 12  # rows of a buffer; no block fills more
_SHORT = 1 << 10  # elements of a row in float32; a sum of more would lose digits
_SINGLE = frozenset({"mps"})  # devices without float64
_NAN, _INF, _ZERO, _LOW, _HIGH, _SCALE, _TOTAL, _SQUARES, _SPREAD = range(9)

_Rows = tuple[int, int, int, int]  # buffer, first row, one past the last row, elements of each row


class DeviceSums:
    """Reductions that are under way on any number of devices.

    Args:
        fused: Launches kernels, where it can; a new one by default.

    Attributes:
        latest: What was launched for the tensor that was added last; None if its reductions are torch's.
    """

    def __init__(self, fused: Fused | None = None) -> None:
        self._fused = Fused() if fused is None else fused
        self.latest: Measured | None = None
        self._buffers: list[torch.Tensor] = []
        self._used: list[int] = []
        self._current: dict[torch.device, int] = {}  # the buffer with free rows of each device
        self._added: list[Summary | Measured | list[_Rows]] = []

    def add(self, tensor: torch.Tensor, printed: bool = False) -> int:
        """Enqueue the reductions of a tensor, as it will be when the device reaches them.

        Args:
            tensor: The tensor.
            printed: Whether its prints are to be taken in the same launch.

        Returns:
            The index of its summary in the next `read()`.
        """
        self.latest = None
        try:
            self._added.append(self._enqueue(tensor, printed))
        except Exception:  # as for `summarize`
            self._added.append(NO_NUMBERS)
        return len(self._added) - 1

    def read(self) -> list[Summary]:
        """Wait for the devices, and return the summaries of all tensors added since the last call."""
        buffers, used, added = self._buffers, self._used, self._added
        self._buffers, self._used, self._current, self._added = [], [], {}, []
        for device in {buffer.device for buffer in buffers}:
            wait(device)
        launched = [one for one in added if isinstance(one, Measured)]
        tables = [one.table for one in launched]
        found = iter(merged(np.concatenate(tables), [*map(len, tables)]) if tables else ())
        read = [buffer[:, :rows].cpu().T.tolist() for buffer, rows in zip(buffers, used, strict=True)]
        return [
            one
            if isinstance(one, Summary)
            else next(found)
            if isinstance(one, Measured)
            else _merged([(n, row) for b, i, j, n in one for row in read[b][i:j]])
            for one in added
        ]

    def _enqueue(self, tensor: torch.Tensor, printed: bool) -> Summary | Measured | list[_Rows]:
        self.latest = self._fused.measure(tensor, printed)
        if self.latest is not None:
            return self.latest
        if tensor.dtype not in REAL or tensor.is_nested or tensor.layout is not torch.strided or tensor.is_meta:
            return NO_NUMBERS
        if tensor.numel() == 0:
            return EMPTY
        return self._rows(tensor.detach()) if address(tensor) else NO_NUMBERS

    def _rows(self, tensor: torch.Tensor) -> list[_Rows]:
        rows = []
        for block in flat_parts(tensor, _BLOCK):
            size = block.numel()
            width = min(size, _SHORT) if tensor.device.type in _SINGLE else size
            even = size - size % width
            rows.append(self._reduced(block[:even].reshape(-1, width)))
            if even < size:
                rows.append(self._reduced(block[even:].unsqueeze(0)))
        return rows

    def _reduced(self, table: torch.Tensor) -> _Rows:
        buffer = self._current.get(table.device)
        if buffer is None or self._used[buffer] + len(table) > _ROWS:
            buffer = self._current[table.device] = len(self._buffers)
            dtype = torch.float32 if table.device.type in _SINGLE else torch.float64
            with torch.inference_mode(False):  # a buffer made in inference mode could not be written to outside of it
                self._buffers.append(torch.empty((9, _ROWS), dtype=dtype, device=table.device))
            self._used.append(0)
        first = self._used[buffer]
        self._used[buffer] += len(table)
        _reduce(table, self._buffers[buffer][:, first : first + len(table)])
        return buffer, first, first + len(table), table.size(1)


def wait(device: torch.device) -> None:
    """Wait until a device has done everything it was given.

    A copy to the host waits only for the current stream, and the model may have run in another one: in another thread,
    or within `with torch.cuda.stream`.
    """
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _reduce(table: torch.Tensor, out: torch.Tensor) -> None:
    """Reduce each row of `table` into a column of `out`.

    Elements are divided by the largest before they are added, so that no square overflows. Constants are given to
    kernels as arguments, since a scalar tensor would have to be copied to the device.
    """
    wide, infinity = table.to(out.dtype), math.inf
    torch.sum(wide.isnan(), 1, dtype=out.dtype, out=out[_NAN])
    torch.sum(wide.isinf(), 1, dtype=out.dtype, out=out[_INF])
    torch.sum(wide == 0, 1, dtype=out.dtype, out=out[_ZERO])
    torch.amin(wide.nan_to_num(infinity, infinity, infinity), 1, out=out[_LOW])
    torch.amax(wide.nan_to_num(-infinity, -infinity, -infinity), 1, out=out[_HIGH])
    # If all elements are 0, the smallest positive number takes the place of the largest element.
    scale = torch.maximum(-out[_LOW], out[_HIGH]).clamp_(min=torch.finfo(out.dtype).tiny)
    out[_SCALE].copy_(scale)
    scaled = wide.nan_to_num(0.0, 0.0, 0.0).div_(scale.unsqueeze(1))
    torch.sum(scaled, 1, out=out[_TOTAL])
    torch.sum(scaled.square(), 1, out=out[_SQUARES])
    mean = out[_TOTAL] / (table.size(1) - out[_NAN] - out[_INF]).clamp_(min=1)
    apart = scaled.sub_(mean.unsqueeze(1)).masked_fill_(wide.isfinite().logical_not_(), 0.0)
    torch.sum(apart.square_(), 1, out=out[_SPREAD])


def _merged(rows: list[tuple[int, list[float]]]) -> Summary:
    """Merge rows, each with its number of elements, into one summary."""
    nan, inf, zero = (int(sum(row[column] for _, row in rows)) for column in (_NAN, _INF, _ZERO))
    low, high = min(row[_LOW] for _, row in rows), max(row[_HIGH] for _, row in rows)
    scale = max(row[_SCALE] for _, row in rows)
    count, mean, squares, spread = 0, 0.0, 0.0, 0.0
    for size, row in rows:
        if known := size - int(row[_NAN] + row[_INF]):
            count += known
            ratio = row[_SCALE] / scale
            squares += row[_SQUARES] * ratio * ratio
            # Merges two means and spreads without cancellation (Chan, Golub and LeVeque 1983).
            step = row[_TOTAL] / known * ratio - mean
            mean += step * known / count
            spread += row[_SPREAD] * ratio * ratio + step * step * (count - known) * known / count
    if count == 0:
        return Summary(nan=nan, inf=inf, zero=0)
    spread = 0.0 if low == high else spread
    std, l2 = math.sqrt(spread / count) * scale, math.sqrt(squares) * scale
    return Summary(mean * scale, std, low, high, l2, nan, inf, zero)
