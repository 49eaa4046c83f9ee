"""What the checks see of a planted mistake: at the right step, elsewhere only, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

import tftrace
from tftrace.navigate.difference_kinds import BY_DESIGN, shown_verdict
from tftrace.trace import schema

RIGHT, DESIGN, ELSEWHERE, NOT, BENEATH = ("right step ✗", "right step △", "elsewhere", "not", "beneath rounding")
_ROUNDING = 1e-6  # relative: what a float32 forward of a few layers differs by at least


@dataclass(frozen=True)
class Difference:
    """A check that differs, by mistake or by design.

    Attributes:
        name: The path of its step.
        equation: The id of its equation.
        verdict: The verdict as it is shown.
        around: The paths of the calls that it runs in.
        below: Of each level of calls below it the paths, nearest first.
    """

    name: str
    equation: str
    verdict: str
    around: frozenset[str]
    below: tuple[frozenset[str], ...]

    @property
    def key(self) -> tuple[str, str, str]:
        return self.name, self.equation, self.verdict


def differing(run: Callable[[], Any], model: Any = None, level: str = "lines") -> list[Difference]:
    """The differences that a recording of `run` finds."""
    with torch.no_grad(), tftrace.record(model, level=level) as trace:
        run()
    found = []
    for step in trace:
        for check in step.checks:
            if check.verdict == schema.DIFFERS:
                above, below = _around(trace, step.position), _below(trace, step.position)
                verdict = shown_verdict(trace, check)
                found.append(Difference(step.name or "", check.equation, verdict, above, below))
    return found


def _around(trace: Any, at: int) -> frozenset[str]:
    names, found = trace.column("name"), set()
    above = trace.parent(at)
    while above is not None:
        found.add(names[above] or "")
        above = trace.parent(above)
    return frozenset(found)


def _below(trace: Any, at: int, levels: int = 2) -> tuple[frozenset[str], ...]:
    """The paths of the calls below a step, of two levels; lines between them do not count."""
    names, kinds, found, level = trace.column("name"), trace.column("kind"), [], [at]
    for _ in range(levels):
        inside, waiting = list[int](), list(level)
        while waiting:
            for child in trace.children(waiting.pop()):
                (inside if kinds[child] in schema.CALLS else waiting).append(child)
        found.append(frozenset(names[child] or "" for child in inside))
        level = inside
    return tuple(found)


def effect(sound: Any, planted: Any) -> float:
    """How much the largest tensor of a result changed, relative to its size."""
    one, two = (max(_tensors(result), key=lambda t: t.numel()).double() for result in (sound, planted))
    same = one.shape == two.shape
    return float((one - two).norm() / one.norm().clamp_min(1e-30)) if same else float("inf")


def _tensors(result: Any) -> list[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        return [result] if result.is_floating_point() else []
    values = result.values() if hasattr(result, "values") else result if isinstance(result, (list, tuple)) else ()
    return [tensor for value in values for tensor in _tensors(value)]


def alarms(sound: Collection[Difference]) -> list[Difference]:
    """What is ✗ in a model that has no mistake."""
    return [one for one in sound if one.verdict != BY_DESIGN]


def judged(
    sound: Collection[Difference], planted: Collection[Difference], path: str, changed: float, above: int = 2
) -> str:
    """Where the checks see a mistake that was made in the module at `path` (which may be a pattern).

    What counts differs now and did not before, or is ✗ now and was △. The right step is the module, what runs inside
    it, or a call around it that is at most `above` levels away. What `changed` the result by no more than rounding does
    is not to be seen."""
    before = {one.key for one in sound}
    new = [one for one in planted if one.key not in before]
    there = {one.verdict for one in new if _at(one, path, above)}
    if there:
        return DESIGN if there == {BY_DESIGN} else RIGHT
    return ELSEWHERE if new else NOT if changed > _ROUNDING else BENEATH


def _at(one: Difference, path: str, above: int) -> bool:
    if not path:  # the whole model, in which everything runs
        return not one.name
    near = (name for level in one.below[:above] for name in level)
    return any(fnmatchcase(name, path) for name in (one.name, *one.around, *near))
