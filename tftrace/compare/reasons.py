"""Why two steps differ that were given the same: other weights, tokens, positions, formula, mask, precision …"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..text import number, visible
from ..trace import schema
from ..trace.scalars import numbers
from ..trace.trace import Trace
from . import noise
from .alignment.meeting import Meeting
from .alignment.side import TraceSide
from .comparison import Prerequisite
from .judged_pair import UNSURE, Judged
from .noise import finer

_POSITION = re.compile(r"wpe|position|rotary|rope", re.IGNORECASE)
_ATTENTION = re.compile(r"attention|attn|attend|sdpa|softmax", re.IGNORECASE)
_DROPOUT = re.compile(r"dropout|attention|attn", re.IGNORECASE)
_MAP = "linear"  # the equation of an nn.Linear
_NUMBERS = 1e-6  # relative difference from which a number of an equation is another one


class Reasons:
    """Says of a difference that was born why, as far as that is known."""

    def __init__(self, meeting: Meeting, before: Sequence[Prerequisite], prefixes: tuple[str, str]) -> None:
        self._meeting, self._prefixes = meeting, prefixes
        self.before = before
        self._before = {one.what: one for one in before}

    def known(self, pair: Judged) -> bool:
        """Whether a step is known to differ, however little its result does, by its weights or by the numbers of its
        equation."""
        left, right = self._meeting.sides
        steps = (pair.left.first.step, pair.right.first.step)
        if not isinstance(left, TraceSide) or not isinstance(right, TraceSide) or steps[0] is None or steps[1] is None:
            return False
        if self._weights(left.trace, steps[0], pair):
            return True
        return bool(_other_number(left.trace, steps[0], right.trace, steps[1]) or self._verdicts(pair))

    def of(self, pair: Judged) -> str:
        """The cause of a difference as text; empty where nothing is known."""
        sides = self._meeting.sides
        left, right = sides
        steps = (pair.left.first.step, pair.right.first.step)
        if not isinstance(left, TraceSide) or not isinstance(right, TraceSide) or steps[0] is None or steps[1] is None:
            return ""
        here = (left.trace, steps[0], right.trace, steps[1])
        if not pair.inputs and left.took(pair.left.first) and left.trace.parent(steps[0]) is None:
            return f"other input: {visible(pair.left.first.name)}"
        found = self._weights(left.trace, steps[0], pair) or self._dropout(left.trace, steps[0])
        found = found or self._tokens(left.trace, steps[0], pair) or self._positions(left.trace, steps[0])
        found = found or _formula(*here) or self._verdicts(pair) or self._mask(*here)
        found = found or self._classes(*here) or self._precision(pair) or self._turned(*here)
        if pair.status == UNSURE and pair.distance.most > noise.FEW * pair.bound:
            said = "a choice between numbers that are equal within rounding fell otherwise"
            return f"{said}: record both in {finer(pair.unit)}"
        if not found and pair.status == UNSURE:
            return f"it may yet be rounding: record both in {finer(pair.unit)}"
        return found

    def _weights(self, trace: Trace, step: int, pair: Judged) -> str:
        """The weights of the step's module that differ."""
        known = self._before.get("weights")
        left = self._meeting.sides[0]
        if known is None or (isinstance(left, TraceSide) and left.took(pair.left.first)):
            return ""
        call = trace.call_of(step)
        path = str(trace.column("name")[call] or "").removeprefix(self._prefixes[0])
        names = [name for name in known.names if name.rpartition(".")[0] == path]
        if not names and not pair.inputs:
            names = [name for name in known.names if name.startswith(f"{path}.")]
        config = self._before.get("config")
        quantised = config is not None and any(name.startswith("quantization_config") for name in config.names)
        kind = "quantised weights" if quantised else "other weights"
        return f"{kind}: {', '.join(map(visible, names[:3]))}" if names else ""

    def _verdicts(self, pair: Judged) -> str:
        """An equation that one run's step keeps and the other's, of the same code, does not."""
        if "attention" in self._before:  # two ways to compute it need not carry the same equation
            return ""
        found = []
        for side, place in zip(self._meeting.sides, (pair.left, pair.right), strict=True):
            if not isinstance(side, TraceSide):
                return ""
            steps = side.returned_by(place.first)
            column = side.trace.column("type")
            found.append({(column[at], one.equation): one for at in steps for one in side.trace.checks_of(at)})
        for code in found[0].keys() & found[1].keys():
            checks = found[0][code], found[1][code]
            if {one.verdict for one in checks} == {"holds", "differs"}:
                said = ["the equation itself" if one.verdict == "holds" else one.variant or "nothing" for one in checks]
                return f"other formula: A fits {visible(said[0])}, B {visible(said[1])}"
        return ""

    def _dropout(self, trace: Trace, step: int) -> str:
        known = self._before.get("mode")
        active = known is not None and "dropout" in f"{known.left} {known.right}"
        return "dropout is active" if active and _DROPOUT.search(_said(trace, step)) else ""

    def _tokens(self, trace: Trace, step: int, pair: Judged) -> str:
        known = self._before.get("tokens")
        embeds = not pair.inputs and "Embedding" in str(trace.column("type")[step])
        if known is None or not embeds or _POSITION.search(_said(trace, step)):
            return ""
        return f"other tokens: {known.left} and {known.right} at {known.names[0]}"

    def _positions(self, trace: Trace, step: int) -> str:
        known = self._before.get("positions")
        if known is None or not _POSITION.search(_said(trace, step)):
            return ""
        return f"other positions: {known.left} and {known.right}"

    def _mask(self, left: Trace, one: int, right: Trace, other: int) -> str:
        if not _ATTENTION.search(_said(left, one)):
            return ""
        known = self._before.get("mask")
        if known is not None:
            return f"other mask: {known.left} and {known.right}"
        sees = [_sees_later(trace, at) for trace, at in ((left, one), (right, other))]
        if None in sees or sees[0] == sees[1]:
            return ""
        return f"other mask: {'B' if sees[1] else 'A'} sees later keys"

    def _classes(self, left: Trace, one: int, right: Trace, other: int) -> str:
        """Two modules of unlike classes at the same place."""
        places = list(zip((left, right), (left.call_of(one), right.call_of(other)), self._prefixes, strict=True))
        names = [str(trace.column("name")[at] or "").removeprefix(prefix) for trace, at, prefix in places]
        types = [str(trace.column("type")[at] or "") for trace, at, _ in places]
        kinds = {trace.column("kind")[at] for trace, at, _ in places}
        if types[0] == types[1] or names[0] != names[1] or kinds != {schema.MODULE}:
            return ""
        return f"{visible(types[0])} in A, {visible(types[1])} in B"

    def _turned(self, left: Trace, one: int, right: Trace, other: int) -> str:
        """A linear map of the same place that is right in both runs, with weights that no statistic tells apart."""
        names = set()
        for trace, at, prefix in zip((left, right), (one, other), self._prefixes, strict=True):
            call = trace.call_of(at)
            names.add(str(trace.column("name")[call] or "").removeprefix(prefix))
            if all((check.equation, check.verdict) != (_MAP, "holds") for check in trace.checks_of(call)):
                return ""
        if "weights" in self._before or len(names) != 1:
            return ""
        return f"other weights: {visible(names.pop())}.weight, the same numbers in another order, such as transposed"

    def _precision(self, pair: Judged) -> str:
        dtypes = [place.first.dtype for place in (pair.left, pair.right)]
        return f"other precision: {dtypes[0]} and {dtypes[1]}" if dtypes[0] != dtypes[1] else ""


