"""The traces that a server has open: the next question on one does not read it anew, unless it has changed."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from ..trace.trace import Trace, load

_KEPT = 2
_Stamp = tuple[tuple[str, int, int], ...]


class OpenedTraces:
    """The traces that were asked of last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[_Stamp, Trace]] = OrderedDict()

    def open(self, path: Path) -> Trace:
        """A trace as it is now.

        Raises:
            TraceError: There is none.
        """
        stamp = _stamp(path)
        known = self._kept.pop(path, None)
        trace = known[1] if known is not None and known[0] == stamp else load(path)
        self._kept[path] = (stamp, trace)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return trace


def _stamp(path: Path) -> _Stamp:
    """What changes when a trace does: names, sizes and times of its tables."""
    try:
        files = sorted([*path.glob("*.json"), *path.glob("rank-*/*")])
        return tuple((file.name, (found := file.lstat()).st_size, found.st_mtime_ns) for file in files)
    except OSError:
        return ()
