"""A limit on this process's memory for a while, so that what asks for too much fails instead of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def memory_limit(size: int) -> Iterator[None]:
    """Let this process take at most `size` more bytes inside the block, and no more than half of what is free.

    Beyond that an allocation fails: a MemoryError, or what a library makes of it. Where the system knows no such limit
    (Windows, macOS), there is none.
    """
    try:
        import resource

        process = psutil.Process()
        before = resource.getrlimit(resource.RLIMIT_AS)
        most = process.memory_info().vms + min(size, psutil.virtual_memory().available // 2)
        if before[0] == resource.RLIM_INFINITY or before[0] > most:
            resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    except (ImportError, OSError, ValueError, psutil.Error):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, before)
