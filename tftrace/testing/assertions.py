"""The assertions: each records what is called, asks what a command asks, and fails with its answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..answers.comparison_answer import comparison_answer
from ..answers.origin_answer import origin_answer
from ..answers.paged import Answer
from ..answers.verdict_answer import UNCHECKED, verdict_answer
from ..api import Trace, record
from ..compare import Comparison, TraceSide, compare_runs
from ..errors import TraceError
from ..language import speaking
from ..navigate import accepted

Run = Callable[..., Any] | Trace
Accept = str | os.PathLike[str] | Sequence[Mapping[str, str]] | None

_STEPS, _MOST = 2, 10  # depth of the answer, and items of it in a message


def assert_holds(model: Run, /, *inputs: Any, accept: Accept = None, **named: Any) -> Trace:
    """Assert that the papers' equations hold while a model runs, and that it makes no NaN or Inf.

    Args:
        model: a `torch.nn.Module`, or anything else that is called and calls models; or a trace of it.
        inputs, named: its arguments.
        accept: differences that are known and wanted: a file as for `tftrace check --accept`, or a list of such
            entries, each with `equation` and `why`, and perhaps `step` and `variant`.

    Returns:
        The trace, for a closer look.

    Raises:
        AssertionError: an equation differs (✗), NaN or Inf was made, or no equation could be checked at all.
        TraceError: `accept` is no list of accepted differences.

    Example:
        `assert_holds(model, ids, accept=[{"equation": "layer-norm", "why": "the port rounds its epsilon"}])`
    """
    __tracebackhide__ = True
    trace = _recorded(model, inputs, named, values="none", prints=False, level="functions")
    answer = verdict_answer(trace, _accepted(accept), depth=_STEPS)
    _fail_if(answer)
    if not answer.facts["holds"] + answer.facts["differs"]:
        raise AssertionError(UNCHECKED)
    return trace


def assert_finite(model: Run, /, *inputs: Any, **named: Any) -> Trace:
    """Assert that a model makes no NaN or Inf; -Inf that fills a mask, and NaN that stays in padding, harms nothing.

    Args:
        model: a `torch.nn.Module`, or anything else that is called and calls models; or a trace of it.
        inputs, named: its arguments.

    Returns:
        The trace, for a closer look.

    Raises:
        AssertionError: NaN or Inf was made; the message says where, and why.
    """
    __tracebackhide__ = True
    trace = _recorded(model, inputs, named, values="auto", check=False, prints=False)
    _fail_if(origin_answer(trace))
    return trace


def assert_same(reference: Run, other: Run, /, *inputs: Any, **named: Any) -> Comparison:
    """Assert that two models, or two ways to run one, differ by no more than rounding explains.

    Each may be a `torch.nn.Module`, anything else that is called and calls models, or a trace. Rows of a batch are
    compared that have the same tokens, and tokens by their place among those that are not masked: padded or not,
    cached or not, what belongs together meets (docs/compare.md).

    Args:
        reference: what is right.
        other: what should be the same.
        inputs, named: the arguments of both.

    Returns:
        The comparison, for a closer look.

    Raises:
        AssertionError: they differ, cannot be compared, or it cannot be told at their precision; the message names the
            first real difference.

    Example:
        `assert_same(lambda: model(**alone), lambda: model(**padded))`
    """
    __tracebackhide__ = True
    left, right = (_recorded(run, inputs, named, values="auto", check=False) for run in (reference, other))
    found = compare_runs(TraceSide(left), TraceSide(right))
    with speaking("en"):
        _fail_if(comparison_answer(found))
    return found


def _recorded(run: Run, inputs: tuple[Any, ...], named: dict[str, Any], **options: Any) -> Trace:
    """A trace of a call; of a module only that, of anything else all models that it calls."""
    if isinstance(run, Trace):
        return run
    if not callable(run):
        raise TraceError(f"A {type(run).__name__} cannot be run: pass a model, a function that calls one, or a trace.")
    model: Any = run if callable(getattr(run, "named_modules", None)) else None
    with record(model, **options) as trace:
        run(*inputs, **named)
    return trace


def _fail_if(answer: Answer) -> None:
    __tracebackhide__ = True
    if answer.code:
        with speaking("en"):
            raise AssertionError("\n".join(answer.page(_MOST, lines=True).to_lines()))


def _accepted(accept: Accept) -> accepted.Accepted:
    if accept is None:
        return accepted.NOTHING
    return accepted.read(accept) if isinstance(accept, (str, os.PathLike)) else accepted.from_entries(accept)
