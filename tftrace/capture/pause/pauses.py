"""Stops a program at the step that a breakpoint fits, as the step ends, with the step at hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch

from ...navigate.live_breakpoint import LiveBreakpoint, pause_at
from ...text import shape, visible
from ...trace.trace import Trace
from ..calls import Call
from ..measure.structure import leaves
from ..recording import Recording
from ..torch_internals import CALLING, getframe
from .live_facts import LiveStep, LiveTensor

_OURS = __name__.partition(".")[0] + "."
_TORCH = (*CALLING, "torch.overrides")
_TOLD = 6  # tensors that are told of

_active: list[Pauses] = []


def interact(frame: FrameType, names: Mapping[str, Any], said: list[str]) -> None:
    """Let the user look at a frame with the debugger, which is imported when a program first stops."""
    from .debugger import interact

    interact(frame, names, said)


class Pauses:
    """The pauses of one recording; it is told of steps, and stops once its own piece of the recording is done.

    Args:
        recording: The recording.
        trace: Its trace.
        pause: A breakpoint as it is typed, such as `*.attention when max > 1e3`; None stops nowhere by itself.
    """

    def __init__(self, recording: Recording, trace: Trace, pause: str | None) -> None:
        self._recording, self._trace = recording, trace
        self._breakpoint = None if pause is None else LiveBreakpoint(pause_at(pause))
        self._bound: list[LiveTensor] = []  # what the running line has bound so far

    def attach(self) -> None:
        """Let `stop_here` stop in this recording."""
        _active.append(self)

    def detach(self) -> None:
        """Stop nowhere any more."""
        if self in _active:
            _active.remove(self)

    # -- steps, inside of Recording.hook ----------------------------------------------------------------------

    def entered(self, call: Call) -> None:
        """A call begins."""

    def bound(self, name: str, tensor: torch.Tensor) -> None:
        """A line has bound a tensor."""
        self._bound.append(LiveTensor(name, tensor))

    def line_ended(self, call: Call) -> None:
        """A line ends."""
        tensors, self._bound = self._bound, []
        self._look(call, tensors, None)

    def left(self, call: Call, result: Any, raised: bool) -> None:
        """A call ends."""
        if not raised and call.step >= 0:
            self._look(call, [LiveTensor(name, tensor) for name, tensor in leaves(result)], result)

    def _look(self, call: Call, tensors: list[LiveTensor], result: Any) -> None:
        at, stops = call.place, self._breakpoint
        if stops is None or not stops.names(at.kind, at.name, at.type, at.file, at.line):
            return
        number, checks = call.step, None
        if stops.late:
            self._written()
            checks = self._trace[number].checks if number < len(self._trace) else []
        if stops.halts(LiveStep(call, number, tensors, checks, self._trace)):
            self._recording.afterwards(lambda: self._stop(call, number, tensors, result))

    # -- a stop, outside of it --------------------------------------------------------------------------------

    def stop_in(self, frame: FrameType) -> None:
        """Stop in a frame, with the step that runs there."""
        stack = self._recording.stack
        call = next((one for one in reversed(stack) if not one.muted), None)
        if call is None:
            interact(frame, {}, [])
        else:
            self._recording.aside(lambda: self._stop(call, call.step, [], None, frame))

    def _stop(
        self, call: Call, number: int, tensors: list[LiveTensor], result: Any, frame: FrameType | None = None
    ) -> None:
        self._written()
        step = self._trace[number] if 0 <= number < len(self._trace) else None
        at = frame or _programs_frame()
        if at is None:
            return
        named = {one.name or "result": one.tensor for one in tensors}
        verdict = [] if step is None else [f"{c.equation}: {c.verdict}" for c in step.checks]
        hand = {"step": step, "tensors": named, "result": result, "verdict": ", ".join(verdict) or "not checked"}
        hidden = {**at.f_globals, **at.f_locals}.keys() & hand.keys()
        hand = {f"paused_{name}" if name in hidden else name: value for name, value in hand.items()}
        interact(at, hand, _told(call, number, tensors, verdict, list(hand)))

    def _written(self) -> None:
        """Write what has been recorded so far, so that the step can be read."""
        self._recording.settle(ended=True)
        self._trace.reload()


def _told(call: Call, number: int, tensors: list[LiveTensor], verdict: list[str], hand: list[str]) -> list[str]:
    at = call.place
    place = f"  {visible(at.file)}:{at.line}" if at.file else ""
    lines = [f"Paused at step {number}: {visible(at.name or at.type)} ({visible(at.type)}, {at.kind}){place}"]
    for one in tensors[:_TOLD]:
        low, high = one.statistic("min"), one.statistic("max")
        bad = "".join(f"  {name} {one.statistic(name):.0f}" for name in ("nan", "inf") if one.statistic(name))
        size = shape(one.tensor.shape)
        lines.append(f"  {visible(one.name or 'result')}  {size}  [{low:.4g}, {high:.4g}]{bad}")
    lines += [f"  {visible(one)}" for one in verdict]
    return [*lines, f"At hand: {', '.join(hand)} (as in p {hand[0]}); c goes on, q quits."]


def _programs_frame() -> FrameType | None:
    """The innermost frame that is neither ours nor torch's machinery around a call."""
    at: FrameType | None = getframe(1)
    while at is not None:
        module = str(at.f_globals.get("__name__", ""))
        if not module.startswith(_OURS) and module not in _TORCH and module not in ("contextlib", "functools"):
            return at
        at = at.f_back
    return None


def stop_here() -> None:
    """Stop in the program's frame: with the running step if a recording runs, else as `breakpoint()` does."""
    frame = _programs_frame()
    if frame is None:
        return
    if _active:
        _active[-1].stop_in(frame)
    else:
        interact(frame, {}, [])
