"""Gradient checkpointing: what the backward pass computes again stands below a step of its own, which has the number
of the forward that it repeats. There are two kinds in torch; of each the function that is run again is wrapped."""

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
        """Begin to look for checkpoints."""
        self._on = True
        for again in _AGAINS:
            again.put(self)

    def remove(self) -> None:
        """Leave torch as it was; functions that were wrapped run as they are."""
        self._on = False
        for again in _AGAINS:
            again.take(self)

    def marked(self, function: Callable[..., Any], first: bool = False) -> Callable[..., Any]:
        """The function, as a step; its `first` call is the forward itself."""
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
                raise
            if call is not None:
                recording.hook(recording.leave, call)
            return result

        return run


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


_AGAINS = [Patch(checkpoint.CheckpointFunction, "forward", _runs_first)]
if checkpoint_frame is not None:
    _AGAINS.append(Patch(checkpoint_frame, "__init__", _begins))
