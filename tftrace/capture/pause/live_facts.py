"""What a breakpoint may ask of a step as it ends: its columns, and the numbers of its tensors as they are now."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from ...navigate.difference_kinds import shown_verdict
from ...navigate.findings import VERDICT_WORDS, VERDICTS
from ...trace.rows import CheckRow
from ..calls import Call


class LiveTensor:
    """A tensor that a step returned or bound.

    Args:
        name: Its path in what was returned, or its variable.
        tensor: The tensor.
    """

    def __init__(self, name: str, tensor: torch.Tensor) -> None:
        self.name, self.tensor = name, tensor

    def text(self, name: str) -> str:
        """Its dtype or device."""
        return str(self.tensor.dtype).removeprefix("torch.") if name == "dtype" else str(self.tensor.device)

    def statistic(self, name: str) -> float:
        """One of the statistics of the tensors table; NaN where there is none."""
        tensor = self.tensor
        if name in ("numel", "nbytes"):
            return float(tensor.numel() if name == "numel" else tensor.nbytes)
        try:
            return self._counted(name) if name in ("nan", "inf", "zero") else self._measured(name)
        except (RuntimeError, NotImplementedError):  # a tensor without numbers, or of a kind that has none
            return float("nan")

    def _counted(self, name: str) -> float:
        tensor = self.tensor.detach()
        bad = tensor == 0 if name == "zero" else torch.isnan(tensor) if name == "nan" else torch.isinf(tensor)
        return float(bad.sum().item())

    def _measured(self, name: str) -> float:
        finite = self._finite
        if not finite.numel():
            return float("nan")
        if name == "std":
            return float(finite.std(correction=0).item())
        if name == "l2":
            return float(torch.linalg.vector_norm(finite).item())
        found = finite.mean() if name == "mean" else finite.min() if name == "min" else finite.max()
        return float(found.item())

    @cached_property
    def _finite(self) -> torch.Tensor:
        whole = self.tensor.detach().double()
        return whole[torch.isfinite(whole)]


class LiveStep:
    """A step as it ends.

    Args:
        call: The step.
        number: Its number.
        tensors: What it returned or bound.
        checks: Its checks, if the breakpoint asks for them.
        trace: The trace that they are in.
    """

    def __init__(
        self,
        call: Call,
        number: int,
        tensors: list[LiveTensor],
        checks: list[CheckRow] | None = None,
        trace: Any = None,
    ) -> None:
        self._call, self._number, self._tensors = call, number, tensors
        self._checks, self._trace = checks or [], trace

    def number(self, name: str) -> float:
        """A number of the steps table."""
        at = self._call
        known = {"step": self._number, "depth": at.depth, "forward": at.forward, "occurrence": at.occurrence, "rank": 0}
        found = known.get(name, at.place.line if name == "line" else None)
        return float("nan") if found is None else float(found)

    def text(self, name: str) -> str | None:
        """A text of the steps table."""
        if name == "status":
            return "returned"
        if name == "equation":
            return self._call.equation
        found = getattr(self._call.place, name, None)
        return found if isinstance(found, str) else None

    def tensors(self) -> list[Any]:
        """Its tensors."""
        return self._tensors

    def verdicts(self) -> list[tuple[str, ...]]:
        """The words for its verdict, the worst of its checks; none if it has none."""
        shown = {shown_verdict(self._trace, check) for check in self._checks}
        return [words for verdict, words in zip(VERDICTS, VERDICT_WORDS, strict=True) if verdict in shown][:1]

    def checked(self, name: str) -> list[float]:
        """A number of each of its checks."""
        found = [getattr(check, name) for check in self._checks]
        return [float(number) for number in found if number is not None]
