"""Waiting for the threads that a program leaves behind, as Python does when it ends."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import thread as pools
from typing import Any

_SECONDS = 0.02
_queues: Any = getattr(pools, "_threads_queues", {})  # of the workers of pools
_work: Any = getattr(getattr(pools, "_worker", None), "__code__", None)  # what a worker runs between two tasks


def wait_for_threads() -> None:
    """Wait for what other threads still do. The workers of a pool that nobody shut down wait for work for ever: Python
    ends them by closing every pool, which the caller of a command may still need."""
    for thread in threading.enumerate():
        idle = thread is threading.current_thread() or thread.daemon
        while thread.is_alive() and not idle:
            before = _idle(thread)
            thread.join(_SECONDS)
            idle = before and _idle(thread)  # twice: it may just have taken a task


def _idle(thread: threading.Thread) -> bool:
    """Whether a thread is a pool's and has nothing to do."""
    tasks = getattr(thread, "pending_work_items", None)  # of the thread that keeps a pool of processes
    if tasks is not None:
        return not tasks
    queue, frame = _queues.get(thread), sys._current_frames().get(thread.ident or 0)
    return queue is not None and queue.empty() and frame is not None and frame.f_code is _work
