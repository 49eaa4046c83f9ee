"""The content of a report as plain data: columns of numbers and of indices into one list of distinct texts.

Ten thousand steps are thus a few megabytes. Every text is safe to show, and none is markup."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import describe
from ...describe.tensor_rows import tensor_line
from ...flow import producer
from ...language import speaking
from ...language.retell import retold
from ...navigate.difference_kinds import BY_DESIGN
from ...navigate.nonfinite import origins
from ...recipes.typeset import mathtext
from ...text import duration, visible
from ...trace import notes, schema
from ...trace.trace import Trace
from .figures import Attentions, Histograms
from .generation_data import forwards_answers, generation
from .mathml import mathml
from .source_lines import Sources

MOST_STEPS = 40_000  # a longer run is cut here, and the report says so

_KINDS = (schema.MODULE, schema.FUNCTION, schema.LINE, schema.OP)
_ROLES = (schema.INPUT, schema.PARAMETER, schema.LOCAL, schema.OUTPUT, schema.GRADIENT)
_VERDICTS = (None, schema.HOLDS, schema.DIFFERS, schema.UNCHECKED, BY_DESIGN)  # as `VERDICTS` of page.js


class Words:
    """A list of distinct texts; calling it adds a text and returns its index."""

    def __init__(self) -> None:
        self.all: list[str] = [""]
        self._indices = {"": 0}

    def __call__(self, text: str) -> int:
        index = self._indices.setdefault(text, len(self.all))
        if index == len(self.all):
            self.all.append(text)
        return index


class Content:
    """Turns a trace into the data of a report: `data` goes into the page, `maths` is the MathML of its equations."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._count = min(len(trace), MOST_STEPS)
        self._words = Words()
        self._histograms = Histograms(trace)
        self._sources = Sources(trace)
        self.maths: list[str] = []
        self._equations: dict[str, dict[str, Any]] = {}
        judged = {at: self._judged(at) for at in range(self._count) if self._is_call(at)}
        maps = Attentions(trace, self._count, self._words, self._math)
        self.title = visible(str(trace.meta.get("model") or "model"))
        self.data: dict[str, Any] = {
            "title": self.title,
            "about": [[name, said] for name, said in describe.about(trace) if name != "made"],
            "made": self._made(),
            "count": self._count,
            "all": len(trace),
            "steps": self._steps(),
            "tensors": self._tensors(),
            "judged": {at: found for at, found in judged.items() if found},
            "attention": maps.found,
            "substeps": maps.substeps,
            "answers": forwards_answers(trace, self._count, self._words),
            "generation": generation(trace, self._count, self._words),
            "notes": {at: _lines(note) for at, note in notes.read(trace).items() if at < self._count},
            "equations": self._equations,
            "histograms": self._histograms.made,
            "files": self._sources.files(),
            "words": self._words.all,
        }
        self.data["told"] = self._told()

    def _told(self) -> dict[str, str]:
        """The Chinese of each sentence that the page may show: `told` of page.js looks it up."""
        attention = [one.get("reason", "") for one in self.data["attention"].values()]
        judgements = {self._words.all[one[3]] for found in self.data["judged"].values() for one in found}
        said = list(self.data["made"].values())
        with speaking("zh"):
            pairs = {one: retold(one) for one in {*said, *judgements, *attention}}
            pairs |= {value: describe.told_fact(name, value) for name, value in self.data["about"]}
        return {english: chinese for english, chinese in sorted(pairs.items()) if chinese != english}

    def _math(self, tex: str) -> int:
        """The place of a formula in `maths`, each of which is there once; -1 if it cannot be drawn."""
        drawn = mathml(tex) if tex else None
        if drawn is None:
            return -1
        if drawn not in self.maths:
            self.maths.append(drawn)
        return self.maths.index(drawn)

    def _made(self) -> dict[int, str]:
        """What is said of each step that made NaN or Inf."""
        found: dict[int, str] = {}
        for one in origins(self._trace).found:
            if one.step < self._count:
                found[one.step] = " · ".join(filter(None, (found.get(one.step, ""), describe.nan_sentence(one))))
        return found

    def _is_call(self, at: int) -> bool:
        return self._trace.column("kind")[at] in schema.CALLS

    def _steps(self) -> dict[str, list[Any]]:
        """The steps as columns; `end` is the position after the last step inside, within the report."""
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
        """File, title, first and last line of the statement; if known, the call in it (line, column, line, column)."""
        code = describe.code(self._trace, at)
        if code is None:
            return None
        file = self._sources.add(code.file, code.title, code.first, code.last)
        return [file, self._words(code.title), code.first, code.last, *(code.call or ())]

    def _tensors(self) -> dict[str, list[Any]]:
        """The tensors as columns, step by step; those of step i are rows `start[i]` to `start[i + 1]` (exclusive)."""
        trace, words = self._trace, self._words
        names = ("role", "name", "shape", "dtype", "odd", "mean", "std", "min", "max", "id", "from", "histogram")
        columns: dict[str, list[Any]] = {name: [] for name in names}
        start = [0]
        ranks = trace.column("rank")
        for at in range(self._count):
            rows = sorted(trace.tensors_of(at), key=lambda row: _role_code(row.role))
            for row in rows:
                with speaking("en"):  # the page itself says it in Chinese
                    line = tensor_line(row)
                maker = producer(trace, at, row.tensor)
                columns["role"].append(_role_code(row.role))
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
        """The equations of a call: id, dimensions in this run, verdict, judgement, and legend of symbols."""
        found = []
        for equation, chinese in zip(*(describe.equations(self._trace, at, language) for language in ("en", "zh")),
                                     strict=True):  # fmt: skip
            if equation.within:
                return []
            if equation.id not in self._equations:
                place = self._math(equation.tex)
                self._equations[equation.id] = {
                    "cite": equation.cite,
                    "papers": equation.papers,
                    "math": place,
                    "drawn": "" if place >= 0 else "\n".join(mathtext.render(equation.tex or equation.formula)),
                    "formula": equation.formula,
                    "note": [equation.note, chinese.note],
                }
            legend = [
                [self._words(symbol), self._words(equation.spelling.get(symbol, "")), self._words(meaning),
                 equation.tensors.get(symbol, -1)]
                for symbol, meaning in equation.legend
            ]  # fmt: skip
            verdict = _VERDICTS.index(equation.verdict) if equation.verdict in _VERDICTS else 0
            facts = [self._words(visible(equation.id)), self._words(equation.dims), verdict]
            found.append([*facts, self._words(equation.judgement), legend])
        return found


def _role_code(role: str) -> int:
    """The index of a role, which is also its rank in the table of tensors."""
    return _ROLES.index(role) if role in _ROLES else len(_ROLES)


def _short(value: float | None) -> float | None:
    """A statistic in four digits; None for NaN and Inf, which JSON does not have."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _lines(note: str) -> str:
    """A note with its line breaks, safe to show."""
    return "\n".join(visible(line) for line in note.splitlines())