def _said(trace: Trace, step: int) -> str:
    """The names and the text of a step, and of the call that it belongs to."""
    call = trace.call_of(step)
    said = [str(trace.column(name)[at] or "") for at in (step, call) for name in ("name", "type")]
    line, file = trace.column("line")[step], trace.column("file")[step]
    text = trace.source(file) if line == line and line is not None else []
    return " ".join([*said, text[int(line) - 1] if 0 < int(line or 0) <= len(text) else ""])


def _formula(left: Trace, one: int, right: Trace, other: int) -> str:
    """Numbers of the same equation that differ, or a variant that only one of the steps fits."""
    said = _other_number(left, one, right, other)
    if said:
        return said
    calls = left.call_of(one), right.call_of(other)
    found = _same_equation(left, calls[0], right, calls[1])
    if found is None:
        return ""
    equation, call, there = found
    checks = [
        next((c for c in trace.checks_of(at) if c.equation == equation), None)
        for trace, at in ((left, call), (right, there))
    ]
    if checks[0] is None or checks[1] is None or checks[0].variant == checks[1].variant:
        return ""
    fits = [visible(check.variant) if check.variant else "the equation itself" for check in checks if check]
    return f"other formula: A fits {fits[0]}, B {fits[1]}"


def _other_number(left: Trace, one: int, right: Trace, other: int) -> str:
    """The number of an equation that both steps have and that differs: an epsilon, a scale, a base."""
    found = _same_equation(left, left.call_of(one), right, right.call_of(other))
    if found is None:
        return ""
    equation, call, there = found
    ours, theirs = numbers(left, call, equation), numbers(right, there, equation)
    for symbol in sorted(ours.keys() & theirs.keys()):
        a, b = ours[symbol], theirs[symbol]
        if _another(a, b):
            return f"other formula: {visible(symbol)} is {_short(a)} in A and {_short(b)} in B"
    return ""


def _same_equation(left: Trace, call: int, right: Trace, other: int) -> tuple[str, int, int] | None:
    """An equation that was checked on both steps, or on the calls around them, and these calls."""
    for one in _around(left, call):
        ids = [check.equation for check in left.checks_of(one)]
        for there in _around(right, other):
            for check in right.checks_of(there):
                if check.equation in ids:
                    return check.equation, one, there
    return None


def _around(trace: Trace, call: int) -> list[int]:
    """A call, and the one around it if that is no module with modules in it."""
    above = trace.parent(call)
    return [call] if above is None else [call, trace.call_of(above)]


def _another(one: float | str, other: float | str) -> bool:
    """Whether two numbers differ; words, and what is only switched on or off, tell how code was called."""
    if isinstance(one, str) or isinstance(other, str) or {one, other} <= {0.0, 1.0}:
        return False
    return not np.isclose(one, other, rtol=_NUMBERS, atol=0.0, equal_nan=True)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else number(value)


def _sees_later(trace: Trace, step: int) -> bool | None:
    """Whether an attention gives weight to keys after the query; None if that is not known."""
    from ..explain import attention_weights

    found = attention_weights.attention(trace, trace.call_of(step))
    if found is None or found.probabilities is None:
        return None
    weights = found.probabilities
    queries, keys = weights.shape[-2:]
    if queries < 2:
        return None
    later = np.triu(np.ones((queries, keys), bool), 1 + keys - queries)
    return bool(later.any() and weights[..., later].any())
