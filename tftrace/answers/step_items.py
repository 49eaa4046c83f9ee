"""A step as an item of an answer."""

from __future__ import annotations

from typing import Any

from .. import describe
from ..describe.phrases import base_name
from ..errors import TraceError
from ..navigate.difference_kinds import shown_verdict
from ..trace import schema
from ..trace.trace import Step, Trace
from .brief import cut
from .paged import Item

_LABEL = 120  # characters of what a step is called in a line
_WORST = ("differs", "differs by design", "holds", "unchecked")


def step_item(trace: Trace, at: int, indent: int = 0, *, whole: bool = False) -> Item:
    """A step.

    Args:
        trace: The trace.
        at: Its position.
        indent: How many calls are around it.
        whole: Whether the line names its whole path, as it stands alone.
    """
    step = trace[at]  # a block of rows is read, where a column of a large run would take longer than all the rest
    kind, kind_name, status = step.kind or "", step.type or "", step.status or ""
    place = f"{base_name(step.file)}:{step.line}" if step.file and (step.line or 0) > 0 else ""
    verdict = worst_verdict(trace, at)
    written = describe.statement(trace, at) if kind == schema.LINE else ""
    name = step.name or kind_name
    data: dict[str, Any] = {"step": at, "indent": indent, "kind": kind, "name": name, "type": kind_name, "place": place}
    data = {key: cut(value) if isinstance(value, str) else value for key, value in data.items()}
    if written:
        data["text"] = cut(written)
    data["verdict"] = verdict
    if status != schema.RETURNED:
        data["status"] = cut(status)
    called = name if whole else _below(trace, step) or kind_name
    label = f"{called} · {written}" if written and whole else written or called
    mark = describe.MARKS.get(verdict or "", "")
    shown = kind_name if kind_name != called and not written else ""
    failed = cut(status, 40) if status != schema.RETURNED else ""
    parts = (cut(label, _LABEL), cut(shown, 60), place if whole or kind != schema.LINE else "", mark, failed)
    return Item(at, data, f"{at} {'  ' * min(indent, 12)}{'  '.join(part for part in parts if part)}")


def _below(trace: Trace, step: Step) -> str:
    """A call's path below the module around it: `attention.self` inside `encoder.layer.0`."""
    name, above = step.name or "", trace.parent(step.position)
    while above is not None and trace[above].kind != schema.MODULE:
        above = trace.parent(above)
    outer = "" if above is None else trace[above].name or ""
    return name[len(outer) + 1 :] if outer and name.startswith(f"{outer}.") else name


def worst_verdict(trace: Trace, at: int) -> str | None:
    """The verdict that a step shows, of all its checks; None if it has none."""
    found = {shown_verdict(trace, check) for check in trace.checks_of(at)}
    return next((verdict for verdict in _WORST if verdict in found), None)


def check_step(trace: Trace, at: int | None, name: str = "step") -> int:
    """A position that the trace has.

    Raises:
        TraceError: It has no such step.
    """
    if at is None or not 0 <= at < len(trace):
        has = f"its steps are 0 to {len(trace) - 1}" if len(trace) else "it has no steps"
        raise TraceError(f"There is no {name} {at} in {trace.path}: {has}.")
    return at
