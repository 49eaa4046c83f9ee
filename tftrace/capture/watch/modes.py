"""Torch's function modes: put on and taken off in the midst of a forward, beside those of others."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..torch_internals import count_dispatch_modes, count_function_modes, function_mode_at, pop_mode, push_mode

# With these torch takes a fused path, which rounds differently, unless a mode watches.
_FUSED = (torch.nn.TransformerEncoder, torch.nn.TransformerEncoderLayer, torch.nn.MultiheadAttention)


class WatchingMode(TorchFunctionMode):
    """A mode of ours. It watches a thread between `start` and `stop`."""

    @property
    def watches(self) -> bool:
        """Whether it watches this thread."""
        return self in modes()

    def start(self) -> bool:
        """Watch this thread."""
        if not self.watches:
            push_mode(self)
        return True

    def stop(self) -> None:
        """Watch this thread no more; modes that came later stay."""
        above = modes()
        if self not in above:
            return
        above = above[above.index(self) + 1 :]
        for _ in range(len(above) + 1):
            pop_mode()
        for mode in above:
            push_mode(mode)


def modes() -> list[Any]:
    """The modes of this thread, the outermost first."""
    return [function_mode_at(at) for at in range(count_function_modes())]


def only_ours() -> bool:
    """Whether no mode of others watches this thread, which may run code of theirs at each function of torch's."""
    if count_dispatch_modes():
        return False
    return not count_function_modes() or all(isinstance(mode, WatchingMode) for mode in modes())


def may_be_fused(module: torch.nn.Module) -> bool:
    """Whether torch might take its fused path: not in training, nor where all of the weights ask for a gradient."""
    if not isinstance(module, _FUSED) or module.training:
        return False
    return not (torch.is_grad_enabled() and all(weight.requires_grad for weight in module.parameters()))
