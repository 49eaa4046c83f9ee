"""A stand-in for an accelerator: the CPU, whose tensors our code takes for a device's, watched for all that would wait
for a device, and for what would be launched on it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tftrace.capture import guard, recording
from tftrace.capture.check import checker
from tftrace.capture.measure.fused import launch
from tftrace.capture.quick import quick_calls
from tftrace.capture.torch_internals import disable_dispatch_modes
from tftrace.capture.watch.modes import WatchingMode

# What makes the host wait: operators that read a value or a size that depends on one …
WAITING = {"_local_scalar_dense", "nonzero", "nonzero_numpy", "is_nonzero", "masked_select", "equal", "unique_dim"}
# … and methods, some of which reach no operator where the tensor is on the CPU already.
TO_HOST = {"item", "cpu", "numpy", "tolist", "__array__", "__bool__", "__float__", "__int__", "__index__", "nonzero"}
NO_KERNEL = {"empty", "new_empty", "empty_like", "empty_strided", "_unsafe_view"}  # beside views


class Waits(TorchDispatchMode):
    """Counts the operators that wait for the device or copy from or to another one, and those that run a kernel."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.found: list[str] = []
        self.kernels: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        masks = (
            [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)] if name == "index" else []
        )
        if name in WAITING or masks or (name == "_to_copy" and kwargs.get("device") is not None):
            self.found.append(name)
        if name in ("copy_", "_copy_from") and args[0].device != args[1].device:
            self.found.append(name)
        if not func.is_view and name not in NO_KERNEL:
            self.kernels.append(name)
        return func(*args, **kwargs)


class Calls(WatchingMode):
    """Counts the calls that bring numbers to the host, or tensors made of numbers that are on it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        to_host = name == "to" and "cpu" in map(str, [*args[1:], *kwargs.values()])
        if name in TO_HOST or to_host or name in ("tensor", "as_tensor", "scalar_tensor", "from_numpy"):
            self.found.append(name)
        return func(*args, **kwargs)


class Watch:
    """What our code does that waits, and whether that was while a model's forward ran.

    Attributes:
        during: What waited in the midst of a forward.
        after: What waited after one.
        kernels: The operators of torch that ran a kernel.
    """

    def __init__(self) -> None:
        self.during: list[str] = []
        self.after: list[str] = []
        self.kernels: list[str] = []

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Around each piece of the recording, in place of what switches the modes of others off."""
        calls: Any = Calls()
        calls.start()
        try:
            with Waits() as operators:
                calls.found = operators.found = self
                operators.kernels = self.kernels
                yield
        finally:
            calls.stop()  # also from below our mode for ops, which begins within a piece

    def append(self, name: str) -> None:
        frame, inside = sys._getframe(1), None
        while frame is not None and inside is None:
            inside = frame.f_locals["self"] if frame.f_code.co_name == "settle" else None
            frame = frame.f_back  # type: ignore[assignment]
        ended = inside is not None and not getattr(inside, "stack", ())
        (self.after if ended else self.during).append(name)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Let tensors seem to be on a device. Nothing is written for the clock's sake."""
    watch = Watch()
    monkeypatch.setattr(torch.Tensor, "is_cpu", property(lambda tensor: False))
    monkeypatch.setattr(quick_calls, "compiled", None)  # which knows better where a tensor is
    monkeypatch.setattr(checker, "_all_routes", {})  # as do routes of recordings before
    monkeypatch.setattr(guard, "count_dispatch_modes", lambda: 1)
    monkeypatch.setattr(guard, "disable_dispatch_modes", watch)
    monkeypatch.setattr(guard, "disable_function_modes", contextlib.nullcontext)
    monkeypatch.setattr(recording, "_NANOSECONDS", 1 << 62)
    return watch


class _Counted:
    """A kernel that is not run: its rows say that nothing is finite."""

    def __init__(self, launches: list[str]) -> None:
        self._launches = launches

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launched(data: Any, out: Any, *args: Any, **kwargs: Any) -> None:
            self._launches.append("kernel")
            with disable_dispatch_modes():
                out.zero_()

        return launched


def count_kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let Triton seem to drive the device, without Triton; the launches of our kernels, which are counted, not run."""
    launches: list[str] = []
    one = _Counted(launches)

    def ready(self: launch.Fused) -> bool:
        self._kernels = SimpleNamespace(statistics=one, statistics_and_prints=one, kind=lambda single: None)
        return True

    monkeypatch.setattr(launch, "DRIVEN", {"cpu"})
    monkeypatch.setattr(launch, "_on", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(launch.Fused, "_ready", ready)
    return launches
