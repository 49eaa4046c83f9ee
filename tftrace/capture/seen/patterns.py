"""Looks at each result on the tape for a pattern that it ends, and finds the call that all of the pattern ran in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import torch

from ...trace import schema
from ..calls import Call
from ..recording import Recording
from ..torch_internals import children_of
from .attention import attention
from .embeddings import scaled_embedding, sinusoids, tied_head
from .expressions.activation import gelu_written
from .feedforward import feedforward
from .heads import multi_head
from .losses import loss
from .norms import norm_called, norm_written
from .proposal import Proposal, Unfit
from .residual import norm_of_residual, residual
from .rotary import rotated, rotated_by_complex_numbers, rotated_in_parts
from .tape import Made

_LOOKS: dict[str, tuple[Callable[[Made], Proposal | None], ...]] = {
    "matmul": (attention, feedforward, multi_head),
    **dict.fromkeys(("baddbmm", "fused_attention"), (attention,)),
    "einsum": (attention, feedforward),
    **dict.fromkeys(("addmm", "conv1d"), (feedforward,)),
    "linear": (feedforward, tied_head, multi_head),
    **dict.fromkeys(("layer_norm", "rms_norm"), (norm_called, norm_of_residual)),
    "add": (norm_written, norm_of_residual, rotated, residual, sinusoids),
    **dict.fromkeys(("div", "addcmul"), (norm_written, norm_of_residual)),
    "mul": (norm_written, norm_of_residual, scaled_embedding, gelu_written, rotated_by_complex_numbers),
    "joined": (rotated_in_parts,),
    **dict.fromkeys(("cross_entropy", "mse_loss"), (loss,)),
}
_EPSILONS = ("eps", "epsilon", "variance_epsilon", "norm_eps", "layer_norm_eps")


class Patterns:
    """Hands what was seen to `propose`, with the innermost call that holds all of it; what the symbols of equations
    stand for there is written to the trace."""

    def __init__(
        self, recording: Recording, propose: Callable[[Proposal, Call], Mapping[str, Mapping[str, torch.Tensor]]]
    ) -> None:
        self._recording, self._propose = recording, propose
        self.on_found: Callable[[Made, Proposal, Call], None] = lambda made, found, call: None

    def look(self, made: Made) -> None:
        """A result is new: whether it ends a pattern."""
        for pattern in _LOOKS.get(made.kind, ()):
            self.try_one(pattern, made)

    def try_one(self, pattern: Callable[[Made], Proposal | None], made: Made) -> None:
        """Whether a result ends this pattern."""
        with suppress(Unfit), torch.no_grad():
            found = pattern(made)
            call = None if found is None else self.holder(found.since)
            if found is not None and call is not None and not call.stated and _is_named(call, found.named):
                if "E" in found.values and not found.clamped:
                    found.values["E"] = _epsilon(call) or found.values["E"]
                self.propose(found, call)
                self.on_found(made, found, call)

    def propose(self, found: Proposal, call: Call) -> None:
        """Hand over what was found in a call."""
        for equation, tensors in self._propose(found, call).items():
            self._recording.see_symbols(call, equation, tensors)

    def holder(self, since: int) -> Call | None:
        """The innermost call that has been running since this step."""
        for call in reversed(self._recording.stack):
            if call.place.kind in schema.CALLS and call.step <= since and not call.muted:
                return call
        return None


def _is_named(call: Call, names: tuple[str, ...]) -> bool:
    """Whether the class or the function has one of these in its name, if there are any."""
    own = call.place.type.lower().replace("_", "")
    return not names or any(name in own for name in names)


def _epsilon(call: Call) -> float | None:
    """The one epsilon that a norm of one's own holds as a number, or that its function was given."""
    if call.kind == schema.MODULE:
        if not isinstance(call.owner, torch.nn.Module) or children_of(call.owner):  # it may be another norm's epsilon
            return None
        own = call.owner.__dict__
    else:
        own = dict(call.arguments)
    found = [value for name in _EPSILONS if type(value := own.get(name)) is float and value > 0]
    return found[0] if len(found) == 1 else None
