"""One edit: which part of what a step returns is changed, and into what."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TraceError
from ..trace.trace import Trace

ZERO, MEAN, SCALE, NOISE, SET, FROM, CALL, SKIP = "zero", "mean", "scale", "noise", "set", "from", "call", "skip"

Index = int | Iterable[int] | None
Dims = Mapping[str, int | Iterable[int]] | None


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a result is edited; what is empty chooses nothing, so that an empty part is all of it.

    Attributes:
        heads: Heads of an attention, from 0; negative ones count from the end, as everywhere here.
        tokens: Positions along the tokens.
        channels: Positions along the last axis; with heads, within each head.
        dims: Positions along dimensions that the equation of the step names.
    """

    heads: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    dims: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def __str__(self) -> str:
        named = [("head", self.heads), ("token", self.tokens), ("channel", self.channels), *self.dims]
        return ", ".join(
            f"{name}{'s' if len(chosen) > 1 and name in ('head', 'token', 'channel') else ''} {_listed(chosen)}"
            for name, chosen in named
            if chosen
        )


@dataclass(frozen=True, eq=False)
class Edit:
    """A change of what a step returns; made by `zero`, `mean`, `scale`, `noise`, `set_to`, `from_trace` and `call`.

    Attributes:
        what: The kind of change.
        part: Which part is changed.
        amount: The factor of `scale`, or the standard deviation of `noise`.
        seed: The seed of `noise`.
        value: What `set_to` sets: a number, an array or a tensor.
        source: The trace that `from_trace` takes values from.
        meet: For `from_trace`, which token of the source takes the place of a token here.
        function: What `call` calls.
        calls: Numbers, from 0, of the only calls of the step in the run that are edited; None for every call.
    """

    what: str
    part: Part = field(default_factory=Part)
    amount: float = 0.0
    seed: int = 0
    value: Any = None
    source: Trace | None = None
    meet: Mapping[int, int] | None = None
    function: Callable[[Any], Any] | None = None
    calls: frozenset[int] | None = None

    def __str__(self) -> str:
        said = {
            ZERO: "zero",
            MEAN: "mean",
            SCALE: f"scale {self.amount:g}",
            NOISE: f"noise {self.amount:g} (seed {self.seed})",
            SET: f"set {self.value:g}" if isinstance(self.value, (int, float)) else "set to an array",
            FROM: "from another run" if self.source is None else f"from {self.source.path.name}",
            CALL: f"call {getattr(self.function, '__name__', 'function')}",
            SKIP: "left out",
        }[self.what]
        return f"{said}: {self.part}" if str(self.part) else said


Edits = Mapping[str, Edit | Sequence[Edit]]


def zero(*, head: Index = None, token: Index = None, channel: Index = None, dims: Dims = None) -> Edit:
    """Set a step's result, or a part of it, to zero while a model is recorded.

    Args:
        head: number(s) of attention heads, from 0; negative ones count from the end. Of a module that mixes its heads
            in a last projection, the head is edited before that.
        token: position(s) along the tokens, padding included.
        channel: position(s) along the last axis; with `head`, within the head.
        dims: position(s) along dimensions that the step's equation names, such as `{"Tq": 3}`.

    Returns:
        An edit for `record(edits=)`. Of a step that returns several tensors, the first floating-point one is edited.

    Raises:
        TraceError: a position is not a whole number.

    Example::

        edits = {"encoder.layer.0.attention.self": tftrace.zero(head=1)}
        with tftrace.record(model, edits=edits) as trace:
            model(**inputs)
    """
    return Edit(ZERO, _part(head, token, channel, dims))


def mean(*, head: Index = None, token: Index = None, channel: Index = None, dims: Dims = None) -> Edit:
    """Replace a step's result, or a part of it, by its mean over the tokens of the row, padding included.

    Args:
        head, token, channel, dims: the part, as for `tftrace.zero`. The mean is taken over all tokens, for each channel
            by itself. A result without tokens becomes its mean over all channels of the part.

    Raises:
        TraceError: a position is not a whole number.
    """
    return Edit(MEAN, _part(head, token, channel, dims))


