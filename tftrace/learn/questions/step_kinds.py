"""Questions about steps, their tensors and their verdicts."""

from __future__ import annotations

from ... import describe, flow
from ...errors import TraceError
from ...navigate.difference_kinds import BY_DESIGN
from ...trace import notes, schema
from ..places import matching
from .asked import Asked
from .right_answer import Answer, about, choice, whole, word

_VERDICTS = {schema.HOLDS: "holds", BY_DESIGN: "by design", schema.DIFFERS: "mistake", schema.UNCHECKED: "unchecked"}


def count(asked: Asked) -> Answer:
    """How many steps there are of a kind."""
    found = matching(asked.trace, asked.given["of"])
    if not found:
        raise TraceError(f"this run has no {asked.given['of']}.")
    return whole(len(found))


def layers(asked: Asked) -> Answer:
    """How many layers a stack has."""
    found = matching(asked.trace, asked.given["of"])
    if not found:
        raise TraceError("no layers are known of this run.")
    return whole(len(found))


def order(asked: Asked) -> Answer:
    """Whether one step comes before another, or after it."""
    return choice("before" if asked.place("first") < asked.place("second") else "after", ("before", "after"))


def class_of(asked: Asked) -> Answer:
    """Which class the step is of."""
    found = str(asked.trace.column("type")[asked.at] or "")
    return word(found)


def size(asked: Asked) -> Answer:
    """How large one axis of a tensor is."""
    row, axis = asked.tensor(), int(asked.given.get("axis", -1))
    if not -len(row.shape) <= axis < len(row.shape):
        raise TraceError(f"the tensor has no axis {axis}.")
    return whole(row.shape[axis], "×".join(map(str, row.shape)))


def statistic(asked: Asked) -> Answer:
    """A statistic of a tensor."""
    row = asked.tensor()
    found = getattr(row, asked.given["what"])
    if found is None:
        raise TraceError("this tensor's numbers were not recorded.")
    return about(found, 0.05)


def same_tensor(asked: Asked) -> Answer:
    """Whether two tensors are one and the same; `other` is the name of the second, if it has another one."""
    rows = []
    names = (str(asked.given.get("tensor", "")), str(asked.given.get("other", asked.given.get("tensor", ""))))
    for key, name in zip(("first", "second"), names, strict=True):
        at = asked.place(key)
        fitting = [row for row in asked.trace.tensors_of(at) if row.name == name]
        if not fitting:
            raise TraceError(f"a step has no tensor {name!r}.")
        rows.append(fitting[-1])
    return choice("yes" if rows[0].tensor == rows[1].tensor else "no", ("yes", "no"))


def verdict(asked: Asked) -> Answer:
    """What the check of the step's equation came to."""
    found = describe.verdict(asked.trace, asked.at)
    if found is None:
        raise TraceError("no equation was checked at this step.")
    because = next((check.variant for check in asked.trace.checks_of(asked.at) if check.variant), "")
    return choice(_VERDICTS[found], tuple(_VERDICTS.values()), because or "")


def readers(asked: Asked) -> Answer:
    """How many calls of modules take a tensor."""
    row = asked.tensor()
    kinds = asked.trace.column("kind")
    found = [at for at in flow.consumers(asked.trace, asked.at, row.tensor) if kinds[at] == schema.MODULE]
    return whole(len(found), ", ".join(describe.path(asked.trace, at) for at in found))


def line(asked: Asked) -> Answer:
    """The number of the first source line inside of the step that has a piece of text."""
    kinds, lines = asked.trace.column("kind"), asked.trace.column("line")
    for at in range(asked.at + 1, int(asked.trace.ends[asked.at])):
        if kinds[at] == schema.LINE and asked.given["text"] in describe.statement(asked.trace, at):
            return whole(int(lines[at]), describe.statement(asked.trace, at))
    raise TraceError(f"no line here has {asked.given['text']!r}.")


def note(asked: Asked) -> Answer:
    """Whether a note has been written on any step."""
    return Answer(done=bool(notes.read(asked.trace)))
