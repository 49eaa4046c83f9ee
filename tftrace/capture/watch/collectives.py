"""Watches collectives of torch.distributed (all_reduce, broadcast, …), which write to tensors without a new version,
and what gathers the weights of FSDP, which hides that it writes.

During a recording, a tensor that one of them wrote to counts as new; otherwise its old statistics would be shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from ..measure.identity import Identities
from ..measure.structure import leaves
from ..patches import Layer, Patch
from ..recording import Recording
from ..torch_internals import WRITING, preserving_version

_WRITE = (  # methods of a process group that write to their first argument
    *("allreduce", "allreduce_coalesced", "broadcast", "reduce", "allgather", "allgather_coalesced", *WRITING),
    *("allgather_into_tensor_coalesced", "gather", "scatter", "reduce_scatter"),
    *("reduce_scatter_tensor_coalesced", "alltoall", "alltoall_base", "recv", "recv_anysource"),
)


class Collectives:
    """Watches the methods of process groups, to which all functions lead."""

    def __init__(self, recording: Recording, identities: Identities) -> None:
        self._recording, self._identities = recording, identities

    def attach(self) -> None:
        """Begin to watch; process groups may be made later."""
        for method in _METHODS:
            method.put(self)

    def remove(self) -> None:
        """Stop watching; process groups are left as they were."""
        for method in _METHODS:
            method.take(self)

    def written(self, written: Any) -> None:
        """Note that a collective has written to a tensor, or to several."""
        self._recording.hook(self._forget, written)

    def _forget(self, written: Any) -> None:
        self._identities.forget([tensor for _, tensor in leaves(written)])


def _watched(layer: Layer) -> Callable[..., Any]:
    method = layer.original
    called = method.__get__  # a method of C++, which has to be bound to the instance

    @wraps(method)
    def watched(group: Any, *args: Any, **options: Any) -> Any:
        result = called(group)(*args, **options)
        written = args[0] if args else next(iter(options.values()), None)
        for collectives in layer.watching():
            collectives.written(written)
        return result

    return watched


def _uncounted(layer: Layer) -> Callable[..., Any]:
    leave = layer.original

    @wraps(leave)
    def watched(preserving: Any, *args: Any) -> Any:
        result = leave(preserving, *args)
        for collectives in layer.watching():
            collectives.written(getattr(preserving, "tensors", None))
        return result

    return watched


_KIND: Any = torch.distributed.ProcessGroup if torch.distributed.is_available() else object
_METHODS = [Patch(_KIND, name, _watched) for name in _WRITE if name in vars(_KIND)]
if preserving_version is not None:
    _METHODS.append(Patch(preserving_version, "__exit__", _uncounted))
