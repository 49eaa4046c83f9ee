"""Statistics of tensors on an accelerator. Nothing here waits for the device while a model runs: `add` enqueues the
reductions into a buffer on the device, and `read` copies each buffer to the host once."""

from __future__ import annotations

import math

import torch

from .plain_memory import address
from .summary import EMPTY, NO_NUMBERS, REAL, Summary, flat_parts

_BLOCK = 1 << 22  # elements: no temporary is larger than 32 MiB
_ROWS = 1 << 12  # of a buffer; no block fills more
_SHORT = 1 << 10  # elements of a row in float32, where a sum of more would lose digits
_SINGLE = frozenset({"mps"})  # devices without float64
_NAN, _INF, _ZERO, _LOW, _HIGH, _SCALE, _TOTAL, _SQUARES, _SPREAD = range(9)

_Rows = tuple[int, int, int, int]  # buffer, first row, row after the last, elements of each


class DeviceSums:
    """Reductions under way on any number of devices."""

    def __init__(self) -> None:
        self._buffers: list[torch.Tensor] = []
        self._used: list[int] = []
        self._current: dict[torch.device, int] = {}  # the buffer of a device that has rows left
        self._added: list[Summary | list[_Rows]] = []

    def add(self, tensor: torch.Tensor) -> int:
        """The place in `read()` of a tensor's summary, as the tensor is when the device gets that far."""
        try:
            self._added.append(self._enqueue(tensor))
        except Exception:  # as for `summarize`
            self._added.append(NO_NUMBERS)
        return len(self._added) - 1

    def read(self) -> list[Summary]:
        """The summaries of all tensors added since the last call."""
        buffers, used, added = self._buffers, self._used, self._added
        self._buffers, self._used, self._current, self._added = [], [], {}, []
        for device in {buffer.device for buffer in buffers}:
            wait(device)
        read = [buffer[:, :rows].cpu().T.tolist() for buffer, rows in zip(buffers, used, strict=True)]
        return [
            one if isinstance(one, Summary) else _merged([(n, row) for b, i, j, n in one for row in read[b][i:j]])
            for one in added
        ]

    def _enqueue(self, tensor: torch.Tensor) -> Summary | list[_Rows]:
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
            with torch.inference_mode(False):  # else nothing could be written to it outside of inference mode
                self._buffers.append(torch.empty((9, _ROWS), dtype=dtype, device=table.device))
            self._used.append(0)
        first = self._used[buffer]
        self._used[buffer] += len(table)
        _reduce(table, self._buffers[buffer][:, first : first + len(table)])
        return buffer, first, first + len(table), table.size(1)


def wait(device: torch.device) -> None:
    """Wait for all that a device was given to do. A copy to the host waits for the current stream alone, and the model
    may have run in another one, of another thread or of a `with torch.cuda.stream`."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _reduce(table: torch.Tensor, out: torch.Tensor) -> None:
    """Reductions of each row of `table`. Sums are of elements divided by the largest, so that no square overflows;
    numbers are given to kernels as arguments, as a scalar tensor would have to be copied to the device."""
    wide, infinity = table.to(out.dtype), math.inf
    torch.sum(wide.isnan(), 1, dtype=out.dtype, out=out[_NAN])
    torch.sum(wide.isinf(), 1, dtype=out.dtype, out=out[_INF])
    torch.sum(wide == 0, 1, dtype=out.dtype, out=out[_ZERO])
    torch.amin(wide.nan_to_num(infinity, infinity, infinity), 1, out=out[_LOW])
    torch.amax(wide.nan_to_num(-infinity, -infinity, -infinity), 1, out=out[_HIGH])
    # The least positive number stands in for the largest element where there is none but 0.
    scale = torch.maximum(-out[_LOW], out[_HIGH]).clamp_(min=torch.finfo(out.dtype).tiny)
    out[_SCALE].copy_(scale)
    scaled = wide.nan_to_num(0.0, 0.0, 0.0).div_(scale.unsqueeze(1))
    torch.sum(scaled, 1, out=out[_TOTAL])
    torch.sum(scaled.square(), 1, out=out[_SQUARES])
    mean = out[_TOTAL] / (table.size(1) - out[_NAN] - out[_INF]).clamp_(min=1)
    apart = scaled.sub_(mean.unsqueeze(1)).masked_fill_(wide.isfinite().logical_not_(), 0.0)
    torch.sum(apart.square_(), 1, out=out[_SPREAD])


def _merged(rows: list[tuple[int, list[float]]]) -> Summary:
    """One summary of rows, each with its number of elements."""
    nan, inf, zero = (int(sum(row[column] for _, row in rows)) for column in (_NAN, _INF, _ZERO))
    low, high = min(row[_LOW] for _, row in rows), max(row[_HIGH] for _, row in rows)
    scale = max(row[_SCALE] for _, row in rows)
    count, mean, squares, spread = 0, 0.0, 0.0, 0.0
    for size, row in rows:
        if known := size - int(row[_NAN] + row[_INF]):
            count += known
            ratio = row[_SCALE] / scale
            squares += row[_SQUARES] * ratio * ratio
            # Chan, Golub and LeVeque's way to put two means and spreads together: nothing cancels.
            step = row[_TOTAL] / known * ratio - mean
            mean += step * known / count
            spread += row[_SPREAD] * ratio * ratio + step * step * (count - known) * known / count
    if count == 0:
        return Summary(nan=nan, inf=inf, zero=0)
    spread = 0.0 if low == high else spread
    std, l2 = math.sqrt(spread / count) * scale, math.sqrt(squares) * scale
    return Summary(mean * scale, std, low, high, l2, nan, inf, zero)
