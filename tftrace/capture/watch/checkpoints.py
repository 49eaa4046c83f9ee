"""Gradient checkpointing: what the backward pass computes again is recorded below a step of its own.

That step belongs to the forward that it repeats. torch has two kinds of checkpoints; in both, the function that will be
run again is wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils import checkpoint

from ...trace import schema
from ..calls import place
from ..patches import Layer, Patch
from ..recording import Recording
from ..torch_internals import checkpoint_frame, stop_recomputation

_AGAIN = place(schema.FUNCTION, "recompute", "torch.utils.checkpoint")


class Checkpoints:
    """Marks recomputation in one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._on = False

    def attach(self) -> None:
        """Begin to watch for checkpoints."""
        self._on = True
        for again in _AGAINS:
            again.put(self)

    def remove(self) -> None:
        """Stop watching; torch is left as it was, and functions that are already wrapped run unrecorded."""
        self._on = False
        for again in _AGAINS:
            again.take(self)

    def marked(self, function: Callable[..., Any], first: bool = False) -> Callable[..., Any]:
        """Wrap a function so that it runs as a step; with `first`, all its calls but the first, the forward itself."""
        stack = self._recording.stack
        if not stack:
            return function
        forward, calls = stack[0].forward, 0

        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            recording = self._recording
            if not self._on or (first and calls == 1):
                return function(*args, **kwargs)
            call = recording.hook(recording.enter, _AGAIN, None, None, forward)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                if call is not None:
                    recording.hook(recording.leave, call, None, not isinstance(error, stop_recomputation))
                recording.hook(recording.stopping, False)
                raise
            if call is not None:
                recording.hook(recording.leave, call)
            return result

        return run

    def stops(self) -> None:
        """Note that torch ends a recomputation, of which it has all that it needs; no step below has failed."""
        if self._on:
            self._recording.hook(self._recording.stopping, True)


def _begins(layer: Layer) -> Callable[..., None]:
    original = layer.original

    def __init__(frame: Any, recompute_fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        for checkpoints in layer.watching():
            recompute_fn = checkpoints.marked(recompute_fn)
        original(frame, recompute_fn, *args, **kwargs)

    return __init__


def _runs_first(layer: Layer) -> Any:
    original = layer.original

    def forward(ctx: Any, run_function: Callable[..., Any], *args: Any) -> Any:
        for checkpoints in layer.watching():
            run_function = checkpoints.marked(run_function, first=True)
        return original(ctx, run_function, *args)

    return staticmethod(forward)


def _stops(layer: Layer) -> Any:
    def __init__(error: BaseException, *args: Any) -> None:
        for checkpoints in layer.watching():
            checkpoints.stops()
        BaseException.__init__(error, *args)

    return __init__


_AGAINS = [Patch(checkpoint.CheckpointFunction, "forward", _runs_first)]
if checkpoint_frame is not None:
    _AGAINS.append(Patch(checkpoint_frame, "__init__", _begins))
if isinstance(stop_recomputation, type):
    _AGAINS.append(Patch(stop_recomputation, "__init__", _stops))
