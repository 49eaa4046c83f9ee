"""Facts about a whole run: the model and its inputs, the number of steps, the verdicts."""

from __future__ import annotations

import numpy as np

from ..language import later
from ..language.retell import retold
from ..navigate import findings
from ..navigate.difference_kinds import BY_DESIGN, by_design
from ..navigate.edited_steps import edited_steps
from ..navigate.nonfinite import origins
from ..text import visible
from ..trace import schema
from ..trace.trace import Trace
from .nan_sentences import nan_cause, nan_lines, nan_word
from .phrases import MARKS, text
from .step_row import path, verdict

_AS_IT_IS = ("model", "source", "text", "error")
_NAMED = 3  # modules that drop something out
_COUNTED = {schema.HOLDS: "hold", BY_DESIGN: "by design", schema.DIFFERS: "differ", schema.UNCHECKED: "unchecked"}


def about(trace: Trace, made: bool = True) -> list[tuple[str, str]]:
    """The facts about a run as (name, value) pairs, in English; empty ones are left out, and without `made` where NaN
    was made."""
    meta = trace.meta
    given = meta.get("text")
    texts = given if isinstance(given, list) else [given]
    found = [
        (
            later("model"),
            " · ".join(filter(None, (text(meta.get("model")), text(meta.get("dtype")), text(meta.get("device"))))),
        ),
        (later("mode"), mode(trace)),
        (later("source"), text(meta.get("source"))),
        (later("text"), " | ".join(filter(None, map(text, texts)))),
        (later("edited"), edited(trace)),
        (later("result"), text(meta.get("result"))),
        (later("error"), text(meta.get("error"))),
    ]
    checks = totals(trace)
    judged = "  ".join(f"{MARKS[name]} {count} {_COUNTED[name]}" for name, count in checks.items() if count)
    forwards = len(np.unique(trace.column("forward")[trace.column("depth") == 0]))  # not all passes need be recorded
    size = f"{len(trace)} in {forwards} forward pass{'es' if forwards != 1 else ''}"
    found += [(later("steps"), size), (later("checks"), judged or "none recorded")]
    found += [(later("made"), sentence) for sentence in (nan_lines(trace) if made else ())]
    found += [(later("missing"), sentence) for sentence in missing(trace)]
    return [(name, value) for name, value in found if value]


def edited(trace: Trace) -> str:
    """Which steps were changed on purpose, and how: `layer.0.attention (zero: head 1)`; empty if none was."""
    said = list(dict.fromkeys(f"{path(trace, at)} ({visible(what)})" for at, what in edited_steps(trace).items()))
    return ", ".join(said[:_NAMED]) + (f", and {len(said) - _NAMED} more" if len(said) > _NAMED else "")


def told_fact(name: str, fact: str) -> str:
    """A fact about a run in the language spoken; what the user named or wrote stays as it is."""
    if name == "checks":
        return "  ".join(map(retold, fact.split("  ")))
    return fact if name in _AS_IT_IS else retold(fact)


def mode(trace: Trace) -> str:
    """That dropout was active, and where, or that the model was in training mode; empty if neither is known."""
    found = trace.meta.get("dropout")
    dropping = [text(path) or "the model itself" for path in found] if isinstance(found, list) else []
    if dropping:
        where = "1 module" if len(dropping) == 1 else f"{len(dropping)} modules"
        named = ", ".join(dropping[:_NAMED]) + (", …" if len(dropping) > _NAMED else "")
        return f"training: dropout is active in {where} ({named}), and no two runs are the same"
    return {"training": "training", "mixed": "training in parts"}.get(str(trace.meta.get("mode")), "")


def missing(trace: Trace) -> list[str]:
    """Sentences that say what of the run is not in the trace."""
    return [visible(sentence) for sentence in trace.missing]


def totals(trace: Trace) -> dict[str, int]:
    """The number of checks with each verdict, as `MARKS` has them."""
    codes, words = trace.words("verdict", "checks")
    counts = dict(zip(words, np.bincount(codes[codes >= 0], minlength=len(words)).tolist(), strict=True))
    counts[BY_DESIGN] = int(by_design(trace).sum())
    counts[schema.DIFFERS] = counts.get(schema.DIFFERS, 0) - counts[BY_DESIGN]
    return {name: counts.get(name, 0) for name in MARKS}


def forward_count(trace: Trace) -> int:
    """The number of forward passes up to the last recorded one."""
    return int(np.nan_to_num(trace.column("forward").astype(float)).max(initial=-1)) + 1


def first_wrong(trace: Trace) -> str:
    """What went wrong first and where: `first NaN: layer.7.output`; empty if nothing did."""
    found = findings.wrong(trace)
    if not len(found):
        return ""
    at = int(found[0])
    made = origins(trace).of(at)
    if made:
        return f"first {nan_word(made[0])}: {path(trace, at)}: {nan_cause(made[0])}"
    status = trace.column("status")[at]
    unfinished = "unfinished step" if status == schema.OPEN else "error"
    what = "difference" if verdict(trace, at) == schema.DIFFERS else unfinished
    return f"first {what}: {path(trace, at)}"


def answers(left: Trace | None, right: Trace | None) -> str:
    """What the two runs answered, against each other; empty if that is not known of both."""
    ours, theirs = (text(None if trace is None else trace.meta.get("result")) for trace in (left, right))
    if not ours or not theirs:
        return ""
    return f"Both runs say: {ours}" if ours == theirs else f"The runs say: {ours} → {theirs}"
