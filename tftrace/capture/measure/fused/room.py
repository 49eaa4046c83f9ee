"""Room for results on a device, which is copied to the host once."""

from __future__ import annotations

import numpy as np
import torch

SMALLEST, LARGEST = 1 << 17, 1 << 21  # numbers of float64: 1 MiB, and twice as many each time, up to 16 MiB


class Room:
    """Numbers of float64 on a device; what is written there is read together.

    Args:
        device: The device.
        size: How many numbers there is room for.

    Attributes:
        numbers: The numbers.
        halves: The same memory, as numbers of float32.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        with torch.inference_mode(False):  # made in inference mode it could not be written to outside of it
            self.numbers = torch.empty(size, dtype=torch.float64, device=device)
            self.halves = self.numbers.view(torch.float32)
        self._taken, self.size = 0, size
        self._read: np.ndarray | None = None

    def take(self, count: int) -> int | None:
        """Where so many numbers more may lie; None if there is no room, or if all has been read."""
        begin, end = self._taken, self._taken + count
        if self._read is not None or end > self.size:
            return None
        self._taken = end
        return begin

    @property
    def closed(self) -> bool:
        """Whether all has been read."""
        return self._read is not None

    def read(self) -> np.ndarray:
        """All that was written, on the host; the first call waits for the device, and nothing can be taken after it."""
        if self._read is None:
            if self.numbers.device.type != "cpu":  # whatever stream it ran in
                torch.accelerator.synchronize(self.numbers.device)
            self._read = self.numbers[: self._taken].cpu().numpy()
            self.numbers = self.halves = self.numbers.new_empty(0)  # which lets go of the memory
        return self._read
