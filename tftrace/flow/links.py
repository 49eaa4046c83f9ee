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
        made what it was made from. What the model was given leads to the call of the model. Empty there, and for what
        was made of nothing that is known.
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
    if maker is None and (entry := _entry(trace, position, tensor)) is not None:
        return [(entry, tensor)] if entry != here else []
    found: list[Link] = []
    made_from = MadeFrom(trace)
    sources = made_from.of(tensor, position)
    while sources:
        number, sight = sources.pop(0)
        made = producer(trace, sight, number)
        at = _entry(trace, sight, number) if made is None else made
        if at is None and sight == here and number != tensor:  # made in the arguments: of what?
            sources += [one for one in made_from.of(number, sight) if one[1] != here]
        else:
            found.append((sight if at is None else at, number))
    return [link for link in {at: (at, number) for at, number in reversed(found)}.values() if link[0] != here][::-1]


def takers(trace: Trace, position: int, tensor: int) -> list[int]:
    """Find the steps that take a tensor as an input, and the lines that make something of it, in order.

    A line does so if it reads a variable that the tensor was bound to, or if it goes on with what a call in it
    returned, as in `self.query(x).view(...)`."""
    found = {at for at in consumers(trace, position, tensor) if not _within(trace, at, position)}
    for at, name, role in sightings(trace, position, tensor):
        if role == schema.LOCAL:
            found.update(_readers(trace, trace.call_of(at), name, at + 1))
        elif role == schema.INPUT:
            found.update(_readers(trace, at, name, at + 1))
        elif role == schema.OUTPUT:
            found.update(_goes_on(trace, at, tensor))
    return sorted(found - {position})


def _entry(trace: Trace, position: int, tensor: int) -> int | None:
    """The outermost call around a step that was given the tensor."""
    seen = sightings(trace, position, tensor)
    around = [at for at, _, role in seen if role == schema.INPUT and (at == position or _within(trace, at, position))]
    return around[0] if around and trace.parent(around[0]) is None else None


def _within(trace: Trace, outer: int, position: int) -> bool:
    """Whether a step stands inside another one."""
    return outer < position < int(trace.ends[outer])


def _goes_on(trace: Trace, call: int, tensor: int) -> Iterator[int]:
    """The line around a call, if it binds something else than what the call returned."""
    line = trace.parent(call)
    if line is not None and trace.column("kind")[line] == schema.LINE:
        bound = [row.tensor for row in trace.tensors_of(line) if row.role == schema.LOCAL]
        if bound and tensor not in bound:
            yield line


def _readers(trace: Trace, call: int, name: str, first: int) -> Iterator[int]:
    """The lines of a call from `first` on that read a variable by name, until it is bound anew."""
    kinds, wanted = trace.column("kind"), variable(name)
    lines = (at for at in trace.children(call) if at >= first and kinds[at] == schema.LINE)
    for _, at in zip(range(_MOST_LINES), lines, strict=False):
        passing = text(trace, at).lstrip().startswith(_PASSING)
        if not passing and any(variable(read) == wanted for read in reads(trace, at).names):
            yield at
        for inner in trace.children(at):  # an argument that is made of it, as in `norm(x + residual)`
            if any(variable(read) == wanted for read in reads(trace, at, inner).names):
                yield inner
        if any(variable(row.name) == wanted for row in trace.tensors_of(at) if row.role == schema.LOCAL):
            return
