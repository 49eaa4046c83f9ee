"""The tools that read a trace: they run no code, and each gives a page of an answer."""

from __future__ import annotations

from typing import Any

from ..answers.comparison_answer import comparison_answer
from ..answers.derivation_answer import derivation_answer
from ..answers.found_answer import found_answer
from ..answers.origin_answer import origin_answer
from ..answers.paged import Answer, Page
from ..answers.rows_answer import rows_page
from ..answers.step_answer import step_answer
from ..answers.step_items import check_step
from ..answers.tree_answer import tree_answer
from ..answers.verdict_answer import verdict_answer
from ..compare import Chosen, DumpSide, Side, TraceSide, compare_runs, is_dump, read_dump
from ..describe import answers
from ..errors import TraceError
from ..explain.explain import explain
from ..navigate import accepted
from ..trace.trace import Trace
from .fenced_paths import Fence
from .opened_traces import OpenedTraces
from .tool_calls import Param, Tool

Arguments = dict[str, Any]

_TRACE = Param("text", "folder of the trace", required=True)
_STEP = Param("number", "number of the step, as other answers give it", required=True)
_PAGE = {
    "limit": Param("number", "at most this many items"),
    "cursor": Param("text", "of the answer before, to go on"),
    "json": Param("switch", "JSON instead of lines"),
}


def reading_tools(fence: Fence) -> list[Tool]:
    """The tools, for the traces in a folder."""
    ask = _Questions(fence)
    depth = Param("number", "how many levels of nested calls; 2 by default")
    detail = "1 (default) for {}, 2 for {}, 3 for {}"
    pair = "as [i, j]: compare only {0} i of the first run with {0} j of the second"
    listed: list[tuple[str, str, dict[str, Param], Any]] = [
        ("outline", "The tree of calls of a run, or of one step with the lines in it. Begin here.",
         {"step": Param("number", "look into this step; by default the whole run"), "depth": depth}, ask.outline),
        ("step", "All about one step: source line, equations and verdicts, tensors with their statistics.",
         {"step": _STEP}, ask.step),
        ("find", "The steps that match a pattern and a condition.",
         {"pattern": Param("text", "path or the end of one ('attention.self', '*.mlp'), class, or 'file.py:175'"),
          "when": Param("text", "condition, such as 'nan > 0', 'max > 1e3' or 'verdict = differs and depth < 4'")},
         ask.find),
        ("check", "Do the papers' equations hold in this run? Names the first step of each that does not (✗).",
         {"depth": Param("number", detail.format("equations", "steps that differ", "all checks")),
          "accept": Param("text", "file of differences that are known and wanted"),
          "strict": Param("switch", "count differences by design (△), too")}, ask.check),
        ("nan", "Where NaN and Inf were made, why, and what they reached.",
         {"depth": Param("number", "1 (default) for places, 2 for each origin")}, ask.nan),
        ("compare", "The first difference between two runs that rounding does not explain, or that there is none.",
         {"other": Param("text", "the other trace (or run.tftrace@2, .npz, .safetensors, folder of .npy)", True),
          "rows": Param("numbers", pair.format("row")), "tokens": Param("numbers", pair.format("token")),
          "names": Param("names", "paths of modules of the first run and what the second calls them"),
          "depth": Param("number", detail.format("differences", "layers too", "all pairs of tensors"))}, ask.compare),
        ("explain", "One number that a step returned, as the terms of its equation, largest first.",
         {"step": _STEP,
          "cell": Param("numbers", "its position along each axis, such as [0, 3, 7]; by default the largest number"),
          "equation": Param("text", "use this equation if the step has several")}, ask.explain),
        ("query", "SQL on the tables steps, tensors, checks and trace; read-only.",
         {"sql": Param("text", "one SELECT; DESCRIBE steps shows the columns", required=True)}, ask.query),
    ]  # fmt: skip
    return [
        Tool(name, about, {"trace": _TRACE} | params | _PAGE, answer=answer) for name, about, params, answer in listed
    ]


class _Questions:
    """Answers the calls."""

    def __init__(self, fence: Fence) -> None:
        self._fence, self._opened = fence, OpenedTraces()

    def outline(self, given: Arguments) -> Page:
        """The tree."""
        return _page(tree_answer(self._trace(given), given.get("step"), given.get("depth")), given)

    def step(self, given: Arguments) -> Page:
        """One step."""
        return _page(step_answer(self._trace(given), given["step"]), given)

    def find(self, given: Arguments) -> Page:
        """Steps that match."""
        return _page(found_answer(self._trace(given), given.get("pattern", "*"), given.get("when", "")), given)

    def check(self, given: Arguments) -> Page:
        """Verdicts."""
        trace, file = self._trace(given), given.get("accept")
        wanted = accepted.NOTHING if file is None else accepted.read(self._fence.path(file))
        found = verdict_answer(trace, wanted, strict=given.get("strict", False), depth=given.get("depth"))
        return _page(found, given)

    def nan(self, given: Arguments) -> Page:
        """Origins."""
        return _page(origin_answer(self._trace(given), depth=given.get("depth")), given)

    def compare(self, given: Arguments) -> Page:
        """Two runs."""
        left, right = self._side(given["trace"]), self._side(given["other"])
        chosen = Chosen(_pair(given, "rows"), _pair(given, "tokens"))
        found = compare_runs(left, right, chosen, given.get("names"))
        return _page(comparison_answer(found, answers(left.trace, right.trace), depth=given.get("depth")), given)

    def explain(self, given: Arguments) -> Page:
        """One number; no model is run again for it."""
        trace = self._trace(given)
        at = check_step(trace, given["step"])
        return _page(derivation_answer(explain(trace, at, given.get("cell"), equation=given.get("equation"))), given)

    def query(self, given: Arguments) -> Page:
        """Rows."""
        return rows_page(
            self._trace(given), given["sql"], given.get("limit"), given.get("cursor"), lines=not given.get("json")
        )

    def _trace(self, given: Arguments) -> Trace:
        return self._opened.open(self._fence.path(given["trace"]))

    def _side(self, said: str) -> Side:
        path, number = self._fence.run(said)
        return DumpSide(read_dump(path)) if is_dump(path) else TraceSide(self._opened.open(path), number)


def _page(answer: Answer, given: Arguments) -> Page:
    return answer.page(given.get("limit"), given.get("cursor"), lines=not given.get("json"))


def _pair(given: Arguments, name: str) -> tuple[int, int] | None:
    found = given.get(name)
    if found is None:
        return None
    if len(found) != 2 or min(found) < 0:
        raise TraceError(f"The argument {name!r} is a pair of numbers from 0 on, such as [0, 2].")
    return found[0], found[1]
