"""The options that say what is changed in a step, and into what."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from ..errors import TraceError
from ._shared import Switch

if TYPE_CHECKING:
    from ..edits import Edit

_PART = Group("What is changed", sort_key=1)
_CHANGE = Group("Into what", sort_key=2)
_MOST = 100_000  # positions that are named
Chosen = Annotated[str | None, Parameter(group=_PART, allow_leading_hyphen=True)]
Named = Annotated[list[str] | None, Parameter(name="--dim", group=_PART, consume_multiple=False, negative=())]
Number = Annotated[float | None, Parameter(group=_CHANGE, allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """What is changed, and into what.

    Parameters
    ----------
    head
        Heads of an attention, from 0, such as 1 or 0,3 or 0-3; negative ones count from the end.
    token
        Positions along the tokens, likewise.
    channel
        Positions along the last axis, likewise; with --head, within the head.
    dims
        Positions along a dimension that the step's equation names, as in --dim Tq=3. May be repeated.
    zero
        Set it to zero.
    mean
        Set it to its mean over the tokens.
    scale
        Multiply it by this.
    noise
        Add Gaussian noise with this standard deviation; --seed chooses another.
    set_to
        Set it to a number, or to the array in a .npy file.
    source
        Set it to what the same step returned in this other run, token by token.
    seed
        Seed of the noise.
    """

    head: Chosen = None
    token: Chosen = None
    channel: Chosen = None
    dims: Named = None
    zero: Annotated[Switch, Parameter(group=_CHANGE)] = False
    mean: Annotated[Switch, Parameter(group=_CHANGE)] = False
    scale: Number = None
    noise: Number = None
    set_to: Annotated[str | None, Parameter(name="--set", group=_CHANGE, allow_leading_hyphen=True)] = None
    source: Annotated[Path | None, Parameter(name="--from", group=_CHANGE)] = None
    seed: Annotated[int, Parameter(group=_CHANGE)] = 0

    def edit(self, otherwise: str | None = None) -> Edit:
        """The edit that the options ask for; `otherwise` is what is done if they name no change.

        Raises:
            TraceError: They name none, or several, or a part or a value that cannot be read.
        """
        from .. import edits

        asked = {
            "--zero": self.zero, "--mean": self.mean, "--scale": self.scale is not None,
            "--noise": self.noise is not None, "--set": self.set_to is not None, "--from": self.source is not None,
        }  # fmt: skip
        named = [name for name, given in asked.items() if given] or ([otherwise] if otherwise else [])
        if len(named) != 1:
            said = f"{' and '.join(named)} are several changes" if named else "No change is named"
            raise TraceError(f"{said}: choose one of --zero, --mean, --scale, --noise, --set and --from.")
        part = {
            "head": _positions("--head", self.head),
            "token": _positions("--token", self.token),
            "channel": _positions("--channel", self.channel),
            "dims": dict(map(_dimension, self.dims or ())),
        }
        made: dict[str, Any] = {
            "--zero": edits.zero,
            "--mean": edits.mean,
            "--scale": lambda **part: edits.scale(self.scale or 0.0, **part),
            "--noise": lambda **part: edits.noise(self.noise or 0.0, seed=self.seed, **part),
            "--set": lambda **part: edits.set_to(_value(str(self.set_to)), **part),
            "--from": lambda **part: edits.from_trace(str(self.source), **part),
        }
        found: Edit = made[named[0]](**part)
        if found.source is not None:
            len(found.source)  # a path that is no trace is better named here
        return replace(found)


def _positions(option: str, said: str | None) -> list[int] | None:
    """Parse `3`, `0,2,-1` or `0-3`."""
    if said is None:
        return None
    found: list[int] = []
    for part in said.split(","):
        numbers = re.fullmatch(r"\s*(-?\d{1,6})(?:-(\d{1,6}))?\s*", part, re.ASCII)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (1, 0)
        if last < first or (numbers and numbers[2] and first < 0) or last - first > _MOST:
            raise TraceError(f"{option} {said} is no position: name positions as 3, as 0,2,-1 or as 0-3.")
        found += range(first, last + 1)
    return found


def _dimension(said: str) -> tuple[str, list[int]]:
    name, equals, positions = said.partition("=")
    if not equals or not name:
        raise TraceError(f"--dim {said} names no positions: write a dimension and positions along it, such as Tq=3.")
    return name, _positions("--dim", positions) or []


def _value(said: str) -> Any:
    """A number, or the array in a file."""
    import numpy as np

    try:
        return float(said)
    except ValueError:
        pass
    try:
        found = np.load(said, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TraceError(
            f"{said} is neither a number nor an array of NumPy ({_first(error)}): name a .npy file."
        ) from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise TraceError(f"{said} holds no array of numbers: name a .npy file.")
    return found


def _first(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said or next(iter(str(error).splitlines()), "")[:100].rstrip(".")
