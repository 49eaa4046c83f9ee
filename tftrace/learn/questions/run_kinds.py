"""Questions about whole runs: what came out, how it was configured, and what became of an experiment."""

from __future__ import annotations

import re

from ... import describe
from ...compare.comparison import DIFFERS, EQUAL, INCOMPARABLE, ROUNDING, UNDECIDED
from ...errors import TraceError
from .asked import Asked
from .right_answer import Answer, choice, whole, word

_VERDICTS = (EQUAL, ROUNDING, DIFFERS, INCOMPARABLE, UNDECIDED)
_QUOTED = re.compile(r"“(.*)”")


def result(asked: Asked) -> Answer:
    """What the model said: its label, or its text."""
    said = asked.trace.meta.get("result")
    if not isinstance(said, str) or not said:
        raise TraceError("what the model said is not known of this run.")
    quoted = _QUOTED.search(said)
    return word(quoted[1], quoted[1].strip()) if quoted else word(said.split()[0], said)


def config(asked: Asked) -> Answer:
    """A field of the configuration."""
    found = asked.trace.meta.get("config")
    value = found.get(asked.given["key"]) if isinstance(found, dict) else None
    if not isinstance(value, (int, float, str)) or isinstance(value, bool):
        raise TraceError(f"the configuration of this run has no {asked.given['key']}.")
    return word(value) if isinstance(value, str) else whole(value)


def forwards(asked: Asked) -> Answer:
    """How many forward passes there are."""
    return whole(describe.forward_count(asked.trace))


def comparison(asked: Asked) -> Answer:
    """What the comparison with the experiment came to."""
    _, found = asked.second()
    return choice(found.verdict, _VERDICTS)


def answer_changed(asked: Asked) -> Answer:
    """Whether the experiment gave another label or text."""
    other, _ = asked.second()
    left, right = (result(Asked(one, 0, {})).words[0] for one in (asked.trace, other))
    return choice("yes" if left != right else "no", ("yes", "no"), f"{left} → {right}")


def first_difference(asked: Asked) -> Answer:
    """The class of the step in which the first difference was born."""
    _, found = asked.second()
    place = (found.first.left or found.first.right) if found.first else None
    if place is None or not place.name:
        raise TraceError("no difference was born.")
    at = place.position
    if at is None:
        raise TraceError("the step of the first difference is not known.")
    while asked.trace.column("kind")[at] != "module":
        above = asked.trace.parent(at)
        if above is None:
            break
        at = above
    return word(str(asked.trace.column("type")[at] or ""), because=describe.path(asked.trace, at))


def exercise(asked: Asked) -> Answer:
    """Whether what the learner wrote has earned its mark; the exercise itself tells."""
    return Answer(done=bool(asked.given.get("earned")))
