"""The two runs of a comparison, as users name them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..trace.trace import load

if TYPE_CHECKING:
    from ..compare import Side

_FORWARD = re.compile(r"(.+)@(\d{1,9})", re.ASCII | re.DOTALL)


def side_of(said: Path) -> Side:
    """The run that is meant by a path, or by a path and the number of a forward pass: run.tftrace@2."""
    from ..compare import DumpSide, TraceSide, is_dump, read_dump

    if is_dump(said):
        return DumpSide(read_dump(said))
    number = None if said.exists() else _FORWARD.fullmatch(str(said))
    return TraceSide(load(number[1]), int(number[2])) if number else TraceSide(load(said))
