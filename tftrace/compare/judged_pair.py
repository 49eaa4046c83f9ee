"""A pair of tensors of two runs, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .alignment.distance import Distance
from .alignment.paths import Place

SAME, WITHIN, INHERITED, BORN, UNSURE, HEALED = "equal", "rounding", "inherited", "born", "undecided", "healed"
DIFFERING = (INHERITED, BORN, UNSURE)


@dataclass(slots=True, eq=False)
class Judged:
    """A pair of tensors, how far apart they are, and why."""

    left: Place
    right: Place
    distance: Distance
    unit: float
    status: str = SAME
    bound: float = 0.0
    noise: float = 0.0  # how far apart rounding alone may have brought them
    came_in: float = 0.0  # how far apart the inputs are
    local: float | None = None  # what the step itself adds, where something came in
    inputs: list[int] = field(default_factory=list)  # pairs that this one was made from
    sources: frozenset[int] = frozenset()  # pairs where the differences were born that this one carries on
