"""Says beside the verdict what an attention mask hides.

A mask that was passed is taken as it is meant, but a reader should know what it hides."""

from __future__ import annotations

import weakref

import torch

from ...recipes.evaluate.plan import Plan
from ...recipes.formula.nodes import Apply, Name, walk
from ..torch_internals import version_of

_HIDDEN = -9999.0  # a score to which this is added gets no weight


def masks_of(plan: Plan) -> dict[str, bool]:
    """The masks of a formula by symbol, and whether booleans in them are true for what is seen."""
    found = {}
    for node in (node for statement in plan.statements for node in walk(statement.body)):
        match node:
            case Apply("mask" | "hide", (Name(symbol),)) if symbol in plan.layouts:
                found[symbol] = node.function == "mask"
    return found


class Sight:
    """What one mask hides; on an accelerator it is counted there, and only `tell` waits for that.

    Args:
        mask: The mask: booleans, or numbers that are added to scores.
        shows: Whether booleans in it are true for what is seen.
    """

    def __init__(self, mask: torch.Tensor, shows: bool) -> None:
        mask = mask.detach()
        hidden = (~mask if shows else mask) if mask.dtype is torch.bool else mask <= _HIDDEN
        seen, ahead = ~hidden, hidden.shape[-1] - hidden.shape[-2] if hidden.dim() > 1 else 0
        later = seen.triu(ahead + 1) if hidden.dim() > 1 and hidden.shape[-2] > 1 else hidden[:0]
        self._pairs = hidden.numel()
        self._counts = torch.stack([hidden.sum(), hidden.all(-1).sum(), later.sum()])

    def tell(self, causal: bool) -> str | None:
        """Say what the mask hides.

        Args:
            causal: Whether the module hides later keys by itself; then later keys that the mask shows are mentioned.

        Returns:
            A sentence without its full stop; None if nothing is hidden.
        """
        hidden, blind, later = self._counts.tolist()
        said = [f"the mask hides {hidden} of {self._pairs} pairs of query and key"] if hidden else []
        if causal and later:
            said.append(f"as the mask says, queries see later keys ({later} pairs)")
        if blind:
            rows = "1 row that sees nothing is" if blind == 1 else f"{blind} rows that see nothing are"
            said.append(f"{rows} not counted")
        return "; ".join(said) or None


class Sights:
    """The masks of a recording. All layers are usually given the same mask, which is counted only once."""

    def __init__(self) -> None:
        self._last: tuple[weakref.ref[torch.Tensor], int, bool, Sight] | None = None

    def of(self, mask: torch.Tensor, shows: bool) -> Sight:
        """Return what a mask hides; the arguments are those of `Sight`."""
        if mask.is_inference():  # nobody counts the writes to it
            return Sight(mask, shows)
        version = version_of(mask)
        if self._last is not None:
            known, *rest, sight = self._last
            if known() is mask and rest == [version, shows]:
                return sight
        sight = Sight(mask, shows)
        self._last = weakref.ref(mask), version, shows, sight
        return sight
