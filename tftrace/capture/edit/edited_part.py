"""Changes a part of a tensor as an edit says, in a copy: what is not part of it keeps every bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...edits import Edit, Part
from ...edits.changes import CALL, FROM, MEAN, NOISE, SCALE, SET, ZERO
from ...errors import TraceError

_PER_TOKEN, _PER_HEAD = 3, 4  # axes: batch, tokens, width; and heads apart


@dataclass(frozen=True)
class Axes:
    """What the axes of a tensor are.

    Attributes:
        tokens: The axis of the tokens, if there is one.
        heads: The axis of the heads, once they are apart.
        split: How many heads the last axis holds side by side; 0 if they are apart, or there are none.
        named: The dimensions that the equation names, with their sizes, if these choose the part.
    """

    tokens: int | None
    heads: int | None = None
    split: int = 0
    named: tuple[tuple[str, int], ...] = ()

    def apart(self, tensor: torch.Tensor) -> torch.Tensor:
        """A contiguous tensor seen with an axis for each of these."""
        if self.named:
            return tensor.reshape([size for _, size in self.named])
        return tensor.unflatten(-1, (self.split, -1)) if self.split else tensor


def axes_of(tensor: torch.Tensor, heads: int | None, whose: str, first_tokens: bool = False) -> Axes:
    """What the axes of a result are.

    Args:
        tensor: [batch, tokens, width], [batch, width], or with heads apart [batch, tokens, heads, width] or
            [batch, heads, tokens, width].
        heads: How many heads it holds, if they are asked for.
        whose: The name of the step, for a message.
        first_tokens: Whether the tokens come before the batch.

    Raises:
        TraceError: It does not hold as many heads.
    """
    size = tensor.dim()
    if heads is None:
        return Axes(0 if first_tokens else 1 if size == _PER_TOKEN else None)
    if size == _PER_HEAD:
        apart = [axis for axis in (2, 1) if tensor.shape[axis] == heads]
        if not apart:
            raise TraceError(f"{whose} returns {_shape(tensor)}, which has no axis of {heads} heads: edit all of it.")
        return Axes(3 - apart[0], apart[0])
    if size < 2 or tensor.shape[-1] % heads:
        raise TraceError(f"{whose} has {_shape(tensor)}, which {heads} heads do not divide: edit all of it.")
    return Axes(0 if first_tokens else size - 2, size - 1, heads)


def edited(edit: Edit, tensor: torch.Tensor, axes: Axes, whose: str, count: int, given: Any = None) -> torch.Tensor:
    """A copy of a tensor with a part of it changed.

    Args:
        edit: The change.
        tensor: The tensor.
        axes: What its axes are.
        whose: The name of the step, for messages.
        count: How many calls of the step came before, for a noise of its own.
        given: For `from_trace`, what the step returned in the other run.

    Raises:
        TraceError: There is no such part, or what is set does not fit into it.
    """
    copy = tensor.clone(memory_format=torch.contiguous_format)
    view = axes.apart(copy)
    meet = None
    if edit.what == FROM:
        given = torch.as_tensor(np.array(given)).to(tensor.device, tensor.dtype)
        given = axes.apart(given) if given.shape == tensor.shape or not axes.named else given
        meet = _meeting(edit, view, given, axes, whose)
    index = _index(edit.part, view, axes, whose, None if meet is None else [here for here, _ in meet])
    old = view[index]
    new = _changed(edit, old, view, index, axes, whose, count, given, meet, tensor.shape)
    try:
        view[index] = new
    except RuntimeError as error:
        raise TraceError(
            f"What is to be set in {whose} is {_shape(new)}, which does not fit into {_shape(old)}: give it that shape."
        ) from error
    return copy


def _changed(
    edit: Edit,
    old: torch.Tensor,
    view: torch.Tensor,
    index: tuple[Any, ...],
    axes: Axes,
    whose: str,
    count: int,
    given: Any,
    meet: list[tuple[int, int]] | None,
    whole: torch.Size,
) -> Any:
    if edit.what == ZERO:
        return torch.zeros_like(old)
    if edit.what == SCALE:
        return old * edit.amount
    if edit.what == NOISE:
        made = torch.Generator().manual_seed((edit.seed + 0x9E3779B97F4A7C15 * count) % 2**63)
        drawn = torch.randn(old.shape, generator=made, dtype=torch.float32)
        return old + (edit.amount * drawn).to(old.device, old.dtype)
    if edit.what == MEAN:
        return _mean(view, index, axes)
    if edit.what == SET:
        value = torch.as_tensor(edit.value).to(old.device, old.dtype)
        return axes.apart(value)[index] if value.shape == whole else value
    if edit.what == FROM:
        there = None if meet is None else [other for _, other in meet]
        return given[_index(edit.part, given, axes, whose, there)]
    assert edit.what == CALL and edit.function is not None
    return edit.function(old)


def _mean(view: torch.Tensor, index: tuple[Any, ...], axes: Axes) -> torch.Tensor:
    """The mean over the tokens, of the part; without tokens over all but the batch."""
    if axes.tokens is None:
        old = view[index]
        return old.mean(tuple(range(1, old.dim())), keepdim=True) if old.dim() > 1 else old.mean()
    over = view.mean(axes.tokens, keepdim=True).expand_as(view)
    return over[index]


def _index(part: Part, view: torch.Tensor, axes: Axes, whose: str, tokens: list[int] | None) -> tuple[Any, ...]:
    """The index of a part."""
    chosen: dict[int, tuple[int, ...]] = {}
    names = [name for name, _ in axes.named]
    for name, positions, axis in (
        *((name, positions, names.index(name)) for name, positions in part.dims),
        ("head", part.heads, axes.heads),
        ("token", part.tokens if tokens is None else tuple(tokens), axes.tokens),
        ("channel", part.channels, view.dim() - 1),
    ):
        if positions:
            if axis is None:
                raise TraceError(
                    f"{whose} returns {_shape(view)}, in which no axis is that of {name}s: edit all of it."
                )
            chosen[axis] = _within(positions, view.shape[axis], name, whose)
    return _open(chosen, view)


def _open(chosen: dict[int, tuple[int, ...]], view: torch.Tensor) -> tuple[Any, ...]:
    """The index of all combinations of positions along some axes; slices, as far as these do."""
    found: list[Any] = [_slice(chosen[axis]) if axis in chosen else slice(None) for axis in range(view.dim())]
    lists = [axis for axis, one in enumerate(found) if not isinstance(one, slice)]
    if len(lists) > 1:
        every = [torch.arange(size, device=view.device)[one] for size, one in zip(view.shape, found, strict=True)]
        return tuple(
            one.reshape([-1 if at == axis else 1 for at in range(view.dim())]) for axis, one in enumerate(every)
        )
    return tuple(found)


def _slice(positions: tuple[int, ...]) -> slice | list[int]:
    first, last = positions[0], positions[-1]
    return slice(first, last + 1) if positions == tuple(range(first, last + 1)) else list(positions)


def _within(positions: tuple[int, ...], size: int, name: str, whose: str) -> tuple[int, ...]:
    for one in positions:
        if not -size <= one < size:
            raise TraceError(f"There is no {name} {one} in {whose}: it has {size}, numbered from 0.")
    return tuple(dict.fromkeys(one % size for one in positions))


def _meeting(
    edit: Edit, view: torch.Tensor, given: torch.Tensor, axes: Axes, whose: str
) -> list[tuple[int, int]] | None:
    """Which token here takes which one of the other run; None if all of it takes all of it.

    Raises:
        TraceError: The shapes do not meet.
    """
    if axes.tokens is None or axes.tokens >= given.dim():
        if view.shape != given.shape:
            raise TraceError(f"{whose} is {_shape(given)} in the other run and {_shape(view)} here: they do not meet.")
        return None
    here, there = view.shape[axes.tokens], given.shape[axes.tokens]
    meet = edit.meet if edit.meet is not None else {at: at for at in range(min(here, there))}
    rest = [(a, b) for axis, (a, b) in enumerate(zip(view.shape, given.shape, strict=False)) if axis != axes.tokens]
    if view.dim() != given.dim() or any(a != b for a, b in rest):
        raise TraceError(f"{whose} is {_shape(given)} in the other run and {_shape(view)} here: they do not meet.")
    wanted = _within(edit.part.tokens, here, "token", whose) if edit.part.tokens else tuple(meet)
    for one in wanted:
        if one not in meet or not 0 <= meet[one] < there or not 0 <= one < here:
            raise TraceError(f"Token {one} of {whose} meets none of the other run: choose one that both runs have.")
    return [(one, meet[one]) for one in wanted]


def _shape(tensor: Any) -> str:
    return "×".join(map(str, tensor.shape)) or "a number" if isinstance(tensor, torch.Tensor) else str(tensor)