def scale(factor: float, *, head: Index = None, token: Index = None, channel: Index = None, dims: Dims = None) -> Edit:
    """Multiply a step's result, or a part of it.

    Args:
        factor: the factor.
        head, token, channel, dims: the part, as for `tftrace.zero`.

    Raises:
        TraceError: the factor is not a number, or a position not a whole one.
    """
    return Edit(SCALE, _part(head, token, channel, dims), amount=_number("scale", factor))


def noise(
    deviation: float,
    *,
    seed: int = 0,
    head: Index = None,
    token: Index = None,
    channel: Index = None,
    dims: Dims = None,
) -> Edit:
    """Add Gaussian noise to a step's result, or to a part of it; torch's own random numbers stay as they are.

    Args:
        deviation: the standard deviation, in the units of the result.
        seed: the same seed gives the same noise, in each call of the step another.
        head, token, channel, dims: the part, as for `tftrace.zero`.

    Raises:
        TraceError: the deviation is negative or not a number, or a position not a whole one.
    """
    if _number("noise", deviation) < 0:
        raise TraceError(f"noise takes a standard deviation, which {deviation} cannot be: give one of 0 or more.")
    return Edit(NOISE, _part(head, token, channel, dims), amount=float(deviation), seed=seed)


def set_to(value: Any, *, head: Index = None, token: Index = None, channel: Index = None, dims: Dims = None) -> Edit:
    """Set a step's result, or a part of it.

    Args:
        value: a number, or an array or tensor of the shape of the whole result, of which the part is taken, or of a
            shape that broadcasts to the part.
        head, token, channel, dims: the part, as for `tftrace.zero`.

    Raises:
        TraceError: a position is not a whole number. While the model runs: the shape does not fit.
    """
    return Edit(SET, _part(head, token, channel, dims), value=value)


def from_trace(
    source: Trace | str | os.PathLike[str],
    *,
    head: Index = None,
    token: Index = None,
    channel: Index = None,
    dims: Dims = None,
    tokens: Mapping[int, int] | None = None,
) -> Edit:
    """Replace a step's result, or a part of it, by what the same step returned in another run (activation patching).

    Args:
        source: the trace of the other run, which must have kept the step's result.
        head, token, channel, dims: the part, as for `tftrace.zero`.
        tokens: which token of the other run takes the place of a token, as `{here: there}`; tokens that are not named
            stay. By default each token meets the one at its own position.

    Raises:
        TraceError: there is no such trace, or a position is not a whole number. As the recording begins: the other run
            has no such step, or did not keep its result.
    """
    opened = source if isinstance(source, Trace) else Trace(Path(source))
    return Edit(FROM, _part(head, token, channel, dims), source=opened, meet=tokens)


def call(
    function: Callable[[Any], Any],
    *,
    head: Index = None,
    token: Index = None,
    channel: Index = None,
    dims: Dims = None,
) -> Edit:
    """Replace a step's result, or a part of it, by what a function makes of it.

    Args:
        function: is given the part as a tensor, with an axis of its own for heads, and returns what takes its place: a
            tensor that broadcasts to it.
        head, token, channel, dims: the part, as for `tftrace.zero`.

    Raises:
        TraceError: it is no function, or a position is not a whole number.
    """
    if not callable(function):
        raise TraceError(f"call takes a function of the tensor that is edited, not a {type(function).__name__}.")
    return Edit(CALL, _part(head, token, channel, dims), function=function)


def _part(head: Index, token: Index, channel: Index, dims: Dims) -> Part:
    named = tuple((name, _positions(name, chosen)) for name, chosen in (dims or {}).items())
    return Part(_positions("head", head), _positions("token", token), _positions("channel", channel), named)


def _positions(name: str, chosen: Index) -> tuple[int, ...]:
    if chosen is None:
        return ()
    try:
        found = tuple([chosen] if isinstance(chosen, int) else chosen)
    except TypeError:
        found = ()
    if not found or not all(isinstance(one, int) and not isinstance(one, bool) for one in found):
        raise TraceError(f"{name}={chosen!r} is no position: give a whole number from 0, or a list of them.")
    return found


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise TraceError(f"{name} takes a number, not {value!r}.")
    return float(value)


def _listed(chosen: tuple[int, ...]) -> str:
    """`3`, `1, 2` or, of many in a row, `0–11`."""
    if len(chosen) > 2 and chosen == tuple(range(chosen[0], chosen[0] + len(chosen))):
        return f"{chosen[0]}–{chosen[-1]}"
    return ", ".join(map(str, chosen))
