"""Finds weights and buffers of a model that hold NaN or Inf, and where.

The trace has statistics of weights anyway, but only the whole tensor, which is seldom kept, tells which element it is;
and buffers have no rows at all."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any

import torch

from ..measure.identity import SUMMARY, Identities
from ..measure.summaries import Owed, Summaries
from ..measure.summary import Summary
from ..torch_internals import BUFFERS
from .watched_modules import own_parameters

_NAN, _INF = Summary._fields.index("nan"), Summary._fields.index("inf")
_LARGEST = 1 << 22  # elements; a larger buffer is a cache, and is not examined


class BadWeights:
    """Notes such weights and buffers under `nonfinite` in meta.json, when modules are first called."""

    def __init__(self, identities: Identities, summaries: Summaries, meta: dict[str, Any]) -> None:
        self._identities, self._summaries, self._meta = identities, summaries, meta
        self._owed: list[tuple[str, weakref.ref[torch.Tensor], Owed, bool]] = []  # an accelerator computes them

    def look(self, path: str, module: torch.nn.Module) -> None:
        """Examine the parameters and buffers of the module itself."""
        for name, parameter in own_parameters(module).items():
            summary = self._identities.of(parameter)[SUMMARY]
            if isinstance(summary, Owed) or summary[_NAN] or summary[_INF]:
                self._weigh(f"{path}.{name}".lstrip("."), parameter, summary, False)
        for name, buffer in getattr(module, BUFFERS, {}).items():
            with suppress(Exception):  # a subclass may raise anything, which must not end the recording
                if buffer is not None and buffer.is_floating_point() and buffer.numel() <= _LARGEST:
                    self._weigh(f"{path}.{name}".lstrip("."), buffer, self._summaries.of(buffer), True)

    def settle(self) -> None:
        """Examine those whose statistics an accelerator still owed."""
        owed, self._owed = self._owed, []
        if owed:
            self._summaries(())
        for name, tensor, summary, buffer in owed:
            found = tensor()
            if found is not None:
                self._note(name, found, Summary(*summary.summary), buffer)

    def _weigh(self, name: str, tensor: torch.Tensor, summary: Any, buffer: bool) -> None:
        if isinstance(summary, Owed):
            self._owed.append((name, weakref.ref(tensor), summary, buffer))
        else:
            self._note(name, tensor, Summary(*summary), buffer)

    def _note(self, name: str, tensor: torch.Tensor, summary: Summary, buffer: bool) -> None:
        if not (summary.nan or summary.inf):
            return
        what = "nan" if summary.nan else "inf"
        entry: dict[str, Any] = {"what": what, "count": summary.nan or summary.inf}
        index = _first(tensor, what)
        entry |= {"index": index} if index is not None else {}
        entry |= {"buffer": True} if buffer else {}
        self._meta.setdefault("nonfinite", {})[name] = entry


def _first(tensor: torch.Tensor, what: str) -> list[int] | None:
    """The index of the first NaN or Inf; None if it cannot be found."""
    try:
        plain = tensor.detach().float()
        bad = plain.isnan() if what == "nan" else plain.isinf()
        found = bad.nonzero()
        return [int(at) for at in found[0]] if len(found) else None
    except Exception:  # a subclass may raise anything, and no weight is worth the forward pass that holds it
        return None
