"""Collectives of torch.distributed (all_reduce, broadcast, …) write into a tensor without its version counting it.

While a recording runs, what one of them wrote to is therefore seen as new: its old numbers would be shown otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from .identity import Identities
from .recording import Recording
from .structure import leaves

_WRITE = (  # methods of a process group whose first argument they write to
    *("allreduce", "allreduce_coalesced", "broadcast", "reduce", "allgather", "allgather_coalesced", "_allgather_base"),
    *("allgather_into_tensor_coalesced", "gather", "scatter", "reduce_scatter", "_reduce_scatter_base"),
    *("reduce_scatter_tensor_coalesced", "alltoall", "alltoall_base", "recv", "recv_anysource"),
)


class Collectives:
    """Watches the process groups, which are the same whatever function the code called."""

    def __init__(self, recording: Recording, identities: Identities) -> None:
        self._recording, self._identities = recording, identities
        self._watched: dict[str, Any] = {}

    def attach(self) -> None:
        """Watch; a program that is recorded may make its process groups later."""
        if not torch.distributed.is_available():
            return
        kind = torch.distributed.ProcessGroup
        self._watched = {name: vars(kind)[name] for name in _WRITE if name in vars(kind)}
        for name, method in self._watched.items():
            setattr(kind, name, self._watching(method))

    def remove(self) -> None:
        """Leave the process groups as they were."""
        for name, method in self._watched.items():
            setattr(torch.distributed.ProcessGroup, name, method)
        self._watched = {}

    def _watching(self, method: Callable[..., Any]) -> Callable[..., Any]:
        called = method.__get__  # it is one of C++, which an instance binds

        @wraps(method)
        def watched(group: Any, *args: Any, **options: Any) -> Any:
            result = called(group)(*args, **options)
            written = args[0] if args else next(iter(options.values()), None)
            self._recording.hook(self._forget, written)
            return result

        return watched

    def _forget(self, written: Any) -> None:
        for _, tensor in leaves(written):
            self._identities.forget(tensor)
