"""Gradient checkpointing: what the backward pass computes again stands below a step of its own, which has the number
of the forward that it repeats. There are two kinds in torch; of each the function that is run again is wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils import checkpoint

from .. import schema
from .calls import place
from .recording import Recording

_AGAIN = place(schema.FUNCTION, "recompute", "torch.utils.checkpoint")
_STOPPED = "_StopRecomputationError"  # raised by torch on purpose, once it has what it needs


class Checkpoints:
    """Marks recomputation in one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._on = False
        self._frame: Any = getattr(checkpoint, "_CheckpointFrame", None)
        self._begin = None if self._frame is None else self._frame.__init__
        self._forward: Any = checkpoint.CheckpointFunction.forward

    def attach(self) -> None:
        """Begin to look for checkpoints."""
        self._on = True
        begin, forward = self._begin, self._forward

        def init(frame: Any, recompute_fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
            assert begin is not None
            begin(frame, self._marked(recompute_fn), *args, **kwargs)

        def run_first(ctx: Any, run_function: Callable[..., Any], *args: Any) -> Any:
            return forward(ctx, self._marked(run_function, first=True), *args)

        if self._frame is not None:
            self._frame.__init__ = init
        checkpoint.CheckpointFunction.forward = staticmethod(run_first)  # type: ignore[method-assign]

    def remove(self) -> None:
        """Leave torch as it was; functions that were wrapped run as they are."""
        self._on = False
        if self._frame is not None:
            self._frame.__init__ = self._begin
        checkpoint.CheckpointFunction.forward = staticmethod(self._forward)  # type: ignore[method-assign]

    def _marked(self, function: Callable[..., Any], first: bool = False) -> Callable[..., Any]:
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
                    recording.hook(recording.leave, call, None, type(error).__name__ != _STOPPED)
                raise
            if call is not None:
                recording.hook(recording.leave, call)
            return result

        return run
