"""Looks out for departures: while results are made, when a module begins, and when it is about to return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import torch

from ....trace import schema
from ...calls import Call
from ...recording import Recording
from ..patterns import Patterns
from ..proposal import Proposal, Unfit
from ..tape import Made, Tape
from .bypassed_bias import BypassedBiases
from .counted_from import positions_added
from .layer_order import LayerOrder
from .missing_sum import Missing, missing_sum, normalized
from .norm_factor import norm_times_number
from .rotary_angles import rotary_angles
from .unused_mask import unused_mask

_MOST_SUMS = 64  # residual sums of a call that are remembered
_LOOKS: dict[str, Callable[[Made], Proposal | None]] = {
    "mul": norm_times_number,
    "div": norm_times_number,
    "add": positions_added,
}


class Remarks:
    """What is remarked in one recording, beside the patterns that are seen.

    Attributes:
        tape: The tape that tells of each result.
    """

    def __init__(self, recording: Recording, patterns: Patterns) -> None:
        self._recording, self._patterns = recording, patterns
        patterns.on_found = self._found
        self.tape = Tape(self._look)
        self._order, self._biases = LayerOrder(self.tape.made), BypassedBiases()
        self._sums: dict[int, tuple[list[Made], list[Made]]] = {}  # by the step of a call its sums, and norms of sums
        self._missing: dict[int, list[Missing]] = {}  # by the step of a call sums that may still be made of a norm
        self._last: Made | None = None

    def clear(self) -> None:
        """A forward has ended."""
        self.tape.clear()
        self._order.clear()
        self._biases.clear()
        self._sums.clear()
        self._missing.clear()
        self._last = None

    def on_module(self, module: torch.nn.Module, entering: bool) -> None:
        """A module has begun, or is about to return."""
        stack = self._recording.stack
        call = stack[-1].call if stack else None
        if call is None or call.kind != schema.MODULE or call.owner is not module or call.muted:
            return
        with suppress(Unfit), torch.no_grad():
            if entering:
                return self._propose(call, (self._order.begins(call),))
            self._order.ended(call, self._recording.steps)
            self._propose(call, self._biases.ended(call))
            last = self._missing_in(call, self._last)
            late = self._missing.pop(call.step, [])
            self._propose(call, [one.proposal for one in (*late, last) if one is not None])
            self._sums.pop(call.step, None)

    def _look(self, made: Made) -> None:
        """A result is new."""
        self._last = made
        self._patterns.look(made)
        pattern = _LOOKS.get(made.kind)
        if pattern is not None:
            self._patterns.try_one(pattern, made)
        call = self._patterns.holder(made.step)
        if call is not None:
            self._biases.look(made, call)
        if self._missing and made.kind == "add":
            for step, waiting in self._missing.items():
                self._missing[step] = [one for one in waiting if not one.is_made_up(made)]
        if self._sums and (before := normalized(made)) is not None:
            for call in [one for one in self._recording.stack if one.step in self._sums]:
                with suppress(Unfit):
                    one = self._missing_in(call, before)
                    self._missing.setdefault(call.step, []).extend([one] if one is not None else [])

    def _missing_in(self, call: Call, last: Made | None) -> Missing | None:
        """The sum that is missing, if a sublayer of a call ends in this result."""
        sums, normed = self._sums.get(call.step, ([], []))
        return missing_sum(last, sums, normed) if last is not None and last not in sums else None

    def _found(self, made: Made, proposal: Proposal, call: Call) -> None:
        """A pattern was found: what it tells beside what it is."""
        if proposal.pattern in ("pre-norm-residual", "post-norm-residual"):
            known = self._sums.setdefault(call.step, ([], []))[proposal.pattern != "pre-norm-residual"]
            known.append(made)
            del known[:-_MOST_SUMS]
        self._propose(call, (unused_mask(proposal, call), rotary_angles(proposal)))

    def _propose(self, call: Call, found: Iterable[Proposal | None]) -> None:
        for one in found:
            if one is not None and not call.stated:
                self._patterns.propose(one, call)
