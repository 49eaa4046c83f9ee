"""Where a tensor leads from a step: the steps that made it, and those that take it or read it by name.

Between calls a tensor is followed by its number. A line that reshapes or adds makes a new number, so the names that
lines read are followed as well, as in the flow graph."""

from __future__ import annotations

from collections.abc import Iterator

from ..trace import schema
from ..trace.trace import Trace
from .made_from import MadeFrom
from .producers import consumers, producer, sightings
from .reads import reads, text, variable

Link = tuple[int, int]  # position of a step, and the number of the tensor there
_MOST_LINES = 2_000  # lines after a binding that are searched for the name
_PASSING = ("return ", "if ", "elif ", "while ", "assert ")  # such lines hand a tensor on, or ask what it is


def makers(trace: Trace, position: int, tensor: int, here: int | None = None) -> list[Link]:
    """Find where a tensor comes from.

    Args:
        trace: The trace.
        position: A step that saw the tensor.
        tensor: The number of the tensor.
        here: The step that the user looks at, if it is another one.

    Returns:
        The step that made it. If that is the very step looked at: the line inside that returned it, else the steps that
        made what it was made from. Empty for an input of the model.
    """
    here = position if here is None else here
    maker = producer(trace, position, tensor)
    if maker is not None and maker != here:
        return [(maker, tensor)]
    kinds = trace.column("kind")
    if maker is not None and kinds[maker] in schema.CALLS:
        lines = [at for at in trace.children(maker) if kinds[at] == schema.LINE]
        if lines:
            return [(lines[-1], tensor)]
    if maker is None and _was_given(trace, position, tensor):
        return []
    found: list[Link] = []
    for number, sight in MadeFrom(trace).of(tensor, position):
        made = producer(trace, sight, number)
        found.append((sight if made is None else made, number))
    return [link for link in {at: (at, number) for at, number in reversed(found)}.values() if link[0] != here][::-1]


def takers(trace: Trace, position: int, tensor: int) -> list[int]:
    """Find the steps that take a tensor as an input, and the lines that read a variable it was bound to, in order."""
    found = set(consumers(trace, position, tensor))
    for at, name, role in sightings(trace, position, tensor):
        if role == schema.LOCAL:
            found.update(_readers(trace, trace.call_of(at), name, at + 1))
        elif role == schema.INPUT:
            found.update(_readers(trace, at, name, at + 1))
    return sorted(at for at in found if at != position and not _within(trace, at, position))


def _was_given(trace: Trace, position: int, tensor: int) -> bool:
    """Whether a call around a step was given the tensor."""
    seen = sightings(trace, position, tensor)
    return any(role == schema.INPUT and _within(trace, at, position) for at, _, role in seen)


def _within(trace: Trace, outer: int, position: int) -> bool:
    """Whether a step stands inside another one."""
    return outer < position < int(trace.ends[outer])


def _readers(trace: Trace, call: int, name: str, first: int) -> Iterator[int]:
    """The lines of a call from `first` on that read a variable by name, until it is bound anew."""
    kinds, wanted = trace.column("kind"), variable(name)
    lines = (at for at in trace.children(call) if at >= first and kinds[at] == schema.LINE)
    for _, at in zip(range(_MOST_LINES), lines, strict=False):
        passing = text(trace, at).lstrip().startswith(_PASSING)
        if not passing and any(variable(read) == wanted for read in reads(trace, at).names):
            yield at
        if any(variable(row.name) == wanted for row in trace.tensors_of(at) if row.role == schema.LOCAL):
            return
