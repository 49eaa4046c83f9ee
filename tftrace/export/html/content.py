"""The content of a report as plain data: columns of numbers and of places in one list of texts, so that ten thousand
steps are a few megabytes. Every text in it is safe to show, and none of it is markup."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import describe
from ...describe.tensor_rows import tensor_line
from ...flow import producer
from ...recipes.typeset import mathtext
from ...text import duration, visible
from ...trace import notes, schema
from ...trace.trace import Trace
from .figures import Histograms, attentions
from .mathml import mathml
from .source_lines import Sources

MOST_STEPS = 40_000  # of a report; of a longer run it holds the first, and says so

_KINDS = (schema.MODULE, schema.FUNCTION, schema.LINE, schema.OP)
_ROLES = (schema.INPUT, schema.PARAMETER, schema.LOCAL, schema.OUTPUT, schema.GRADIENT)
_VERDICTS = (None, schema.HOLDS, schema.DIFFERS, schema.UNCHECKED)


class Words:
    """A list of texts, each once, and what places they have in it."""

    def __init__(self) -> None:
        self.all: list[str] = [""]
        self._places = {"": 0}

    def __call__(self, said: str) -> int:
        place = self._places.setdefault(said, len(self.all))
        if place == len(self.all):
            self.all.append(said)
        return place


class Content:
    """Reads a trace into the data of a report; `data` is what the page holds, `maths` the MathML of its equations."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._count = min(len(trace), MOST_STEPS)
        self._words = Words()
        self._histograms = Histograms(trace)
        self._sources = Sources(trace)
        self.maths: list[str] = []
        self._equations: dict[str, dict[str, Any]] = {}
        judged = {at: self._judged(at) for at in range(self._count) if self._is_call(at)}
        self.title = visible(str(trace.meta.get("model") or "model"))
        self.data = {
            "title": self.title,
            "about": [list(line) for line in describe.about(trace)],
            "count": self._count,
            "all": len(trace),
            "steps": self._steps(),
            "tensors": self._tensors(),
            "judged": {at: found for at, found in judged.items() if found},
            "attention": attentions(trace, self._count),
            "notes": {at: _lines(said) for at, said in notes.read(trace).items() if at < self._count},
            "equations": self._equations,
            "histograms": self._histograms.made,
            "files": self._sources.files(),
            "words": self._words.all,
        }

    def _is_call(self, at: int) -> bool:
        return self._trace.column("kind")[at] in schema.CALLS

    def _steps(self) -> dict[str, list[Any]]:
        """A column a fact; `end` is the position after the last step below, as far as the report goes."""
        trace, words, count = self._trace, self._words, self._count
        columns: dict[str, list[Any]] = {
            name: []
            for name in ("label", "detail", "path", "kind", "verdict", "place", "status", "took", "code", "forward")
        }
        forwards = trace.column("forward")
        for at in range(count):
            row = describe.row(trace, at)
            columns["label"].append(words(row.label))
            columns["detail"].append(words(row.detail))
            columns["path"].append(words(describe.path(trace, at)))
            columns["kind"].append(_KINDS.index(row.kind) if row.kind in _KINDS else -1)
            columns["verdict"].append(_VERDICTS.index(row.verdict))
            columns["place"].append(words(row.place))
            columns["status"].append(words(visible(row.failed)))
            columns["took"].append(words(duration(describe.integer(trace, "duration_ns", at, -1))
                                         if trace.column("duration_ns")[at] is not None else ""))  # fmt: skip
            columns["code"].append(self._code(at))
            columns["forward"].append(0 if forwards[at] != forwards[at] else int(forwards[at] or 0))
        columns["parent"] = trace.parents[:count].tolist()
        columns["end"] = np.minimum(trace.ends[:count], count).tolist()
        return columns

    def _code(self, at: int) -> list[int] | None:
        """File, its title, first and last line of the statement, and the call in it: line, column, line, column."""
        code = describe.code(self._trace, at)
        if code is None:
            return None
        file = self._sources.place(code.file, code.title, code.first, code.last)
        return [file, self._words(code.title), code.first, code.last, *(code.call or ())]

    def _tensors(self) -> dict[str, list[Any]]:
        """A column a fact of each tensor, step after step; those of step i are rows `start[i]` to `start[i + 1]`."""
        trace, words = self._trace, self._words
        names = ("role", "name", "shape", "dtype", "odd", "mean", "std", "min", "max", "id", "from", "histogram")
        columns: dict[str, list[Any]] = {name: [] for name in names}
        start = [0]
        ranks = trace.column("rank")
        for at in range(self._count):
            rows = sorted(trace.tensors_of(at), key=lambda row: _place(row.role))
            for row in rows:
                line = tensor_line(row)
                maker = producer(trace, at, row.tensor)
                columns["role"].append(_place(row.role))
                columns["name"].append(words(line.name))
                columns["shape"].append(words(line.shape))
                columns["dtype"].append(words(line.dtype))
                columns["odd"].append(words(line.odd))
                for name in ("mean", "std", "min", "max"):
                    columns[name].append(_short(getattr(row, name)))
                columns["id"].append(row.tensor)
                columns["from"].append(-1 if maker is None or maker == at or maker >= self._count else maker)
                columns["histogram"].append(self._histograms.of(int(ranks[at]), row))
            start.append(len(columns["id"]))
        return {**columns, "start": start}

    def _judged(self, at: int) -> list[list[Any]]:
        """The equations of a call: which, its sizes in this run, the verdict and what it came to, its symbols."""
        found = []
        for equation, chinese in zip(*(describe.equations(self._trace, at, language) for language in ("en", "zh")),
                                     strict=True):  # fmt: skip
            if equation.within:
                return []
            if equation.id not in self._equations:
                drawn = mathml(equation.tex) if equation.tex else None
                self._equations[equation.id] = {
                    "cite": equation.cite,
                    "papers": equation.papers,
                    "math": len(self.maths) if drawn else -1,
                    "drawn": "" if drawn else "\n".join(mathtext.render(equation.tex or equation.formula)),
                    "formula": equation.formula,
                    "note": [equation.note, chinese.note],
                }
                self.maths += [drawn] if drawn else []
            legend = [
                [self._words(symbol), self._words(equation.spelling.get(symbol, "")), self._words(said),
                 equation.tensors.get(symbol, -1)]
                for symbol, said in equation.legend
            ]  # fmt: skip
            verdict = _VERDICTS.index(equation.verdict) if equation.verdict in _VERDICTS else 0
            said = [self._words(visible(equation.id)), self._words(equation.dims), verdict]
            found.append([*said, self._words(equation.judgement), legend])
        return found


def _place(role: str) -> int:
    return _ROLES.index(role) if role in _ROLES else len(_ROLES)


def _short(value: float | None) -> float | None:
    """A statistic in four digits; None for what JSON cannot say."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _lines(said: str) -> str:
    """A note with its line breaks, safe to show."""
    return "\n".join(visible(line) for line in said.splitlines())
