"""The closed list of question kinds: for each its function and what a lesson gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import attention_kinds, run_kinds, step_kinds
from .asked import Asked
from .right_answer import Answer

STATISTICS = ("mean", "std", "min", "max", "l2", "zero")
NEEDS = {  # what a lesson may give: its type
    "at": "place", "of": "place", "first": "place", "second": "place", "token": "text", "tensor": "text",
    "other": "text", "text": "text", "key": "text", "head": "number", "row": "number", "axis": "axis",
    "what": "statistic",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of question.

    Attributes:
        find: what finds the right answer.
        needs: the keys that a lesson has to give.
        takes: the keys that it may give besides; `at` is a place other than the station's.
        after: `experiment` or `exercise` if the station has to have one.
    """

    find: Callable[[Asked], Answer]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ("at",)
    after: str = ""

    @property
    def about(self) -> str:
        """One sentence on what is asked."""
        return (self.find.__doc__ or "").split("\n")[0]


KINDS: Mapping[str, Kind] = {
    "heads": Kind(attention_kinds.heads),
    "head on": Kind(attention_kinds.head_on, ("token",)),
    "strongest key": Kind(attention_kinds.strongest_key, ("token",), ("at", "head")),
    "masked": Kind(attention_kinds.masked, ("row",)),
    "divisor": Kind(attention_kinds.divisor),
    "head size": Kind(attention_kinds.head_size),
    "row sum": Kind(attention_kinds.row_sum),
    "count": Kind(step_kinds.count, ("of",), ()),
    "layers": Kind(step_kinds.layers, ("of",), ()),
    "order": Kind(step_kinds.order, ("first", "second"), ()),
    "class": Kind(step_kinds.class_of),
    "size": Kind(step_kinds.size, (), ("at", "tensor", "axis")),
    "statistic": Kind(step_kinds.statistic, ("what",), ("at", "tensor")),
    "same tensor": Kind(step_kinds.same_tensor, ("first", "second"), ("tensor", "other")),
    "verdict": Kind(step_kinds.verdict),
    "readers": Kind(step_kinds.readers, (), ("at", "tensor")),
    "line": Kind(step_kinds.line, ("text",)),
    "note": Kind(step_kinds.note, (), ()),
    "result": Kind(run_kinds.result, (), ()),
    "config": Kind(run_kinds.config, ("key",), ()),
    "forwards": Kind(run_kinds.forwards, (), ()),
    "comparison": Kind(run_kinds.comparison, (), (), "experiment"),
    "answer changed": Kind(run_kinds.answer_changed, (), (), "experiment"),
    "first difference": Kind(run_kinds.first_difference, (), (), "experiment"),
    "exercise": Kind(run_kinds.exercise, (), (), "exercise"),
}
