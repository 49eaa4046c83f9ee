"""Looks at each result on the tape for a pattern that it ends, and finds the call that all of the pattern ran in."""

from __future__ import annotations

from collections.abc import Callable

from ...trace import schema
from ..calls import Call
from ..recording import Recording
from .attention import attention
from .embeddings import scaled_embedding
from .feedforward import feedforward
from .norms import norm_called, norm_written
from .product import PRODUCTS
from .proposal import Proposal, Unfit
from .tape import Made

_LOOKS: dict[str, tuple[Callable[[Made], Proposal | None], ...]] = {
    **dict.fromkeys((*PRODUCTS, "fused_attention"), (attention,)),
    "matmul": (attention, feedforward),
    "linear": (feedforward,),
    **dict.fromkeys(("layer_norm", "rms_norm"), (norm_called,)),
    **dict.fromkeys(("add", "div"), (norm_written,)),
    "mul": (norm_written, scaled_embedding),
}


class Patterns:
    """Hands what was seen to `propose`, with the innermost call that holds all of it."""

    def __init__(self, recording: Recording, propose: Callable[[Proposal, Call], None]) -> None:
        self._recording, self._propose = recording, propose

    def look(self, made: Made) -> None:
        """A result is new: whether it ends a pattern."""
        for pattern in _LOOKS.get(made.kind, ()):
            try:
                found = pattern(made)
            except Unfit:
                continue
            call = None if found is None else self._holder(found.since)
            if found is not None and call is not None and not call.stated:
                self._propose(found, call)

    def _holder(self, since: int) -> Call | None:
        """The innermost call that has been running since this step."""
        for call in reversed(self._recording.stack):
            if call.place.kind in schema.CALLS and call.step <= since and not call.muted:
                return call
        return None
